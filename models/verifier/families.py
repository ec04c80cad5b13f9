"""Families of prompts: intents that are close neighbours, each in several wordings.

Two wordings of one intent may share an answer, two of different intents of a family may not, however alike they look. So a
few lines of a family make hundreds of labelled pairs, of the two kinds that real question sets are short of: rewordings that
share few words, and traps that share nearly all.

    python models/verifier/families.py FILE…     # checks files, and counts what they hold
"""

import random
import re
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

SLOT = re.compile(r"\{(\w+)\}")


@dataclass
class Family:
    """One topic: `slots` has for each name its values, each a list of synonyms; `intents` has the wordings of each."""

    name: str
    slots: dict[str, list[list[str]]] = field(default_factory=dict)
    intents: list[list[str]] = field(default_factory=list)


def read(path: Path) -> list[Family]:
    """Reads families; a file that breaks the format is refused with its line."""
    families: list[Family] = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        at = f"{path}:{number}"
        if line.startswith("@"):
            families.append(Family(line[1:].strip()))
            continue
        if not families:
            raise SystemExit(f"{at}: a family begins with `@ name`")
        family = families[-1]
        if line.startswith("="):
            family.intents.append([])
            line = line[1:].strip()
        elif not family.intents:
            name, _, values = line.partition(":")
            if not re.fullmatch(r"\w+", name.strip()) or not values:
                raise SystemExit(f"{at}: before the first `=` stand slots, `name: value / synonym; value`")
            family.slots[name.strip()] = [
                [one.strip() for one in re.split(r"\s/\s", value)] for value in values.split(";")
            ]
            continue
        if {name for name in SLOT.findall(line) if name in family.slots} != set(family.slots):
            raise SystemExit(f"{at}: names not every slot of its family ({', '.join(family.slots)}): {line}")
        family.intents[-1].append(line.replace("\\n", "\n"))
    for family in families:
        if any(len(wordings) < 2 for wordings in family.intents) or len(family.intents) < 2:
            raise SystemExit(f"{path}: family `{family.name}` needs two intents of two wordings each")
    return families


def read_all() -> list[Family]:
    """Reads every family of the project."""
    return [family for path in sorted((Path(__file__).parent / "families").glob("*.txt")) for family in read(path)]


def said(wording: str, values: dict[str, list[str]], chance: random.Random) -> str:
    """The wording with one of the synonyms of each value."""
    return SLOT.sub(lambda at: chance.choice(values[at[1]]) if at[1] in values else at[0], wording)


def pair(family: Family, chance: random.Random) -> tuple[str, str, int, str]:
    """Two prompts of a family, their label and kind; half of them share an answer."""
    values = {name: chance.choice(all_of) for name, all_of in family.slots.items()}
    intent = chance.randrange(len(family.intents))
    if chance.random() < 0.5:
        one, other = chance.sample(family.intents[intent], 2)
        return said(one, values, chance), said(other, values, chance), 1, "family"
    # Either another intent, or the same one with another value in one of its slots.
    others = dict(values)
    wide = [name for name, all_of in family.slots.items() if len(all_of) > 1]
    if wide and chance.random() < 0.35:
        name = chance.choice(wide)
        others[name] = chance.choice([value for value in family.slots[name] if value != values[name]])
        there = intent
    else:
        there = chance.choice([at for at in range(len(family.intents)) if at != intent])
    one, other = chance.choice(family.intents[intent]), chance.choice(family.intents[there])
    if there != intent and chance.random() < 0.5:
        # The likest wording makes the hardest trap.
        words = set(one.lower().split())
        other = max(family.intents[there], key=lambda text: len(words & set(text.lower().split())) / len(words | set(text.lower().split())))
    return said(one, values, chance), said(other, others, chance), 0, "family"


@dataclass
class Families:
    """Families to train on, to choose by, and to report on, by their names alone."""

    train: list[Family]
    choose: list[Family]
    report: list[Family]


def split(found: Iterable[Family], share: Callable[[str], float], choose: float, report: float) -> Families:
    parts = Families([], [], [])
    for family in found:
        at = share(f"family {family.name}")
        part = parts.report if at < report else parts.choose if at < report + choose else parts.train
        part.append(family)
    return parts


def sampled(found: list[Family], times: int, seed: int) -> list[tuple[str, str, int, str]]:
    """So many pairs of each family, the same ones every time."""
    chance = random.Random(seed)
    return [pair(family, chance) for family in found for _ in range(times)]


def main() -> None:
    for name in sys.argv[1:]:
        families = read(Path(name))
        intents = [wordings for family in families for wordings in family.intents]
        lines = [line for wordings in intents for line in wordings]
        twice = len(lines) - len(set(lines))
        print(f"{name}: {len(families)} families, {len(intents)} intents, {len(lines)} wordings, {twice} of them twice")


if __name__ == "__main__":
    main()
