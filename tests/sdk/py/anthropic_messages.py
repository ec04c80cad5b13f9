"""Messages through the official `anthropic` package."""

from anthropic import Anthropic, DefaultHttpxClient

from answers import ADA, ANSWER_TOKENS, CITY, LOOKS_UP, ODD, PIXEL, PROMPT_TOKENS, RIVERS, Person
from twice import BASE, KEY, MODEL, NEVER_CACHED, VENDOR, check, outline, said, same, scenario

client = Anthropic(base_url=BASE, api_key=KEY)
messages = client.messages

WEATHER = {"name": "get_weather", "description": LOOKS_UP, "input_schema": CITY}
THINKING = {"type": "enabled", "budget_tokens": 1024}
BLOCK = ["content_block_start", "content_block_delta", "content_block_stop"]
# The events of the wire; the helper has more of its own, which depend on the sizes of pieces.
PLAIN = {"message_start", *BLOCK, "message_delta", "message_stop"}


def user(text):
    return [{"role": "user", "content": text}]


def whole(asked, model="drill", max_tokens=2048, **more):
    """Asks for a whole answer; returns it as it is said, and as the SDK has it."""
    response = messages.with_raw_response.create(model=model, messages=asked, max_tokens=max_tokens, **more)
    answer = response.parse()
    return said(response.headers, answer), answer


def raw(asked, model="drill", max_tokens=2048, **more):
    """Asks for a stream of plain events; returns them."""
    response = messages.with_raw_response.create(
        model=model, messages=asked, max_tokens=max_tokens, stream=True, **more
    )
    return response.headers, list(response.parse())


def streamed(asked, model="drill", max_tokens=2048, **more):
    """Asks for a stream by the SDK's own helper; returns what it makes of it."""
    with messages.stream(model=model, messages=asked, max_tokens=max_tokens, **more) as stream:
        types = outline(event.type for event in stream if event.type in PLAIN)
        answer = stream.get_final_message()
        headers = stream.response.headers
    return said(headers, {"answer": said({}, answer).body, "events": types}), answer


def text_of(answer):
    return "".join(block.text for block in answer.content if block.type == "text")


def used(answer):
    usage = answer.usage
    same((usage.input_tokens, usage.output_tokens), (PROMPT_TOKENS, ANSWER_TOKENS), "usage")


def called(answer, *cities):
    """Checks which cities the weather was asked for."""
    same(answer.stop_reason, "tool_use", "stop_reason")
    calls = [block for block in answer.content if block.type == "tool_use"]
    check(all(call.id for call in calls), "a call without an id")
    same([(call.name, call.input) for call in calls], [("get_weather", {"city": city}) for city in cities], "the calls")


@scenario("messages")
def _():
    answer, it = whole(user("A message of plain words."))
    same((text_of(it), it.stop_reason, it.role, it.type), (RIVERS, "end_turn", "assistant", "message"), "the answer")
    if VENDOR != "azure":
        same(it.model, MODEL, "model")
    used(it)
    return answer


@scenario("messages stream")
def _():
    headers, events = raw(user("Stream a message of plain words."))
    types = outline(event.type for event in events)
    same(types, ["message_start", *BLOCK, "message_delta", "message_stop"], "the events")
    text = "".join(event.delta.text for event in events if event.type == "content_block_delta")
    same(text, RIVERS, "the text")
    start, end = events[0].message, events[-2]
    same((start.content, start.stop_reason, start.role), ([], None, "assistant"), "the message at its start")
    same((end.delta.stop_reason, end.usage.output_tokens), ("end_turn", ANSWER_TOKENS), "the message at its end")
    return said(headers, {"text": text, "types": types, "usage": end.usage})


@scenario("messages stream helper")
def _():
    answer, it = streamed(user("Help me to a message of plain words."))
    same((text_of(it), it.stop_reason), (RIVERS, "end_turn"), "the answer")
    used(it)
    return answer


@scenario("messages odd characters")
def _():
    answer, it = whole(user("A message of odd characters."))
    check(ODD in text_of(it), f"the text is {text_of(it)!r}")
    return answer


@scenario("messages stream odd characters")
def _():
    answer, it = streamed(user("Stream a message of odd characters."))
    check(ODD in text_of(it), f"the text is {text_of(it)!r}")
    return answer


