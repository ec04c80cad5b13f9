"""What the official `anthropic` package does of its own accord: tools that it runs, and conversations that it keeps."""

from anthropic import Anthropic, DefaultHttpxClient, beta_tool

from answers import RIVERS
from twice import BASE, KEY, Said, check, lasting, same, scenario

# These helpers keep the headers to themselves.
seen = []


def see(response):
    if response.status_code == 200:
        seen.append(response.headers.get("x-cache-source"))


watching = DefaultHttpxClient(event_hooks={"response": [see]})
messages = Anthropic(base_url=BASE, api_key=KEY, http_client=watching).beta.messages

# Two answers each time.
TWO_CACHED = {"sources": ("upstream upstream", "exact exact"), "calls": (0, 2)}


@beta_tool
def get_weather(city: str) -> str:
    """Looks up the weather of a city."""
    return "21 degrees" if city == "Paris" else "unknown"


def user(text):
    return {"role": "user", "content": text}


def told(answers):
    """Returns what was said, in answers, and where each came from."""
    sources = " ".join(seen)
    seen.clear()
    return Said(sources, lasting(list(answers)))


def ran(answers):
    """Checks a call, and the answer to its result."""
    same([answer.stop_reason for answer in answers], ["tool_use", "end_turn"], "how the turns ended")
    same(answers[-1].content[0].text, "It is 21 degrees in Paris.", "the text")


@scenario("beta messages")
def _():
    answer = messages.create(
        model="drill", messages=[user("Some plain words of a beta.")], max_tokens=100, betas=["drill-2026-01-01"]
    )
    same(answer.content[0].text, RIVERS, "the text")
    return told([answer])


@scenario("beta messages tool runner stored", **TWO_CACHED)
def _():
    # It asks for a thread unasked, and does without when there is none to go on with.
    runner = messages.tool_runner(
        model="drill-tools", messages=[user("Run and look up the weather.")], max_tokens=100, tools=[get_weather]
    )
    answers = list(runner)
    ran(answers)
    return told(answers)


@scenario("beta messages stream tool runner stored", **TWO_CACHED)
def _():
    runner = messages.tool_runner(
        model="drill-tools", messages=[user("Run, stream and look up the weather.")], max_tokens=100,
        tools=[get_weather], stream=True,
    )
    answers = [stream.get_final_message() for stream in runner]
    ran(answers)
    return told(answers)


@scenario("beta messages thread", **TWO_CACHED)
def _():
    thread = messages.thread(model="drill", max_tokens=100)
    answers = [thread.send(user(text)) for text in ("Some plain words of a thread.", "And more plain words of it.")]
    check(all(answer.content[0].text == RIVERS for answer in answers), f"the answers are {answers}")
    return told(answers)
