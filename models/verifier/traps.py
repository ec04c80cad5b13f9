"""Makes traps and near-repeats out of real questions.

A trap looks like its question and asks for another answer; a near-repeat looks different and asks for the same. Both are
made of one side of a question, or of one side of a true paraphrase, so that there are reworded traps too. Every maker
returns `None` where the question has nothing that it could change.
"""

import random
import re

import words

Maker = "Callable[[str, random.Random], str | None]"

WORD = re.compile(r"[A-Za-z][A-Za-z'’-]*|\d+(?:[.,]\d+)*|[$€]")


def matching(word: str, like: str) -> str:
    """The word with the capitals of another one."""
    if like.isupper() and len(like) > 1:
        return word.upper()
    return word[0].upper() + word[1:] if like[:1].isupper() else word


def replace(text: str, start: int, end: int, new: str) -> str:
    return f"{text[:start]}{new}{text[end:]}"


def exchange(groups: dict[str, list[str]], cased: bool = False):
    """Returns a maker that exchanges one word for another one of its group."""

    def make(text: str, chance: random.Random) -> str | None:
        found = [(m, groups.get(m[0] if cased else m[0].lower())) for m in WORD.finditer(text)]
        found = [(m, others) for m, others in found if others]
        if not found:
            return None
        at, others = chance.choice(found)
        return replace(text, at.start(), at.end(), matching(chance.choice(others), at[0]))

    return make


def grouped(rows: list[list[str]], lower: bool = True) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for row in rows:
        for word in row:
            others = [other for other in row if other != word]
            groups.setdefault(word.lower() if lower else word, []).extend(others)
    return groups


def phrases(rows: list[str]):
    """Returns a maker that exchanges a phrase for the other one of its pair; `,` parts phrases of several words."""
    pairs = []
    for row in rows:
        sides = [side.strip() for side in row.split(",")] if "," in row else row.split()
        if len(sides) != 2:
            raise ValueError(f"no pair: {row!r}")
        pairs += [(sides[0], sides[1]), (sides[1], sides[0])]

    def make(text: str, chance: random.Random) -> str | None:
        found = []
        for here, there in pairs:
            edge = r"(?<![\w'’])" if here[0].isalnum() else ""
            end = r"(?!\w)" if here[-1].isalnum() else ""
            found += [(m, there) for m in re.finditer(f"{edge}{re.escape(here)}{end}", text, re.IGNORECASE)]
        if not found:
            return None
        at, there = chance.choice(found)
        return replace(text, at.start(), at.end(), matching(there, at[0]))

    return make


def number(text: str, chance: random.Random) -> str | None:
    found = list(re.finditer(r"\d+", text))
    low = [m for m in WORD.finditer(text) if m[0].lower() in words.NUMBER_WORDS[1:]]
    if not found and not low:
        return None
    if low and (not found or chance.random() < 0.3):
        at = chance.choice(low)
        if at[0].lower() == "one":
            return None
        others = [word for word in words.NUMBER_WORDS[1:] if word != at[0].lower()]
        return replace(text, at.start(), at.end(), matching(chance.choice(others), at[0]))
    at = chance.choice(found)
    old = at[0]
    if len(old) == 4 and old[:2] in ("19", "20"):
        new = str(int(old) + chance.choice([-10, -4, -2, -1, 1, 2, 3, 10]))
    elif chance.random() < 0.4:
        new = str(int(old) * chance.choice([2, 3, 10]) + chance.choice([0, 1]))
    else:
        place = chance.randrange(len(old))
        digit = chance.choice([d for d in "123456789" if d != old[place]])
        new = replace(old, place, place + 1, digit)
    return None if new == old else replace(text, at.start(), at.end(), new)


# Around these, names may change places.
SYMMETRIC_WORDS = set(
    "and or vs versus with between different difference differ similar same equal compare compared comparison related".split()
)

AUXILIARIES = "is are was were do does did can could should would will has have had may might must".split()


