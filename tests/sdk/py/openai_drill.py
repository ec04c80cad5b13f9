"""Plays the scenarios of the `openai` package."""

import openai_chat
import openai_faults
import openai_responses
import twice

twice.main(openai_chat, openai_responses, openai_faults)
