"""How good label maps are: what is read off the counts of `counts.count`, image by image or of all together."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from goodsam.bootstrap import Resampled
from goodsam.counts import BAND_DEGREES, BANDS, Counts, confusion_matrix, count, iou_of
from goodsam.labels import LabelSet
from goodsam.panorama import Geometry

__all__ = ["Evaluation", "Scores", "confusion_matrix", "iou_of"]


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
    ignored_share: float | None
    """`ignored` over `pixels`."""
    coverage: float | None
    """Share of labelled pixels that have a prediction (not 255)."""
    miou: float | None
    """Mean intersection over union of the classes present in the labels."""
    miou_interval: list[float] | None
    """Where `miou` may lie with other images of the kind: 95 %, bootstrap over images; None for a single image."""
    miou_sphere: float | None
    """The same with every pixel weighted by its solid angle; None for flat photos."""
    pixel_accuracy: float | None
    """Share of labelled pixels that are predicted right."""
    seam_miou: float | None
    """`miou` of the pixels within 5 degrees of the left-right edge; None for flat photos."""
    latitudes: list[dict[str, float | None]] | None
    """By bands of pitch: `from` and `to` in degrees, `share` of all labelled solid angle, `miou`; None for photos."""
    boundary_f1: float | None
    """See `boundary_f1`; mean over the images that show a class, then over classes."""
    per_class: dict[str, float | None]
    """Intersection over union by class; None where the labels do not have it."""
    confusion: list[list[int]]
    """Pixels: C rows by label, C + 1 columns by prediction, the last for "none"."""
    weights: list[str]
    """sha256 of the subject's weight files; empty for label maps."""

    def to_json(self) -> dict[str, Any]:
        """metrics.json as a plain dictionary, keys in the order above."""
        return asdict(self)


class Scores:
    """Adds up label maps, image by image, in memory that does not grow with their number.

    Args:
        label_set: of labels and predictions.
    """

    def __init__(self, label_set: LabelSet) -> None:
        self.label_set = label_set
        classes = len(label_set)
        self.images = 0
        self._pixels = self._panoramas = 0
        self._confusion = np.zeros((classes, classes + 1), dtype=np.int64)
        self._seam = np.zeros((classes, classes + 1), dtype=np.int64)
        self._sphere = np.zeros((classes, classes + 1))
        self._bands = np.zeros((BANDS, classes, classes + 1), dtype=np.int64)
        self._band_sphere = np.zeros(BANDS)
        self._boundary = np.zeros((2, classes))  # sum over the images that show a class, and their number
        self.resampled = Resampled(classes)

    def add(self, labels: np.ndarray, prediction: np.ndarray, geometry: Geometry | None = None) -> None:
        """Count one image; arguments and errors are those of `counts.count`."""
        self.add_counts(count(labels, prediction, len(self.label_set), geometry))

    def add_counts(self, counts: Counts) -> None:
        """Add one image that has been counted; the order of images decides how the bootstrap draws them."""
        self._confusion += counts.confusion
        self._pixels += counts.pixels
        there = ~np.isnan(counts.boundary)
        self._boundary[0, there] += counts.boundary[there]
        self._boundary[1] += there
        self.resampled.add(counts.confusion, self.images)
        self.images += 1
        if counts.panorama is not None:
            self._panoramas += 1
            self._sphere += counts.panorama.sphere
            self._bands += counts.panorama.bands
            self._band_sphere += counts.panorama.band_sphere
            self._seam += counts.panorama.seam

    def state(self) -> dict[str, np.ndarray]:
        """All that has been added up, as arrays by name; `restore` goes on from there."""
        numbers = np.array([self.images, self._pixels, self._panoramas])
        return {"numbers": numbers, "resampled": self.resampled.terms} | {name: getattr(self, name) for name in _ARRAYS}

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Go on from a `state`."""
        self.images, self._pixels, self._panoramas = map(int, state["numbers"])
        self.resampled.terms[:], self.resampled.images = state["resampled"], self.images
        for name in _ARRAYS:
            getattr(self, name)[:] = state[name]

    def result(self, subject: str, data: str, weights: Iterable[str] = ()) -> Evaluation:
        """What has been added up.

        Args:
            subject, data: what they were, as `evaluate` takes them.
            weights: sha256 of the subject's weight files.
        """
        confusion = self._confusion
        labelled = int(confusion.sum())
        boundary, images = self._boundary
        f1 = np.divide(boundary, images, out=np.full(len(boundary), np.nan), where=images > 0)
        ignored = self._pixels - labelled
        return Evaluation(
            subject=subject,
            data=data,
            label_set=self.label_set.name,
            images=self.images,
            pixels=self._pixels,
            ignored=ignored,
            ignored_share=ignored / self._pixels if self._pixels else None,
            coverage=float(confusion[:, :-1].sum() / labelled) if labelled else None,
            miou=_mean(iou_of(confusion)),
            miou_interval=self.resampled.interval(),
            miou_sphere=_mean(iou_of(self._sphere)) if self._panoramas else None,
            pixel_accuracy=float(np.diag(confusion).sum() / labelled) if labelled else None,
            seam_miou=_mean(iou_of(self._seam)) if self._panoramas else None,
            latitudes=self._latitudes() if self._panoramas else None,
            boundary_f1=_mean(f1),
            per_class=dict(zip(self.label_set.names, map(_number, iou_of(confusion)), strict=True)),
            confusion=confusion.tolist(),
            weights=list(weights),
        )

    def _latitudes(self) -> list[dict[str, float | None]]:
        """Bands that have labels, from the top down."""
        total = self._band_sphere.sum()
        rows = []
        for band in reversed(np.flatnonzero(self._band_sphere)):
            low = -90.0 + BAND_DEGREES * band
            share = float(self._band_sphere[band] / total)
            miou = _mean(iou_of(self._bands[band]))
            rows.append({"from": low, "to": low + BAND_DEGREES, "share": share, "miou": miou})
        return rows


_ARRAYS = ("_confusion", "_seam", "_sphere", "_bands", "_band_sphere", "_boundary")


def _mean(values: np.ndarray) -> float | None:
    values = values[~np.isnan(values)]
    return float(values.mean()) if values.size else None


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
