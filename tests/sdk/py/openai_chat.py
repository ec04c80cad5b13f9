"""Chat Completions through the official `openai` package."""

import openai
from openai import OpenAI

from answers import ADA, ANSWER_TOKENS, CITY, LOOKS_UP, ODD, PIXEL, PROMPT_TOKENS, RIVERS, Person
from twice import BASE, CACHED, KEY, MODEL, NEVER_CACHED, VENDOR, check, said, same, scenario

client = OpenAI(base_url=f"{BASE}/v1", api_key=KEY)
chat = client.chat.completions

WEATHER = {
    "type": "function",
    "function": {"name": "get_weather", "description": LOOKS_UP, "parameters": CITY},
}


def user(text):
    return [{"role": "user", "content": text}]


def whole(messages, model="drill", **more):
    """Asks for a whole answer; returns it as it is said, and as the SDK has it."""
    response = chat.with_raw_response.create(model=model, messages=messages, **more)
    answer = response.parse()
    return said(response.headers, answer), answer


def streamed(messages, model="drill", **more):
    """Asks for a stream; returns what the SDK's own accumulator makes of it."""
    with chat.stream(model=model, messages=messages, **more) as stream:
        # In the order of their first coming: how often the helper says a thing depends on the sizes of pieces.
        types = list(dict.fromkeys(event.type for event in stream))
        answer = stream.get_final_completion()
        headers = stream._response.headers
    return said(headers, {"answer": said({}, answer).body, "events": types}), answer


def text_of(answer):
    return answer.choices[0].message.content


def used(answer):
    usage = answer.usage
    counts = (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens)
    same(counts, (PROMPT_TOKENS, ANSWER_TOKENS, PROMPT_TOKENS + ANSWER_TOKENS), "usage")


@scenario("chat")
def _():
    answer, it = whole(user("Some plain words, please."))
    same(text_of(it), RIVERS, "the text")
    same(it.choices[0].finish_reason, "stop", "finish_reason")
    if VENDOR != "azure":
        same(it.model, MODEL, "model")
    used(it)
    return answer


@scenario("chat stream")
def _():
    response = chat.with_raw_response.create(
        model="drill", messages=user("A stream of plain words."), stream=True, stream_options={"include_usage": True}
    )
    chunks = list(response.parse())
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    same(text, RIVERS, "the text")
    same(len({chunk.id for chunk in chunks}), 1, "the number of ids")
    same([bool(chunk.usage) for chunk in chunks], [False] * (len(chunks) - 1) + [True], "which chunks have usage")
    used(chunks[-1])
    same(chunks[-1].choices, [], "the choices of the last chunk")
    finishes = [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices]
    same([finish for finish in finishes if finish], ["stop"], "finish reasons")
    return said(response.headers, {"text": text, "usage": chunks[-1].usage, "model": chunks[0].model})


@scenario("chat stream without usage")
def _():
    response = chat.with_raw_response.create(
        model="drill", messages=user("A stream of plain words, uncounted."), stream=True
    )
    chunks = list(response.parse())
    check(all(chunk.usage is None for chunk in chunks), "usage that was not asked for")
    check(all(len(chunk.choices) == 1 for chunk in chunks), "a chunk without a choice")
    return said(response.headers, "".join(chunk.choices[0].delta.content or "" for chunk in chunks))


@scenario("chat stream helper")
def _():
    answer, it = streamed(user("Help me to some plain words."), stream_options={"include_usage": True})
    same(text_of(it), RIVERS, "the text")
    used(it)
    return answer


@scenario("chat odd characters")
def _():
    answer, it = whole(user("Give me odd characters."))
    check(ODD in text_of(it), f"the text is {text_of(it)!r}")
    return answer


@scenario("chat stream odd characters")
def _():
    answer, it = streamed(user("Stream me odd characters."))
    check(ODD in text_of(it), f"the text is {text_of(it)!r}")
    return answer


