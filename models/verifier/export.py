"""Exports a trained verifier to ONNX, makes its numbers int8, and checks that it still says the same.

    python models/verifier/export.py OUT DATA

OUT is the folder that `train.py` has filled; the model is written beside it as `verifier.onnx`.
"""

import argparse
import hashlib
import json
import random
from pathlib import Path

import numpy
import onnx
import onnxruntime
import torch
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.quantization.shape_inference import quant_pre_process

import data
import measure
from data import Pair
from model import Verifier
from train import HERE, tokenizer

INPUTS = ["input_ids", "attention_mask", "token_type_ids"]


class Exported(torch.nn.Module):
    """The verifier with the names that rerankers have."""

    def __init__(self, model: Verifier) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids, attention_mask, token_type_ids):  # noqa: ANN001, ANN201
        return self.model(input_ids, attention_mask, token_type_ids)


def export(model: Verifier, file: Path) -> None:
    example = tuple(torch.ones(2, 12, dtype=torch.long) for _ in INPUTS)
    batch, length = torch.export.Dim("batch"), torch.export.Dim("length", max=512)
    shapes = {name: {0: batch, 1: length} for name in INPUTS}
    program = torch.onnx.export(
        Exported(model), example, dynamo=True, input_names=INPUTS, output_names=["logits"], dynamic_shapes=shapes
    )
    program.optimize()
    program.save(str(file), include_initializers=True, external_data=False)


def scores(file: Path, pairs: list[Pair], model_folder: Path) -> list[float]:
    """Returns the scores of pairs, one pair per run, as the server asks them."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    words = tokenizer(model_folder)
    found = []
    for pair in pairs:
        side = words.encode(pair.a, pair.b)
        rows = [side.ids, side.attention_mask, side.type_ids]
        fed = {name: numpy.array([row], dtype=numpy.int64) for name, row in zip(INPUTS, rows, strict=True)}
        logit = float(session.run(["logits"], fed)[0][0, 0])
        found.append(1 / (1 + numpy.exp(-logit)))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", type=Path, default=HERE.parent / "all-minilm-l6-v2", help="the folder of the tokenizer")
    parser.add_argument("--take", type=int, default=1_500, help="pairs of each set that are measured")
    asked = parser.parse_args()
    known = data.load(asked.data)
    plan = json.loads((asked.out / "plan.json").read_text()) if (asked.out / "plan.json").exists() else {"layers": 6}
    model = Verifier(plan["layers"])
    trained = asked.out / "model.pt"
    if trained.exists():
        model.load_state_dict(torch.load(trained, weights_only=True))
    else:
        model.load_state_dict(torch.load(asked.out / "checkpoint.pt", weights_only=True)["model"])
    model.eval()
    whole, prepared, small = (asked.out / name for name in ["verifier.fp32.onnx", "verifier.prepared.onnx", "verifier.onnx"])
    export(model, whole)
    quant_pre_process(str(whole), str(prepared), skip_symbolic_shape=True)
    # The exporter's notes on shapes contradict what the quantiser infers.
    noted = onnx.load(str(prepared))
    del noted.graph.value_info[:]
    onnx.save(noted, str(prepared))
    quantize_dynamic(str(prepared), str(small), weight_type=QuantType.QInt8, per_channel=True, reduce_range=False)
    onnx.checker.check_model(str(small))
    for name in ["qqp", "paws", "checklist"]:
        chosen = list(getattr(known, name).choose)
        random.Random(1).shuffle(chosen)
        chosen = chosen[: asked.take]
        labels = [pair.label for pair in chosen]
        for kind, file in [("fp32", whole), ("int8", small)]:
            said = scores(file, chosen, asked.model)
            line = {"set": name, "kind": kind, "auc": measure.auc(said, labels)}
            line |= {f"recall at {share:.0%}": measure.recall_at(said, labels, share) for share in (0.01, 0.05)}
            print(json.dumps({key: round(value, 4) if isinstance(value, float) else value for key, value in line.items()}))
    digest = hashlib.sha256(small.read_bytes()).hexdigest()
    print(json.dumps({"file": str(small), "bytes": small.stat().st_size, "sha256": digest}))


if __name__ == "__main__":
    main()
