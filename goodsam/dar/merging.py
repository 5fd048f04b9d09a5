"""One set of masks per panorama from the masks of its views: a car that views cut in two is one mask again.

Our choice throughout; the paper fuses window by window.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.sparse import csc_array, csr_array
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from goodsam.masks import Masks
from goodsam.panorama import Geometry
from goodsam.views import Footprint, View, footprint

SAME = 0.5
"""Two masks of two views are of one thing where, among the pixels that both views see, their intersection is above
this share of their union, and each is the other's best match."""
SEEN = 25
"""Smallest part of a mask, pixels, in what both views see, by which it can be matched."""


@dataclass(frozen=True)
class MergedMasks:
    """M masks on the panorama's pixels."""

    member: csr_array
    """float32 (M, H * W): 0 outside a mask; inside, how far the views that it comes from are to be trusted there, as
    the largest share that any view has: 1 where the view that sees a pixel best is among them."""
    areas: np.ndarray
    """int64 (M,), pixels of the panorama."""
    scores: np.ndarray
    """float64 (M,): predicted IoU times stability, each 1 where the teacher has none; mean over a mask's parts."""
    origins: tuple[tuple[tuple[int, int], ...], ...]
    """Of each mask the (view, number) of its parts."""


def merge_masks(views: Sequence[tuple[View, Masks]], geometry: Geometry) -> MergedMasks:
    """Match the masks of overlapping views and join what matches.

    A pixel belongs to a joined mask where the views that saw parts of it and see the pixel say so by at least half of
    their weights: sum over parts m of r_k(m)(x) [x in m] >= 1/2 sum over the parts' views of r_k(x).

    Args:
        views: each view with its masks.
        geometry: of the panorama.
    """
    size = (geometry.height, geometry.width)
    feet = [footprint(view, geometry, size) for view, _ in views]
    pixels = size[0] * size[1]
    members = [_members(masks, foot, pixels) for (_, masks), foot in zip(views, feet, strict=True)]
    first = np.concatenate([[0], np.cumsum([member.shape[0] for member in members])])
    pairs = [
        first[[a, b]][:, None] + _same(members[a], members[b], feet[a], feet[b], pixels)
        for a in range(len(views))
        for b in range(a)
    ]
    row, column = np.concatenate([np.zeros((2, 0), dtype=np.int64), *pairs], axis=1)
    number = int(first[-1])
    links = csr_array((np.ones(len(row)), (row, column)), shape=(number, number))
    count, group = connected_components(links, directed=False)
    return _joined([masks for _, masks in views], members, feet, count, group.astype(np.int64), pixels)


def _members(masks: Masks, foot: Footprint, pixels: int) -> csr_array:
    """Which panorama pixels each mask of a view holds: float32 (N, pixels) of ones."""
    places, offsets = masks_in_footprint(masks, foot)
    index = foot.index[places].numpy()
    return csr_array((np.ones(len(index), dtype=np.float32), index, offsets), shape=(len(masks), pixels))


def _same(a: csr_array, b: csr_array, foot_a: Footprint, foot_b: Footprint, pixels: int) -> np.ndarray:
    """Rows of two views' masks that are of one thing: int64 (2, n)."""
    sees_a, sees_b = np.zeros(pixels, dtype=np.float32), np.zeros(pixels, dtype=np.float32)
    sees_a[foot_a.index.numpy()], sees_b[foot_b.index.numpy()] = 1, 1
    if not sees_a[foot_b.index.numpy()].any():
        return np.zeros((2, 0), dtype=np.int64)
    area_a, area_b = a @ sees_b, b @ sees_a
    inside_a, inside_b = np.flatnonzero(area_a >= SEEN), np.flatnonzero(area_b >= SEEN)
    if not (len(inside_a) and len(inside_b)):
        return np.zeros((2, 0), dtype=np.int64)
    both = (a[inside_a] @ b[inside_b].T).toarray()
    iou = both / (area_a[inside_a][:, None] + area_b[inside_b] - both)
    best = iou.argmax(1)
    mutual = (iou.argmax(0)[best] == np.arange(len(inside_a))) & (iou.max(1) > SAME)
    return np.stack([inside_a[mutual], inside_b[best[mutual]]])