def negation(text: str, chance: random.Random) -> str | None:
    # "Whether or not" and a question that begins with "isn't" say the same without it.
    if re.search(r"\bor not\b|^\W*\w+n['’]t\b", text, re.IGNORECASE):
        return None
    said = [(r"\bnot\s+", ""), (r"\bcan['’]t\b", "can"), (r"\bwon['’]t\b", "will"), (r"n['’]t\b", "")]
    for pattern, new in [*said, (r"\bwithout\b", "with"), (r"\bnever\b", "always")]:
        if re.search(pattern, text):
            return re.sub(pattern, new, text, count=1)
    ways = []
    if at := re.search(rf"\b({'|'.join(AUXILIARIES)})\s+((?:the |a |an |my |your )?[\w']+)\s", text, re.IGNORECASE):
        aux, subject = at[1], at[2]
        is_subject = re.match(r"(i|you|we|they|he|she|it|people|one)$|(the|a|my|your) ", subject, re.IGNORECASE)
        if is_subject and at.start() > 0:
            ways.append(replace(text, at.start(), at.end(), f"{aux} {subject} not "))
        # "Isn't it?" and "Is it?" have one answer, "why isn't it" and "why is it" have not.
        if at.start() > 0 and aux.lower() not in ("may", "might", "must"):
            contracted = {"will": "won't", "can": "can't"}.get(aux.lower(), f"{aux}n't")
            ways.append(replace(text, at.start(1), at.end(1), contracted))
    if at := re.search(r"\b(how|what|when|where|why)\s+to\s", text, re.IGNORECASE):
        ways.append(replace(text, at.end(), at.end(), "avoid " if chance.random() < 0.3 else "not "))
        ways[-1] = ways[-1].replace(" to not ", " not to ")
    if at := re.search(r"\bwith\b", text):
        ways.append(replace(text, at.start(), at.end(), "without"))
    if at := re.search(r"\b(able|likely|safe|legal|healthy|possible|necessary|common|known|usual|fair|happy)\b", text):
        prefix = {"legal": "il", "possible": "im"}.get(at[1], "un")
        ways.append(replace(text, at.start(), at.end(), prefix + at[1]))
    if at := re.search(r"\b(stop|avoid|prevent|quit)\s+(\w+ing)\b", text, re.IGNORECASE):
        ways.append(replace(text, at.start(1), at.end(1), "start"))
    return chance.choice(ways) if ways else None


def swapped(text: str, chance: random.Random) -> str | None:
    """`from A to B` becomes `from B to A`; `A over B`, `A instead of B`, `A into B` likewise."""
    pattern = r"\bfrom\s+([\w+#.]+(?:\s[\w+#.]+)?)\s+(?:in)?to\s+([\w+#.]+)"
    if at := re.search(pattern, text, re.IGNORECASE):
        one, other = at[1], at[2]
        first, second = at.start(1), at.start(2)
        return text[:first] + other + text[at.end(1) : second] + one + text[at.end(2) :]
    if at := re.search(r"\b([\w+#]{3,})\s+(into|than|over|instead of|before|after|against)\s+([\w+#]{3,})\b", text):
        stop = {"the", "and", "not", "how", "what", "why", "when", "who", "you", "can", "are", "does", "his", "her", "more"}
        if not {at[1].lower(), at[3].lower()} & stop and at[1].lower() != at[3].lower():
            return replace(text, at.start(), at.end(), f"{at[3]} {at[2]} {at[1]}")
    # Between names, other words turn round as well.
    if at := re.search(r"(?<=\s)([A-Z][\w+#]+)\s+((?:[a-z]+\s+){1,3})([A-Z][\w+#]+)\b", text):
        if not set(text.lower().split()) & SYMMETRIC_WORDS:
            return replace(text, at.start(), at.end(), f"{at[3]} {at[2]}{at[1]}")
    return None


def person(text: str, chance: random.Random) -> str | None:
    if chance.random() < 0.3 and (at := re.search(r"\bmy\s", text, re.IGNORECASE)):
        return replace(text, at.end(), at.end(), f"{chance.choice(words.RELATIVES)}'s ")
    if chance.random() < 0.4 and (at := re.search(r"\b(can|should|do|am) i\b", text, re.IGNORECASE)):
        verb = {"do": "does", "am": "is"}.get(at[1].lower(), at[1])
        return replace(text, at.start(), at.end(), f"{verb} my {chance.choice(words.RELATIVES)}")
    return PERSON(text, chance)