@scenario("chat stream of many pieces")
def _():
    answer, it = streamed(user("Now many pieces."))
    same(text_of(it).split(), [f"word{at}" for at in range(400)], "the text")
    return answer


@scenario("chat stream that takes its time")
def _():
    answer, it = streamed(user("Please take your time."))
    same(text_of(it), "Slow and steady.", "the text")
    return answer


@scenario("chat system text")
def _():
    said_by = [
        {"role": "system", "content": "You are a pirate."},
        {"role": "developer", "content": "Answer briefly."},
        {"role": "user", "content": "And who are you?"},
    ]
    answer, it = whole(said_by)
    same(text_of(it), "Arr.", "the text")
    return answer


@scenario("chat earlier turns")
def _():
    turns = [
        {"role": "user", "content": "I am Ada."},
        {"role": "assistant", "content": "Hello Ada."},
        {"role": "user", "content": [{"type": "text", "text": "and what was my name?"}]},
    ]
    answer, it = whole(turns)
    same(text_of(it), "Your name is Ada.", "the text")
    return answer


@scenario("chat settings")
def _():
    # Anthropic knows no seed, and its models take one of temperature and top_p.
    more = {} if VENDOR == "anthropic" else {"top_p": 0.9, "seed": 5}
    answer, it = whole(user("See that my settings arrive."), temperature=0.3, max_completion_tokens=77, **more)
    same(text_of(it), "They did.", "the text")
    return answer


@scenario("chat image")
def _():
    parts = [
        {"type": "text", "text": "Please describe this picture."},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}},
    ]
    answer, it = whole([{"role": "user", "content": parts}])
    same(text_of(it), "A single red pixel.", "the text")
    return answer


@scenario("chat JSON schema")
def _():
    response = chat.with_raw_response.parse(
        model="drill", messages=user("Give me a person as JSON."), response_format=Person
    )
    it = response.parse()
    same(it.choices[0].message.parsed, ADA, "the parsed answer")
    return said(response.headers, it)


@scenario("chat stream JSON schema")
def _():
    answer, it = streamed(user("Stream me a person as JSON."), response_format=Person)
    same(it.choices[0].message.parsed, ADA, "the parsed answer")
    return answer


@scenario("chat JSON mode", (None, None) if VENDOR == "anthropic" else CACHED)
def _():
    asked = user("Just a person as JSON."), {"type": "json_object"}
    if VENDOR == "anthropic":
        return refused("response_format", *asked)
    answer, it = whole(asked[0], response_format=asked[1])
    same(Person.model_validate_json(text_of(it)).age, 36, "the age")
    return answer


@scenario("chat seed", (None, None) if VENDOR == "anthropic" else CACHED)
def _():
    asked = user("Some plain words with a seed."), 5
    if VENDOR == "anthropic":
        return refused("seed", *asked)
    answer, it = whole(asked[0], seed=asked[1])
    same(text_of(it), RIVERS, "the text")
    return answer


def refused(field, messages, value):
    """Asks for what the upstream's format has no words for: an answer without it would be another one."""
    try:
        chat.create(model="drill", messages=messages, **{field: value})
    except openai.BadRequestError as error:
        check(field in error.message, f"the message does not name the field: {error.message}")
        same((error.param, error.code), (field, "unsupported_parameter"), "param and code")
        return said(error.response.headers, {"type": error.type})
    raise AssertionError("it did not fail")


def called(it, *cities):
    """Checks which cities the weather was asked for."""
    choice = it.choices[0]
    same(choice.finish_reason, "tool_calls", "finish_reason")
    found = [(call.function.name, call.function.arguments) for call in choice.message.tool_calls]
    check(all(call.id for call in choice.message.tool_calls), "a call without an id")
    for (name, arguments), city in zip(found, cities, strict=True):
        same(name, "get_weather", "the tool")
        same(arguments.replace(" ", ""), f'{{"city":"{city}"}}', "the arguments")


