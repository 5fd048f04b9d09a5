"""Weighted cross-entropy, and the weights of classes from how often they are labelled."""

import logging

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from goodsam.assistant_training.photos import Photos
from goodsam.errors import GoodSAMError
from goodsam.labels import IGNORE

log = logging.getLogger(__name__)

COUNTED = 200
"""Label maps, about, that are counted: shares of classes do not need all of them."""
POWER = -1 / 3
LARGEST_WEIGHT = 4.0


def class_weights(photos: Photos) -> Tensor:
    """One over the third root of a class's share of the pixels, mean 1, at most 4: float32 (C).

    Rare classes count in mIoU as much as others; the root keeps a few of their pixels from ruling a step (our choice).

    Raises:
        GoodSAMError: no pixel is labelled.
    """
    counts = np.zeros(256, dtype=np.int64)
    looked_at = photos.seen[:: max(1, len(photos.seen) // COUNTED)]
    for _, _, path in looked_at:
        counts += np.bincount(photos.data.read_labels(path).ravel(), minlength=256)
    own = counts[: len(photos.label_set)]
    if not own.sum():
        raise GoodSAMError(
            f"{looked_at[0][2]}: no pixel of this label map or of {len(looked_at) - 1} others has a class, all are "
            f"{IGNORE}; give label maps whose values are ids of {photos.label_set.name}."
        )
    absent = [name for name, number in zip(photos.label_set.names, own, strict=True) if not number]
    if absent:
        log.warning(
            "assistant: in the %d label maps looked at, no pixel is %s; what is not labelled is not learned.",
            len(looked_at), ", ".join(absent),
        )  # fmt: skip
    weights = (own / own.sum() + 1e-4) ** POWER
    return torch.from_numpy(np.minimum(weights / weights.mean(), LARGEST_WEIGHT)).float()


def segmentation_loss(logits: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """Weighted mean of the cross-entropy at half the labels' size, where it costs a quarter.

    Args:
        logits: (B, C, h, w) of any size.
        labels: int64 (B, H, W), 255 ignored; every other pixel is taken as it is.
        weights: float32 (C).
    Returns:
        a scalar; 0 where no pixel is labelled.
    """
    few = labels[:, ::2, ::2]
    large = F.interpolate(logits.float(), (few.shape[1], few.shape[2]), mode="bilinear", align_corners=False)
    total = F.cross_entropy(large, few, weights, ignore_index=IGNORE, reduction="sum")
    return total / weights[few[few != IGNORE]].sum().clamp_min(1e-6)
