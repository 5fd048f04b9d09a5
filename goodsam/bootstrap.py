"""How sure a figure, or a difference between two subjects, is: a bootstrap over images.

Images are drawn with replacement, the same ones for both subjects, and mIoU is taken of the confusion matrices added
up, so that what makes an image easy or hard for both falls out of the difference. `paired_bootstrap` has the matrices
of all images at once; `Resampled` sees one image after the other and keeps none: it draws how often an image is taken
from the Poisson distribution of mean 1, to which that of the usual bootstrap tends (Hanley and MacGibbon 2006).
"""

from dataclasses import dataclass

import numpy as np

RESAMPLES = 2000
LEVEL = 0.95


@dataclass(frozen=True)
class Interval:
    """A difference in mIoU and where it may lie, shares (-1..1)."""

    difference: float
    """Second minus first, on all images."""
    low: float
    """Lower end of the interval."""
    high: float
    """Upper end of the interval."""


def miou_of(confusions: np.ndarray) -> np.ndarray:
    """Mean intersection over union of the classes present in the labels, of many confusion matrices at once.

    Args:
        confusions: (..., C, C + 1), rows by label, columns by prediction, the last for "none", as
            `metrics.confusion_matrix` gives them.
    Returns:
        float64 (...), NaN where no pixel is labelled.
    """
    classes = confusions.shape[-2]
    hit = np.diagonal(confusions[..., :classes], axis1=-2, axis2=-1)
    labelled = confusions.sum(-1)
    union = labelled + confusions[..., :classes].sum(-2) - hit
    present = labelled > 0
    iou = np.divide(hit, union, out=np.zeros(hit.shape), where=present)
    number = present.sum(-1)
    return np.divide(iou.sum(-1), number, out=np.full(number.shape, np.nan), where=number > 0)


def paired_bootstrap(
    first: np.ndarray, second: np.ndarray, resamples: int = RESAMPLES, seed: int = 0, level: float = LEVEL
) -> Interval:
    """How much better the second subject is than the first, in mIoU, with a percentile interval.

    The images of resample r are row r of `numpy.random.default_rng(seed).integers(N, size=(resamples, N))`.

    Args:
        first, second: confusion matrices of the same N images, (N, C, C + 1).
        resamples: how many.
        seed: of the draws.
        level: share of the resamples that the interval holds, 0..1.
    Raises:
        ValueError: the two are not of the same images, or there are none.
    """
    if first.shape != second.shape or not len(first):
        raise ValueError(f"confusion matrices {first.shape} and {second.shape} are not of the same images")
    if not np.array_equal(first.sum(-1), second.sum(-1)):
        raise ValueError("the two subjects were counted on images with different labels; they cannot be paired")
    images = len(first)
    drawn = np.random.default_rng(seed).integers(images, size=(resamples, images))
    # How often each resample holds each image: adding up the resamples is then one product of matrices.
    times = np.zeros((resamples, images))
    np.add.at(times, (np.arange(resamples)[:, None], drawn), 1)
    values = [
        miou_of((times @ item.reshape(images, -1)).reshape(resamples, *item.shape[1:])) for item in (first, second)
    ]
    low, high = np.nanquantile(values[1] - values[0], [(1 - level) / 2, (1 + level) / 2])
    difference = miou_of(second.sum(0)) - miou_of(first.sum(0))
    return Interval(float(difference), float(low), float(high))


class Resampled:
    """The bootstrap of one subject's mIoU, image by image, in memory that does not grow with their number.

    Subjects that saw the same images in the same order have had the same draws, and are paired.

    Args:
        classes: C.
        resamples: how many.
        seed: of the draws.
    """

    def __init__(self, classes: int, resamples: int = RESAMPLES, seed: int = 0) -> None:
        self._seed = seed
        self.terms = np.zeros((resamples, 3, classes))
        """Per resample and class: pixels met, labelled, predicted; all that mIoU needs."""
        self.images = 0

    def add(self, confusion: np.ndarray, index: int) -> None:
        """Count one image.

        Args:
            confusion: (C, C + 1), of a `counts.confusion_matrix`.
            index: the image's place in the data, which decides how often each resample takes it.
        """
        times = np.random.default_rng([self._seed, index]).poisson(1.0, len(self.terms))
        terms = np.stack([np.diag(confusion), confusion.sum(1), confusion[:, :-1].sum(0)])
        self.terms += times[:, None, None] * terms
        self.images = index + 1

    def mious(self) -> np.ndarray:
        """float64 (resamples,), NaN for one that took no labelled pixel."""
        hit, labelled, predicted = np.moveaxis(self.terms, 1, 0)
        present = labelled > 0
        iou = np.divide(hit, labelled + predicted - hit, out=np.zeros_like(hit), where=present)
        number = present.sum(-1)
        return np.divide(iou.sum(-1), number, out=np.full(len(iou), np.nan), where=number > 0)

    def interval(self, first: "Resampled | None" = None, level: float = LEVEL) -> list[float] | None:
        """Where mIoU, or its difference to a `first` subject on the same images, may lie; None of under two images."""
        values = self.mious() - (first.mious() if first is not None else 0.0)
        if self.images < 2 or np.isnan(values).all():
            return None
        low, high = np.nanquantile(values, [(1 - level) / 2, (1 + level) / 2])
        return [float(low), float(high)]
