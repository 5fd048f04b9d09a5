"""How large views should be for the assistant at hand, decided without labels.

An assistant has a scale at which it sees best: what it was trained on in pixels per degree, and how much around a thing
it needs. Our choice: of several scales, those whose predictions the others second most; where a scale sees things that
are not there, the others do not.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

SCALES = (0.5, 0.75, 1.0, 1.5, 2.0)
"""What is tried."""
TAKEN = 2
"""How many of them are averaged: two see more than the best one does, and each costs as much again."""


@dataclass(frozen=True)
class Seconded:
    """How far the scales agree."""

    scales: tuple[float, ...]
    support: tuple[float, ...]
    """Of each scale, 0..1: mean probability that it gives the class on which all scales together decide."""

    def chosen(self) -> tuple[float, ...]:
        """The `TAKEN` best, in rising order."""
        order = sorted(range(len(self.scales)), key=lambda n: (-self.support[n], n))
        return tuple(sorted(self.scales[n] for n in order[:TAKEN]))


def seconded(said: Iterable[Tensor], scales: tuple[float, ...] = SCALES) -> Seconded:
    """Support of each scale on some panoramas.

    Args:
        said: per panorama, merged probabilities at each scale, float (S, C, H, W).
        scales: S scales.
    """
    total, number = torch.zeros(len(scales), dtype=torch.float64), 0
    for probabilities in said:
        winner = probabilities.mean(0).argmax(0)
        given = probabilities.gather(1, winner.expand(len(scales), 1, *winner.shape))
        total += given.double().mean(dim=(1, 2, 3))
        number += 1
    return Seconded(scales, tuple((total / max(1, number)).tolist()))
