"""Muon for the matrices inside the layers, AdamW for everything else.

Muon steps along the nearest semi-orthogonal matrix to the momentum, so all directions of a matrix learn at one
rate; it needs far fewer steps than AdamW here, where training time is what is scarce.

Source: Jordan et al. 2024, "Muon: an optimizer for hidden layers in neural networks".
"""

import concurrent.futures

import torch

MOMENTUM = 0.95
WEIGHT_DECAY = 0.02
ADAM_BETAS = (0.9, 0.98)
# Coefficients of the quintic iteration that pushes every singular value towards one.
QUINTIC = (3.4445, -4.7750, 2.0315)
ITERATIONS = 5
# Matrices of one shape that go through the iteration in one call.
TOGETHER = 4


class MixedOptimizer:
    """Updates a dict of weights in place from their `grad`s."""

    def __init__(self, weights: dict[str, torch.Tensor]):
        inner = {name: weight for name, weight in weights.items() if name.startswith("blk.") and weight.dim() == 2}
        self.matrices = list(inner.values())
        self.momenta = [torch.zeros_like(weight) for weight in self.matrices]
        self.adam = torch.optim.AdamW([weight for name, weight in weights.items() if name not in inner], betas=ADAM_BETAS, weight_decay=0.0, fused=True)

    def step(self, pool: concurrent.futures.Executor, muon_rate: float, adam_rate: float) -> None:
        for group in self.adam.param_groups:
            group["lr"] = adam_rate
        self.adam.step()
        by_shape: dict[torch.Size, list[int]] = {}
        for index, matrix in enumerate(self.matrices):
            by_shape.setdefault(matrix.shape, []).append(index)
        batches = [indices[start : start + TOGETHER] for indices in by_shape.values() for start in range(0, len(indices), TOGETHER)]
        list(pool.map(lambda indices: self._step_muon(indices, muon_rate), batches))

    @torch.no_grad()
    def _step_muon(self, indices: list[int], rate: float) -> None:
        """One step of matrices that have the same shape."""
        for index in indices:
            self.momenta[index].lerp_(self.matrices[index].grad, 1 - MOMENTUM)
        nesterov = torch.stack([torch.lerp(self.matrices[index].grad, self.momenta[index], MOMENTUM) for index in indices])
        rows, columns = nesterov.shape[1:]
        scaled_rate = rate * max(1.0, rows / columns) ** 0.5
        for index, direction in zip(indices, orthogonal(nesterov)):
            self.matrices[index].mul_(1 - rate * WEIGHT_DECAY).add_(direction, alpha=-scaled_rate)

    def state(self) -> dict:
        return {"adam": self.adam.state_dict(), "momenta": self.momenta}

    def restore(self, state: dict) -> None:
        self.adam.load_state_dict(state["adam"])
        self.momenta = state["momenta"]


def orthogonal(matrices: torch.Tensor) -> torch.Tensor:
    """[count, rows, columns] with every singular value brought near one."""
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.transpose(1, 2) if tall else matrices
    x = x / (x.flatten(1).norm(dim=1)[:, None, None] + 1e-7)
    first, second, third = QUINTIC
    for _ in range(ITERATIONS):
        gram = x @ x.transpose(1, 2)
        x = first * x + (second * gram + third * gram @ gram) @ x
    return x.transpose(1, 2) if tall else x
