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

from goodsam.dar.atoms import atoms_of
from goodsam.masks import Masks
from goodsam.panorama import Geometry
from goodsam.views import Footprint, View, bands, footprint

SAME = 0.5
"""Two masks of two views are of one thing where, among the pixels that both views see, their intersection is above
this share of their union, and each is the other's best match."""
SEEN = 25
"""Smallest part of a mask, pixels, in what both views see, by which it can be matched."""


@dataclass(frozen=True)
class MergedMasks:
    """M masks on the pixels of a panorama, or of a band of it."""

    member: csr_array
    """float32 (M, H * W): 0 outside a mask; inside, how far the views that it comes from are to be trusted there, as
    the largest share that any view has: 1 where the view that sees a pixel best is among them."""
    areas: np.ndarray
    """int64 (M,), pixels of the panorama."""
    scores: np.ndarray
    """float64 (M,): predicted IoU times stability, each 1 where the teacher has none; mean over a mask's parts."""
    origins: tuple[tuple[tuple[int, int], ...], ...]
    """Of each mask the (view, number) of its parts."""


class Joiner:
    """The masks of a panorama's views, matched; what they make of the panorama is told band by band.

    A pixel belongs to a joined mask where the views that saw parts of it and see the pixel say so by at least half of
    their weights: sum over parts m of r_k(m)(x) [x in m] >= 1/2 sum over the parts' views of r_k(x).

    Args:
        views: each view with its masks.
        geometry: of the panorama.
        pixels: of a band, see `views.bands`.
    """

    def __init__(self, views: Sequence[tuple[View, Masks]], geometry: Geometry, pixels: int | None = None) -> None:
        self.views, self.geometry = [view for view, _ in views], geometry
        self.size = (geometry.height, geometry.width)
        self._atoms = [atoms_of(masks) for _, masks in views]
        self._owner = np.repeat(np.arange(len(views)), [len(masks) for _, masks in views])
        self._number = np.concatenate([np.zeros(0, dtype=np.int64), *(np.arange(len(masks)) for _, masks in views)])
        self._scores = np.concatenate([np.zeros(0), *(_scores(masks) for _, masks in views)])
        row, column = self._links(list(bands(self.size, pixels)))
        links = csr_array((np.ones(len(row)), (row, column)), shape=(len(self._owner),) * 2)
        self.count, group = connected_components(links, directed=False)
        self._group = group.astype(np.int64)
        self._last: tuple[tuple[int, int], MergedMasks] | None = None

    def band(self, rows: tuple[int, int]) -> MergedMasks:
        """What of the joined masks lies in some rows, areas too; the last answer is kept."""
        if self._last is None or self._last[0] != rows:
            self._last = None  # frees its memory
            self._last = (rows, self._joined(rows))
        return self._last[1]

    def _feet(self, rows: tuple[int, int]) -> list[Footprint]:
        return [footprint(view, self.geometry, self.size, rows) for view in self.views]

    def _links(self, every: list[tuple[int, int]]) -> np.ndarray:
        """Pairs of masks that are of one thing, as numbers from 0 over all views: int64 (2, n)."""
        common: dict[tuple[int, int], csr_array] = {}
        for rows in every:
            feet, pixels = self._feet(rows), (rows[1] - rows[0]) * self.size[1]
            seen = [atoms.seen(foot, pixels) for atoms, foot in zip(self._atoms, feet, strict=True)]
            for a, (atoms, foot) in enumerate(zip(self._atoms, feet, strict=True)):
                here = foot.index.numpy()
                for b in range(a):
                    other = seen[b][here]
                    both = other >= 0
                    if both.any():
                        pair = _counted(seen[a][here[both]], other[both], (len(atoms), len(self._atoms[b])))
                        common[a, b] = common[a, b] + pair if (a, b) in common else pair
        first = np.searchsorted(self._owner, np.arange(len(self.views)))
        pairs = [
            first[[a, b]][:, None] + _same(counts, self._atoms[a].table, self._atoms[b].table)
            for (a, b), counts in sorted(common.items())
        ]
        return np.concatenate([np.zeros((2, 0), dtype=np.int64), *pairs], axis=1)

    def _joined(self, rows: tuple[int, int]) -> MergedMasks:
        """The groups as masks."""
        pixels, feet = (rows[1] - rows[0]) * self.size[1], self._feet(rows)
        weights = np.zeros((len(feet), pixels), dtype=np.float32)
        for weight, foot in zip(weights, feet, strict=True):
            weight[foot.index.numpy()] = foot.weight.numpy()
        best = np.maximum(weights.max(0), 1e-12) if len(feet) else np.ones(pixels)
        of_view = [np.unique(self._group[self._owner == k]) for k in range(len(feet))]
        said = self._said(feet, (self.count, pixels))
        seen = np.zeros(len(said.data), dtype=np.float32)
        for groups, weight in zip(of_view, weights, strict=True):
            entries = _ranges(said.indptr[groups], said.indptr[groups + 1])
            seen[entries] += weight[said.indices[entries]]
        kept = said.data >= 0.5 * seen - 1e-9
        trust = np.minimum(1, seen[kept] / best[said.indices[kept]])
        offsets = np.concatenate([[0], np.cumsum(kept)])[said.indptr]
        member = csr_array((trust, said.indices[kept], offsets), shape=said.shape)
        parts = np.bincount(self._group, minlength=self.count)
        mean = np.bincount(self._group, weights=self._scores, minlength=self.count) / np.maximum(parts, 1)
        return MergedMasks(member, np.diff(offsets), mean, self._origins(parts))

    def _origins(self, parts: np.ndarray) -> tuple[tuple[tuple[int, int], ...], ...]:
        order = np.argsort(self._group, kind="stable")
        splits = np.split(order, np.cumsum(parts)[:-1]) if self.count else []
        return tuple(tuple((int(self._owner[i]), int(self._number[i])) for i in part) for part in splits)

    def _said(self, feet: list[Footprint], shape: tuple[int, int]) -> csr_array:
        """Sum over parts m of r_k(m)(x) [x in m], for each group of masks: float32 (count, pixels)."""
        rows, columns, values = [], [], []
        for k, (atoms, foot) in enumerate(zip(self._atoms, feet, strict=True)):
            groups = atoms.renumbered(self._group[self._owner == k], self.count)
            here = atoms.numbers[foot.nearest.numpy()]
            lengths = np.diff(groups.indptr)[here]
            rows.append(groups.indices[_ranges(groups.indptr[here], groups.indptr[here] + lengths)].astype(np.int32))
            columns.append(np.repeat(foot.index.numpy().astype(np.int32), lengths))
            values.append(np.repeat(foot.weight.numpy(), lengths))
        if not rows:
            return csr_array(shape, dtype=np.float32)
        place = (np.concatenate(rows), np.concatenate(columns))
        # By column first: it adds up what stands at one place, for which a pixel's few masks are soon sorted.
        return csc_array((np.concatenate(values), place), shape=shape).tocsr()


