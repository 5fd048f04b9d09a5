"""How sure a difference between two subjects is: a paired bootstrap over images.

Images are drawn with replacement, the same ones for both subjects, and mIoU is taken of the confusion matrices added
up, so that what makes an image easy or hard for both falls out of the difference.
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
