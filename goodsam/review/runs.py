"""Run-lengths of a flat mask: how many pixels are off, then on, then off, ... the first number being perhaps 0."""

import numpy as np

from goodsam.errors import GoodSAMError


def run_lengths(mask: np.ndarray) -> np.ndarray:
    """bool (n,), n > 0 -> int64 counts, off first, summing to n."""
    borders = np.flatnonzero(mask[1:] != mask[:-1]) + 1
    counts = np.diff(borders, prepend=0, append=len(mask))
    return np.concatenate([[0], counts]) if mask[0] else counts


def from_run_lengths(counts: np.ndarray, number: int) -> np.ndarray:
    """What `run_lengths` was made of: bool (number,).

    Raises:
        GoodSAMError: counts that are negative, or of another number of pixels.
    """
    if (counts < 0).any() or counts.sum() != number:
        raise GoodSAMError(f"its run-lengths are of {counts.sum()} pixels, not of {number}; it is cut off or damaged.")
    return np.repeat(np.arange(len(counts)) % 2 == 1, counts)
