"""Pure functions of automatic mask generation: where to prompt, which masks to keep, what to tidy."""

import functools
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from scipy import ndimage

_EIGHT_NEIGHBOURS = np.ones((3, 3), dtype=int)


@dataclass(frozen=True)
class Candidates:
    """N masks that passed the filters; bits, not bytes, since a dense grid finds thousands."""

    bits: np.ndarray
    """uint8 (N, ceil(h * w / 8)), `np.packbits` of the row-major mask."""
    boxes: torch.Tensor
    """float32 (N, 4), see `mask_boxes`."""
    ious: torch.Tensor
    """float32 (N,), predicted by the network."""
    stabilities: torch.Tensor
    """float32 (N,)."""


def join(parts: list[Candidates]) -> Candidates:
    """Candidates of several batches in one, in order."""
    return Candidates(
        np.concatenate([part.bits for part in parts]),
        torch.cat([part.boxes for part in parts]),
        torch.cat([part.ious for part in parts]),
        torch.cat([part.stabilities for part in parts]),
    )


def prompt_grid(points_per_side: int) -> torch.Tensor:
    """Centres of a square grid of cells that covers the image, row by row.

    Returns:
        float32 (points_per_side**2, 2): x and y as shares of width and height, inside 0..1.
    """
    offset = 1 / (2 * points_per_side)
    side = torch.linspace(offset, 1 - offset, points_per_side)
    rows, columns = torch.meshgrid(side, side, indexing="ij")
    return torch.stack([columns, rows], dim=-1).reshape(-1, 2)


@functools.lru_cache(maxsize=8)
def resize_matrix(source: int, padded: int, kept: int, target: int) -> torch.Tensor:
    """Bilinear resizing along one axis as a matrix: `source` to `padded` pixels, the first `kept` of them to `target`.

    Returns:
        float32 (target, source), on the CPU.
    """
    steps = F.interpolate(torch.eye(source)[None], padded, mode="linear")[..., :kept]
    return F.interpolate(steps, target, mode="linear")[0].T.contiguous()


def stability_scores(logits: torch.Tensor, threshold: float, offset: float) -> torch.Tensor:
    """How little a mask changes with its threshold: |logits > threshold + offset| / |logits > threshold - offset|.

    The first set lies inside the second, so the quotient is their intersection over union (segment-anything, amg.py).

    Args:
        logits: float (N, h, w).
    Returns:
        float (N,), 0..1; nan where both sets are empty.
    """
    inner = (logits > threshold + offset).sum(dim=(-2, -1))
    outer = (logits > threshold - offset).sum(dim=(-2, -1))
    return inner / outer


def mask_boxes(masks: torch.Tensor) -> torch.Tensor:
    """First and last column and row of each mask; as in segment-anything the last is part of the mask.

    Args:
        masks: bool (N, h, w).
    Returns:
        float32 (N, 4): left, top, right, bottom, pixels; zeros for an empty mask.
    """
    left, right = _extent(masks.any(dim=-2))
    top, bottom = _extent(masks.any(dim=-1))
    return torch.stack([left, top, right, bottom], dim=-1).float()


def _extent(occupied: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Index of the first and last True in each row of bool (N, length); 0 and 0 where there is none."""
    flags = occupied.to(torch.uint8)  # argmax gives the first of equal values and takes no bool
    first = flags.argmax(dim=-1)
    last = occupied.shape[-1] - 1 - flags.flip(-1).argmax(dim=-1)
    return first, torch.where(occupied.any(dim=-1), last, 0)


def suppress(boxes: torch.Tensor, scores: torch.Tensor, threshold: float) -> torch.Tensor:
    """Non-maximum suppression: from the best score down, drop every box that overlaps a kept one too much.

    One pass over the kept boxes, each compared at once with all that are left: N^2 memory is never needed. A box one
    pixel wide has no area here (see `mask_boxes`), so it neither drops nor is dropped, as in torchvision.

    Args:
        boxes: (N, 4) left, top, right, bottom, any device.
        scores: (N,); between equal scores the earlier one goes first.
        threshold: intersection over union above which the worse box is dropped.
    Returns:
        int64 (K,) on the CPU: numbers of the kept boxes, best first.
    """
    boxes, scores = boxes.cpu().float(), scores.cpu()
    order = torch.argsort(scores, descending=True, stable=True)
    kept = []
    while len(order):
        best, rest = order[0], order[1:]
        kept.append(best)
        order = rest[~(_box_iou(boxes[best], boxes[rest]) > threshold)]  # "not above" keeps nan, the case 0 / 0
    return torch.stack(kept) if kept else torch.zeros(0, dtype=torch.int64)


def _box_iou(box: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
    """Intersection over union of one box (4,) with others (N, 4): float (N,)."""
    width = (torch.minimum(box[2], others[:, 2]) - torch.maximum(box[0], others[:, 0])).clamp(min=0)
    height = (torch.minimum(box[3], others[:, 3]) - torch.maximum(box[1], others[:, 1])).clamp(min=0)
    area = (box[2] - box[0]) * (box[3] - box[1])
    areas = (others[:, 2] - others[:, 0]) * (others[:, 3] - others[:, 1])
    return width * height / (area + areas - width * height)


def remove_small_regions(mask: np.ndarray, min_area: int) -> np.ndarray:
    """Fill holes, then remove islands, of fewer than `min_area` pixels (8-connected, as in segment-anything).

    Unlike segment-anything, a mask with nothing but small islands becomes empty: it would be dropped for its area.

    Args:
        mask: bool (h, w).
    Returns:
        bool (h, w); the argument itself where nothing was small.
    """
    for value in (False, True):
        regions, number = ndimage.label(mask == value, structure=_EIGHT_NEIGHBOURS)
        areas = np.bincount(regions.ravel(), minlength=number + 1)
        small = areas < min_area
        small[0] = False  # region 0 is everything of the other value
        if small.any():
            mask = np.where(small[regions], not value, mask)
    return mask
