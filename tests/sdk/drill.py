"""Official SDKs against Refrain, Refrain against an upstream that others wrote. See README.md.

    python3 tests/sdk/drill.py [--kind KIND] [--client CLIENT] [--only PATTERN] [--binary PATH] [--loud]
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import install
from server import KEY, KINDS, Kind, Server

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
# For all scenarios of one client against one kind of upstream; they take some seconds.
PATIENCE_SECONDS = 300

# A client, the script that plays its scenarios, and the kinds of upstream it is played against.
CLIENTS = {
    "openai-py": ("py/openai_drill.py", list(KINDS)),
    "openai-js": ("js/openai_drill.mjs", list(KINDS)),
    "anthropic-py": ("py/anthropic_drill.py", list(KINDS)),
    "anthropic-js": ("js/anthropic_drill.mjs", list(KINDS)),
    # The upstream has those endpoints for OpenAI alone.
    "passthrough-py": ("py/passthrough_drill.py", ["openai"]),
    "passthrough-js": ("js/passthrough_drill.mjs", ["openai"]),
}


def arguments() -> argparse.Namespace:
    build = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kind", choices=KINDS, action="append", help="a kind of upstream; repeatable; all without")
    parser.add_argument("--client", choices=CLIENTS, action="append", help="a client; repeatable; all without")
    parser.add_argument("--only", default="*", metavar="PATTERN", help="scenarios by name, such as 'chat stream*'")
    parser.add_argument("--binary", type=Path, default=build / "debug" / "refrain", help="the server to drill")
    parser.add_argument("--folder", type=Path, default=build / "sdk", help="where packages are installed")
    parser.add_argument("--loud", action="store_true", help="also print what the server logged")
    return parser.parse_args()


class Upstream:
    """The running aimock; ends when its stdin closes."""

    def __init__(self, place: Path):
        self._process = subprocess.Popen(
            ["node", "upstream.mjs"], cwd=place, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit("drill: the upstream did not start")
        address = json.loads(line)
        self.url, self.key = address["url"], address["key"]

    def stop(self) -> None:
        self._process.stdin.close()
        self._process.wait(timeout=20)


def command(script: str, interpreter: Path, place: Path) -> list[str]:
    return ["node", str(place / script)] if script.endswith(".mjs") else [str(interpreter), str(HERE / script)]


def play(argv: list[str], server: Server, upstream: Upstream, kind: Kind, only: str):
    """Runs one client and yields its verdicts; one more when it broke off."""
    # What a developer's shell may say about proxies, keys and addresses must not reach the SDKs.
    environment = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ} | {
        "DRILL_BASE": server.base,
        "DRILL_KEY": KEY,
        "DRILL_VENDOR": kind.vendor,
        "DRILL_MODEL": kind.model,
        "DRILL_UPSTREAM": upstream.url,
        "DRILL_UPSTREAM_KEY": upstream.key,
        "DRILL_ONLY": only,
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    with tempfile.TemporaryFile("w+") as complaints:
        client = subprocess.Popen(argv, env=environment, stdout=subprocess.PIPE, stderr=complaints, text=True)
        # An SDK waits ten minutes for an answer that does not come.
        watchdog = threading.Timer(PATIENCE_SECONDS, client.kill)
        watchdog.start()
        for line in client.stdout:
            yield json.loads(line)
        status = client.wait()
        watchdog.cancel()
        if status != 0:
            complaints.seek(0)
            last = (complaints.read().strip() or f"it ended with {status} within {PATIENCE_SECONDS} s").splitlines()[-1]
            yield {"name": "to the end", "ok": False, "why": last}


def main() -> int:
    wanted = arguments()
    if not wanted.binary.exists():
        print(f"drill: {wanted.binary} is not there; build it with `cargo build --bin refrain`", file=sys.stderr)
        return 2
    interpreter, place = install.python(wanted.folder), install.node(wanted.folder)
    upstream = Upstream(place)
    well, failed = 0, []
    try:
        for name in wanted.client or CLIENTS:
            script, kinds = CLIENTS[name]
            for kind in [kind for kind in kinds if kind in (wanted.kind or KINDS)]:
                for verdict in drill(name, script, KINDS[kind], wanted, interpreter, place, upstream):
                    line = f"{name:15} {kind:15} {verdict['name']}"
                    if verdict["ok"]:
                        well += 1
                        print(f"ok      {line}", flush=True)
                    else:
                        failed.append(line)
                        print(f"FAILED  {line}: {' '.join(verdict['why'].split())}", flush=True)
    finally:
        upstream.stop()
    print(f"\n{well} ok, {len(failed)} FAILED")
    if not well and not failed:
        print("drill: nothing was played", file=sys.stderr)
        return 2
    return 1 if failed else 0


def drill(name, script, kind, wanted, interpreter, place, upstream):
    """Plays one client against one kind of upstream, with a server of their own."""
    try:
        server = Server(wanted.binary, kind, upstream.url, upstream.key, passthrough=name.startswith("passthrough"))
    except RuntimeError as error:
        yield {"name": "start", "ok": False, "why": str(error)}
        return
    with server:
        yield from play(command(script, interpreter, place), server, upstream, kind, wanted.only)
    if wanted.loud:
        print("\n".join(f"        {line}" for line in server.said), file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
