"""Labelled prompts: how they are read, and which of them may be trained on.

A split never cuts through a question: what is split are the connected parts of the graph whose edges are the labelled
pairs, so no question of the held-out parts was seen in training, in any pair. Kinds of generated tests are held out whole.
The split depends on the texts and the seed alone, not on the order of the rows.
"""

import csv
import gzip
import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path

import families

SEED = "refrain-1"
# Pairs that are drawn of a family that is chosen by or reported on.
FAMILY_PAIRS = 24


@dataclass(frozen=True)
class Pair:
    """Two prompts, and whether one answer may serve both."""

    a: str
    b: str
    label: int
    kind: str


def rows(path: Path) -> list[dict[str, str]]:
    """Reads tab-separated values with a header, packed or not; `\\n` in a text stands for a line break."""
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt", encoding="utf-8", newline="") as file:
        table = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        return [{key: value.replace("\\n", "\n") for key, value in row.items()} for row in table]


def pairs(path: Path, kind: str | None = None) -> list[Pair]:
    """Reads pairs; the column `test` or `kind` names what a pair is about, where there is one."""
    read = []
    for row in rows(path):
        about = kind or row.get("test") or row.get("kind") or path.stem
        read.append(Pair(row["a"], row["b"], int(row["label"]), about))
    return read


def plain(text: str) -> str:
    """The text as it is compared to tell the same question: letters and digits, in lower case."""
    return " ".join(re.findall(r"\w+", text.lower()))


def share(text: str) -> float:
    """A number in [0, 1) that depends on the text and the seed alone."""
    digest = hashlib.blake2b(text.encode(), key=SEED.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


def parts(found: list[Pair]) -> list[str]:
    """Returns for each pair the name of the connected part of the graph that it lies in."""
    leader: dict[str, str] = {}

    def find(text: str) -> str:
        while (up := leader.setdefault(text, text)) != text:
            leader[text] = leader[up]
            text = up
        return text

    for pair in found:
        a, b = find(plain(pair.a)), find(plain(pair.b))
        # The smaller text leads, so that the order of the rows means nothing.
        leader[max(a, b)] = min(a, b)
    return [find(plain(pair.a)) for pair in found]


@dataclass
class Split:
    """Pairs to train on, to choose by, and to report on once."""

    train: list[Pair]
    choose: list[Pair]
    report: list[Pair]


def split(found: list[Pair], choose: float, report: float, names: list[str] | None = None) -> Split:
    """Splits by name, which is the part of the graph where none is given."""
    halves = Split([], [], [])
    for pair, name in zip(found, names or parts(found), strict=True):
        at = share(name)
        if at < report:
            halves.report.append(pair)
        elif at < report + choose:
            halves.choose.append(pair)
        else:
            halves.train.append(pair)
    return halves


# Kinds of CheckList's tests that ask the same ability stand in one family, which is held out or trained on as a whole.
FAMILIES = [
    ("modifiers", ["irrelevant modifiers", "modifier:", "different adjectives"]),
    ("same adjectives", ["same adjectives"]),
    ("preamble", ["preamble"]),
    ("names", ["change first name", "change first and last name"]),
    ("places", ["change location"]),
    ("numbers", ["change numbers"]),
    ("animals", ["different animals"]),
    ("before and after", ["before", "after"]),
    ("becoming", ["becoming", "use to be"]),
    ("more and less", ["how can i become more"]),
    ("not antonym", ["who is not"]),
    ("should not", ["should not", "in country"]),
    ("roles", ["srl", "asymmetric", "symmetric", "comparison"]),
    ("coreference", ["coref"]),
    ("or and and", ["a or b", "a and / or b"]),
    ("sources", ["who do x think"]),
    ("order of words", ["nationality"]),
]


def family(kind: str) -> str:
    """Returns the family of a kind of test; kinds without one are their own."""
    low = kind.lower()
    return next((name for name, words in FAMILIES if any(word in low for word in words)), low)


@dataclass
class Data:
    """All that is trained on and measured with."""

    qqp: Split
    paws: Split
    checklist: Split
    # Prompts of the project's own: the files beside this one.
    families: families.Families
    # Utterances with their intents, those for training and those for streams that are reported on.
    intents: list[tuple[str, str]]


    def family_pairs(self, part: str) -> list[Pair]:
        """Pairs of the families that are chosen by or reported on, half of them of one answer."""
        drawn = families.sampled(getattr(self.families, part), FAMILY_PAIRS, seed=1)
        return list(dict.fromkeys(Pair(*row) for row in drawn))


def load(folder: Path) -> Data:
    """Reads the data folder. The LLM-style pairs in it are not read here: nothing is trained on them or chosen by them."""
    qqp = pairs(folder / "pairs_qqp.tsv.gz", "qqp")
    paws = pairs(folder / "pairs_paws.tsv.gz", "paws")
    checklist = pairs(folder / "pairs_checklist.tsv")
    intents = []
    for name in ["banking77", "clinc150"]:
        for row in rows(folder / f"intents_{name}.tsv"):
            if row["split"] in ("train", "val"):
                intents.append((row["text"], f"{name}/{row['intent']}"))
    known = Data(
        qqp=split(qqp, choose=0.05, report=0.10),
        paws=split(paws, choose=0.10, report=0.25),
        checklist=split(checklist, 0.10, 0.40, [family(pair.kind) for pair in checklist]),
        families=families.split(families.read_all(), share, choose=0.10, report=0.10),
        intents=intents,
    )
    # The sets share questions: what any of them keeps back, none of them trains on.
    sets = [known.qqp, known.paws, known.checklist]
    kept = {plain(text) for one in sets for pair in one.choose + one.report for text in (pair.a, pair.b)}
    for one in sets:
        one.train = [pair for pair in one.train if plain(pair.a) not in kept and plain(pair.b) not in kept]
    known.intents = [(text, intent) for text, intent in intents if plain(text) not in kept]
    return known


def main() -> None:
    """Writes the parts that are reported on and chosen by, for `refrain calibrate`."""
    import argparse

    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("data", type=Path, help="the folder with the labelled pairs")
    parser.add_argument("out", type=Path, help="where to write the parts")
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    data = load(asked.data)
    summary = {}
    own = Split([], data.family_pairs("choose"), data.family_pairs("report"))
    for name in ["qqp", "paws", "checklist", "families"]:
        halves: Split = own if name == "families" else getattr(data, name)
        summary[name] = {}
        for part in ["train", "choose", "report"]:
            chosen: list[Pair] = getattr(halves, part)
            summary[name][part] = [len(chosen), sum(pair.label for pair in chosen)]
            with open(asked.out / f"{name}_{part}.tsv", "w", encoding="utf-8") as file:
                file.write("a\tb\tlabel\tkind\n")
                for pair in chosen:
                    texts = "\t".join(text.replace("\n", "\\n") for text in (pair.a, pair.b))
                    file.write(f"{texts}\t{pair.label}\t{pair.kind}\n")
    print(json.dumps(summary))


if __name__ == "__main__":
    main()
