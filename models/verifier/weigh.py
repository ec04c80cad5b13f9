"""Finds how the verifier's word and the cosine make one score, on the parts that `data.py` keeps for choosing.

    python models/verifier/weigh.py DATA [--verifier FILE] [--embedder FOLDER]

Prints the line for `models.toml`, and for each set what the score, the verifier alone and the cosine alone are worth. The
threshold is then read off `refrain calibrate`, which has the guards in front.
"""

import argparse
import json
from pathlib import Path

import numpy
import onnxruntime
from tokenizers import Tokenizer

import data
import measure
from data import Pair
from export import scores
from train import HERE

WINDOW = 256
# Pairs of a set: the larger ones would outweigh the others.
TAKE = 2_500


class Embedder:
    """The embedding model as the server runs it: one text per run, the mean of its tokens, length one."""

    def __init__(self, folder: Path) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        file = str(folder / "model_quantized.onnx")
        self.session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
        self.words = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.words.enable_truncation(WINDOW)
        self.words.no_padding()
        self.known: dict[str, numpy.ndarray] = {}

    def vector(self, text: str) -> numpy.ndarray:
        if text not in self.known:
            read = self.words.encode(text)
            rows = {"input_ids": read.ids, "attention_mask": read.attention_mask, "token_type_ids": read.type_ids}
            fed = {name: numpy.array([row], dtype=numpy.int64) for name, row in rows.items()}
            mean = self.session.run(None, fed)[0][0].mean(axis=0)
            self.known[text] = mean / numpy.linalg.norm(mean)
        return self.known[text]

    def cosine(self, pair: Pair) -> float:
        return float(self.vector(pair.a) @ self.vector(pair.b))


def fitted(features: numpy.ndarray, labels: numpy.ndarray) -> numpy.ndarray:
    """Logistic regression by Newton's method, with hardly any penalty."""
    rows = numpy.hstack([features, numpy.ones((len(features), 1))])
    weights = numpy.zeros(rows.shape[1])
    for _ in range(50):
        said = 1 / (1 + numpy.exp(-rows @ weights))
        gradient = rows.T @ (said - labels) + 1e-3 * weights
        curvature = (rows * (said * (1 - said))[:, None]).T @ rows + 1e-3 * numpy.eye(len(weights))
        step = numpy.linalg.solve(curvature, gradient)
        weights -= step
        if abs(step).max() < 1e-8:
            break
    return weights


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--verifier", type=Path, default=HERE / "verifier.onnx")
    parser.add_argument("--embedder", type=Path, default=HERE.parent / "all-minilm-l6-v2")
    asked = parser.parse_args()
    known, embedder = data.load(asked.data), Embedder(asked.embedder)
    sets = {"qqp": known.qqp.choose[:TAKE], "checklist": known.checklist.choose, "families": known.family_pairs("choose")}
    features, labels, of = [], [], []
    for name, pairs in sets.items():
        said = numpy.clip(scores(asked.verifier, pairs, asked.embedder), 1e-6, 1 - 1e-6)
        features += [(odds, embedder.cosine(pair)) for odds, pair in zip(numpy.log(said / (1 - said)), pairs, strict=True)]
        labels += [pair.label for pair in pairs]
        of += [name] * len(pairs)
    x, y = numpy.array(features), numpy.array(labels, dtype=float)
    weights = fitted(x, y)
    score = 1 / (1 + numpy.exp(-(x @ weights[:2] + weights[2])))
    for name in sets:
        here = [at for at, one in enumerate(of) if one == name]
        for kind, values in [("score", score), ("verifier", x[:, 0]), ("cosine", x[:, 1])]:
            these, truth = [float(values[at]) for at in here], [int(y[at]) for at in here]
            line = {"set": name, "by": kind, "pairs": len(here), "auc": round(measure.auc(these, truth), 4)}
            line |= {f"recall at {share:.0%}": round(measure.recall_at(these, truth, share), 4) for share in (0.01, 0.02, 0.05)}
            print(json.dumps(line))
    verifier, cosine, bias = (round(float(weight), 4) for weight in weights)
    print(f"weights = {{ verifier = {verifier}, cosine = {cosine}, bias = {bias} }}")


if __name__ == "__main__":
    main()
