"""Augmentation that a sphere allows: turns, mirror images and windows move stored targets exactly, a tilt resamples
them, colour touches the image alone."""

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F

from goodsam import sphere
from goodsam.panorama import Geometry
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


@dataclass(frozen=True)
class Window:
    """A part of a panorama, in pixels of the student's whole; `left` + `width` may go on past the right edge."""

    top: int
    """Multiple of 32, so that every level is cut between cells."""
    left: int
    """Multiple of 32."""
    height: int
    """Multiple of 32, unless it ends at the lower edge."""
    width: int
    """Multiple of 32."""

    def cut(self, values: Tensor, size: tuple[int, int]) -> Tensor:
        """Cut it from an image or any stored target.

        Args:
            values: (D, h, w) of the whole panorama; its stride is W / w.
            size: (H, W) of the whole, pixels of the student.
        Returns:
            (D, height / stride, width / stride), rounded up, a copy.
        """
        top, left, height, width = self.cells((values.shape[-2], values.shape[-1]), size)
        rows, left = values[..., top : top + height, :], left % values.shape[-1]
        past = max(0, left + width - values.shape[-1])
        return torch.cat([rows[..., left : left + width], rows[..., :past]], dim=-1)

    def cells(self, shape: tuple[int, int], size: tuple[int, int]) -> tuple[int, int, int, int]:
        """(top, left, height, width) in cells of a map of `shape` (h, w).

        Raises:
            ValueError: the window leaves the panorama's rows, or would cut through cells.
        """
        stride = max(1, size[1] // shape[1])
        if (-(-size[0] // stride), stride * shape[1]) != (shape[0], size[1]):
            raise ValueError(f"a map of {shape[0]}x{shape[1]} is no whole stride of a panorama of {size[0]}x{size[1]}")
        bottom = self.top + self.height
        within = 0 <= self.top < bottom <= size[0] and 0 < self.width <= size[1]
        if not within or self.top % stride or self.left % stride or self.width % stride:
            raise ValueError(f"{self} must lie in {size[0]} rows and start and end at multiples of {stride} pixels")
        if bottom % stride and bottom != size[0]:
            raise ValueError(f"{self} must end at the lower edge, {size[0]}, or at a multiple of {stride} pixels")
        top = self.top // stride
        return top, self.left // stride, -(-bottom // stride) - top, self.width // stride


@dataclass(frozen=True)
class Tilt:
    """A camera that is a little off level. Unlike a turn it resamples, and part of what it sees may not be there."""

    pitch: float
    """Degrees that the camera looks up."""
    roll: float
    """Degrees that it is then turned about where it looks, its right side down."""

    @staticmethod
    def draw(generator: torch.Generator, most: float) -> "Tilt":
        """A random one, either angle uniform in -most..most degrees."""
        pitch, roll = ((2 * torch.rand(2, generator=generator, dtype=torch.float64) - 1) * most).tolist()
        return Tilt(pitch, roll)

    def __call__(self, values: Tensor, geometry: Geometry, window: Window | None = None) -> tuple[Tensor, Tensor]:
        """What the tilted camera sees of an image or any stored target; without a tilt a plain cut.

        Args:
            values: float32 (D, h, w) of the whole panorama, at any resolution: h rows span the band evenly.
            geometry: of the whole, in pixels of the student.
            window: the part wanted, the only one that is computed; None for the whole.
        Returns:
            values, bilinear, float32 (D, h', w') at the same resolution, and bool (h', w'), False where the panorama
            does not reach. There the edge row goes on: the student learns nothing from these pixels but sees them, and
            a smear is less of an outline beside what it learns from than a grey border would be (our choice).
        """
        size, shape = (geometry.height, geometry.width), (values.shape[-2], values.shape[-1])
        if not self.pitch and not self.roll:
            level = values if window is None else window.cut(values, size)
            return level, torch.ones(level.shape[-2:], dtype=torch.bool, device=values.device)
        cells = (0, 0, *shape) if window is None else window.cells(shape, size)
        grid, seen = _grid(self, geometry, shape, cells)
        surrounded = _surrounded(values, geometry)[None]
        # The border of what is surrounded repeats the edge row; in yaw nothing reaches it.
        sampled = F.grid_sample(surrounded, grid.to(values.device), padding_mode="border", align_corners=False)
        return sampled[0], seen.to(values.device, copy=True)  # a caller may write into it; the kept one stays


@lru_cache(maxsize=2)  # ensemble, assistant and their weights follow each other at one resolution
def _grid(
    tilt: Tilt, geometry: Geometry, shape: tuple[int, int], cells: tuple[int, int, int, int]
) -> tuple[Tensor, Tensor]:
    """Where a tilted map of `shape` (h, w) is sampled, for `cells` (top, left, height, width) of it.

    Returns:
        float32 (1, height, width, 2), x and y as grid_sample takes them on `_surrounded` values, and bool (height,
        width), where the panorama reaches.
    """
    height, width = shape
    horizon = geometry.horizon * height / geometry.height
    row, column = sphere.tilted_positions(shape, geometry.vfov, horizon, tilt.pitch, tilt.roll, cells)
    seen = (row >= 0) & (row <= height)
    grid = torch.empty(1, *row.shape, 2)
    grid[0, ..., 0] = column.add_(1).mul_(2 / (width + 2)).sub_(1)
    grid[0, ..., 1] = row.add_(1).mul_(2 / (height + 2)).sub_(1)
    return grid, seen


def _surrounded(values: Tensor, geometry: Geometry) -> Tensor:
    """One more cell on each side, (D, h, w) -> (D, h + 2, w + 2): in yaw the other edge; in pitch what lies across the
    pole where the band ends at one, and the edge row again where it does not."""
    channels, height, width = values.shape
    above = geometry.horizon * geometry.degrees_per_row
    wide = values.new_empty(channels, height + 2, width + 2)  # filled in place: one copy of the image, not two
    wide[:, 1:-1, 1:-1] = values
    for outer, row, edge in ((0, values[:, 0], above), (-1, values[:, -1], geometry.vfov - above)):
        if edge >= 90 - 1e-6:
            row = (row.roll(width // 2, -1) + row.roll(-(width // 2), -1)) / 2  # not the same where w is odd
        wide[:, outer, 1:-1] = row
    wide[..., 0], wide[..., -1] = wide[..., -2], wide[..., 1]
    return wide


def photometric(image: Tensor, generator: torch.Generator) -> Tensor:
    """Random exposure, contrast and colour balance of an image (3, H, W), 0..1; strengths are our choice."""

    def between(low: float, high: float, number: int = 1) -> Tensor:
        return low + (high - low) * torch.rand(number, generator=generator)

    image = image * between(0.8, 1.2) * between(0.93, 1.07, 3)[:, None, None]
    mean = image.mean()
    return ((image - mean) * between(0.8, 1.2) + mean).clamp(0, 1)
