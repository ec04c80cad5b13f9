"""A `refrain` process of its own: its configuration for one kind of upstream, its start, its end."""

import os
import re
import shutil
import subprocess
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path

# What callers show, and what the upstream knows us by: it refuses any other key.
KEY = "drill-key"

# One upstream for each fault: what one of them meets must not park or break the next.
FAULTS = (
    "refusing narrow limited overloaded keyless missing free crashing babbling rude cutting breaking snapping".split()
)



@dataclass(frozen=True)
class Kind:
    """A kind of upstream, and how it is reached."""

    provider: str
    # What stands behind the upstream's own address: the version's path, or for Azure nothing, as in
    # AZURE_OPENAI_ENDPOINT, or the version of the older form.
    path: str
    # The upstream takes any name; these are such that it may reason.
    model: str
    # Whose manners the scenarios expect.
    vendor: str
    # Whether the upstream is asked to stream, as it is unless a model is said not to.
    streams: bool = True


KINDS = {
    "openai": Kind("openai", "/v1", "gpt-5-mini", "openai"),
    "openai-whole": Kind("openai", "/v1", "gpt-5-mini", "openai", streams=False),
    # Under this path the upstream is OpenRouter, which has fields, errors and names of its own.
    "compatible": Kind("openai_compatible", "/api/v1", "openai/gpt-5-mini", "openai"),
    "anthropic": Kind("anthropic", "/v1", "claude-haiku-4-5", "anthropic"),
    "anthropic-whole": Kind("anthropic", "/v1", "claude-haiku-4-5", "anthropic", streams=False),
    "gemini": Kind("gemini", "/v1beta", "gemini-2.5-flash", "gemini"),
    "gemini-whole": Kind("gemini", "/v1beta", "gemini-2.5-flash", "gemini", streams=False),
    "azure": Kind("azure_openai", "", "drill-deployment", "azure"),
    "azure-dated": Kind("azure_openai", "/?api-version=2024-10-21", "drill-deployment", "azure"),
}


def configuration(kind: Kind, upstream_url: str, passthrough: bool) -> str:
    """Returns the text of `refrain.toml`."""
    model = kind.model
    parts = [
        """
        data_dir = "data"
        [server]
        listen = "127.0.0.1:0"
        admin_listen = "127.0.0.1:0"
        [cache]
        mode = "exact"
        """
    ]
    for provider in ["up", *FAULTS]:
        parts.append(f"""
        [[providers]]
        name = "{provider}"
        kind = "{kind.provider}"
        base_url = "{upstream_url}{kind.path}"
        api_key_env = "DRILL_UPSTREAM_KEY"
        """)
        # Of streams alone a fault can be seen midway.
        if provider == "up" and not kind.streams:
            parts.append(f"""
        models = [{{ name = "{model}", stream = false }}]
        """)
    parts.append(f"""
        [[routes]]
        model = "drill"
        chain = ["up/{model}"]
        [[routes]]
        model = "drill-missing"
        chain = ["missing/{model}"]
        [[routes]]
        model = "drill-tools"
        chain = ["up/{model}"]
        [routes.cache]
        store_tool_calls = true
        """)
    if passthrough:
        parts.append("""
        [passthrough]
        provider = "up"
        """)
    return "".join(parts)


class Server:
    """A running server; the end of a `with` stops it."""

    def __init__(self, binary: Path, kind: Kind, upstream_url: str, upstream_key: str, passthrough: bool = False):
        self._folder = Path(tempfile.mkdtemp(prefix="refrain-drill-"))
        (self._folder / "refrain.toml").write_text(configuration(kind, upstream_url, passthrough))
        environment = {
            "PATH": os.environ.get("PATH", ""),
            "REFRAIN_API_KEY": KEY,
            "DRILL_UPSTREAM_KEY": upstream_key,
        }
        self._process = subprocess.Popen(
            [binary, "serve"], cwd=self._folder, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE, text=True,
        )
        self.said: list[str] = []
        self.base = self._wait_for_address()
        threading.Thread(target=self._listen, daemon=True).start()

    def _wait_for_address(self) -> str:
        """Reads what the server says until it says where it listens."""
        for line in self._process.stderr:
            self.said.append(line.rstrip())
            if found := re.search(r"listening public=(\S+) admin=\S+", line):
                return f"http://{found[1]}"
        self._remove()
        raise RuntimeError("the server did not start: " + " | ".join(self.said[-3:]))

    def _listen(self) -> None:
        for line in self._process.stderr:
            self.said.append(line.rstrip())

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *_) -> None:
        self._process.terminate()
        try:
            self._process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self._process.kill()
        self._remove()

    def _remove(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)
