"""The frozen experts: the teacher (outlines without names) and the assistant (names with poor outlines)."""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from goodsam.masks import Masks
from goodsam.teachers.placing import Hint
from goodsam.weights import WeightFile


class Teacher(Protocol):
    """Outlines without names: masks of whatever is in an image."""

    name: str
    """What the masks file calls it."""
    weights: tuple[WeightFile, ...]
    """Its weight files; empty for a teacher without weights."""

    def options(self) -> dict[str, Any]:
        """Every resolved option that changes its masks, as JSON values; part of the fingerprint of the masks stage."""

    @property
    def hinted(self) -> bool:
        """Whether it makes use of hints."""

    @property
    def asked(self) -> int:
        """Points that a network was asked so far; stays 0 for a teacher without one."""

    def masks(self, image: np.ndarray, hint: Hint | None = None) -> Masks:
        """Masks of one image, uint8 (h, w, 3), RGB."""

    def masks_of_views(self, images: Sequence[np.ndarray], hints: Sequence[Hint | None]) -> list[Masks]:
        """Masks of images, uint8 (h, w, 3), RGB, with what the assistant makes of each, None where it was not asked."""
