"""Noise, lines and bonds that textures are made of, functions of world coordinates.

Every pattern is filtered by the width of a pixel on the surface: what a pixel cannot resolve fades to its mean.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

WAVES = (6.0, 1.6, 0.42, 0.11, 0.03)
"""Wavelengths of the noise octaves, metres."""
_TILE, _CELL = 2048, 8


@dataclass(frozen=True)
class Surface:
    """n shading points of one kind."""

    uv: np.ndarray
    """float32 (2, n), metres."""
    noise: np.ndarray
    """float32 (5, n), -1..1, one row per entry of WAVES."""
    color: np.ndarray
    """float32 (n, 3), linear."""
    second: np.ndarray
    """float32 (n, 3), linear."""
    params: np.ndarray
    """float32 (6, n)."""
    foot: np.ndarray
    """float32 (n,), width of a pixel on the surface, metres."""
    salt: np.ndarray
    """float32 (n,), 0..1, one number per object."""
    level: np.ndarray
    """float32 (n,), 1 where the surface faces up, 0 where it stands."""

    def where(self, at: np.ndarray) -> "Surface":
        """The points that a mask bool (n,) or indices choose."""
        return Surface(
            self.uv[:, at], self.noise[:, at], self.color[at], self.second[at],
            self.params[:, at], self.foot[at], self.salt[at], self.level[at],
        )  # fmt: skip


Look = tuple[np.ndarray, np.ndarray]
"""Reflectance float32 (n, 3) and gloss float32 (n,); a gloss below 0 is light sent out."""


@lru_cache(maxsize=1)
def _tile() -> np.ndarray:
    """Smooth noise, float32 (2048 * 2048), -1..1, periodic, 8 texels to a wavelength; always the same."""
    cells = _TILE // _CELL
    values = np.random.default_rng(7).uniform(-1, 1, (cells, cells)).astype(np.float32)
    t = (np.arange(_TILE) + 0.5) / _CELL
    low, part = np.floor(t).astype(int), t - np.floor(t)
    part = (part * part * (3 - 2 * part)).astype(np.float32)
    rows = values[low % cells] * (1 - part)[:, None] + values[(low + 1) % cells] * part[:, None]
    smooth = rows[:, low % cells] * (1 - part) + rows[:, (low + 1) % cells] * part
    return np.ascontiguousarray(smooth, np.float32).ravel()


def noise(x: np.ndarray, y: np.ndarray, wave: float) -> np.ndarray:
    """Value noise of one wavelength (metres) at points (n,): float32 (n,), -1..1."""
    scale = np.float32(_CELL / wave)
    column = np.floor(x * scale).astype(np.int64) & (_TILE - 1)
    row = np.floor(y * scale).astype(np.int64) & (_TILE - 1)
    return _tile()[row * _TILE + column]


def octaves(uv: np.ndarray, foot: np.ndarray) -> np.ndarray:
    """All octaves at (2, n), each faded where a pixel is wider than its half-wave: float32 (5, n)."""
    return np.stack([noise(uv[0], uv[1], wave) * np.clip(1.5 - 2 * foot / wave, 0, 1) for wave in WAVES])


def hashed(*values: np.ndarray) -> np.ndarray:
    """A random number 0..1 per tuple of whole numbers."""
    total = np.zeros_like(values[0], np.float64)
    for value, factor in zip(values, (12.9898, 78.233, 37.719), strict=False):
        total = total + value * factor
    return np.modf(np.abs(np.sin(total)) * 43758.5453)[0].astype(np.float32)


def line(distance: np.ndarray, half: float | np.ndarray, foot: np.ndarray) -> np.ndarray:
    """How much of a pixel a line covers, 0..1, by its distance from the line's middle."""
    foot = np.maximum(foot, 1e-4)
    return np.clip((half - np.abs(distance)) / foot + 0.5, 0, 1) * np.minimum(1, 2 * half / foot)


def mix(a: np.ndarray, b: np.ndarray, share: np.ndarray) -> np.ndarray:
    return a + (b - a) * np.clip(share, 0, 1)[:, None].astype(np.float32)


def bricks(s: Surface, long: float, high: float, joint: float) -> tuple[np.ndarray, np.ndarray]:
    """Running bond: a tone per stone (-1..1, faded by distance) and the share of joint."""
    row = np.floor(s.uv[1] / high)
    x = s.uv[0] + 0.5 * long * (row % 2)
    across, up = (x / long) % 1 * long, (s.uv[1] / high) % 1 * high
    seam = np.maximum(
        line(np.minimum(across, long - across), joint, s.foot), line(np.minimum(up, high - up), joint, s.foot)
    )
    tone = (hashed(np.floor(x / long), row, np.floor(s.salt * 97)) * 2 - 1) * np.clip(1.5 - s.foot / high, 0, 1)
    return tone, seam


def toned(color: np.ndarray, tone: np.ndarray) -> np.ndarray:
    return color * np.maximum(0.05, 1 + tone)[:, None].astype(np.float32)
