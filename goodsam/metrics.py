"""How good label maps are: the confusion matrix, what is read off it, and how well outlines are met."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from goodsam.labels import IGNORE, LabelSet
from goodsam.panorama import Geometry, wrap_pad

SEAM_DEGREES = 5.0
"""How far from the left-right edge `seam_miou` looks, degrees of yaw on each side."""
BOUNDARY_TOLERANCE = 3
"""How far apart outlines may lie and still meet, pixels, Euclidean."""


@dataclass(frozen=True)
class Evaluation:
    """One subject on one data set; what metrics.json holds. Shares are 0..1, None where nothing could be counted."""

    subject: str
    """What was evaluated."""
    data: str
    """Against what."""
    label_set: str
    """Name of the label set of both."""
    images: int
    pixels: int
    """All pixels of the label maps."""
    ignored: int
    """Those of them labelled 255, which count for nothing."""
    coverage: float | None
    """Share of labelled pixels that have a prediction (not 255)."""
    miou: float | None
    """Mean intersection over union of the classes present in the labels."""
    miou_sphere: float | None
    """The same with every pixel weighted by its solid angle; None for flat photos."""
    pixel_accuracy: float | None
    """Share of labelled pixels that are predicted right."""
    seam_miou: float | None
    """`miou` of the pixels within 5 degrees of the left-right edge; None for flat photos."""
    boundary_f1: float | None
    """See `boundary_f1`; mean over the images that show a class, then over classes."""
    per_class: dict[str, float | None]
    """Intersection over union by class; None where the labels do not have it."""
    confusion: list[list[int]]
    """Pixels: C rows by label, C + 1 columns by prediction, the last for "none"."""

    def to_json(self) -> dict[str, Any]:
        """metrics.json as a plain dictionary, keys in the order above."""
        return asdict(self)


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
    if labels.shape != prediction.shape:
        raise ValueError(f"labels {labels.shape} and prediction {prediction.shape} differ in size")
    for what, ids in (("label", labels), ("predicted", prediction)):
        wrong = ids[(ids >= classes) & (ids != IGNORE)]
        if wrong.size:
            raise ValueError(f"{what} value {wrong[0]} is neither a class 0..{classes - 1} nor {IGNORE}")
    valid = labels != IGNORE
    column = np.where(prediction == IGNORE, classes, prediction)[valid]
    cell = labels[valid].astype(np.int64) * (classes + 1) + column
    weights = None if weight_rows is None else np.broadcast_to(weight_rows[:, None], labels.shape)[valid]
    return np.bincount(cell, weights, minlength=classes * (classes + 1)).reshape(classes, classes + 1)


def iou_of(confusion: np.ndarray) -> np.ndarray:
    """Intersection over union per class, float64 (C,), of a `confusion_matrix`; NaN where no pixel has the label."""
    classes = len(confusion)
    hit = np.diag(confusion)
    labelled = confusion.sum(1)
    union = labelled + confusion[:, :classes].sum(0) - hit
    return np.divide(hit, union, out=np.full(classes, np.nan), where=labelled > 0)


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


class Scores:
    """Adds up label maps, image by image.

    Args:
        label_set: of labels and predictions.
    """

    def __init__(self, label_set: LabelSet) -> None:
        self.label_set = label_set
        classes = len(label_set)
        self._images = self._pixels = self._panoramas = 0
        self._confusion = np.zeros((classes, classes + 1), dtype=np.int64)
        self._seam = np.zeros((classes, classes + 1), dtype=np.int64)
        self._sphere = np.zeros((classes, classes + 1))
        self._boundary: list[np.ndarray] = []

    def add(self, labels: np.ndarray, prediction: np.ndarray, geometry: Geometry | None = None) -> None:
        """Count one image.

        Args:
            labels: uint8 (H, W), class ids, 255 ignored.
            prediction: uint8 (H, W), class ids, 255 for none.
            geometry: of the panorama at the labels' size; None for a flat photo, which does not wrap.
        Raises:
            ValueError: as `confusion_matrix`.
        """
        classes = len(self.label_set)
        self._confusion += confusion_matrix(labels, prediction, classes)
        self._images += 1
        self._pixels += labels.size
        self._boundary.append(boundary_f1(labels, prediction, classes, wrap=geometry is not None))
        if geometry is not None:
            self._panoramas += 1
            solid_angle = geometry.solid_angle_of_rows(labels.shape[0])
            self._sphere += confusion_matrix(labels, prediction, classes, solid_angle)
            seam = _seam_columns(labels.shape[1])
            self._seam += confusion_matrix(labels[:, seam], prediction[:, seam], classes)

    def result(self, subject: str, data: str) -> Evaluation:
        """What has been added up.

        Args:
            subject, data: what they were, as `evaluate` takes them.
        """
        confusion = self._confusion
        labelled = int(confusion.sum())
        return Evaluation(
            subject=subject,
            data=data,
            label_set=self.label_set.name,
            images=self._images,
            pixels=self._pixels,
            ignored=self._pixels - labelled,
            coverage=float(confusion[:, :-1].sum() / labelled) if labelled else None,
            miou=_mean(iou_of(confusion)),
            miou_sphere=_mean(iou_of(self._sphere)) if self._panoramas else None,
            pixel_accuracy=float(np.diag(confusion).sum() / labelled) if labelled else None,
            seam_miou=_mean(iou_of(self._seam)) if self._panoramas else None,
            boundary_f1=_mean(_mean_over_images(self._boundary)),
            per_class=dict(zip(self.label_set.names, map(_number, iou_of(confusion)), strict=True)),
            confusion=confusion.tolist(),
        )


def _seam_columns(width: int) -> np.ndarray:
    """bool (W,): columns whose middle lies within 5 degrees of the left-right edge."""
    yaw = (np.arange(width) + 0.5) * 360 / width
    return np.minimum(yaw, 360 - yaw) < SEAM_DEGREES


def _mean_over_images(values: list[np.ndarray]) -> np.ndarray:
    """Per class, the mean over images where it is a number; NaN where it never is."""
    stacked = np.array(values)
    if not stacked.size:
        return np.array([np.nan])
    number = (~np.isnan(stacked)).sum(0)
    return np.divide(np.nansum(stacked, axis=0), number, out=np.full(stacked.shape[1], np.nan), where=number > 0)


def _mean(values: np.ndarray) -> float | None:
    values = values[~np.isnan(values)]
    return float(values.mean()) if values.size else None


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
