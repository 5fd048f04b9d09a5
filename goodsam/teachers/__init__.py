"""The frozen experts: the teacher (outlines without names) and the assistant (names with poor outlines)."""

from typing import Any, Protocol

import numpy as np

from goodsam.masks import Masks
from goodsam.weights import WeightFile


class Teacher(Protocol):
    """Outlines without names: masks of whatever is in an image."""

    name: str
    """What the masks file calls it."""
    weights: tuple[WeightFile, ...]
    """Its weight files; empty for a teacher without weights."""

    def options(self) -> dict[str, Any]:
        """Every resolved option that changes its masks, as JSON values; part of the fingerprint of the masks stage."""

    def masks(self, image: np.ndarray) -> Masks:
        """Masks of one image, uint8 (h, w, 3), RGB."""
