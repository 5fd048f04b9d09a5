"""A panorama: equirectangular pixels and the band of the sphere that they cover."""

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from goodsam import sphere
from goodsam.errors import UnreadableImageError
from goodsam.images import read_photo

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Geometry:
    """Where the pixels of an equirectangular image lie on the sphere. Columns are yaw and wrap, rows are pitch.

    Yaw 0 is the middle of the image and grows to the right; pitch 0 is the horizon and grows upwards.
    """

    height: int
    """H, pixels."""
    width: int
    """W, pixels; they span 360 degrees."""
    vfov: float
    """Vertical field of view, degrees: H rows span it evenly."""
    horizon: float
    """Row of pitch 0, pixels from the upper edge (H / 2 where the band is centred)."""

    @property
    def degrees_per_row(self) -> float:
        """Pitch that one row spans, degrees."""
        return self.vfov / self.height

    def pitch_of_rows(self, rows: int | None = None) -> np.ndarray:
        """Pitch at the middle of each row, degrees, float64 (rows,); `rows` other than H spreads over the same band."""
        rows = rows or self.height
        top = self.horizon * self.degrees_per_row
        return top - (np.arange(rows) + 0.5) * self.vfov / rows

    def solid_angle_of_rows(self, rows: int | None = None) -> np.ndarray:
        """Solid angle of one pixel in each row, steradian, float64 (rows,); 4 pi in all on a full sphere."""
        rows = rows or self.height
        return sphere.solid_angle_of_rows(self.pitch_of_rows(rows), self.vfov / rows, self.width)

    def scaled(self, width: int) -> "Geometry":
        """The same band at another width, pixels kept square where they were."""
        height = max(1, round(self.height * width / self.width))
        return Geometry(height, width, self.vfov, self.horizon * height / self.height)

    def column_of_yaw(self, yaw: float) -> int:
        """Column whose left edge is nearest to a yaw in degrees, 0..W-1."""
        return round((yaw + 180) / 360 * self.width) % self.width


@dataclass(frozen=True)
class Panorama:
    """An equirectangular image that spans 360 degrees of yaw."""

    pixels: np.ndarray
    """uint8 (H, W, 3), RGB."""
    geometry: Geometry

    def rolled(self, columns: int) -> "Panorama":
        """Turned about the vertical: every pixel moves `columns` to the right, wrapping."""
        return Panorama(np.roll(self.pixels, columns, axis=1), self.geometry)


def wrap_pad(pixels: np.ndarray, columns: int) -> np.ndarray:
    """Repeat `columns` of the other edge on both sides: (H, W, ...) -> (H, W + 2 * columns, ...)."""
    return np.take(pixels, np.arange(-columns, pixels.shape[1] + columns), axis=1, mode="wrap")


def geometry_of(size: tuple[int, int], vfov: float | None = None, horizon: float | None = None) -> Geometry:
    """The geometry of an image of `size` (H, W); without `vfov` pixels are taken as square: 360 * H / W degrees.

    Raises:
        ValueError: taller than half its width without `vfov`, or a band that leaves the sphere.
    """
    height, width = size
    if vfov is None and 2 * height > width:
        raise ValueError(
            f"{width}x{height} pixels is taller than half its width, which no square-pixel panorama is; "
            "give its vertical field of view with --vfov DEGREES, or crop the image to 2:1"
        )
    vfov = 360 * height / width if vfov is None else vfov
    horizon = height / 2 if horizon is None else horizon
    up, down = horizon * vfov / height, (height - horizon) * vfov / height
    if not 0 < vfov <= 180 or up > 90 + 1e-6 or down > 90 + 1e-6:
        raise ValueError(
            f"a vertical field of view of {vfov:g} degrees with the horizon at row {horizon:g} of {height} spans pitch "
            f"{-down:.1f} to {up:.1f}; it must stay within -90 to 90 (--vfov, --horizon)"
        )
    return Geometry(height, width, float(vfov), float(horizon))


def read_panorama(path: Path, vfov: float | None = None, horizon: float | None = None) -> Panorama:
    """Read a panorama file.

    Args:
        path: an image that `images.read_photo` takes.
        vfov: vertical field of view, degrees; None for square pixels.
        horizon: row of pitch 0, pixels from the upper edge; None for the middle.
    Raises:
        UnreadableImageError: the file, what is wrong and what would be right.
    """
    pixels = read_photo(path)
    height, width = pixels.shape[:2]
    try:
        return Panorama(pixels, geometry_of((height, width), vfov, horizon))
    except ValueError as error:
        raise UnreadableImageError(f"{path}: {error}.") from error
