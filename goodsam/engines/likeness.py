"""How alike the results of two engines are, and how alike they must be."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

SAME_CLASS, SAME_CLASS_HALF = 0.999, 0.995
"""Share of pixels that must keep their class, in float32 and with 16 bits; what is lost are ties."""
CLOSE = 1e-3
"""Largest difference of a probability, and of features as a share of their own length, in float32."""
CLOSE_HALF = 2e-2
"""The same of features with 16 bits, whose numbers are rounded to 4e-3 in every layer."""


@dataclass(frozen=True)
class Likeness:
    """How alike two results are."""

    good: bool
    """Whether one may stand for the other."""
    text: str
    """In numbers, for the log."""


Judge = Callable[[Sequence[Tensor], Sequence[Tensor], bool], Likeness]
"""The network's own results, an engine's, and whether that computes with 16 bits."""


def same_classes(own: Sequence[Tensor], other: Sequence[Tensor], half: bool) -> Likeness:
    """Of a segmenter: probabilities (B, C, h, w), then features."""
    share = float((own[0].argmax(1) == other[0].argmax(1)).double().mean())
    apart = float((own[0] - other[0]).abs().max())
    far = _farthest(own[1:], other[1:])
    good = far <= (CLOSE_HALF if half else CLOSE)
    good &= share >= SAME_CLASS_HALF if half else share >= SAME_CLASS and apart <= CLOSE
    return Likeness(good, f"{100 * share:.2f} % of pixels of the same class, probabilities at most {apart:.0e} apart")


def same_features(own: Sequence[Tensor], other: Sequence[Tensor], half: bool) -> Likeness:
    """Of an encoder: features alone."""
    far = _farthest(own, other)
    return Likeness(far <= (CLOSE_HALF if half else CLOSE), f"features {far:.0e} of their length apart")


def _farthest(own: Sequence[Tensor], other: Sequence[Tensor]) -> float:
    """The largest distance of two tensors as a share of the first one's length; infinite where one is not a number."""
    shares = [
        float(torch.linalg.vector_norm(a - b) / torch.linalg.vector_norm(a).clamp_min(1e-12))
        for a, b in zip(own, other, strict=True)
    ]
    return max((share if share == share else float("inf") for share in shares), default=0.0)