def asked(text: str, chance: random.Random) -> str | None:
    low = text.lower()
    for row in words.ASKED:
        for opening in sorted(row, key=len, reverse=True):
            if low.startswith(opening + " "):
                new = chance.choice([other for other in row if other != opening])
                return matching(new, text) + text[len(opening) :]
    return None


def surplus(text: str, chance: random.Random) -> str | None:
    end = re.search(r"[?.!\s]*$", text)
    return f"{text[: end.start()]} {chance.choice(words.SURPLUS)}{end[0]}"


def only(text: str, chance: random.Random) -> str | None:
    """A word that narrows or widens what is asked."""
    if at := re.search(r"\b(the|all|every|any|some|most)\s", text, re.IGNORECASE):
        new = chance.choice([w for w in ["all", "some", "the first", "the last", "the only", "no"] if w != at[1].lower()])
        return replace(text, at.start(1), at.end(1), matching(new, at[1]))
    return None


PERSON = exchange(grouped([row.split() for row in words.PERSONS]))
ANTONYM = phrases(words.OPPOSITES)
UNIT = phrases(words.UNITS)
SCOPE = phrases(words.SCOPES)
SIBLING = exchange(grouped([row.split() for row in words.SIBLINGS]))
THING = exchange(grouped([row.split() for row in words.THINGS], lower=False), cased=True)
PLACE = exchange(grouped([words.PLACES], lower=False), cased=True)
NAME = exchange(grouped([words.NAMES], lower=False), cased=True)

TRAPS = {
    "number": number,
    "unit": UNIT,
    "negation": negation,
    "antonym": ANTONYM,
    "sibling": SIBLING,
    "thing": THING,
    "place": PLACE,
    "name": NAME,
    "swapped": swapped,
    "person": person,
    "scope": SCOPE,
    "only": only,
    "asked": asked,
    "surplus": surplus,
}


def from_wordnet(lines: list[str]):
    """Returns a maker of traps out of WordNet's opposites, as `models/guards/opposites.wordnet.en.txt` holds them."""
    return exchange(grouped([line.split(": ") for line in lines]))


# --- near-repeats ----------------------------------------------------------------------------------------------------


def typo(text: str, chance: random.Random) -> str | None:
    found = [m for m in WORD.finditer(text) if len(m[0]) >= 5 and m[0].isalpha() and m[0][0].islower()]
    if not found:
        return None
    at = chance.choice(found)
    word, place = at[0], chance.randrange(1, len(at[0]) - 1)
    new = chance.choice(
        [
            word[:place] + word[place + 1] + word[place] + word[place + 2 :],
            word[:place] + word[place + 1 :],
            word[:place] + word[place] * 2 + word[place + 1 :],
        ]
    )
    return replace(text, at.start(), at.end(), new)


def filler(text: str, chance: random.Random) -> str | None:
    if chance.random() < 0.7:
        opening = chance.choice(words.FILLERS_BEFORE)
        rest = text[0].lower() + text[1:] if text[:2] != "I " else text
        return f"{matching(opening, text)} {rest}"
    end = re.search(r"[?.!\s]*$", text)
    return f"{text[: end.start()]}{chance.choice([',', ''])} {chance.choice(words.FILLERS_AFTER)}{end[0]}"


def casing(text: str, chance: random.Random) -> str | None:
    return chance.choice([text.lower(), text.upper(), text.rstrip("?!. "), text + "??", text.lower().rstrip("?!. ")])


def contraction(text: str, chance: random.Random) -> str | None:
    return alternatives(words.CONTRACTIONS, text, chance)


def same(text: str, chance: random.Random) -> str | None:
    return alternatives(words.SAME, text, chance)


def alternatives(rows: list[str], text: str, chance: random.Random) -> str | None:
    found = []
    for row in rows:
        forms = row.split("|")
        for form in forms:
            for m in re.finditer(rf"(?<![\w']){re.escape(form)}(?![\w'])", text, re.IGNORECASE):
                found += [(m, other) for other in forms if other.lower() != form.lower()]
    if not found:
        return None
    at, new = chance.choice(found)
    return replace(text, at.start(), at.end(), matching(new, at[0]))


