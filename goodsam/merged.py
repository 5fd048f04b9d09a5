"""The assistant's merged probabilities P of a whole panorama, told band by band."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from goodsam.panorama import Geometry
from goodsam.targets import shrink
from goodsam.views import Merger, View, bands

MOST = 640 * 2**20
"""Bytes that P may have: 19 classes of 4096x2048 pixels still do."""


def merged_size(geometry: Geometry, classes: int, most: int | None = None) -> tuple[int, int]:
    """(h, w) at which P is kept: that of the panorama over the least whole number with which P has at most `most` bytes
    (`MOST` by default).

    What segmenters say they say at a quarter of a view's size, so at a half or a third of it little is lost.
    """
    number = 1
    while True:
        size = (-(-geometry.height // number), -(-geometry.width // number))
        if 4 * classes * size[0] * size[1] <= (most or MOST) or size == (1, 1):
            return size
        number += 1


class MergedViews:
    """Takes what views say, one at a time, then tells P in bands of rows at the panorama's size.

    Args:
        geometry: of the panorama.
        classes: C.
        most: bytes that P may have; `MOST` by default.
    """

    def __init__(self, geometry: Geometry, classes: int, most: int | None = None) -> None:
        self.geometry, self.classes = geometry, classes
        self.size = merged_size(geometry, classes, most)
        self._merger: Merger | None = Merger(geometry, classes, self.size)
        self._merged = torch.zeros(0)

    def add(self, view: View, probabilities: Tensor) -> None:
        """Add what a view says, float (C, h, w) of any size."""
        assert self._merger is not None, "the mean is taken"
        self._merger.add(view, probabilities)

    def mean(self, whole: Tensor | None = None) -> None:
        """Take the mean of the views, and of that and what was said of the whole panorama, float (C, H, W)."""
        assert self._merger is not None, "the mean is taken"
        self._merged, self._merger = self._merger.result(), None
        if whole is not None:
            self._merged.add_(shrink(whole, self.size)).div_(2)

    def band(self, rows: tuple[int, int]) -> Tensor:
        """P in some rows (first, first after) of the panorama: float32 (C, rows, W), sums to one over C."""
        height, width = self.geometry.height, self.geometry.width
        if self.size == (height, width):
            return self._merged[:, rows[0] : rows[1]]
        merged = self._merged.permute(1, 2, 0)  # as it lies in memory
        row = ((torch.arange(*rows) + 0.5) / height * self.size[0] - 0.5).clamp(0, self.size[0] - 1)
        column = (torch.arange(width) + 0.5) / width * self.size[1] - 0.5
        above, left = row.floor().long(), column.floor().long()
        below = (above + 1).clamp(max=self.size[0] - 1)
        lines = torch.lerp(merged[above], merged[below], (row - above)[:, None, None])
        right = (left + 1) % self.size[1]  # columns wrap
        found = torch.lerp(lines[:, left % self.size[1]], lines[:, right], (column - left)[:, None])
        return found.permute(2, 0, 1)

    def bands(self, pixels: int | None = None) -> Iterator[tuple[tuple[int, int], Tensor]]:
        """Rows (first, first after) and P in them, all around from the upper edge; see `views.bands`."""
        for rows in bands((self.geometry.height, self.geometry.width), pixels):
            yield rows, self.band(rows)

    def labels(self) -> np.ndarray:
        """The likeliest class of each pixel, uint8 (H, W)."""
        return np.concatenate([merged.argmax(0).byte().numpy() for _, merged in self.bands()])