def merge_masks(views: Sequence[tuple[View, Masks]], geometry: Geometry) -> MergedMasks:
    """Match the masks of overlapping views and join what matches, all of the panorama at once; see `Joiner`.

    Args:
        views: each view with its masks.
        geometry: of the panorama.
    """
    return Joiner(views, geometry, geometry.height * geometry.width).band((0, geometry.height))


def _counted(a: np.ndarray, b: np.ndarray, shape: tuple[int, int]) -> csr_array:
    """How often each pair of numbers (n,), (n,) occurs: int32 of `shape`."""
    return csr_array((np.ones(len(a), dtype=np.int32), (a, b)), shape=shape)


def _same(common: csr_array, table_a: csr_array, table_b: csr_array) -> np.ndarray:
    """Rows of two views' masks that are of one thing: int64 (2, n).

    Args:
        common: pixels that both views see, by the atom that each has there: int (A_a, A_b).
        table_a, table_b: which masks the atoms are in, (A, N).
    """
    area_a, area_b = (table_a.T @ common.sum(1)).astype(np.float32), (table_b.T @ common.sum(0)).astype(np.float32)
    inside_a, inside_b = np.flatnonzero(area_a >= SEEN), np.flatnonzero(area_b >= SEEN)
    if not (len(inside_a) and len(inside_b)):
        return np.zeros((2, 0), dtype=np.int64)
    both = (table_a.T @ common @ table_b).toarray()[np.ix_(inside_a, inside_b)].astype(np.float32)
    iou = both / (area_a[inside_a][:, None] + area_b[inside_b] - both)
    best = iou.argmax(1)
    mutual = (iou.argmax(0)[best] == np.arange(len(inside_a))) & (iou.max(1) > SAME)
    return np.stack([inside_a[mutual], inside_b[best[mutual]]])


def _ranges(starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """All integers of the ranges (n,), (n,), one range after the other."""
    lengths = (ends - starts).astype(np.int64)
    before = np.cumsum(lengths) - lengths
    return np.repeat(starts - before, lengths) + np.arange(lengths.sum())


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
