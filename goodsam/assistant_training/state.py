"""What the loop of `goodsam assistant train` works on, and what of it a checkpoint holds."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from goodsam.assistant_training.model import Trainee
from goodsam.assistant_training.optimizers import Optimizers
from goodsam.assistant_training.options import AssistantTrainOptions
from goodsam.assistant_training.photos import Photos
from goodsam.assistant_training.validation import Best
from goodsam.average import Average


class Clock:
    """Seconds of training, over all calls."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._since = time.perf_counter()

    def tick(self) -> float:
        """Add the time since the last tick; returns all of it."""
        now = time.perf_counter()
        self.seconds, self._since = self.seconds + now - self._since, now
        return self.seconds

    def state_dict(self) -> dict[str, float]:
        """For a checkpoint."""
        return {"seconds": self.seconds}

    def load_state_dict(self, state: Mapping[str, float]) -> None:
        """From a checkpoint."""
        self.seconds, self._since = state["seconds"], time.perf_counter()


@dataclass(frozen=True)
class Training:
    """What the loop works on."""

    work: Path
    """Folder of checkpoint and journal."""
    fingerprint: str
    """Of this training; a checkpoint with another is not used."""
    options: AssistantTrainOptions
    photos: Photos
    trainee: Trainee
    average: Average[Trainee]
    optimizers: Optimizers
    weights: Tensor
    """Of the classes, float32 (C)."""
    device: torch.device
    precision: str
    """fp32, bf16 or fp16."""
    scaler: torch.amp.GradScaler
    """Of fp16 gradients; does nothing otherwise."""
    best: Best = field(default_factory=Best)
    clock: Clock = field(default_factory=Clock)

    def parts(self) -> dict[str, Any]:
        """Everything that the next step depends on."""
        return {
            "model": self.trainee,
            "average": self.average.model,
            "optimizers": self.optimizers,
            "scaler": self.scaler,
            "best": self.best,
            "clock": self.clock,
        }
