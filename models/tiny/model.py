"""The Qwen2 decoder in plain PyTorch: a dict of tensors under their GGUF names and one function that runs it."""

import math
from dataclasses import dataclass

import torch
from torch.nn import functional

from quantize import Q4K, Q6K, rounded_activations


@dataclass(frozen=True)
class Shape:
    vocabulary: int = 768
    layers: int = 4
    hidden: int = 256
    heads: int = 4
    kv_heads: int = 2
    head_dim: int = 64
    feed_forward: int = 512
    rope_base: float = 10_000.0
    norm_epsilon: float = 1e-6
    context: int = 4096


def new_weights(shape: Shape, seed: int) -> dict[str, torch.Tensor]:
    """Fresh weights, rows first as in GGUF: [outputs, inputs]."""
    generator = torch.Generator().manual_seed(seed)

    def normal(rows: int, columns: int, deviation: float) -> torch.Tensor:
        return torch.randn(rows, columns, generator=generator) * deviation

    inputs = 1 / math.sqrt(shape.hidden)
    residual = inputs / math.sqrt(2 * shape.layers)
    weights = {
        "token_embd.weight": normal(shape.vocabulary, shape.hidden, 0.1),
        "output_norm.weight": torch.ones(shape.hidden),
        "output.weight": normal(shape.vocabulary, shape.hidden, inputs),
    }
    for layer in range(shape.layers):
        for part, outputs in (("q", shape.heads), ("k", shape.kv_heads), ("v", shape.kv_heads)):
            weights[f"blk.{layer}.attn_{part}.weight"] = normal(outputs * shape.head_dim, shape.hidden, inputs)
            weights[f"blk.{layer}.attn_{part}.bias"] = torch.zeros(outputs * shape.head_dim)
        weights[f"blk.{layer}.attn_output.weight"] = normal(shape.hidden, shape.heads * shape.head_dim, residual)
        weights[f"blk.{layer}.ffn_gate.weight"] = normal(shape.feed_forward, shape.hidden, inputs)
        weights[f"blk.{layer}.ffn_up.weight"] = normal(shape.feed_forward, shape.hidden, inputs)
        weights[f"blk.{layer}.ffn_down.weight"] = normal(shape.hidden, shape.feed_forward, residual)
        weights[f"blk.{layer}.attn_norm.weight"] = torch.ones(shape.hidden)
        weights[f"blk.{layer}.ffn_norm.weight"] = torch.ones(shape.hidden)
    return weights


def block_format(name: str, shape: Shape) -> type[Q4K] | type[Q6K] | None:
    """How a tensor is stored: the mixture of types that files of type Q4_K_M have."""
    if name.endswith("norm.weight") or name.endswith(".bias"):
        return None
    if name == "output.weight":
        return Q6K
    if name.endswith(("attn_v.weight", "ffn_down.weight")):
        layer, eighth = int(name.split(".")[1]), shape.layers // 8
        if layer < eighth or layer >= 7 * shape.layers // 8 or (layer - eighth) % 3 == 2:
            return Q6K
    return Q4K


def rounded_weights(weights: dict[str, torch.Tensor], shape: Shape) -> dict[str, torch.Tensor]:
    """The weights as the file will hold them, detached."""
    rounded = {}
    with torch.no_grad():
        for name, weight in weights.items():
            kind = block_format(name, shape)
            rounded[name] = weight.detach().clone() if kind is None else kind.of(weight).values().reshape(weight.shape)
    return rounded


def forward(weights: dict[str, torch.Tensor], shape: Shape, ids: torch.Tensor, int8_activations: bool) -> torch.Tensor:
    """Hidden states after the last norm. `ids` is [rows, tokens], every row from position 0; rows may be padded at the end."""
    rotation = _rotation(shape, ids.shape[1])
    rounded = rounded_activations if int8_activations else (lambda x: x)
    x = functional.embedding(ids, weights["token_embd.weight"])  # [rows, tokens, hidden]
    for layer in range(shape.layers):
        def tensor(name: str) -> torch.Tensor:
            return weights[f"blk.{layer}.{name}"]

        h = rounded(functional.rms_norm(x, (shape.hidden,), tensor("attn_norm.weight"), shape.norm_epsilon))
        query, key, value = (
            functional.linear(h, tensor(f"attn_{part}.weight"), tensor(f"attn_{part}.bias"))
            .unflatten(-1, (-1, shape.head_dim)).transpose(1, 2)  # [rows, heads, tokens, head_dim]
            for part in "qkv"
        )
        group = shape.heads // shape.kv_heads
        mixed = functional.scaled_dot_product_attention(
            _rotated(query, rotation), _rotated(key, rotation).repeat_interleave(group, 1), value.repeat_interleave(group, 1), is_causal=True,
        )
        mixed = rounded(mixed.transpose(1, 2).flatten(2))  # [rows, tokens, hidden]
        x = x + functional.linear(mixed, tensor("attn_output.weight"))
        h = rounded(functional.rms_norm(x, (shape.hidden,), tensor("ffn_norm.weight"), shape.norm_epsilon))
        gated = functional.silu(functional.linear(h, tensor("ffn_gate.weight"))) * functional.linear(h, tensor("ffn_up.weight"))
        x = x + functional.linear(rounded(gated), tensor("ffn_down.weight"))
    return rounded(functional.rms_norm(x, (shape.hidden,), weights["output_norm.weight"], shape.norm_epsilon))


def logits(weights: dict[str, torch.Tensor], hidden: torch.Tensor) -> torch.Tensor:
    """[..., vocabulary] from [..., hidden]."""
    return functional.linear(hidden, weights["output.weight"])


@torch.no_grad()
def generate(weights: dict[str, torch.Tensor], shape: Shape, prompt: list[int], end: int, tokens_max: int) -> list[int]:
    """Greedy reply, computed afresh for every token: slow, and free of cache bugs."""
    reply: list[int] = []
    while len(reply) < tokens_max and (not reply or reply[-1] != end):
        hidden = forward(weights, shape, torch.tensor([prompt + reply]), int8_activations=True)
        reply.append(int(logits(weights, hidden[0, -1]).argmax()))
    return reply


def _rotation(shape: Shape, tokens: int) -> tuple[torch.Tensor, torch.Tensor]:
    frequencies = shape.rope_base ** (-torch.arange(0, shape.head_dim, 2) / shape.head_dim)
    angles = torch.outer(torch.arange(tokens), frequencies).repeat(1, 2)  # [tokens, head_dim]
    return angles.cos(), angles.sin()


def _rotated(x: torch.Tensor, rotation: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    """Rotary positions that pair element i with i + head_dim / 2, as Qwen2 does."""
    first, second = x.chunk(2, dim=-1)
    return x * rotation[0] + torch.cat([-second, first], dim=-1) * rotation[1]
