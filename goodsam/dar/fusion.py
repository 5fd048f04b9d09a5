"""Cross-task complementary fusion (CTCF): the teacher's outlines meet the assistant's names.

The paper names the module and its purpose; the gate and the order of painting are our choice.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from goodsam.config import FusionOptions
from goodsam.masks import Masks
from goodsam.panorama import Geometry
from goodsam.views import View, footprint


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
        masks: N masks on the view's pixels.
        probabilities: of the assistant on this view, float (C, h, w).
    """
    pixels = probabilities.flatten(1).T.contiguous()
    winner = pixels.argmax(1)
    mean = torch.zeros(len(masks), pixels.shape[1])
    gate = torch.zeros(len(masks))
    for number in range(len(masks)):
        inside = torch.from_numpy(masks.indices(number))
        if len(inside) == 0:
            continue
        mean[number] = pixels[inside].mean(0)
        agreement = (winner[inside] == mean[number].argmax()).float().mean().item()
        opening = (agreement - options.gate_start) / (options.gate_full - options.gate_start)
        iou, stability = masks.ious[number], masks.stabilities[number]
        score = (1.0 if iou is None else iou) * (1.0 if stability is None else stability)
        gate[number] = min(max(score, 0.0), 1.0) * min(max(opening, 0.0), 1.0)
    return NamedMasks(view, masks, mean, gate)


def fuse(merged: Tensor, named: Sequence[NamedMasks], geometry: Geometry) -> Tensor:
    """Paint the masks of all views into the merged probabilities, from large to small.

    Starting from E = P: E(x) <- (1 - g_m) E(x) + g_m q_m for x in m. Where masks overlap the smaller one has the last
    word, as far as its gate lets it; pixels that no mask covers keep P(x).

    Args:
        merged: P, float (C, H, W).
        named: the masks of each view.
        geometry: of the panorama.
    Returns:
        E, float32 (C, H, W).
    """
    classes, height, width = merged.shape
    ensemble = merged.float().flatten(1).T.contiguous()  # a pixel's classes side by side: one cache line per update
    order = [(area, k, n) for k, view in enumerate(named) for n, area in enumerate(view.masks.areas)]
    pixels_of = [_PixelsOf(item, geometry, (height, width)) for item in named]
    for _, k, n in sorted(order, key=lambda entry: -entry[0]):
        gate = float(named[k].gate[n])
        if gate > 0:
            index = pixels_of[k](n)
            painted = torch.lerp(ensemble[index], named[k].mean[n], gate)
            ensemble.index_copy_(0, index, painted)
    return ensemble.T.reshape(classes, height, width)


class _PixelsOf:
    """Panorama pixels of a view's masks: nearest neighbour, since a mask has no half pixels."""

    def __init__(self, named: NamedMasks, geometry: Geometry, size: tuple[int, int]) -> None:
        self._masks = named.masks
        self._foot = footprint(named.view, geometry, size)

    def __call__(self, number: int) -> Tensor:
        inside = torch.zeros(self._masks.size[0] * self._masks.size[1], dtype=torch.bool)
        inside[torch.from_numpy(self._masks.indices(number))] = True
        return self._foot.index[inside[self._foot.nearest]]
