"""Responses through the official `openai` package."""

import openai
from openai import OpenAI

from answers import ADA, ANSWER_TOKENS, CITY, LOOKS_UP, ODD, PIXEL, PROMPT_TOKENS, RIVERS, Person
from twice import BASE, KEY, MODEL, NEVER_CACHED, VENDOR, check, outline, said, same, scenario

client = OpenAI(base_url=f"{BASE}/v1", api_key=KEY)
responses = client.responses

WEATHER = {"type": "function", "name": "get_weather", "description": LOOKS_UP, "parameters": CITY, "strict": True}
# The events of an answer that is one text, runs of deltas taken for one.
TEXT_EVENTS = [
    "response.created",
    "response.in_progress",
    "response.output_item.added",
    "response.content_part.added",
    "response.output_text.delta",
    "response.output_text.done",
    "response.content_part.done",
    "response.output_item.done",
    "response.completed",
]
# And of one that is one call.
CALL_EVENTS = [
    "response.created",
    "response.in_progress",
    "response.output_item.added",
    "response.function_call_arguments.delta",
    "response.function_call_arguments.done",
    "response.output_item.done",
    "response.completed",
]


def whole(asked, model="drill", **more):
    """Asks for a whole answer; returns it as it is said, and as the SDK has it."""
    response = responses.with_raw_response.create(model=model, input=asked, **more)
    answer = response.parse()
    return said(response.headers, answer), answer


def streamed(asked, model="drill", **more):
    """Asks for a stream of plain events; returns them, and the answer they end with."""
    response = responses.with_raw_response.create(model=model, input=asked, stream=True, **more)
    events = list(response.parse())
    numbers = [event.sequence_number for event in events]
    same(numbers, list(range(len(events))), "the sequence numbers")
    types = outline(event.type for event in events)
    answer = events[-1].response
    return said(response.headers, {"answer": said({}, answer).body, "events": types}), answer, types


def helped(asked, model="drill", **more):
    """Asks for a stream by the SDK's own helper; returns what it makes of it."""
    with responses.stream(model=model, input=asked, **more) as stream:
        types = outline(event.type for event in stream)
        answer = stream.get_final_response()
        headers = stream._response.headers
    return said(headers, {"answer": said({}, answer).body, "events": types}), answer


def used(answer):
    usage = answer.usage
    counts = (usage.input_tokens, usage.output_tokens, usage.total_tokens)
    same(counts, (PROMPT_TOKENS, ANSWER_TOKENS, PROMPT_TOKENS + ANSWER_TOKENS), "usage")


def called(answer, *cities):
    """Checks which cities the weather was asked for."""
    calls = [item for item in answer.output if item.type == "function_call"]
    check(all(call.call_id for call in calls), "a call without an id")
    found = [(call.name, call.arguments.replace(" ", "")) for call in calls]
    same(found, [("get_weather", f'{{"city":"{city}"}}') for city in cities], "the calls")


@scenario("responses")
def _():
    answer, it = whole("Respond in plain words.")
    same((it.output_text, it.status, it.error, it.object), (RIVERS, "completed", None, "response"), "the answer")
    if VENDOR != "azure":
        same(it.model, MODEL, "model")
    used(it)
    return answer


@scenario("responses stream")
def _():
    answer, it, types = streamed("Stream a response of plain words.")
    same(types, TEXT_EVENTS, "the events")
    same(it.output_text, RIVERS, "the text")
    used(it)
    return answer


@scenario("responses stream helper")
def _():
    answer, it = helped("Help me to a response of plain words.")
    same(it.output_text, RIVERS, "the text")
    used(it)
    return answer


@scenario("responses odd characters")
def _():
    answer, it = whole("Respond with odd characters.")
    check(ODD in it.output_text, f"the text is {it.output_text!r}")
    return answer


@scenario("responses stream odd characters")
def _():
    answer, it, _ = streamed("Stream a response of odd characters.")
    check(ODD in it.output_text, f"the text is {it.output_text!r}")
    return answer


@scenario("responses stream of many pieces")
def _():
    answer, it, _ = streamed("Respond in many pieces.")
    same(it.output_text.split(), [f"word{at}" for at in range(400)], "the text")
    return answer


@scenario("responses instructions")
def _():
    asked = [
        {"role": "developer", "content": "Answer briefly."},
        {"role": "user", "content": [{"type": "input_text", "text": "Respond: who are you?"}]},
    ]
    answer, it = whole(asked, instructions="You are a pirate.")
    same(it.output_text, "Arr.", "the text")
    return answer


@scenario("responses earlier turns")
def _():
    asked = [
        {"role": "user", "content": "I am Ada."},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Hello Ada."}]},
        {"role": "user", "content": "Respond: and what was my name?"},
    ]
    answer, it = whole(asked)
    same(it.output_text, "Your name is Ada.", "the text")
    return answer


@scenario("responses settings")
def _():
    answer, it = whole("Respond when my settings arrive.", temperature=0.3, max_output_tokens=77, store=False)
    same(it.output_text, "They did.", "the text")
    return answer


