"""Masks of two teachers together: `--sam NAME+regions`.

Our choice: a network of the SAM family finds objects, regions of even colour cover what it leaves out. Fusion pools
all masks that hold a pixel, each by its score, so neither has to be right everywhere.
"""

from typing import Any

import numpy as np

from goodsam.masks import Masks
from goodsam.teachers import Teacher

WITH_REGIONS = "+regions"
"""Ending of a name that asks for both."""


class CombinedTeacher:
    """All masks of one teacher, then all of another."""

    def __init__(self, first: Teacher, second: Teacher) -> None:
        self._first, self._second = first, second
        self.name = f"{first.name}+{second.name}"
        self.weights = (*first.weights, *second.weights)

    def options(self) -> dict[str, Any]:
        """The first teacher's options, and the second's under its name."""
        return {**self._first.options(), self._second.name: self._second.options()}

    def masks(self, image: np.ndarray) -> Masks:
        """Masks of one image, uint8 (h, w, 3), RGB."""
        return joined(self._first.masks(image), self._second.masks(image))


def joined(first: Masks, second: Masks) -> Masks:
    """The masks of both; they are of one image."""
    return Masks(
        first.size,
        first.counts + second.counts,
        first.areas + second.areas,
        first.ious + second.ious,
        first.stabilities + second.stabilities,
    )
