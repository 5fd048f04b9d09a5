"""A view's overlapping masks as one number per pixel: where the same masks lie, their atom's number stands.

A pixel is in several masks, and a view sees millions of pixels; but of different combinations of masks there are few.
So overlaps are counted, and masks moved to the panorama, by combination.
"""

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array

from goodsam.masks import Masks, decode_runs
from goodsam.views import Footprint


@dataclass(frozen=True)
class Atoms:
    """A combinations of N masks."""

    numbers: np.ndarray
    """uint16 or int32 (h * w,), 0..A-1 for every pixel of the view."""
    table: csr_array
    """int64 (A, N) of ones: which masks an atom is in."""

    def __len__(self) -> int:
        return int(self.table.shape[0])

    def seen(self, foot: Footprint, pixels: int) -> np.ndarray:
        """The atom at each of `pixels` panorama pixels, int32 (pixels,), -1 where the view does not see it."""
        seen = np.full(pixels, -1, dtype=np.int32)
        seen[foot.index.numpy()] = self.numbers[foot.nearest.numpy()]
        return seen

    def renumbered(self, groups: np.ndarray, count: int) -> csr_array:
        """Which of `count` groups of masks an atom is in, (A, count), each once; mask n is of group `groups[n]`."""
        atom = np.repeat(np.arange(len(self)), np.diff(self.table.indptr))
        found = np.unique(atom * count + groups[self.table.indices])
        atom, group = np.divmod(found, max(1, count))
        return csr_array((np.ones(len(atom), dtype=np.int64), (atom, group)), shape=(len(self), count))


def atoms_of(masks: Masks) -> Atoms:
    """By index arithmetic on the run-lengths.

    Every mask has a random number of 64 bits, and a pixel the exclusive or of those of the masks that hold it, which
    changes at the ends of runs alone; that two combinations share one has a chance of about 1e-12.

    Args:
        masks: N masks of one view.
    """
    starts, lengths, owner = decode_runs(masks.counts)
    ends = starts + lengths
    marks = np.random.default_rng(0).integers(0, 2**64, len(masks), dtype=np.uint64)[owner]
    place = np.concatenate([[0], starts, ends])
    order = np.argsort(place, kind="stable")
    sums = np.bitwise_xor.accumulate(np.concatenate([np.zeros(1, dtype=np.uint64), marks, marks])[order])
    pixels = masks.size[0] * masks.size[1]
    last = np.flatnonzero(np.diff(place[order], append=pixels))  # of the changes at one place; none at the very end
    begin = place[order][last]
    _, first, number = np.unique(sums[last], return_index=True, return_inverse=True)
    kind = np.uint16 if len(first) < 2**16 else np.int32
    columns = np.repeat(number.astype(kind), np.diff(begin, append=pixels)).reshape(masks.size[::-1])
    return Atoms(np.ascontiguousarray(columns.T).ravel(), _table(begin[first], starts, ends, owner, len(masks)))


def _table(examples: np.ndarray, starts: np.ndarray, ends: np.ndarray, owner: np.ndarray, number: int) -> csr_array:
    """Which masks hold each of A pixels, column-major (A,): int64 (A, N), from the masks' runs."""
    order = np.argsort(examples)
    first, after = np.searchsorted(examples[order], starts), np.searchsorted(examples[order], ends)
    lengths = after - first
    mask = np.repeat(owner, lengths)
    place = np.repeat(first - (np.cumsum(lengths) - lengths), lengths) + np.arange(lengths.sum())
    shape = (len(examples), number)
    return csr_array((np.ones(len(mask), dtype=np.int64), (order[place], mask)), shape=shape)
