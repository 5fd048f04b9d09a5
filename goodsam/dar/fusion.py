"""Cross-task complementary fusion (CTCF): the teacher's outlines meet the assistant's names.

The paper names the module and its purpose; the gate and the order of painting are our choice.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.sparse import csr_array
from torch import Tensor

from goodsam.config import FusionOptions
from goodsam.masks import Masks
from goodsam.panorama import Geometry
from goodsam.views import Footprint, View, footprint


@dataclass(frozen=True)
class NamedMasks:
    """What the assistant says of each of N masks of one view."""

    view: View
    masks: Masks
    mean: Tensor
    """q_m: mean probability over the mask, float32 (N, C)."""
    gate: Tensor
    """g_m: how much of it the mask's pixels take, float32 (N,), 0..1."""


def name_masks(view: View, masks: Masks, probabilities: Tensor, options: FusionOptions) -> NamedMasks:
    """Give each mask of a view the assistant's mean probabilities and a gate.

    a_m is the share of the mask's pixels whose arg max is that of q_m; g_m = iou_m * stability_m *
    clip((a_m - start) / (full - start), 0, 1), where a missing iou or stability counts as 1.

    Args:
        view: which view the masks are of.
        masks: N masks on the view's pixels, none of them empty.
        probabilities: of the assistant on this view, float (C, h, w).
    """
    pixels = probabilities.flatten(1).T.double()  # sums over 100,000 pixels; float32 would lose the last digits
    index, offsets = masks.pixels()
    member = csr_array((np.ones(len(index)), index, offsets), shape=(len(masks), len(pixels)))
    area = torch.tensor(masks.areas, dtype=torch.float64).clamp_min(1)
    mean = torch.from_numpy(member @ pixels.numpy()) / area[:, None]
    owner = np.repeat(np.arange(len(masks)), np.diff(offsets))
    agrees = probabilities.argmax(0).flatten().numpy()[index] == mean.argmax(1).numpy()[owner]
    agreement = torch.from_numpy(np.bincount(owner, weights=agrees, minlength=len(masks))) / area
    opening = (agreement - options.gate_start) / (options.gate_full - options.gate_start)
    score = _scores(masks.ious) * _scores(masks.stabilities)
    return NamedMasks(view, masks, mean.float(), (score * opening.clamp(0, 1)).float())


def _scores(values: Sequence[float | None]) -> Tensor:
    return torch.tensor([1.0 if value is None else value for value in values], dtype=torch.float64).clamp(0, 1)


def fuse(merged: Tensor, named: Sequence[NamedMasks], geometry: Geometry) -> Tensor:
    """Paint the masks of all views into the merged probabilities, from large to small.

    Starting from E = P: E(x) <- (1 - g) E(x) + g q_m for x in m, with g = g_m * r_k(x) / max_j r_j(x), where r_k is the
    weight of the mask's view: a mask that the view's border cuts off fades towards that border instead of ending in a
    line, while the view that sees x best counts in full. Where masks overlap the smaller one has the last word, as far
    as its gate lets it; pixels that no mask covers keep P(x).

    Args:
        merged: P, float (C, H, W).
        named: the masks of each view.
        geometry: of the panorama.
    Returns:
        E, float32 (C, H, W).
    """
    classes, height, width = merged.shape
    # A pixel's classes side by side, one cache line per update; a copy, since P is still needed.
    ensemble = merged.float().flatten(1).T.clone(memory_format=torch.contiguous_format)
    feet = [footprint(item.view, geometry, (height, width)) for item in named]
    best = torch.zeros(height * width)
    for foot in feet:
        best[foot.index] = torch.maximum(best[foot.index], foot.weight)
    painted = [_on_panorama(item, foot, best) for item, foot in zip(named, feet, strict=True)]
    order = [(area, k, n) for k, item in enumerate(named) for n, area in enumerate(item.masks.areas)]
    for _, k, n in sorted(order, key=lambda entry: -entry[0]):
        gate = float(named[k].gate[n])
        if gate > 0:
            index, trust = painted[k].of(n)
            pixels = ensemble.index_select(0, index)
            ensemble.index_copy_(0, index, pixels.lerp_(named[k].mean[n].expand_as(pixels), gate * trust[:, None]))
    return ensemble.T.reshape(classes, height, width)


@dataclass(frozen=True)
class _Painted:
    """Where the masks of one view lie on the panorama, one after the other."""

    index: Tensor
    """int64 (n,), flat panorama pixels of all masks."""
    trust: Tensor
    """float32 (n,), weight of the view there relative to the view that sees it best, 0..1."""
    offsets: np.ndarray
    """int64 (N + 1,), where each mask's pixels begin."""

    def of(self, number: int) -> tuple[Tensor, Tensor]:
        part = slice(self.offsets[number], self.offsets[number + 1])
        return self.index[part], self.trust[part]


def _on_panorama(named: NamedMasks, foot: Footprint, best: Tensor) -> _Painted:
    chosen, offsets = masks_in_footprint(named.masks, foot)
    index = foot.index[chosen]
    return _Painted(index, foot.weight[chosen] / best[index], offsets)


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
