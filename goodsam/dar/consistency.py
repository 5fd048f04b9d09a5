"""Prediction-level consistency: where views overlap, each is pulled to what they say together.

GoodSAM aligns the predictions of overlapping windows (its section on distortion-aware rectification); the form of the
loss and its weights are our choice.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from goodsam.views import Footprint


def merge_seen(seen: Sequence[Tensor], feet: Sequence[Footprint], pixels: int) -> tuple[Tensor, Tensor]:
    """P(x) = sum_k r_k(x) p_k(x) from some of a panorama's views.

    Args:
        seen: p_k at the panorama pixels that view k sees, float (n_k, C), as `views.sample` gives them.
        feet: where these pixels are, and the views' weights there.
        pixels: of the panorama's grid.
    Returns:
        P, float (pixels, C), 0 where none of the views sees; the sum of the weights, float (pixels,).
    """
    merged = seen[0].new_zeros(pixels, seen[0].shape[1])
    total = seen[0].new_zeros(pixels)
    for values, foot in zip(seen, feet, strict=True):
        index, weight = foot.index.to(values.device), foot.weight.to(values)
        merged = merged.index_add(0, index, values * weight[:, None])
        total = total.index_add(0, index, weight)
    return merged / total.clamp_min(1e-12)[:, None], total


def consistency_loss(seen: Sequence[Tensor], feet: Sequence[Footprint], pixels: int) -> Tensor:
    """L_con = mean over pixels x seen at least twice of sum over views k of (1 - r_k(x)) KL( stopgrad P(x) || p_k(x) ).

    A view is pulled most where it is least to be trusted, at its border. A pixel that one view alone sees has r = 1.

    Args:
        seen, feet, pixels: as of `merge_seen`; probabilities sum to one over C.
    Returns:
        the loss, float (); 0 where no two views overlap.
    """
    with torch.no_grad():
        merged, total = merge_seen(seen, feet, pixels)
        entropy = torch.special.entr(merged).sum(1)
        count = merged.new_zeros(pixels)
        for foot in feet:
            count.index_add_(0, foot.index.to(count.device), torch.ones_like(foot.weight, device=count.device))
        overlapping = count >= 2
    loss = seen[0].new_zeros(())
    for values, foot in zip(seen, feet, strict=True):
        index = foot.index.to(values.device)
        share = foot.weight.to(values) / total[index]
        divergence = -(merged[index] * values.clamp_min(1e-7).log()).sum(1) - entropy[index]
        loss = loss + ((1 - share) * divergence * overlapping[index]).sum()
    return loss / overlapping.sum().clamp_min(1)
