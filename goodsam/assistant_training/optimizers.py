"""How an assistant's weights move: AdamW, or Muon with AdamW, and the learning rate at a step."""

from collections.abc import Collection, Iterable
from typing import Any

import torch
from torch import nn

from goodsam.assistant_training.muon import Muon
from goodsam.assistant_training.options import AssistantTrainOptions

PEAKS = {"adamw": 6e-5, "muon": 2e-3}
"""Default peak learning rates: SegFormer's own for fine-tuning, and what trained the bundled assistant."""
FRESH = 10.0
"""With adamw, layers that start from random weights learn this much faster, as SegFormer's head does in its paper."""
BESIDE_MUON = 0.4
"""Learning rate of AdamW beside Muon, as a share of Muon's."""


class Optimizers:
    """One or two optimisers that step together; every group of parameters has a peak rate of its own.

    Args:
        module: what is trained.
        fresh: names of its parameters that start from random weights.
        options: of the training.
        precision: fp32, bf16 or fp16, of the forward pass.
    """

    def __init__(
        self, module: nn.Module, fresh: Collection[str], options: AssistantTrainOptions, precision: str
    ) -> None:
        self._parameters = [value for value in module.parameters() if value.requires_grad]
        peak = options.learning_rate or PEAKS[options.optimizer]
        decay = options.weight_decay
        if options.optimizer == "adamw":
            groups = _groups(module.named_parameters(), fresh, peak, decay)
            self._parts: list[torch.optim.Optimizer] = [torch.optim.AdamW(groups)]
        else:
            self._parts = _with_muon(module, peak, decay, torch.bfloat16 if precision == "bf16" else torch.float32)

    def set_rate(self, share: float) -> None:
        """Set the learning rates to a share of their peaks."""
        for part in self._parts:
            for group in part.param_groups:
                group["lr"] = group["peak"] * share

    def step(self, scaler: torch.amp.GradScaler, clip: float) -> None:
        """Down the gradients that `scaler` has scaled, which are let go; their norm is at most `clip`."""
        for part in self._parts:
            scaler.unscale_(part)
        nn.utils.clip_grad_norm_(self._parameters, clip)
        for part in self._parts:
            scaler.step(part)
            part.zero_grad(set_to_none=True)
        scaler.update()

    def state_dict(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {"parts": [part.state_dict() for part in self._parts]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """From a checkpoint."""
        for part, values in zip(self._parts, state["parts"], strict=True):
            part.load_state_dict(values)


def rate_at(step: int, options: AssistantTrainOptions) -> float:
    """Share of the peak learning rate: linear warm-up, constant, linear to 0.

    It is constant for long, so that what a training has learned by `--until` serves a longer one as its start.
    """
    warmup = min(options.warmup, max(1, options.steps // 10))
    if step < warmup:
        return (step + 1) / warmup
    return min(1.0, (options.steps - step) / max(1.0, options.decay * options.steps))


def _groups(
    named: Iterable[tuple[str, nn.Parameter]], fresh: Collection[str], peak: float, decay: float
) -> list[dict[str, Any]]:
    """Weight decay on matrices and kernels alone; a higher rate for what is fresh."""
    found: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, value in named:
        if value.requires_grad:
            key = (peak * (FRESH if name in fresh else 1.0), decay if value.ndim > 1 else 0.0)
            found.setdefault(key, []).append(value)
    return [{"params": values, "lr": rate, "peak": rate, "weight_decay": own} for (rate, own), values in found.items()]


def _with_muon(module: nn.Module, peak: float, decay: float, precision: torch.dtype) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of linear layers, AdamW for the rest.

    From random weights that reaches the same loss in fewer steps than AdamW alone, which more than pays for its longer
    steps.
    """
    linear = {id(layer.weight) for layer in module.modules() if isinstance(layer, nn.Linear)}
    named = list(module.named_parameters())
    matrices = _groups(((name, value) for name, value in named if id(value) in linear), (), peak, decay)
    others = _groups(((name, value) for name, value in named if id(value) not in linear), (), BESIDE_MUON * peak, decay)
    return [Muon(matrices, precision), torch.optim.AdamW(others, betas=(0.9, 0.99))]
