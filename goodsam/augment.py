"""Augmentation that a sphere allows: turns and mirror images move stored targets exactly, colour touches the image."""

from dataclasses import dataclass

import torch
from torch import Tensor

from goodsam.student import STRIDE


@dataclass(frozen=True)
class Turn:
    """A turn about the vertical, and perhaps a mirror image."""

    part: float
    """Share of the full circle; a multiple of 32 of the student's pixels, so that every level moves by whole cells."""
    mirrored: bool

    @staticmethod
    def draw(generator: torch.Generator, width: int) -> "Turn":
        """A random one for images `width` pixels wide."""
        cells = width // STRIDE
        cell = int(torch.randint(cells, (), generator=generator))
        return Turn(cell / cells, bool(torch.rand((), generator=generator) < 0.5))

    def __call__(self, values: Tensor) -> Tensor:
        """Turn an image or any stored target of it, (..., w) with a whole number of columns per 32 pixels."""
        turned = torch.roll(values, round(self.part * values.shape[-1]), dims=-1)
        return turned.flip(-1) if self.mirrored else turned


def photometric(image: Tensor, generator: torch.Generator) -> Tensor:
    """Random exposure, contrast and colour balance of an image (3, H, W), 0..1; strengths are our choice."""

    def between(low: float, high: float, number: int = 1) -> Tensor:
        return low + (high - low) * torch.rand(number, generator=generator)

    image = image * between(0.8, 1.2) * between(0.93, 1.07, 3)[:, None, None]
    mean = image.mean()
    return ((image - mean) * between(0.8, 1.2) + mean).clamp(0, 1)
