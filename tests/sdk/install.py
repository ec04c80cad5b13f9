"""Brings the official SDKs and the upstream, in their pinned versions, into the build folder; once."""

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent


def python(folder: Path) -> Path:
    """Returns the Python of a virtual environment that has what `requirements.txt` names."""
    wanted = HERE / "requirements.txt"
    venv = folder / "venv"
    interpreter = venv / "bin" / "python"
    if not is_current(venv, wanted):
        subprocess.run([sys.executable, "-m", "venv", "--clear", venv], check=True)
        install = [interpreter, "-m", "pip", "install", "--quiet", "--requirement", wanted]
        subprocess.run(install, check=True)
        mark_current(venv, wanted)
    return interpreter


def node(folder: Path) -> Path:
    """Returns the folder that has what `package.json` names, and a copy of the scripts that import it.

    Node looks for packages beside the script that imports them, hence the copy.
    """
    lock = HERE / "package-lock.json"
    place = folder / "node"
    place.mkdir(parents=True, exist_ok=True)
    if not is_current(place, lock):
        for name in ("package.json", "package-lock.json"):
            shutil.copy(HERE / name, place / name)
        subprocess.run(["npm", "ci", "--silent", "--no-audit", "--no-fund"], cwd=place, check=True)
        mark_current(place, lock)
    for script in [*HERE.glob("*.mjs"), *HERE.glob("js/*.mjs")]:
        copy = place / script.relative_to(HERE)
        copy.parent.mkdir(exist_ok=True)
        shutil.copy(script, copy)
    return place


def digest(wanted: Path) -> str:
    return hashlib.sha256(wanted.read_bytes()).hexdigest()


def is_current(place: Path, wanted: Path) -> bool:
    """Whether this list was installed here before, to its end."""
    mark = place / ".installed"
    return mark.exists() and mark.read_text() == digest(wanted)


def mark_current(place: Path, wanted: Path) -> None:
    (place / ".installed").write_text(digest(wanted))
