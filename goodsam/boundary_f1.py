"""Boundary F1: how well outlines are met."""

import numpy as np

from goodsam.labels import IGNORE
from goodsam.panorama import wrap_pad

BOUNDARY_TOLERANCE = 3
"""How far apart outlines may lie and still meet, pixels, Euclidean."""


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
    for neighbour in _neighbours(left_out, wrap):
        left_out = left_out | neighbour
    edges = [np.where(_on_boundary(ids, wrap), ids, IGNORE) for ids in (labels, prediction)]
    shares, counted = [], []
    for own, other in (edges, edges[::-1]):
        inside = (own != IGNORE) & ~left_out
        met = inside & _meets(own, other, wrap)
        counted.append(np.bincount(own[inside], minlength=classes))
        shares.append(np.bincount(own[met], minlength=classes) / np.maximum(counted[-1], 1))
    recall, precision = shares
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
    return np.where(counted[0] > 0, f1, np.nan)


def _padded(values: np.ndarray, by: int, wrap: bool) -> np.ndarray:
    """`by` pixels more on every side: the edge repeated, but the other edge left and right where the map wraps."""
    columns = wrap_pad(values, by) if wrap else np.pad(values, ((0, 0), (by, by)), mode="edge")
    return np.pad(columns, ((by, by), (0, 0)), mode="edge")


def _neighbours(values: np.ndarray, wrap: bool) -> list[np.ndarray]:
    """The upper, lower, left and right neighbour of every pixel, itself at an edge."""
    padded = _padded(values, 1, wrap)
    return [padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:]]


def _on_boundary(ids: np.ndarray, wrap: bool) -> np.ndarray:
    return np.logical_or.reduce([neighbour != ids for neighbour in _neighbours(ids, wrap)])


def _meets(own: np.ndarray, other: np.ndarray, wrap: bool) -> np.ndarray:
    """Where `other` has the id of `own` within the tolerance: bool (H, W), of maps that are 255 off boundaries.

    A disk has 29 offsets; comparing ids at each is exact and does all classes at once.
    """
    height, width = own.shape
    reach = BOUNDARY_TOLERANCE
    # Repeating an edge moves its pixels outwards, never nearer than they were: no pixel is met that was not.
    padded = _padded(other, reach, wrap)
    met = np.zeros(own.shape, dtype=bool)
    for down in range(-reach, reach + 1):
        for right in range(-reach, reach + 1):
            if down**2 + right**2 <= reach**2:
                rows, columns = slice(reach + down, reach + down + height), slice(reach + right, reach + right + width)
                met |= padded[rows, columns] == own
    return met