def _joined(
    masks: Sequence[Masks], members: list[csr_array], feet: list[Footprint], count: int, group: np.ndarray, pixels: int
) -> MergedMasks:
    """The groups as masks."""
    weights = np.zeros((len(feet), pixels), dtype=np.float32)
    for weight, foot in zip(weights, feet, strict=True):
        weight[foot.index.numpy()] = foot.weight.numpy()
    best = np.maximum(weights.max(0), 1e-12) if len(feet) else np.ones(pixels)
    owner = np.repeat(np.arange(len(members)), [member.shape[0] for member in members])
    number = np.concatenate([np.arange(member.shape[0]) for member in members]) if members else np.zeros(0, int)
    of_view = np.zeros((count, len(members)), dtype=bool)
    of_view[group, owner] = True
    said = _said(members, [group[owner == k] for k in range(len(members))], weights, (count, pixels))
    rows = np.repeat(np.arange(count), np.diff(said.indptr))
    seen = np.zeros(len(rows), dtype=np.float32)
    for k, weight in enumerate(weights):
        seen += np.where(of_view[rows, k], weight[said.indices], 0)
    kept = said.data >= 0.5 * seen - 1e-9
    trust = np.minimum(1, seen[kept] / best[said.indices[kept]])
    member = csr_array((trust, (rows[kept], said.indices[kept])), shape=(count, pixels))
    scores = np.concatenate([_scores(item) for item in masks]) if masks else np.zeros(0)
    parts = np.bincount(group, minlength=count)
    mean = np.bincount(group, weights=scores, minlength=count) / np.maximum(parts, 1)
    order = np.argsort(group, kind="stable")
    splits = np.split(order, np.cumsum(parts)[:-1]) if count else []
    origins = tuple(tuple((int(owner[i]), int(number[i])) for i in part) for part in splits)
    return MergedMasks(member, np.diff(member.indptr).astype(np.int64), mean, origins)


def _said(members: list[csr_array], groups: list[np.ndarray], weights: np.ndarray, shape: tuple[int, int]) -> csr_array:
    """Sum over parts m of r_k(m)(x) [x in m], for each group of masks: float32 (count, pixels)."""
    rows, columns, values = [], [], []
    for member, mine, weight in zip(members, groups, weights, strict=True):
        row, column = np.repeat(mine, np.diff(member.indptr)), member.indices
        if len(np.unique(mine)) < len(mine):  # a view says of a pixel once that it belongs to a group
            row, column = np.divmod(np.unique(row * shape[1] + column), shape[1])
        rows.append(row)
        columns.append(column)
        values.append(weight[column])
    if not rows:
        return csr_array(shape, dtype=np.float32)
    place = (np.concatenate(rows).astype(np.int32), np.concatenate(columns).astype(np.int32))
    # By column first: it adds up what stands at one place, for which a pixel's few masks are soon sorted.
    return csc_array((np.concatenate(values), place), shape=shape).tocsr()


def _scores(masks: Masks) -> np.ndarray:
    """Predicted IoU times stability of each mask, float64 (N,), 0..1."""
    pairs = zip(masks.ious, masks.stabilities, strict=True)
    return np.array([(1.0 if i is None else i) * (1.0 if s is None else s) for i, s in pairs]).clip(0, 1)


def masks_in_footprint(masks: Masks, foot: Footprint) -> tuple[Tensor, np.ndarray]:
    """All masks of a view moved to the panorama at once: nearest neighbour, since a mask has no half pixels.

    Args:
        masks: N masks on the view's pixels.
        foot: the view's footprint on the panorama.
    Returns:
        places in the footprint's tensors, int64 (n,), one mask after the other, and offsets, int64 (N + 1,): mask i
        has `foot.index[places[offsets[i]:offsets[i + 1]]]`, none where the panorama shows nothing of it.
    """
    pixels, offsets = masks.pixels()
    order = np.argsort(foot.nearest.numpy(), kind="stable")
    seen = np.bincount(foot.nearest.numpy(), minlength=masks.size[0] * masks.size[1])
    first = np.concatenate([[0], np.cumsum(seen)])
    lengths = seen[pixels]  # how many panorama pixels take this pixel of the view: 1 for crops, any for tangent views
    ends = np.concatenate([[0], np.cumsum(lengths)])
    place = np.repeat(first[pixels] - ends[:-1], lengths) + np.arange(ends[-1])
    return torch.from_numpy(order[place]), ends[offsets]
