"""What is counted in one image: pixels by label and prediction, by latitude, near the seam, and along boundaries."""

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NoReturn

import numpy as np

from goodsam.boundary_f1 import boundary_f1
from goodsam.labels import IGNORE
from goodsam.panorama import Geometry

SEAM_DEGREES = 5.0
"""How far from the left-right edge `seam_miou` looks, degrees of yaw on each side."""
BAND_DEGREES = 15
"""Height of a band of the table by latitude, degrees of pitch."""
BANDS = 180 // BAND_DEGREES
"""Bands from pitch -90, the first, to 90."""
_CELLS = 1 << 18
"""Cells that one pass of counting fills: 2 MB of counts, which stay in a processor's cache."""


@dataclass(frozen=True)
class PanoramaCounts:
    """What is counted where pixels have a place on the sphere."""

    sphere: np.ndarray
    """float64 (C, C + 1), solid angle in steradian."""
    bands: np.ndarray
    """int64 (BANDS, C, C + 1), by latitude from -90 degrees up."""
    band_sphere: np.ndarray
    """float64 (BANDS,), solid angle of the labelled pixels of each, steradian."""
    seam: np.ndarray
    """int64 (C, C + 1) of the columns within 5 degrees of the left-right edge."""


@dataclass(frozen=True)
class Counts:
    """One image. Confusion matrices are (C, C + 1): rows by label, columns by prediction, the last for "none"."""

    pixels: int
    """Of the label map."""
    confusion: np.ndarray
    """int64 (C, C + 1)."""
    boundary: np.ndarray
    """float64 (C,), 0..1, see `boundary_f1`; NaN for a class without a boundary."""
    panorama: PanoramaCounts | None
    """None for a flat photo."""


def count(labels: np.ndarray, prediction: np.ndarray, classes: int, geometry: Geometry | None = None) -> Counts:
    """Count one image.

    Args:
        labels: uint8 (H, W), class ids, 255 ignored.
        prediction: uint8 (H, W), class ids, 255 for none.
        classes: C.
        geometry: of the panorama at the labels' size; None for a flat photo, which does not wrap.
    Raises:
        ValueError: as `confusion_matrix`.
    """
    boundary = boundary_f1(labels, prediction, classes, wrap=geometry is not None)
    if geometry is None:
        return Counts(labels.size, confusion_matrix(labels, prediction, classes), boundary, None)
    counts = _count_panorama(labels, prediction, classes, geometry)
    return Counts(labels.size, counts.bands.sum(0), boundary, counts)


def _count_panorama(labels: np.ndarray, prediction: np.ndarray, classes: int, geometry: Geometry) -> PanoramaCounts:
    rows = labels.shape[0]
    in_band, solid_angle = _band_of_rows(geometry, rows), geometry.solid_angle_of_rows(rows)
    weights = np.vstack([in_band, solid_angle])
    sums, of_row = np.zeros((BANDS + 1, classes * (classes + 1))), np.zeros(rows)
    for first, cells in _by_row(labels, prediction, classes):
        chunk, flat = slice(first, first + len(cells)), cells.reshape(len(cells), -1)
        sums += weights[:, chunk] @ flat
        of_row[chunk] = flat.sum(1)
    summed = sums.reshape(-1, classes, classes + 1)
    bands = summed[:-1].round().astype(np.int64)  # sums of whole numbers below 2^53 are exact
    seam = _seam_columns(labels.shape[1])
    near = confusion_matrix(labels[:, seam], prediction[:, seam], classes)
    return PanoramaCounts(summed[-1], bands, in_band @ (solid_angle * of_row), near)


