"""What the official `openai` package raises when something is wrong, with the caller or with the upstream.

Each fault has an upstream of its own, so that no breaker or cooldown of one meets the next.
"""

import openai
from openai import OpenAI

from twice import BASE, KEY, MODEL, check, said, same, scenario

client = OpenAI(base_url=f"{BASE}/v1", api_key=KEY)
chat = client.chat.completions


# Refrain may try once more; an SDK that did, too, would double that.
RETRIED = (1, 2)


def ask(prompt, model, **more):
    return chat.create(model=model, messages=[{"role": "user", "content": prompt}], **more)


def raised(kind, act):
    """Returns the error that an act raises, which must be of this kind."""
    try:
        act()
    except openai.APIError as error:
        same(type(error).__name__, kind.__name__, f"the class of {error}")
        return error
    raise AssertionError("it did not fail")


def shown(error):
    """Returns an error as it is compared."""
    return said(error.response.headers, {"status": error.status_code, "code": error.code, "type": error.type})


def upstream_failed(prompt, model, status):
    """Asks what the upstream cannot answer; the SDK must not try again on its own."""
    error = raised(openai.InternalServerError, lambda: ask(prompt, model))
    same(error.status_code, status, "the status")
    same(error.response.headers.get("x-should-retry"), "false", "x-should-retry")
    check("Incorrect API key" not in str(error), "the vendor's words about our key were passed on")
    return shown(error)


@scenario("fault: unknown model", (None, None))
def _():
    error = raised(openai.NotFoundError, lambda: ask("Hello.", "nobody/knows-this"))
    same(error.code, "model_not_found", "the code")
    return shown(error)


@scenario("fault: no messages", (None, None))
def _():
    error = raised(openai.BadRequestError, lambda: chat.create(model="drill", messages=[]))
    same(error.type, "invalid_request_error", "the type")
    check("messages" in error.message, f"the message does not name the field: {error.message}")
    return shown(error)


@scenario("fault: wrong key", (None, None))
def _():
    stranger = OpenAI(base_url=f"{BASE}/v1", api_key="wrong")
    error = raised(
        openai.AuthenticationError,
        lambda: stranger.chat.completions.create(model="drill", messages=[{"role": "user", "content": "Hello."}]),
    )
    return shown(error)


@scenario("fault: refused by the upstream", (None, None), calls=(1,))
def _():
    error = raised(openai.BadRequestError, lambda: ask("This will be refused as wrong.", f"refusing/{MODEL}"))
    check("not to our taste" in error.message, f"the message is {error.message!r}")
    return shown(error)


@scenario("fault: too long", (None, None), calls=(1,))
def _():
    error = raised(openai.BadRequestError, lambda: ask("This will be too long.", f"narrow/{MODEL}"))
    same(error.code, "context_length_exceeded", "the code")
    return shown(error)


@scenario("fault: limit", (None,), calls=(1,))
def _():
    return upstream_failed("This will meet a limit.", f"limited/{MODEL}", 503)


@scenario("fault: overload", (None,), calls=RETRIED)
def _():
    return upstream_failed("This will meet overload.", f"overloaded/{MODEL}", 503)


@scenario("fault: bad upstream key", (None,), calls=(1,))
def _():
    return upstream_failed("This will meet a bad key.", f"keyless/{MODEL}", 503)


@scenario("fault: route to no model", (None,), calls=(1,))
def _():
    return upstream_failed("This will meet no model.", "drill-missing", 503)


@scenario("fault: free name of no model", (None,), calls=(1,))
def _():
    error = raised(openai.NotFoundError, lambda: ask("This will meet no model.", f"free/{MODEL}"))
    same(error.code, "model_not_found", "the code")
    return shown(error)


@scenario("fault: crash", (None,), calls=RETRIED)
def _():
    return upstream_failed("This will meet a crash.", f"crashing/{MODEL}", 502)


@scenario("fault: nonsense", (None,), calls=(1,))
def _():
    return upstream_failed("This will meet nonsense.", f"babbling/{MODEL}", 502)


@scenario("fault: hang-up", (None,), calls=RETRIED)
def _():
    return upstream_failed("This will meet a hang-up.", f"rude/{MODEL}", 502)


@scenario("fault: cut midway", (None,), calls=RETRIED)
def _():
    return upstream_failed("This will be cut midway.", f"cutting/{MODEL}", 502)


@scenario("fault: stream cut midway", ("upstream", "upstream"), calls=(1,))
def _():
    response = chat.with_raw_response.create(
        model=f"breaking/{MODEL}", messages=[{"role": "user", "content": "This will be cut midway."}], stream=True
    )
    text = []

    def read():
        for chunk in response.parse():
            text.append(chunk.choices[0].delta.content or "")

    error = raised(openai.APIError, read)
    check("".join(text).startswith("This will not"), f"before it broke: {text}")
    return said(response.headers, {"type": error.type, "code": error.code})
