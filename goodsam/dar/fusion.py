"""Cross-task complementary fusion (CTCF): the teacher's outlines meet the assistant's names.

The paper names the module and its purpose; that opinions are pooled by their logarithms is our choice.
"""

from dataclasses import dataclass

import numpy as np
import torch
from scipy.sparse import csr_array
from torch import Tensor

from goodsam.config import FusionOptions
from goodsam.dar.merging import MergedMasks

FLOOR = 1e-4
"""Smallest probability whose logarithm is taken: no opinion rules a class out for good."""


@dataclass(frozen=True)
class Pooled:
    """What fusion makes of a panorama, and of what."""

    ensemble: Tensor
    """E, float32 (C, H, W), sums to one over C."""
    share: Tensor
    """s(x), float32 (H, W), 0..1: how much Q has to say in E; 0 where there is no mask."""
    logarithms: Tensor
    """Mean of log q_m over the masks of each pixel, float32 (H * W, C); 0 where there is no mask."""

    @property
    def masks_say(self) -> Tensor:
        """Q, float32 (C, H, W), sums to one over C; even where there is no mask."""
        return self.logarithms.softmax(1).T.reshape(self.ensemble.shape)


def mean_probabilities(merged: Tensor, masks: MergedMasks) -> np.ndarray:
    """q_m, the mean of P over each mask: float64 (M, C).

    Args:
        merged: P, float (C, H, W).
        masks: M masks of the panorama.
    """
    return class_sums(merged, masks) / np.maximum(masks.areas, 1)[:, None]


def class_sums(merged: Tensor, masks: MergedMasks) -> np.ndarray:
    """The sum of P over each mask: float64 (M, C); those of bands add up to that of the panorama.

    Args:
        merged: P, float (C, H, W), of the panorama or a band.
        masks: M masks of the same.
    """
    # In double precision: of millions of pixels a float32 sum loses what the later ones add.
    member = masks.member
    inside = csr_array((np.ones(len(member.indices)), member.indices, member.indptr), member.shape)
    return np.asarray(inside @ _rows(merged))


def pool(merged: Tensor, masks: MergedMasks, options: FusionOptions, means: np.ndarray | None = None) -> Pooled:
    """Pool what the assistant says of a pixel with what it says of the masks that hold the pixel.

    E(x) ~ P(x)^(1 - s(x)) Q(x)^s(x), normalised over classes, where log Q(x) = sum_m w_m(x) log q_m / sum_m w_m(x) over
    the masks m that hold x, w_m(x) is the mask's score times the trust in it at x, and s(x) = lambda w(x) / (1 + lambda
    w(x)) with w(x) the largest w_m(x).

    A logarithmic pool needs no gate: an impure mask has a flat q_m, which moves little, and what stands before
    something large, a pole before a house, survives by the share that it has in the large mask's own q_m. It does not
    depend on an order either, as painting masks over each other does. Pixels that no mask holds keep P.

    Args:
        merged: P, float (C, H, W), summing to one over C, of the panorama or a band.
        masks: of the same.
        options: lambda.
        means: q_m, float64 (M, C); None where the masks lie in `merged` as a whole.
    """
    scores = np.repeat(masks.scores, np.diff(masks.member.indptr)).astype(np.float32)
    weight = csr_array((masks.member.data * scores, masks.member.indices, masks.member.indptr), masks.member.shape)
    means = mean_probabilities(merged, masks) if means is None else means
    logarithms = weight.T @ np.log(np.maximum(means, FLOOR)).astype(np.float32)
    logarithms /= np.maximum(weight.sum(0), 1e-12)[:, None]
    largest = np.zeros(weight.shape[1], dtype=np.float32)
    np.maximum.at(largest, weight.indices, weight.data)
    share = torch.from_numpy(options.mask_weight * largest / (1 + options.mask_weight * largest))[:, None]
    rows, masks_say = torch.from_numpy(_rows(merged)), torch.from_numpy(logarithms)
    ensemble = torch.lerp(rows.clamp_min(FLOOR).log(), masks_say, share).softmax(1)
    ensemble = torch.where(share > 0, ensemble, rows)  # exactly P, not its floored logarithm, where there is no mask
    shape = tuple(merged.shape)
    return Pooled(ensemble.T.reshape(shape), share.reshape(shape[1:]), masks_say)


def fuse(merged: Tensor, masks: MergedMasks, options: FusionOptions) -> Tensor:
    """The ensemble alone: E of `pool`, float32 (C, H, W)."""
    return pool(merged, masks, options).ensemble


def _rows(merged: Tensor) -> np.ndarray:
    """float32 (C, H, W) -> (H * W, C)."""
    return np.ascontiguousarray(merged.float().flatten(1).T.numpy())
