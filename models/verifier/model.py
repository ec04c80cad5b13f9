"""The encoder of all-MiniLM-L6-v2 with one number at its end, in plain torch, so that it exports without a framework.

BERT (Devlin et al. 2018, arXiv 1810.04805) as distilled into MiniLM (Wang et al. 2020, arXiv 2002.10957): 384 wide, 12 heads.
"""

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional

WIDTH, HEADS, INNER, VOCABULARY, POSITIONS, EPSILON = 384, 12, 1536, 30522, 512, 1e-12


class Dropout(nn.Module):
    """Dropout whose mask all tokens of a text share (Gal and Ghahramani 2016, arXiv 1512.05287).

    One mask for each token is no better here, and on processors drawing it takes as long as a quarter of the matrices."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.training or self.share == 0:
            return x
        shape = (x.shape[0], *(1 for _ in x.shape[2:]), x.shape[-1])
        kept = torch.empty(shape, dtype=x.dtype, device=x.device).bernoulli_(1 - self.share)
        return x * kept.div_(1 - self.share)


class Layer(nn.Module):
    """Attention, then a feed-forward net, each with its residual and its norm behind it."""

    def __init__(self, dropout: float) -> None:
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(WIDTH, WIDTH) for _ in range(3))
        self.out = nn.Linear(WIDTH, WIDTH)
        self.out_norm = nn.LayerNorm(WIDTH, EPSILON)
        self.up, self.down = nn.Linear(WIDTH, INNER), nn.Linear(INNER, WIDTH)
        self.down_norm = nn.LayerNorm(WIDTH, EPSILON)
        self.dropout = Dropout(dropout)

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        batch, length, _ = x.shape

        def split(y: torch.Tensor) -> torch.Tensor:
            return y.view(batch, length, HEADS, WIDTH // HEADS).transpose(1, 2)

        parts = [split(self.query(x)), split(self.key(x)), split(self.value(x))]
        if torch.is_autocast_enabled(x.device.type):
            # In bfloat16, its way back takes more than twice as long on processors.
            with torch.autocast(x.device.type, enabled=False):
                attended = functional.scaled_dot_product_attention(
                    *(part.float() for part in parts), attn_mask=mask.float()
                )
        else:
            attended = functional.scaled_dot_product_attention(*parts, attn_mask=mask)
        attended = attended.transpose(1, 2).reshape(batch, length, WIDTH)
        x = self.out_norm(x + self.dropout(self.out(attended)))
        return self.down_norm(x + self.dropout(self.down(functional.gelu(self.up(x)))))


class Verifier(nn.Module):
    """Reads two prompts as one input and returns the logit of their sharing an answer, shape [batch, 1]."""

    def __init__(self, layers: int, dropout: float = 0.1) -> None:
        super().__init__()
        self.words = nn.Embedding(VOCABULARY, WIDTH)
        self.places = nn.Embedding(POSITIONS, WIDTH)
        self.types = nn.Embedding(2, WIDTH)
        self.norm = nn.LayerNorm(WIDTH, EPSILON)
        self.dropout = Dropout(dropout)
        self.layers = nn.ModuleList(Layer(dropout) for _ in range(layers))
        self.score = nn.Linear(2 * WIDTH, 1)

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, token_type_ids: torch.Tensor
    ) -> torch.Tensor:
        places = torch.arange(input_ids.shape[1], device=input_ids.device)
        x = self.words(input_ids) + self.places(places)[None] + self.types(token_type_ids)
        x = self.dropout(self.norm(x))
        seen = attention_mask[:, None, None, :].to(x.dtype)
        mask = (1.0 - seen) * -10_000.0
        for layer in self.layers:
            x = layer(x, mask)
        weights = attention_mask[:, :, None].to(x.dtype)
        mean = (x * weights).sum(1) / weights.sum(1)
        return self.score(self.dropout(torch.cat([x[:, 0], mean], dim=1)))

    @staticmethod
    def pretrained(file: Path, layers: int) -> "Verifier":
        """The first layers of all-MiniLM-L6-v2; with three, every second one of its six."""
        model, weights = Verifier(layers), load_file(file)
        kept = range(layers) if layers > 3 else [0, 2, 5][:layers]
        names = {
            "words.weight": "embeddings.word_embeddings.weight",
            "places.weight": "embeddings.position_embeddings.weight",
            "types.weight": "embeddings.token_type_embeddings.weight",
            "norm.weight": "embeddings.LayerNorm.weight",
            "norm.bias": "embeddings.LayerNorm.bias",
        }
        inner = {
            "query": "attention.self.query",
            "key": "attention.self.key",
            "value": "attention.self.value",
            "out": "attention.output.dense",
            "out_norm": "attention.output.LayerNorm",
            "up": "intermediate.dense",
            "down": "output.dense",
            "down_norm": "output.LayerNorm",
        }
        for to, of in enumerate(kept):
            for ours, theirs in inner.items():
                for end in ("weight", "bias"):
                    names[f"layers.{to}.{ours}.{end}"] = f"encoder.layer.{of}.{theirs}.{end}"
        loaded = {ours: weights[theirs] for ours, theirs in names.items()}
        missing, unknown = model.load_state_dict(loaded, strict=False)
        if unknown or set(missing) != {"score.weight", "score.bias"}:
            raise SystemExit(f"{file}: not the weights of all-MiniLM-L6-v2: {missing}, {unknown}")
        return model