@scenario("responses image")
def _():
    parts = [
        {"type": "input_text", "text": "Respond: describe this picture."},
        {"type": "input_image", "image_url": f"data:image/png;base64,{PIXEL}", "detail": "auto"},
    ]
    answer, it = whole([{"role": "user", "content": parts}])
    same(it.output_text, "A single red pixel.", "the text")
    return answer


@scenario("responses JSON schema")
def _():
    response = responses.with_raw_response.parse(
        model="drill", input="Respond with a person as JSON.", text_format=Person
    )
    it = response.parse()
    same(it.output_parsed, ADA, "the parsed answer")
    return said(response.headers, it)


@scenario("responses stream JSON schema")
def _():
    answer, it = helped("Stream a response with a person as JSON.", text_format=Person)
    same(it.output_parsed, ADA, "the parsed answer")
    return answer


@scenario("responses tool", NEVER_CACHED)
def _():
    answer, it = whole("Respond with the weather.", tools=[WEATHER])
    called(it, "Paris")
    return answer


@scenario("responses tool stored")
def _():
    answer, it = whole("Respond with the weather.", "drill-tools", tools=[WEATHER])
    called(it, "Paris")
    used(it)
    return answer


@scenario("responses stream tool", NEVER_CACHED)
def _():
    answer, it, types = streamed("Stream a response with the weather.", tools=[WEATHER])
    same(types, CALL_EVENTS, "the events")
    called(it, "Paris")
    return answer


@scenario("responses stream tool stored")
def _():
    answer, it, types = streamed("Stream a response with the weather.", "drill-tools", tools=[WEATHER])
    same(types, CALL_EVENTS, "the events")
    called(it, "Paris")
    return answer


@scenario("responses two tools stored")
def _():
    answer, it = whole("Respond with weather in two cities.", "drill-tools", tools=[WEATHER])
    called(it, "Paris", "Rome")
    return answer


@scenario("responses stream text and tool stored")
def _():
    answer, it = helped("Respond, but say first, then look up.", "drill-tools", tools=[WEATHER])
    same(it.output_text, "Let me look that up.", "the text")
    called(it, "Paris")
    return answer


@scenario("responses stream tool before text stored")
def _():
    answer, it = helped("Respond, but look up first, then say.", "drill-tools", tools=[WEATHER])
    same(it.output_text, "I am looking it up.", "the text")
    called(it, "Paris")
    return answer


@scenario("responses tool result")
def _():
    asked = [
        {"role": "user", "content": "Respond: and the weather now?"},
        {"type": "function_call", "call_id": "call_paris", "name": "get_weather", "arguments": '{"city":"Paris"}'},
        {"type": "function_call_output", "call_id": "call_paris", "output": "21 degrees"},
    ]
    answer, it = whole(asked, tools=[WEATHER])
    same(it.output_text, "It is 21 degrees in Paris.", "the text")
    return answer


@scenario("responses reasoning")
def _():
    answer, it = whole("Respond, but think about it.", reasoning={"effort": "low"})
    same(it.output_text, "It is 42.", "the text")
    thought = it.output[0]
    same((thought.type, thought.content[0].text), ("reasoning", "Six times seven."), "the thought")
    return answer


@scenario("responses stream reasoning")
def _():
    answer, it = helped("Stream a response, but think about it.", reasoning={"effort": "low"})
    same(it.output_text, "It is 42.", "the text")
    same(it.output[0].content[0].text, "Six times seven.", "the thought")
    return answer


@scenario("responses cut by length", NEVER_CACHED)
def _():
    answer, it = whole("Respond until you run out of room.")
    same((it.status, it.incomplete_details.reason), ("incomplete", "max_output_tokens"), "how it ended")
    same(it.output_text, "This ends in the", "the text")
    return answer


@scenario("responses stream cut by length", NEVER_CACHED)
def _():
    answer, it, types = streamed("Stream a response until you run out of room.")
    same((types[-1], it.status), ("response.incomplete", "incomplete"), "how it ended")
    return answer


@scenario("responses asked whole, then streamed")
def _():
    _.times = getattr(_, "times", 0) + 1
    prompt = "Respond in plain words, whole and streamed."
    answer, it, *_rest = whole(prompt) if _.times % 2 else streamed(prompt)
    used(it)
    return type(answer)(answer.source, it.output_text)


@scenario("responses that need what we do not keep", (None, None))
def _():
    try:
        responses.create(model="drill", input="And then?", previous_response_id="resp_1")
    except openai.BadRequestError as error:
        check("previous_response_id" in error.message, f"the message does not name the field: {error.message}")
        return said(error.response.headers, {"code": error.code, "param": error.param})
    raise AssertionError("it did not fail")


@scenario("responses stream cut midway", ("upstream", "upstream"), calls=(1,))
def _():
    response = responses.with_raw_response.create(
        model=f"snapping/{MODEL}", input="This response will be cut midway.", stream=True
    )
    events = []
    try:
        events.extend(event.type for event in response.parse())
    except openai.APIError as error:
        events.append(type(error).__name__)
    check(events[-1] in ("error", "response.failed", "APIError"), f"it ended with {events[-1]}")
    check("response.completed" not in events, "it says that it is complete")
    return said(response.headers, events[-1])
