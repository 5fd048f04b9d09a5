"""Masks in rounds of few prompts, and everything but the masks that survive at the decoder's own low resolution.

Our choice; what segment-anything does at the image's size for every candidate (stability, boxes, small regions) is done
on its logits, a sixteenth of the pixels, and only what is kept is enlarged.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from scipy import ndimage
from torch import Tensor

from goodsam.labels import IGNORE
from goodsam.profiling import timed
from goodsam.teachers import placing, prompts
from goodsam.teachers.placing import Hint
from goodsam.teachers.sam_options import SamOptions

PURE = 0.8
"""Share of one class from which a mask is good: what it holds needs no more questions."""
Decode = Callable[[Tensor], tuple[Tensor, Tensor]]
"""Points (P, 2) as shares of width and height -> logits (P, 3, h, w) of the image alone, and predicted IoUs (P, 3)."""


@dataclass(frozen=True)
class Found:
    """Masks that are kept so far, at low resolution."""

    logits: Tensor
    """float (N, h, w)."""
    boxes: Tensor
    """float32 (N, 4), see `prompts.mask_boxes`, one past the last pixel."""
    ious: Tensor
    """float32 (N,), as predicted."""
    stabilities: Tensor
    """float32 (N,)."""

    def select(self, keep: Tensor) -> "Found":
        """Some of the masks."""
        return Found(self.logits[keep], self.boxes[keep], self.ious[keep], self.stabilities[keep])


def find_masks(decode: Decode, hint: Hint, options: SamOptions) -> tuple[Found, int]:
    """Ask in rounds: what the assistant sees, then what is still open, coarsely and finely, until a round adds nothing.

    Args:
        decode: asks the network.
        hint: the assistant's view of the image.
        options: filters, and the cells along each side of the finest lattice, of which each can be asked once.
    Returns:
        the masks, best predicted IoU first, and how many points were asked.
    """
    with timed("filter"):
        asked = placing.one_per_area(hint, options.points_per_side)
    found = _filtered(*decode(torch.from_numpy(asked).float()), options)
    found = found.select(prompts.suppress(found.boxes, found.ious, options.nms_threshold))
    for side in (max(1, options.points_per_side // 2), options.points_per_side):
        with timed("filter"):
            wanted = placing.still_open(hint, _covered(found, hint, options.mask_threshold))
            points = placing.one_per_cell(wanted, asked, side)
        if not len(points):
            continue
        asked = np.concatenate([asked, points])
        more = _filtered(*decode(torch.from_numpy(points).float()), options)
        before = len(found.ious)
        joined = _joined(found, more)
        kept = prompts.suppress(joined.boxes, joined.ious, options.nms_threshold)
        found = joined.select(kept)
        if not bool((kept >= before).any()):
            break
    return found, len(asked)


def tidied(found: Found, smallest: float, threshold: float) -> Found:
    """Holes filled, islands and masks removed that have fewer than `smallest` cells of the low resolution.

    As `prompts.remove_small_regions` does at the image's size; all masks at once, as layers that do not touch.
    """
    if smallest <= 1 or not len(found.ious):
        return found
    logits = found.logits.cpu().float().numpy()
    layers = np.zeros((3, 3, 3), dtype=int)
    layers[1] = 1
    for value in (False, True):
        regions, number = ndimage.label((logits > threshold) == value, structure=layers)
        small = np.bincount(regions.ravel(), minlength=number + 1) < smallest
        small[0] = False  # region 0 is everything of the other value
        logits[small[regions]] = threshold - 1 if value else threshold + 1
    masks = torch.from_numpy(logits)
    keep = (masks > threshold).flatten(1).sum(1) >= smallest
    return Found(masks.to(found.logits), found.boxes, found.ious, found.stabilities).select(keep)


def _filtered(logits: Tensor, ious: Tensor, options: SamOptions) -> Found:
    """What passes the filters, of masks (P, 3, h, w)."""
    with timed("filter"):
        return _passing(logits, ious, options)


def _passing(logits: Tensor, ious: Tensor, options: SamOptions) -> Found:
    ious = ious.flatten()
    sure = ious > options.iou_threshold
    logits, ious = logits.flatten(0, 1)[sure], ious[sure]
    stabilities = prompts.stability_scores(logits, options.mask_threshold, options.stability_offset)
    masks = logits > options.mask_threshold
    keep = masks.flatten(1).any(dim=1)
    if options.stability_threshold > 0:
        keep &= stabilities > options.stability_threshold
    boxes = prompts.mask_boxes(masks[keep])
    boxes[:, 2:] += 1  # at low resolution a thing may be one pixel wide, and must still have an area
    return Found(logits[keep], boxes.cpu(), ious[keep].float().cpu(), stabilities[keep].float().cpu())


def _joined(first: Found, second: Found) -> Found:
    pairs = zip(vars(first).values(), vars(second).values(), strict=True)
    return Found(*(torch.cat(pair) for pair in pairs))


def _covered(found: Found, hint: Hint, threshold: float) -> np.ndarray:
    """Cells of the hint that a good mask holds, one that is nearly all of one class: bool (h, w)."""
    size = hint.labels.shape
    if not len(found.ious):
        return np.zeros(size, dtype=bool)
    masks = (F.interpolate(found.logits[None].float(), size, mode="bilinear", align_corners=False)[0] > threshold).cpu()
    flat = masks.flatten(1).float()
    values, place = np.unique(hint.labels, return_inverse=True)
    there = F.one_hot(torch.from_numpy(place.ravel()), len(values)).float()
    counts = (flat @ there)[:, torch.from_numpy(values != IGNORE)]
    pure = (
        counts.amax(1) >= PURE * flat.sum(1).clamp_min(1)
        if counts.shape[1]
        else torch.zeros(len(flat), dtype=torch.bool)
    )
    return masks[pure].any(0).numpy() if bool(pure.any()) else np.zeros(size, dtype=bool)
