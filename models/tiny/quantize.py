"""The Q4_K and Q6_K block formats of GGUF, and Q8_K as inference applies it to activations.

`Q4K` and `Q6K` hold the integers of a tensor whose rows are multiples of 256. `values` gives the numbers those
integers stand for, computed as a reader computes them; `pack` gives the bytes of the file. Training rounds through
`values`, so the file holds exactly the weights that were trained.
"""

from dataclasses import dataclass

import numpy as np
import torch

SUPER_BLOCK = 256


@dataclass(frozen=True)
class Q4K:
    """Super-blocks of 8 x 32 weights: `weight = d * scale * q - dmin * minimum`, 144 bytes per 256 weights."""

    d: torch.Tensor  # [blocks, 1] f16 values
    dmin: torch.Tensor  # [blocks, 1] f16 values
    scales: torch.Tensor  # [blocks, 8] 0..63
    minimums: torch.Tensor  # [blocks, 8] 0..63
    quants: torch.Tensor  # [blocks, 8, 32] 0..15

    @classmethod
    def of(cls, weight: torch.Tensor) -> "Q4K":
        groups = weight.reshape(-1, 8, 32)
        minimums = (-groups.amin(-1)).clamp(min=0)
        scales = (groups.amax(-1) + minimums).clamp(min=0) / 15
        d = _f16(scales.amax(-1, keepdim=True) / 63)
        dmin = _f16(minimums.amax(-1, keepdim=True) / 63)
        scales = (scales * _inverse(d)).round().clamp(0, 63)
        minimums = (minimums * _inverse(dmin)).round().clamp(0, 63)
        step = (d * scales).unsqueeze(-1)
        quants = ((groups + (dmin * minimums).unsqueeze(-1)) * _inverse(step)).round().clamp(0, 15)
        return cls(d, dmin, scales, minimums, quants)

    def values(self) -> torch.Tensor:
        return (self.d * self.scales).unsqueeze(-1) * self.quants - (self.dmin * self.minimums).unsqueeze(-1)

    def pack(self) -> np.ndarray:
        """[blocks, 144] bytes: d, dmin, twelve bytes of 6-bit scales and minimums, 128 bytes of nibbles."""
        scales, minimums = _bytes(self.scales), _bytes(self.minimums)
        low = np.concatenate([scales[:, :4] | (scales[:, 4:] >> 4) << 6, minimums[:, :4] | (minimums[:, 4:] >> 4) << 6], axis=1)
        high = (scales[:, 4:] & 15) | (minimums[:, 4:] & 15) << 4
        # Each 32 bytes hold two groups: the even one in the low nibbles, the odd one in the high nibbles.
        quants = _bytes(self.quants)
        nibbles = (quants[:, 0::2] | quants[:, 1::2] << 4).reshape(-1, 128)
        return np.concatenate([_f16_bytes(self.d), _f16_bytes(self.dmin), low, high, nibbles], axis=1)


@dataclass(frozen=True)
class Q6K:
    """Super-blocks of 16 x 16 weights: `weight = d * scale * q`, 210 bytes per 256 weights."""

    d: torch.Tensor  # [blocks, 1] f16 values
    scales: torch.Tensor  # [blocks, 16] 0..127; the format allows -128..127
    quants: torch.Tensor  # [blocks, 16, 16] -32..31

    @classmethod
    def of(cls, weight: torch.Tensor) -> "Q6K":
        groups = weight.reshape(-1, 16, 16)
        scales = groups.abs().amax(-1) / 31
        d = _f16(scales.amax(-1, keepdim=True) / 127)
        scales = (scales * _inverse(d)).round().clamp(0, 127)
        quants = (groups * _inverse((d * scales).unsqueeze(-1))).round().clamp(-32, 31)
        return cls(d, scales, quants)

    def values(self) -> torch.Tensor:
        return (self.d * self.scales).unsqueeze(-1) * self.quants

    def pack(self) -> np.ndarray:
        """[blocks, 210] bytes: 128 of low nibbles, 64 of high bit pairs, 16 scales, d."""
        # Weights 128 h + 32 k + i of half h: k = 0, 1 are the low nibbles, k = 2, 3 the high ones.
        quants = _bytes(self.quants + 32).reshape(-1, 2, 4, 32)
        low = ((quants[:, :, :2] & 15) | (quants[:, :, 2:] & 15) << 4).reshape(-1, 128)
        pairs = quants >> 4
        high = (pairs[:, :, 0] | pairs[:, :, 1] << 2 | pairs[:, :, 2] << 4 | pairs[:, :, 3] << 6).reshape(-1, 64)
        return np.concatenate([low, high, _bytes(self.scales), _f16_bytes(self.d)], axis=1)


def rounded_activations(x: torch.Tensor) -> torch.Tensor:
    """`x` after the int8 rounding per 256 values that integer kernels apply; the gradient passes through."""
    with torch.no_grad():
        blocks = x.reshape(*x.shape[:-1], -1, SUPER_BLOCK)
        step = blocks.abs().amax(-1, keepdim=True) / 127
        rounded = ((blocks * _inverse(step)).round() * step).reshape(x.shape)
    return x + (rounded - x).detach()


def _f16(x: torch.Tensor) -> torch.Tensor:
    return x.half().float()


def _inverse(x: torch.Tensor) -> torch.Tensor:
    return torch.where(x > 0, 1 / x, 0)


def _bytes(x: torch.Tensor) -> np.ndarray:
    return x.to(torch.uint8).numpy()


def _f16_bytes(x: torch.Tensor) -> np.ndarray:
    return x.half().numpy().view(np.uint8).reshape(-1, 2)
