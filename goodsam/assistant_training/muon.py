"""Muon (Jordan et al., 2024): steps of momentum whose matrices are made orthogonal.

The same arithmetic as `torch.optim.Muon` with `adjust_lr_fn="match_rms_adamw"`, but in the precision that is asked for:
PyTorch's is always bfloat16, which takes thirty times as long as float32 on a CPU without instructions for it.
"""

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

MOMENTUM = 0.95
COEFFICIENTS = (3.4445, -4.7750, 2.0315)
ITERATIONS = 5


class Muon(torch.optim.Optimizer):
    """For the matrices of linear layers.

    Args:
        groups: parameters of two dimensions, with "lr" and "weight_decay"; a rate of AdamW suits, for steps are as
            large as its own (Liu et al., 2025).
        precision: in which matrices are made orthogonal, float32 or bfloat16.
    """

    def __init__(self, groups: Iterable[dict[str, Any]], precision: torch.dtype = torch.float32) -> None:
        super().__init__(groups, {"lr": 1e-3, "weight_decay": 0.0})
        self._precision = precision

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """One step; `closure` is not called."""
        for group in self.param_groups:
            for value in group["params"]:
                if value.grad is None:
                    continue
                state = self.state[value]
                if "momentum" not in state:
                    state["momentum"] = torch.zeros_like(value)
                momentum = state["momentum"].lerp_(value.grad, 1 - MOMENTUM)
                update = orthogonal(value.grad.lerp(momentum, MOMENTUM).to(self._precision)).to(value.dtype)
                value.mul_(1 - group["lr"] * group["weight_decay"])
                value.add_(update, alpha=-group["lr"] * 0.2 * math.sqrt(max(value.shape)))


def orthogonal(matrix: Tensor) -> Tensor:
    """A matrix (M, N) with its singular values taken near 1 (0.5 to 1.5), by five Newton-Schulz iterations."""
    a, b, c = COEFFICIENTS
    x = matrix.T if matrix.shape[0] > matrix.shape[1] else matrix
    x = x / x.norm().clamp_min(1e-7)
    for _ in range(ITERATIONS):
        gram = x @ x.T
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.T if matrix.shape[0] > matrix.shape[1] else x