@scenario("messages stream of many pieces")
def _():
    answer, it = streamed(user("A message in many pieces."))
    same(text_of(it).split(), [f"word{at}" for at in range(400)], "the text")
    return answer


@scenario("messages system text")
def _():
    system = [{"type": "text", "text": "You are a pirate."}, {"type": "text", "text": "Answer briefly."}]
    answer, it = whole(user("A message: who are you?"), system=system)
    same(text_of(it), "Arr.", "the text")
    return answer


@scenario("messages earlier turns")
def _():
    asked = [
        {"role": "user", "content": "I am Ada."},
        {"role": "assistant", "content": [{"type": "text", "text": "Hello Ada."}]},
        {"role": "user", "content": "A message: and what was my name?"},
    ]
    answer, it = whole(asked)
    same(text_of(it), "Your name is Ada.", "the text")
    return answer


@scenario("messages system text between turns")
def _():
    asked = [
        {"role": "user", "content": "I cannot hear well."},
        {"role": "system", "content": "Speak lowly."},
        {"role": "assistant", "content": "Aye."},
        {"role": "user", "content": "A message: and what did we agree?"},
    ]
    answer, it = whole(asked, system="You are a pirate.")
    same(text_of(it), "To speak lowly, arr.", "the text")
    return answer


@scenario("messages settings")
def _():
    # The package has no argument for the temperature any more; callers who need it send it so.
    answer, it = whole(
        user("A message when my settings arrive."), max_tokens=77, extra_body={"temperature": 0.3},
        stop_sequences=["END"], metadata={"user_id": "ada"},
    )
    same(text_of(it), "They did.", "the text")
    return answer


@scenario("messages image")
def _():
    blocks = [
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}},
        {"type": "text", "text": "A message: describe this picture."},
    ]
    answer, it = whole(user(blocks))
    same(text_of(it), "A single red pixel.", "the text")
    return answer


@scenario("messages JSON schema")
def _():
    # This helper keeps the headers to itself.
    seen = []
    watching = DefaultHttpxClient(event_hooks={"response": [lambda response: seen.append(response.headers)]})
    watched = Anthropic(base_url=BASE, api_key=KEY, http_client=watching)
    it = watched.messages.parse(
        model="drill", messages=user("A message with a person as JSON."), max_tokens=2048, output_format=Person
    )
    same(it.parsed_output, ADA, "the parsed answer")
    return said(seen[-1], it)


@scenario("messages stream JSON schema")
def _():
    answer, it = streamed(user("Stream a message with a person as JSON."), output_format=Person)
    same(it.parsed_output, ADA, "the parsed answer")
    return answer


@scenario("messages tool", NEVER_CACHED)
def _():
    answer, it = whole(user("A message with the weather."), tools=[WEATHER])
    called(it, "Paris")
    return answer


@scenario("messages tool stored")
def _():
    answer, it = whole(user("A message with the weather."), "drill-tools", tools=[WEATHER])
    called(it, "Paris")
    used(it)
    return answer


@scenario("messages stream tool", NEVER_CACHED)
def _():
    answer, it = streamed(user("Stream a message with the weather."), tools=[WEATHER])
    called(it, "Paris")
    return answer


@scenario("messages stream tool stored")
def _():
    answer, it = streamed(user("Stream a message with the weather."), "drill-tools", tools=[WEATHER])
    called(it, "Paris")
    return answer


@scenario("messages two tools stored")
def _():
    choice = {"type": "any"}
    answer, it = whole(
        user("A message with weather in two cities."), "drill-tools", tools=[WEATHER], tool_choice=choice
    )
    called(it, "Paris", "Rome")
    return answer


@scenario("messages stream text and tool stored")
def _():
    answer, it = streamed(user("A message: say first, then look up."), "drill-tools", tools=[WEATHER])
    same([block.type for block in it.content], ["text", "tool_use"], "the blocks")
    same(text_of(it), "Let me look that up.", "the text")
    called(it, "Paris")
    return answer


