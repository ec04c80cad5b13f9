"""Asks everything twice, and compares: the second answer must come from the cache and be the same for the SDK's user."""

import fnmatch
import itertools
import json
import os
import sys
import urllib.request
from dataclasses import dataclass
from typing import Any, Callable

BASE = os.environ["DRILL_BASE"]
KEY = os.environ["DRILL_KEY"]
# Whose manners the upstream has, and the model that it is asked for.
VENDOR = os.environ["DRILL_VENDOR"]
MODEL = os.environ["DRILL_MODEL"]
UPSTREAM = os.environ["DRILL_UPSTREAM"]
UPSTREAM_KEY = os.environ["DRILL_UPSTREAM_KEY"]
ONLY = os.environ.get("DRILL_ONLY", "*")

CACHED = ("upstream", "exact")
NEVER_CACHED = ("upstream", "upstream")

# What may differ between an answer and its repetition: names of this one exchange, and when it was.
FLEETING = {"id", "_request_id", "request_id", "created", "created_at", "completed_at", "item_id", "call_id"}


@dataclass
class Said:
    """What the SDK gave for one call."""

    source: str | None
    body: Any


@dataclass
class Scenario:
    name: str
    ask: Callable[[], Said]
    sources: tuple[str | None, ...]
    # How often the upstream may be called for each time of asking; `None`: once for what it answers, else never.
    calls: tuple[int, ...] | None


SCENARIOS: list[Scenario] = []


def scenario(name: str, sources: tuple[str | None, ...] = CACHED, calls: tuple[int, ...] | None = None):
    """Registers a scenario: asked once for each source it names, in this order."""

    def register(ask):
        SCENARIOS.append(Scenario(name, ask, sources, calls))
        return ask

    return register


def said(headers, body: Any) -> Said:
    """Returns what was said, from the headers of its response and what the SDK made of it."""
    return Said(headers.get("x-cache-source"), lasting(body))


def lasting(body: Any) -> Any:
    """Returns a model of an SDK as plain data, without what is fleeting."""
    if hasattr(body, "model_dump"):
        body = body.model_dump(mode="json", warnings=False)
    if isinstance(body, dict):
        return {name: lasting(value) for name, value in body.items() if name not in FLEETING}
    if isinstance(body, (list, tuple)):
        return [lasting(value) for value in body]
    return body


def outline(types) -> list[str]:
    """Returns the types of events in their order, a run of one type as one; pings may come anywhere."""
    return [name for name, _ in itertools.groupby(name for name in types if name != "ping")]


def check(holds: bool, otherwise: str) -> None:
    if not holds:
        raise AssertionError(otherwise)


def same(found: Any, wanted: Any, what: str) -> None:
    check(found == wanted, f"{what} is {found!r}, not {wanted!r}")


def run() -> None:
    """Plays every scenario that was registered and writes one line of JSON for each."""
    for it in SCENARIOS:
        if not fnmatch.fnmatch(it.name, ONLY):
            continue
        try:
            play(it)
            verdict = {"name": it.name, "ok": True}
        except Exception as error:
            verdict = {"name": it.name, "ok": False, "why": f"{type(error).__name__}: {error}"}
        print(json.dumps(verdict), flush=True)


def play(it: Scenario) -> None:
    first = None
    for time, source in enumerate(it.sources, start=1):
        before = upstream_calls()
        answer = it.ask()
        called = upstream_calls() - before
        wanted = it.calls or (int(source == "upstream"),)
        same(answer.source, source, f"x-cache-source of answer {time}")
        check(called in wanted, f"the upstream was called {called} times for answer {time}, not {wanted}")
        if first is None:
            first = answer
        check(answer.body == first.body, f"answer {time} differs: {difference(first.body, answer.body)}")


def difference(first: Any, second: Any, path: str = "") -> str:
    """Returns where two answers differ first, and how."""
    if isinstance(first, dict) and isinstance(second, dict):
        for name in [*first, *second]:
            if first.get(name) != second.get(name):
                return difference(first.get(name), second.get(name), f"{path}.{name}")
    if isinstance(first, list) and isinstance(second, list) and len(first) == len(second):
        for at, (one, other) in enumerate(zip(first, second)):
            if one != other:
                return difference(one, other, f"{path}[{at}]")
    return f"{path or 'all'} was {first!r}, then {second!r}"


def upstream_calls() -> int:
    """Returns how many requests the upstream has had."""
    request = urllib.request.Request(
        f"{UPSTREAM}/__aimock/journal?limit=0", headers={"authorization": f"Bearer {UPSTREAM_KEY}"}
    )
    with urllib.request.urlopen(request) as response:
        return int(response.headers["x-total-count"])


def main(*modules) -> None:
    """Runs the scenarios that these modules have registered."""
    check(bool(modules) and bool(SCENARIOS), "nothing to play")
    run()
    sys.stdout.flush()