def confusion_matrix(
    labels: np.ndarray, prediction: np.ndarray, classes: int, weight_rows: np.ndarray | None = None
) -> np.ndarray:
    """Count pixels by label and prediction; pixels labelled 255 are left out.

    Args:
        labels: uint8 (H, W), 0..classes-1 or 255.
        prediction: uint8 (H, W), likewise; 255 is no prediction, which on a labelled pixel is wrong.
        classes: C.
        weight_rows: float (H,), what a pixel of each row counts; None for 1.
    Returns:
        (C, C + 1), row by label, column by prediction, the last column for 255; int64, float64 with weights.
    Raises:
        ValueError: sizes differ, or a value that is neither a class nor 255.
    """
    if weight_rows is None:
        counts = np.bincount(_pairs(labels, prediction).ravel(), minlength=1 << 16).reshape(256, 256)
        known = [*range(classes), IGNORE]
        if counts[np.ix_(known, known)].sum() != labels.size:
            _refuse(labels, prediction, classes)
        return counts[:classes, known]
    weighted = np.zeros((classes, classes + 1))
    for first, cells in _by_row(labels, prediction, classes):
        weighted += np.tensordot(weight_rows[first : first + len(cells)], cells, 1)
    return weighted


def _pairs(labels: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    """uint16 (H, W), label and prediction in one number: 256 * label + prediction."""
    if labels.shape != prediction.shape:
        raise ValueError(f"labels {labels.shape} and prediction {prediction.shape} differ in size")
    return labels.astype(np.uint16) << 8 | prediction


def _by_row(labels: np.ndarray, prediction: np.ndarray, classes: int) -> Iterator[tuple[int, np.ndarray]]:
    """The confusion matrix of every row, a stretch of rows at a time: its first row, and int64 (rows, C, C + 1)."""
    pairs, side = _pairs(labels, prediction), classes + 2
    cell_of_pair = _cells(classes)
    step = max(1, _CELLS // side**2)
    for first in range(0, len(pairs), step):
        cell = np.take(cell_of_pair, pairs[first : first + step])
        rows = len(cell)
        cell += (np.arange(rows, dtype=cell.dtype) * side**2)[:, None]
        counts = np.bincount(cell.ravel(), minlength=rows * side**2).reshape(rows, side, side)
        if counts[:, -1].any() or counts[:, :, -1].any():
            _refuse(labels, prediction, classes)
        yield first, counts[:, :classes, : classes + 1]


@functools.cache
def _cells(classes: int) -> np.ndarray:
    """int32 (65536,): place of a pair in a table of C + 2 by C + 2: the classes, 255, and what is neither."""
    codes = np.full(256, classes + 1, dtype=np.int32)
    codes[:classes] = np.arange(classes)
    codes[IGNORE] = classes
    return (codes[:, None] * (classes + 2) + codes).ravel()


def _refuse(labels: np.ndarray, prediction: np.ndarray, classes: int) -> NoReturn:
    for what, ids in (("label", labels), ("predicted", prediction)):
        wrong = ids[(ids >= classes) & (ids != IGNORE)]
        if wrong.size:
            raise ValueError(f"{what} value {wrong[0]} is neither a class 0..{classes - 1} nor {IGNORE}")
    raise AssertionError("all values are classes or 255")


def _band_of_rows(geometry: Geometry, rows: int) -> np.ndarray:
    """float64 (BANDS, rows): 1 where a row lies in a band of latitude."""
    band = np.clip((geometry.pitch_of_rows(rows) + 90) // BAND_DEGREES, 0, BANDS - 1)
    return (np.arange(BANDS)[:, None] == band).astype(np.float64)


def _seam_columns(width: int) -> np.ndarray:
    """bool (W,): columns whose middle lies within 5 degrees of the left-right edge."""
    yaw = (np.arange(width) + 0.5) * 360 / width
    return np.minimum(yaw, 360 - yaw) < SEAM_DEGREES


def iou_of(confusion: np.ndarray) -> np.ndarray:
    """Intersection over union per class, float64 (..., C), of confusion matrices; NaN where no pixel has the label."""
    classes = confusion.shape[-2]
    hit = np.diagonal(confusion[..., :classes], axis1=-2, axis2=-1)
    labelled = confusion.sum(-1)
    union = labelled + confusion[..., :classes].sum(-2) - hit
    return np.divide(hit, union, out=np.full(hit.shape, np.nan), where=labelled > 0)
