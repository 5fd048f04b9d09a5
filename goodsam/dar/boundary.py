"""Boundary enhancement: the assistant's outlines follow the teacher's.

GoodSAM sharpens the assistant's predictions along SAM's boundaries (its section on distortion-aware rectification);
the form of the loss and its weights are our choice.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from goodsam.masks import Masks

SHARPNESS = 0.5
"""Temperature of the target: a soft one would blur what it should sharpen."""


@dataclass(frozen=True)
class Outlines:
    """What of N masks of a view the loss looks at, on a grid of (h, w). It depends on the masks alone."""

    number: int
    """N."""
    band: Tensor
    """int64 (h, w): which mask a pixel near an outline belongs to, the smallest that holds it; -1 for none."""
    core: Tensor
    """int64 (2, n): mask and flat pixel of every pixel of every core: a mask without its band, or all of a mask too
    thin to have anything else."""

    def to(self, device: torch.device) -> "Outlines":
        """The same on another device."""
        return Outlines(self.number, self.band.to(device), self.core.to(device))


def outlines_of(masks: Masks, size: tuple[int, int], width: int = 2) -> Outlines:
    """Bands and cores of a view's masks, by index arithmetic on their pixels: hundreds of masks as arrays took seconds.

    Args:
        masks: N masks on the view's pixels.
        size: (h, w) of the grid, at most the view's own; a cell belongs to a mask that holds half of it.
        width: of the band inside a mask's outline, cells. The view's border is no outline.
    """
    cells = size[0] * size[1]
    owner, cell = _on_grid(masks, size)
    inner = _eroded(owner, cell, size, width)
    band = np.full(cells, -1, dtype=np.int64)
    is_inner = np.zeros(cells, dtype=bool)
    rank = np.empty(len(masks), dtype=np.int64)  # from large to small; of equal ones the later is the smaller
    rank[np.argsort(-np.array(masks.areas, dtype=np.int64), kind="stable")] = np.arange(len(masks))
    order = np.argsort(rank[owner], kind="stable")
    band[cell[order]] = owner[order]  # the last one written stays: the smallest mask that holds the cell
    smallest = band[cell] == owner
    is_inner[cell[smallest]] = inner[smallest]
    band[is_inner] = -1
    empty = np.bincount(owner, weights=inner, minlength=len(masks)) == 0
    kept = inner | empty[owner]
    core = np.stack([owner[kept], cell[kept]])
    return Outlines(len(masks), torch.from_numpy(band).reshape(size), torch.from_numpy(core))


def _on_grid(masks: Masks, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Masks and flat cells of which they hold at least half: int64 (n,) each, by mask and then cell."""
    height, width = masks.size
    pixels, offsets = masks.pixels()
    row, column = np.divmod(pixels, width)
    cell = row * size[0] // height * size[1] + column * size[1] // width
    owner = np.repeat(np.arange(len(masks)), np.diff(offsets))
    keys, held = np.unique(owner * (size[0] * size[1]) + cell, return_counts=True)
    rows = np.bincount(np.arange(height) * size[0] // height, minlength=size[0])
    columns = np.bincount(np.arange(width) * size[1] // width, minlength=size[1])
    owner, cell = np.divmod(keys, size[0] * size[1])
    half = 2 * held >= (rows[:, None] * columns).ravel()[cell]
    return owner[half], cell[half]


def _eroded(owner: np.ndarray, cell: np.ndarray, size: tuple[int, int], width: int) -> np.ndarray:
    """Of masks' cells, sorted, those whose square of side 2 * width + 1 lies inside, or beyond the grid: bool (n,)."""
    row, column = np.divmod(cell, size[1])
    kept = np.flatnonzero(_deep(owner * size[0] + row, column, size[1], width))
    # A square is a row of columns: what the rows have left is eroded along columns.
    order = kept[np.lexsort((row[kept], column[kept], owner[kept]))]
    deep = _deep(owner[order] * size[1] + column[order], row[order], size[0], width)
    inner = np.zeros(len(cell), dtype=bool)
    inner[order[deep]] = True
    return inner


def _deep(line: np.ndarray, place: np.ndarray, length: int, width: int) -> np.ndarray:
    """Which points of lines lie at least `width` from both ends of their run of neighbours; a line's end is none.

    Args:
        line, place: int64 (n,), sorted by both.
        length: of every line.
    """
    first = np.flatnonzero(np.diff(line, prepend=-1).astype(bool) | (np.diff(place, prepend=-2) != 1))
    runs = np.diff(np.append(first, len(line)))
    start = np.repeat(place[first], runs)
    end = start + np.repeat(runs, runs) - 1
    return ((place - start >= width) | (start == 0)) & ((end - place >= width) | (end == length - 1))


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
    if not outlines.number:
        return probabilities.new_zeros(())
    flat = probabilities.flatten(1).T  # (h * w, C)
    with torch.no_grad():
        mask, pixel = outlines.core
        said = flat.new_zeros(outlines.number, flat.shape[1]).index_add_(0, mask, flat[pixel])
        area = torch.bincount(mask, minlength=outlines.number).clamp_min(1).to(flat)
        mean = said / area[:, None]
        agrees = (flat.argmax(1)[pixel] == mean.argmax(1)[mask]).to(flat)
        agreement = flat.new_zeros(outlines.number).index_add_(0, mask, agrees) / area
        target = (mean.clamp_min(1e-7).log() / SHARPNESS).softmax(1)
        owner = outlines.band.flatten()
        pulled = ((owner >= 0) & (agreement >= purity)[owner.clamp_min(0)]).nonzero()[:, 0]
        wanted = target[owner[pulled]]
    divergence = -(wanted * flat[pulled].clamp_min(1e-7).log()).sum(1) - torch.special.entr(wanted).sum(1)
    return divergence.sum() / max(1, len(pulled))
