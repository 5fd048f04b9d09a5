"""What the ladder compares our method with: the tuned assistant, majority vote, perfect masks."""

import dataclasses

import numpy as np
import torch
from torch import Tensor

from goodsam.config import FusionOptions
from goodsam.dar.fusion import fuse
from goodsam.dar.merging import masks_in_footprint, merge_masks
from goodsam.masks import PanoramaMasks, masks_from_arrays
from goodsam.panorama import Geometry, Panorama, wrap_pad
from goodsam.teachers.assistant import Assistant
from goodsam.teachers.normalisation import resized
from goodsam.views import cut_labels, footprint, lay_views

WRAP_DEGREES = 45.0
"""Yaw by which the tuned assistant sees past the left and the right edge."""


def whole_tuned(assistant: Assistant, panorama: Panorama, scale: float) -> Tensor:
    """The assistant on the whole panorama at its best: wrapped, scaled, mean of the image and its mirror image.

    Args:
        scale: factor by which the panorama is enlarged.
    Returns:
        probabilities, float32 (C, H, W), summing to one over C.
    """
    columns = round(WRAP_DEGREES / 360 * panorama.geometry.width)
    pixels = torch.from_numpy(wrap_pad(panorama.pixels, columns)).permute(2, 0, 1)[None].float() / 255
    height, width = pixels.shape[2:]
    seen = resized(pixels, (max(1, round(height * scale)), max(1, round(width * scale))))
    plain = assistant.predict(seen).probabilities
    mirrored = assistant.predict(seen.flip(3)).probabilities.flip(3)
    return resized((plain + mirrored) / 2, (height, width))[0, :, :, columns:-columns].cpu()


def majority_vote(labels: np.ndarray, masks: PanoramaMasks, geometry: Geometry) -> np.ndarray:
    """Each mask takes the class that most of its pixels have; smaller masks are painted over larger ones.

    The textbook baseline (as in Semantic Segment Anything): no gate, no scores, hard labels. Votes are counted in the
    label map that it starts from, not in the one being painted, and a mask counts its pixels on the panorama.

    Args:
        labels: merged label map, uint8 (H, W); pixels that no mask covers keep theirs.
        masks: of the panorama's views.
        geometry: of the panorama.
    Returns:
        uint8 (H, W).
    """
    before, after = labels.ravel(), labels.flatten()
    painted: list[tuple[int, np.ndarray, int]] = []
    for view, seen in masks.views:
        foot = footprint(view, geometry, masks.size)
        places, offsets = masks_in_footprint(seen, foot)
        index = foot.index[places].numpy()
        owner = np.repeat(np.arange(len(seen)), np.diff(offsets))
        votes = np.bincount(owner * 256 + before[index], minlength=256 * len(seen)).reshape(-1, 256)
        parts = np.split(index, offsets[1:-1]) if len(seen) else []
        painted += zip(seen.areas, parts, votes.argmax(1).tolist(), strict=True)
    for _, index, winner in sorted(painted, key=lambda entry: -entry[0]):
        after[index] = winner
    return after.reshape(labels.shape)


def true_masks(instances: np.ndarray, geometry: Geometry) -> PanoramaMasks:
    """A mask for every true instance in every view, with scores of 1; what is labelled 255 has none.

    Args:
        instances: uint16 (H, W), 0 for none.
        geometry: of the panorama.
    """
    views = []
    for view in lay_views(geometry):
        seen = cut_labels(instances, geometry, view, ignore=0)
        numbers = np.unique(seen[seen > 0])
        ones = [1.0] * len(numbers)
        views.append((view, masks_from_arrays(seen[None] == numbers[:, None, None], ones, ones)))
    return PanoramaMasks((geometry.height, geometry.width), "perfect", tuple(views))


def fused(merged: Tensor, masks: PanoramaMasks, geometry: Geometry) -> Tensor:
    """The ensemble as the label stage makes it, of any probabilities P and masks: float32 (C, H, W)."""
    return fuse(merged, merge_masks(masks.views, geometry), FusionOptions())


def fusion_options() -> dict[str, float]:
    """What `fused` uses, as JSON values."""
    return dataclasses.asdict(FusionOptions())