def other_order(text: str, chance: random.Random) -> str | None:
    """`A and B` becomes `B and A`; a clause at the end comes first."""
    # Elsewhere the words may belong to different things: "praise Trump and Clinton blame".
    whole = r"\b(between|both|compare|of|with|for)\s+([\w+#]{3,})\s+(and|or)\s+([\w+#]{3,})\s*(?=[?.,!]|$)"
    if at := re.search(whole, text, re.IGNORECASE):
        return replace(text, at.start(2), at.end(4), f"{at[4]} {at[3]} {at[2]}")
    if at := re.match(r"^(.{12,}?)\s+((?:if|when|while|because|after|before)\s.{6,}?)\s*\?$", text):
        first = at[1][0].lower() + at[1][1:]
        return f"{matching(at[2], text)}, {first}?"
    return None


def spelled(text: str, chance: random.Random) -> str | None:
    """`5` becomes `five`, and `five` 5."""
    for at in WORD.finditer(text):
        is_alone = text[at.end() : at.end() + 1] in ("", " ", "?", ".", ",")
        if at[0].isdigit() and is_alone and int(at[0]) < len(words.NUMBER_WORDS) and len(at[0]) < 3:
            return replace(text, at.start(), at.end(), words.NUMBER_WORDS[int(at[0])])
        if at[0].lower() in words.NUMBER_WORDS[2:]:
            return replace(text, at.start(), at.end(), str(words.NUMBER_WORDS.index(at[0].lower())))
    return None


def form(text: str, chance: random.Random) -> str | None:
    """A question becomes a request or key words, and a request a question."""
    bare = text.rstrip("?!. ")
    for pattern, forms in [
        (r"^(?:how (?:do|can|should|would) (?:i|you|we|one)|how to) (.+)$",
         ["How to {}?", "{}", "steps to {}", "Tell me how to {}.", "Explain how to {}", "What is the way to {}?", "Show me how to {}"]),
        (r"^what (?:is|are) (.+)$", ["{}", "Explain {}.", "Tell me what {} is", "define {}", "Describe {}"]),
        (r"^why (?:is|are|do|does|did) (.+)$", ["Explain why {}", "reason why {}"]),
        (r"^(?:explain|describe) (.+)$", ["What is {}?", "Give me an explanation of {}"]),
    ]:  # fmt: skip
        if at := re.match(pattern, bare, re.IGNORECASE):
            return chance.choice(forms).format(at[1])
    return None


REPEATS = {
    "typo": typo,
    "filler": filler,
    "casing": casing,
    "contraction": contraction,
    "same": same,
    "order": other_order,
    "spelled": spelled,
    "form": form,
}


def made_up(chance: random.Random) -> tuple[str, str, int, str]:
    """A pair from templates, with its label and kind: roles, symmetric relations, and commands."""
    kind = chance.choice(["roles", "roles", "symmetric", "command"])
    row = chance.choice(words.THINGS + words.SIBLINGS + [" ".join(chance.sample(words.PLACES, 6)), " ".join(chance.sample(words.NAMES, 6))])
    one, other = chance.sample(row.split(), 2)
    if kind in ("roles", "symmetric"):
        template = chance.choice(words.ROLES if kind == "roles" else words.SYMMETRIC).strip()
        a, b = template.format(a=one, b=other), template.format(a=other, b=one)
        return a, b, int(kind == "symmetric"), kind
    template, commands = chance.choice(words.COMMANDS)
    one, other = chance.sample([command for command in commands.split("|") if command], 2)
    return template.format(one), template.format(other), 0, kind


def material(one: str, other: str, chance: random.Random) -> tuple[str, str, int, str]:
    """One instruction over two texts, or over one text in other words."""
    instruction = chance.choice(words.INSTRUCTIONS).strip()
    if chance.random() < 0.3:
        return instruction.format(one), filler(instruction.format(one), chance), 1, "material"
    return instruction.format(one), instruction.format(other), 0, "material"
