"""Rare classes kept alive: patches are laid on them, or their pixels weigh more (both our choice).

A class's frequency is its share of the ensemble's labels over all panoramas of the training.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from goodsam import corrections
from goodsam.run import Input, Run

READERS = 4
"""Threads that read the ensembles' labels: most of it is decompression, which does not hold the interpreter."""


def class_frequencies(run: Run, inputs: Sequence[Input], classes: int) -> np.ndarray:
    """Share of each class in the ensemble of all panoramas, float64 (C,), summing to one."""

    def counts(item: Input) -> np.ndarray:
        stored = corrections.ensemble_of(run, item.stem)
        return np.bincount(stored.labels()[stored.probs[0] > 0].numpy(), minlength=classes)

    with ThreadPoolExecutor(READERS) as pool:
        total = np.sum(list(pool.map(counts, inputs)), axis=0)
    return total / max(1, total.sum())


def class_weights(frequencies: np.ndarray, exponent: float) -> Tensor:
    """w_c = f_c^-e / sum_k f_k f_k^-e, float32 (C,): on average a pixel weighs 1. 0 for a class that does not occur.

    Args:
        frequencies: f, (C,), summing to one.
        exponent: e, 0 for equal weights.
    """
    weights = rarity(frequencies, exponent)
    return torch.from_numpy(weights / max(1e-12, float((frequencies * weights).sum()))).float()


def rarity(frequencies: np.ndarray, exponent: float = 0.5) -> np.ndarray:
    """f_c^-e, float64 (C,); 0 for a class that does not occur."""
    return np.where(frequencies > 0, np.maximum(frequencies, 1e-12) ** -exponent, 0.0)


def rare_place(labels: Tensor, rare: np.ndarray, generator: torch.Generator) -> tuple[float, float] | None:
    """A pixel of a class that is drawn by its rarity among those in a label map.

    Args:
        labels: uint8 (h, w), 255 for none.
        rare: (C,), from `rarity`.
        generator: of the draws.
    Returns:
        row and column of the pixel's centre as shares (0..1) of height and width; None where nothing is labelled.
    """
    counts = torch.bincount(labels.flatten().long(), minlength=256)[: len(rare)]
    chance = torch.from_numpy(rare).where(counts > 0, torch.zeros((), dtype=torch.float64))
    if not chance.any():
        return None
    chosen = int(torch.multinomial(chance, 1, generator=generator))
    number = int(torch.randint(int(counts[chosen]), (), generator=generator))
    place = int((labels.flatten() == chosen).nonzero()[number])
    row, column = divmod(place, labels.shape[1])
    return (row + 0.5) / labels.shape[0], (column + 0.5) / labels.shape[1]
