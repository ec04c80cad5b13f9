"""Plays the scenarios of the `anthropic` package."""

import anthropic_beta
import anthropic_faults
import anthropic_messages
import twice

twice.main(anthropic_messages, anthropic_beta, anthropic_faults)
