"""Boundary enhancement: the assistant's outlines follow the teacher's.

GoodSAM sharpens the assistant's predictions along SAM's boundaries (its section on distortion-aware rectification);
the form of the loss and its weights are our choice.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from goodsam.masks import Masks

SHARPNESS = 0.5
"""Temperature of the target: a soft one would blur what it should sharpen."""
_AT_ONCE = 32  # masks as float arrays; our choice: 26 MB for views of 400 x 512


@dataclass(frozen=True)
class Outlines:
    """What of N masks of a view the loss looks at, on a grid of (h, w). It depends on the masks alone."""

    band: Tensor
    """int64 (h, w): which mask a pixel near an outline belongs to, the smallest that holds it; -1 for none."""
    core: Tensor
    """bool (N, h, w): each mask without its band, or all of a mask too thin to have anything else."""

    def to(self, device: torch.device) -> "Outlines":
        """The same on another device."""
        return Outlines(self.band.to(device), self.core.to(device))


def outlines_of(masks: Masks, size: tuple[int, int], width: int = 2) -> Outlines:
    """Bands and cores of a view's masks.

    Args:
        masks: N masks on the view's pixels.
        size: (h, w) of the grid, at most the view's own; a cell belongs to a mask that holds half of it.
        width: of the band inside a mask's outline, cells. The view's border is no outline.
    """
    inside = torch.zeros(len(masks), *size, dtype=torch.bool)
    eroded = inside.clone()
    for begin in range(0, len(masks), _AT_ONCE):
        part = slice(begin, begin + _AT_ONCE)
        arrays = torch.from_numpy(masks.select(range(len(masks))[part]).to_arrays()).float()
        inside[part] = F.adaptive_avg_pool2d(arrays[None], size)[0] >= 0.5
        eroded[part] = _eroded(inside[part], width)
    band = torch.full(size, -1, dtype=torch.int64)
    for number in np.argsort(-np.array(masks.areas, dtype=np.int64), kind="stable"):
        band[inside[number]] = -1  # from large to small: what a smaller mask holds is no longer the larger one's
        band[inside[number] & ~eroded[number]] = int(number)
    empty = ~eroded.flatten(1).any(1)
    return Outlines(band, eroded | (inside & empty[:, None, None]))


def _eroded(inside: Tensor, width: int) -> Tensor:
    """bool (N, h, w) -> the pixels whose square of side 2 * width + 1 lies inside, or beyond the image."""
    outside = F.max_pool2d((~inside).float()[:, None], 2 * width + 1, stride=1, padding=width)[:, 0]
    return outside == 0


def boundary_loss(probabilities: Tensor, outlines: Outlines, purity: float = 0.9) -> Tensor:
    """L_bnd = mean over pixels x in the bands of pure masks of KL( stopgrad t_m || p(x) ), m the mask of x.

    q_m is the mean probability over the mask's core, t_m is q_m sharpened; m is pure where the arg max of at least
    `purity` of its core is that of q_m.

    Args:
        probabilities: p of one view, float (C, h, w), summing to one over C.
        outlines: of the view's masks, on the same grid.
        purity: share of a core's pixels, 0..1.
    Returns:
        the loss, float (); 0 where no mask is pure.
    """
    number = len(outlines.core)
    if not number:
        return probabilities.new_zeros(())
    flat = probabilities.flatten(1)
    with torch.no_grad():
        core = outlines.core.flatten(1).to(flat)
        area = core.sum(1).clamp_min(1)
        mean = core @ flat.T / area[:, None]
        votes = F.one_hot(flat.argmax(0), flat.shape[0]).to(flat)
        agreement = (core @ votes).gather(1, mean.argmax(1, keepdim=True))[:, 0] / area
        target = (mean.clamp_min(1e-7).log() / SHARPNESS).softmax(1)
        owner = outlines.band.flatten()
        pulled = ((owner >= 0) & (agreement >= purity)[owner.clamp_min(0)]).nonzero()[:, 0]
        wanted = target[owner[pulled]]
    divergence = -(wanted * flat.T[pulled].clamp_min(1e-7).log()).sum(1) - torch.special.entr(wanted).sum(1)
    return divergence.sum() / max(1, len(pulled))
