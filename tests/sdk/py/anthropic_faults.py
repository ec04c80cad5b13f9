"""What the official `anthropic` package raises when something is wrong, with the caller or with the upstream.

Each fault has an upstream of its own, so that no breaker or cooldown of one meets the next.
"""

import anthropic
from anthropic import Anthropic

from twice import BASE, KEY, MODEL, check, said, same, scenario

client = Anthropic(base_url=BASE, api_key=KEY)

# Refrain may try once more; an SDK that did, too, would double that.
RETRIED = (1, 2)


def user(text):
    return [{"role": "user", "content": text}]


def ask(prompt, model, **more):
    return client.messages.create(model=model, messages=user(prompt), max_tokens=100, **more)


def raised(kind, types, act):
    """Returns the error that an act raises, which must be of this kind and have Anthropic's shape and one of these types."""
    try:
        act()
    except anthropic.APIStatusError as error:
        check(isinstance(error, kind), f"{type(error).__name__} was raised, not {kind.__name__}: {error}")
        same((error.body or {}).get("type"), "error", "the type of the body")
        check(error.type in types, f"the type of the error is {error.type!r}, not {types}")
        return error
    raise AssertionError("it did not fail")


def shown(error):
    """Returns an error as it is compared."""
    return said(error.response.headers, {"status": error.status_code, "type": error.type})


def upstream_failed(prompt, model, status):
    """Asks what the upstream cannot answer; the SDK must not try again on its own."""
    types = ("api_error", "overloaded_error")
    error = raised(anthropic.InternalServerError, types, lambda: ask(prompt, model))
    same(error.status_code, status, "the status")
    same(error.response.headers.get("x-should-retry"), "false", "x-should-retry")
    check("Incorrect API key" not in str(error), "the vendor's words about our key were passed on")
    return shown(error)


@scenario("fault: unknown model", (None, None))
def _():
    return shown(raised(anthropic.NotFoundError, ("not_found_error",), lambda: ask("Hello.", "nobody/knows-this")))


@scenario("fault: no messages", (None, None))
def _():
    act = lambda: client.messages.create(model="drill", messages=[], max_tokens=100)
    error = raised(anthropic.BadRequestError, ("invalid_request_error",), act)
    check("messages" in error.message, f"the message does not name the field: {error.message}")
    return shown(error)


@scenario("fault: no max_tokens", (None, None))
def _():
    # The package insists on the argument; a null in its place gets through.
    act = lambda: ask("Hello.", "drill", extra_body={"max_tokens": None})
    error = raised(anthropic.BadRequestError, ("invalid_request_error",), act)
    check("max_tokens" in error.message, f"the message does not name the field: {error.message}")
    return shown(error)


@scenario("fault: wrong key", (None, None))
def _():
    stranger = Anthropic(base_url=BASE, api_key="wrong")
    act = lambda: stranger.messages.create(model="drill", messages=user("Hello."), max_tokens=100)
    return shown(raised(anthropic.AuthenticationError, ("authentication_error",), act))


@scenario("fault: key in the older header", ("upstream",))
def _():
    # What packages before the version of 2026 send: `x-api-key`, and the version of 2023.
    older = Anthropic(
        base_url=BASE, api_key=None, auth_token=None,
        default_headers={"x-api-key": KEY, "anthropic-version": "2023-06-01"},
    )
    response = older.messages.with_raw_response.create(
        model="drill", messages=user("Some plain words for an older package."), max_tokens=100
    )
    return said(response.headers, response.parse())


@scenario("fault: refused by the upstream", (None, None), calls=(1,))
def _():
    act = lambda: ask("This will be refused as wrong.", f"refusing/{MODEL}")
    error = raised(anthropic.BadRequestError, ("invalid_request_error",), act)
    check("not to our taste" in error.message, f"the message is {error.message!r}")
    return shown(error)


@scenario("fault: too long", (None, None), calls=(1,))
def _():
    act = lambda: ask("This will be too long.", f"narrow/{MODEL}")
    return shown(raised(anthropic.BadRequestError, ("invalid_request_error",), act))


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
    act = lambda: ask("This will meet no model.", f"free/{MODEL}")
    return shown(raised(anthropic.NotFoundError, ("not_found_error",), act))


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
    response = client.messages.with_raw_response.create(
        model=f"breaking/{MODEL}", messages=user("This will be cut midway."), max_tokens=100, stream=True
    )
    types = []
    try:
        types.extend(event.type for event in response.parse())
    except anthropic.APIError as error:
        body = error.body if isinstance(error.body, dict) else {}
        same(body.get("type"), "error", "the type of the body")
        check("message_stop" not in types, "it says that it is complete")
        return said(response.headers, body["error"]["type"])
    raise AssertionError(f"it did not fail: {types}")
