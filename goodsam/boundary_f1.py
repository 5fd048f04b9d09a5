"""Boundary F1: how well outlines are met."""

import numpy as np

from goodsam.labels import IGNORE

BOUNDARY_TOLERANCE = 3
"""How far apart outlines may lie and still meet, pixels, Euclidean."""
_REACH = range(-BOUNDARY_TOLERANCE, BOUNDARY_TOLERANCE + 1)
_DISK = sorted(
    ((down, right) for down in _REACH for right in _REACH if down**2 + right**2 <= BOUNDARY_TOLERANCE**2),
    key=lambda offset: offset[0] ** 2 + offset[1] ** 2,
)
"""Offsets (rows, columns) within the tolerance, nearest first."""


def boundary_f1(labels: np.ndarray, prediction: np.ndarray, classes: int, wrap: bool) -> np.ndarray:
    """How well the outlines of each class are met: the F1 of boundary precision and recall.

    A boundary pixel of a class has it, and one of its four neighbours has not. It is met when the other map has a
    boundary pixel of that class within 3 pixels. Where the labels are 255 or have it as one of the four neighbours,
    nothing is counted, but what is counted nearby may still be met there (our choice: an object drawn with a thin
    unlabelled rim would else make every good outline wrong).

    Args:
        labels, prediction: uint8 (H, W), class ids or 255.
        classes: C.
        wrap: whether the left edge continues at the right one.
    Returns:
        float64 (C,), 0..1; NaN for a class without counted boundary in the labels.
    """
    left_out = labels == IGNORE
    if left_out.any():
        left_out = np.logical_or.reduce([left_out, *_neighbours(left_out, wrap)])
    edges = [np.where(_on_boundary(ids, wrap), ids, IGNORE) for ids in (labels, prediction)]
    shares, counted = [], []
    for own, other in (edges, edges[::-1]):
        places = np.flatnonzero(own != IGNORE)  # few: everything from here on is about them alone
        places = places[~left_out.ravel()[places]]
        classes_there = own.ravel()[places]
        met = _meets(places, classes_there, other, wrap)
        counted.append(np.bincount(classes_there, minlength=classes))
        shares.append(np.bincount(classes_there[met], minlength=classes) / np.maximum(counted[-1], 1))
    recall, precision = shares
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
    return np.where(counted[0] > 0, f1, np.nan)


def _padded(values: np.ndarray, by: int, wrap: bool) -> np.ndarray:
    """`by` pixels more on every side: the edge repeated, but the other edge left and right where the map wraps."""
    columns = np.pad(values, ((0, 0), (by, by)), mode="wrap" if wrap else "edge")
    return np.pad(columns, ((by, by), (0, 0)), mode="edge")


def _neighbours(values: np.ndarray, wrap: bool) -> list[np.ndarray]:
    """The upper, lower, left and right neighbour of every pixel, itself at an edge."""
    padded = _padded(values, 1, wrap)
    return [padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:]]


def _on_boundary(ids: np.ndarray, wrap: bool) -> np.ndarray:
    padded = _padded(ids, 1, wrap)
    down = padded[1:, 1:-1] != padded[:-1, 1:-1]  # every pair of neighbours is compared once
    right = padded[1:-1, 1:] != padded[1:-1, :-1]
    return down[:-1] | down[1:] | right[:, :-1] | right[:, 1:]


def _meets(places: np.ndarray, wanted: np.ndarray, other: np.ndarray, wrap: bool) -> np.ndarray:
    """Whether `other` has an id near a place within the tolerance.

    A disk has 29 offsets; comparing ids at each is exact and does all classes at once. Nearest ones come first, and a
    place that is met is not asked again: most are met at once.

    Args:
        places: int64 (N,), places in the raveled map.
        wanted: uint8 (N,), the id that each looks for.
        other: uint8 (H, W), ids on boundaries, 255 off them.
        wrap: whether the left edge continues at the right one.
    Returns:
        bool (N,).
    """
    reach = BOUNDARY_TOLERANCE
    # Repeating an edge moves its pixels outwards, never nearer than they were: no pixel is met that was not.
    padded = _padded(other, reach, wrap)
    width = padded.shape[1]
    flat, number = padded.ravel(), np.arange(len(places))
    left = places + places // other.shape[1] * 2 * reach + reach * (width + 1)  # the same places in `padded`
    met = np.zeros(len(places), dtype=bool)
    for down, right in _DISK:
        hit = flat[left + (down * width + right)] == wanted
        met[number[hit]] = True
        left, wanted, number = left[~hit], wanted[~hit], number[~hit]
    return met
