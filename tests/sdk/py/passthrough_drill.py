"""Plays what goes through unread."""

import passthrough
import twice

twice.main(passthrough)
