"""What the upstream is going to answer (see ../fixtures.mjs), and what it is asked with."""

from pydantic import BaseModel

RIVERS = "Rivers carry water from the hills to the sea."
# A piece of the odd text.
ODD = '世界! 🌊\n\n"quoted" \\ and a tab\t'
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg=="
# What every answer costs: tokens of the prompt, and of the answer.
PROMPT_TOKENS, ANSWER_TOKENS = 11, 7

# The description and the schema of the tool `get_weather`.
LOOKS_UP = "Looks up the weather of a city."
CITY = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}


class Person(BaseModel):
    name: str
    age: int
    tags: list[str]


ADA = Person(name="Ada", age=36, tags=["mathematics"])
