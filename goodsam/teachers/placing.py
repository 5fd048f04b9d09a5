"""Where to prompt: one question for each thing that the assistant sees, then only where something is still open.

Our choice, in place of segment-anything's blind grid. All of it works on the coarse grid of a `Hint`; points are shares
of width and height.
"""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

SURE = 0.6
"""Largest probability below which the assistant is unsure of a cell."""
SMALLEST = 1 / 64
"""Share of a cell of the lattice from which an area gets a question of its own."""


@dataclass(frozen=True)
class Hint:
    """What the assistant makes of a view, on a grid of cells coarser than its pixels."""

    labels: np.ndarray
    """uint8 (h, w), class ids, 255 outside the panorama."""
    confidence: np.ndarray
    """float32 (h, w), largest probability, 0..1."""


def one_per_area(hint: Hint, side: int) -> np.ndarray:
    """The innermost point of every coherent area of one class: float64 (N, 2), x and y.

    Args:
        hint: what the assistant sees.
        side: cells along each side of the lattice of later questions; areas far smaller than one are left out.
    """
    areas = _areas(hint.labels)
    size = np.bincount(areas.ravel())
    large = np.flatnonzero(size >= SMALLEST * hint.labels.size / side**2)
    return _innermost(areas, large[large > 0])


def still_open(hint: Hint, covered: np.ndarray) -> np.ndarray:
    """Cells that no mask covers, or where the assistant is unsure or one of its classes ends: bool (h, w).

    Args:
        covered: bool (h, w).
    """
    inside = hint.labels != 255
    return inside & (~covered | (hint.confidence < SURE) | _on_border(hint.labels))


def one_per_cell(wanted: np.ndarray, asked: np.ndarray, side: int) -> np.ndarray:
    """The innermost wanted point of each cell of a lattice that has some and no question yet: float64 (N, 2).

    Args:
        wanted: bool (h, w).
        asked: float64 (M, 2), points of earlier questions.
        side: cells along each side of the lattice.
    """
    height, width = wanted.shape
    rows = np.arange(height) * side // height
    columns = np.arange(width) * side // width
    cell = rows[:, None] * side + columns + 1
    taken = np.zeros(side * side + 1, dtype=bool)
    taken[_places(asked, side, side) + 1] = True
    areas = np.where(wanted & ~taken[cell], cell, 0)
    size = np.bincount(areas.ravel(), minlength=side * side + 1)
    few = height * width / side**2 / 8  # a corner of what the neighbour asks for is no reason to ask
    return _innermost(areas, np.flatnonzero(size[1:] >= max(2, few)) + 1)


def _places(points: np.ndarray, height: int, width: int) -> np.ndarray:
    """Flat cell of each point of (N, 2): int64 (N,)."""
    columns = np.minimum((points[:, 0] * width).astype(np.int64), width - 1)
    return np.minimum((points[:, 1] * height).astype(np.int64), height - 1) * width + columns


def _areas(labels: np.ndarray) -> np.ndarray:
    """Number of the coherent area (4-connected, one class) of each cell, from 1 on; 0 outside the panorama."""
    areas, first = np.zeros(labels.shape, dtype=np.int64), 0
    for value in np.unique(labels[labels != 255]):
        found, number = ndimage.label(labels == value)
        areas += np.where(found > 0, found + first, 0)
        first += number
    return areas


def _innermost(areas: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """The cell of each numbered area that is farthest from what is not that area: its centre, float64 (N, 2)."""
    if not len(numbers):
        return np.zeros((0, 2))
    # One transform for all: distance to the nearest cell that lies in another area than a neighbour of it.
    depth = ndimage.distance_transform_edt(~_on_border(areas)) + 0.01 * (areas > 0)
    rows, columns = np.array(ndimage.maximum_position(depth, areas, numbers)).T
    return np.stack([(columns + 0.5) / areas.shape[1], (rows + 0.5) / areas.shape[0]], axis=-1)


def _on_border(values: np.ndarray) -> np.ndarray:
    """Cells with another value to their right, left, above or below: bool (h, w)."""
    found = np.zeros(values.shape, dtype=bool)
    down, right = values[1:] != values[:-1], values[:, 1:] != values[:, :-1]
    found[1:] |= down
    found[:-1] |= down
    found[:, 1:] |= right
    found[:, :-1] |= right
    return found
