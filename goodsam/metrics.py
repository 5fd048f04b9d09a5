"""How good label maps are: the confusion matrix and what is read off it."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from goodsam.boundary_f1 import boundary_f1
from goodsam.labels import IGNORE, LabelSet
from goodsam.panorama import Geometry

SEAM_DEGREES = 5.0
"""How far from the left-right edge `seam_miou` looks, degrees of yaw on each side."""


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
