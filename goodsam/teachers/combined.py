"""Masks of two teachers together: `--sam NAME+regions`.

Our choice: a network of the SAM family finds objects, regions of even colour cover what it leaves out. Fusion pools
all masks that hold a pixel, each by its score, so neither has to be right everywhere.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from goodsam.masks import Masks, join_masks
from goodsam.teachers import Teacher
from goodsam.teachers.networks import ImageEncoder
from goodsam.teachers.placing import Hint

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

    def masks(self, image: np.ndarray, hint: Hint | None = None) -> Masks:
        """Masks of one image, uint8 (h, w, 3), RGB."""
        return self.masks_of_views([image], [hint])[0]

    def masks_of_views(self, images: Sequence[np.ndarray], hints: Sequence[Hint | None]) -> list[Masks]:
        """Masks of images, uint8 (h, w, 3), RGB."""
        both = (teacher.masks_of_views(images, hints) for teacher in (self._first, self._second))
        return [join_masks(pair) for pair in zip(*both, strict=True)]

    @property
    def encoder(self) -> ImageEncoder | None:
        """The image encoder of the first teacher, where that has one."""
        return getattr(self._first, "encoder", None)

    @property
    def hinted(self) -> bool:
        """Whether one of them makes use of hints."""
        return self._first.hinted or self._second.hinted

    @property
    def asked(self) -> int:
        """Points that networks were asked so far."""
        return self._first.asked + self._second.asked