def announced(answer):
    """Checks a call with words after it, which only a whole answer of OpenAI's cannot tell from words before it."""
    same(sorted(block.type for block in answer.content), ["text", "tool_use"], "the blocks")
    if VENDOR in ("anthropic", "gemini"):
        same([block.type for block in answer.content], ["tool_use", "text"], "the blocks in order")
    same(text_of(answer), "I am looking it up.", "the text")
    called(answer, "Paris")


@scenario("messages tool before text stored")
def _():
    answer, it = whole(user("A message: look up first, then say."), "drill-tools", tools=[WEATHER])
    announced(it)
    return answer


@scenario("messages stream tool before text stored")
def _():
    answer, it = streamed(user("Stream a message: look up first, then say."), "drill-tools", tools=[WEATHER])
    announced(it)
    return answer


@scenario("messages tool result")
def _():
    asked = [
        *user("A message: and the weather now?"),
        {
            "role": "assistant",
            "content": [{"type": "tool_use", "id": "call_paris", "name": "get_weather", "input": {"city": "Paris"}}],
        },
        {
            "role": "user",
            "content": [{"type": "tool_result", "tool_use_id": "call_paris", "content": "21 degrees"}],
        },
    ]
    answer, it = whole(asked, tools=[WEATHER])
    same(text_of(it), "It is 21 degrees in Paris.", "the text")
    return answer


def thought(answer):
    """Checks what may be seen of the thinking: what the same vendor signed."""
    same(text_of(answer), "It is 42.", "the text")
    if VENDOR == "anthropic":
        first = answer.content[0]
        same((first.type, first.thinking, first.signature), ("thinking", "Six times seven.", "c2lnbmVk"), "the thought")


@scenario("messages thinking")
def _():
    answer, it = whole(user("A message, but think about it."), thinking=THINKING)
    thought(it)
    return answer


@scenario("messages stream thinking")
def _():
    answer, it = streamed(user("Stream a message, but think about it."), thinking=THINKING)
    thought(it)
    return answer


@scenario("messages hidden thinking")
def _():
    answer, it = whole(user("A message, but think in secret."), thinking=THINKING)
    same(text_of(it), "It is 42.", "the text")
    if VENDOR == "anthropic":
        same((it.content[0].type, it.content[0].data), ("redacted_thinking", "b3BhcXVl"), "the thought")
    return answer


@scenario("messages stream hidden thinking")
def _():
    answer, it = streamed(user("Stream a message, but think in secret."), thinking=THINKING)
    same(text_of(it), "It is 42.", "the text")
    return answer


@scenario("messages cut by length", NEVER_CACHED)
def _():
    answer, it = whole(user("A message until you run out of room."))
    same((text_of(it), it.stop_reason), ("This ends in the", "max_tokens"), "the text and its end")
    return answer


@scenario("messages filtered", NEVER_CACHED)
def _():
    answer, it = whole(user("A message that will be filtered."))
    same(it.stop_reason, "refusal", "stop_reason")
    return answer


@scenario("messages asked whole, then streamed")
def _():
    _.times = getattr(_, "times", 0) + 1
    prompt = user("A message of plain words, whole and streamed.")
    answer, it = whole(prompt) if _.times % 2 else streamed(prompt)
    used(it)
    return type(answer)(answer.source, text_of(it))


@scenario("messages count tokens", (None, None), calls=(0, 1))
def _():
    response = messages.with_raw_response.count_tokens(
        model="drill", messages=user("How many tokens are these?"), system="Count.", tools=[WEATHER]
    )
    counted = response.parse().input_tokens
    # The upstream says 17 whatever it is asked; where nobody counts, it is an estimate.
    check(counted == 17 if VENDOR == "anthropic" else 0 < counted < 200, f"it counted {counted}")
    return said(response.headers, counted)


@scenario("messages effort")
def _():
    # Gemini knows no more of it.
    effort = "high" if VENDOR == "gemini" else "max"
    answer, it = whole(user("A message of plain words, with effort."), output_config={"effort": effort})
    same(text_of(it), RIVERS, "the text")
    return answer


@scenario("models", (None,), calls=(0,))
def _():
    # What may be asked for; one list serves both vendors' packages.
    listed = {model.id: model.display_name for model in client.models.list()}
    check("drill" in listed and "drill-tools" in listed, f"the models are {listed}")
    return said({}, None)