@scenario("chat tool", NEVER_CACHED)
def _():
    answer, it = whole(user("Tell me the weather."), tools=[WEATHER])
    called(it, "Paris")
    return answer


@scenario("chat tool stored")
def _():
    answer, it = whole(user("Tell me the weather."), "drill-tools", tools=[WEATHER])
    called(it, "Paris")
    used(it)
    return answer


@scenario("chat stream tool", NEVER_CACHED)
def _():
    answer, it = streamed(user("Stream me the weather."), tools=[WEATHER])
    called(it, "Paris")
    return answer


@scenario("chat stream tool stored")
def _():
    answer, it = streamed(user("Stream me the weather."), "drill-tools", tools=[WEATHER])
    called(it, "Paris")
    return answer


@scenario("chat two tools stored")
def _():
    answer, it = whole(user("Get me weather in two cities."), "drill-tools", tools=[WEATHER], tool_choice="required")
    called(it, "Paris", "Rome")
    return answer


@scenario("chat stream two tools stored")
def _():
    answer, it = streamed(user("Stream me weather in two cities."), "drill-tools", tools=[WEATHER])
    called(it, "Paris", "Rome")
    return answer


@scenario("chat text and tool stored")
def _():
    answer, it = whole(user("You may say first, then look up."), "drill-tools", tools=[WEATHER])
    same(text_of(it), "Let me look that up.", "the text")
    called(it, "Paris")
    return answer


@scenario("chat stream text and tool stored")
def _():
    answer, it = streamed(user("Do stream: say first, then look up."), "drill-tools", tools=[WEATHER])
    same(text_of(it), "Let me look that up.", "the text")
    called(it, "Paris")
    return answer


@scenario("chat tool before text stored")
def _():
    answer, it = whole(user("You may look up first, then say."), "drill-tools", tools=[WEATHER])
    same(text_of(it), "I am looking it up.", "the text")
    called(it, "Paris")
    return answer


@scenario("chat stream tool before text stored")
def _():
    answer, it = streamed(user("Do stream: look up first, then say."), "drill-tools", tools=[WEATHER])
    same(text_of(it), "I am looking it up.", "the text")
    called(it, "Paris")
    return answer


@scenario("chat tool result")
def _():
    call = {"id": "call_paris", "type": "function", "function": {"name": "get_weather", "arguments": '{"city":"Paris"}'}}
    turns = [
        *user("And the weather now?"),
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_paris", "content": "21 degrees"},
    ]
    answer, it = whole(turns, tools=[WEATHER])
    same(text_of(it), "It is 21 degrees in Paris.", "the text")
    return answer


@scenario("chat reasoning")
def _():
    answer, it = whole(user("Do think about it."), reasoning_effort="low")
    same(text_of(it), "It is 42.", "the text")
    # A field that the package does not know and shows all the same.
    same(it.choices[0].message.reasoning_content, "Six times seven.", "the thought")
    return answer


@scenario("chat stream reasoning")
def _():
    answer, it = streamed(user("Stream, but think about it."), reasoning_effort="low")
    same(text_of(it), "It is 42.", "the text")
    return answer


@scenario("chat cut by length", NEVER_CACHED)
def _():
    answer, it = whole(user("You will run out of room."))
    same((text_of(it), it.choices[0].finish_reason), ("This ends in the", "length"), "the text and its end")
    return answer


@scenario("chat filtered", NEVER_CACHED)
def _():
    answer, it = whole(user("This will be filtered."))
    same(it.choices[0].finish_reason, "content_filter", "finish_reason")
    return answer


@scenario("chat asked whole, then streamed")
def _():
    # One stored form serves both: every other time of asking is a stream.
    prompt = user("Some plain words, whole and streamed.")
    _.times = getattr(_, "times", 0) + 1
    answer, it = whole(prompt) if _.times % 2 else streamed(prompt, stream_options={"include_usage": True})
    used(it)
    return type(answer)(answer.source, text_of(it))
