"""All the trigonometry: pixel <-> direction <-> tangent view. Degrees outside, radians within.

Directions are unit vectors (x right, y up, z forward): yaw 0, pitch 0 is +z, yaw grows to the right (+x), pitch up
(+y). Yaw 0 is the middle of the panorama. Pixel centres lie at half-integers.
"""

import numpy as np
import torch
from torch import Tensor


def direction_of(yaw: Tensor, pitch: Tensor) -> Tensor:
    """Unit vectors (..., 3) of yaw and pitch in degrees."""
    yaw, pitch = torch.deg2rad(yaw), torch.deg2rad(pitch)
    return torch.stack([torch.sin(yaw) * torch.cos(pitch), torch.sin(pitch), torch.cos(yaw) * torch.cos(pitch)], dim=-1)


def yaw_pitch_of(direction: Tensor) -> tuple[Tensor, Tensor]:
    """Yaw (-180..180) and pitch (-90..90), degrees, of vectors (..., 3) of any length above 0."""
    x, y, z = direction.unbind(-1)
    return torch.rad2deg(torch.atan2(x, z)), torch.rad2deg(torch.atan2(y, torch.hypot(x, z)))


def tangent_axes(yaw: float, pitch: float) -> Tensor:
    """Rows (3, 3): right, up and forward of a camera looking at yaw and pitch in degrees, float64; no roll."""
    angles = torch.tensor([yaw, pitch], dtype=torch.float64)
    (sin_yaw, sin_pitch), (cos_yaw, cos_pitch) = torch.deg2rad(angles).sin(), torch.deg2rad(angles).cos()
    right = torch.stack([cos_yaw, torch.zeros_like(cos_yaw), -sin_yaw])
    up = torch.stack([-sin_yaw * sin_pitch, cos_pitch, -cos_yaw * sin_pitch])
    forward = torch.stack([sin_yaw * cos_pitch, sin_pitch, cos_yaw * cos_pitch])
    return torch.stack([right, up, forward])


def tangent_directions(yaw: float, pitch: float, fov: float, size: int, rows: tuple[int, int] | None = None) -> Tensor:
    """Directions seen by a square perspective camera: float64 (size, size, 3), not normalised.

    Args:
        yaw, pitch: where it looks, degrees.
        fov: field of view from side to side, degrees, below 180.
        size: pixels along a side.
        rows: first row and first after of those wanted; None for all.
    """
    half = np.tan(np.deg2rad(fov) / 2)
    along = (2 * (torch.arange(size, dtype=torch.float64) + 0.5) / size - 1) * half
    right, up = torch.meshgrid(along, -along[slice(*(rows or (0, size)))], indexing="xy")
    camera = torch.stack([right, up, torch.ones_like(right)], dim=-1)
    return camera @ tangent_axes(yaw, pitch)


def tangent_position(direction: Tensor, yaw: float, pitch: float, fov: float) -> tuple[Tensor, Tensor, Tensor]:
    """Where a tangent view sees directions: the inverse of `tangent_directions`.

    Returns:
        horizontal and vertical position, each -1..1 from the view's left/upper to its right/lower edge and beyond
        outside (infinite behind the camera), and the angle to the view's axis, degrees.
    """
    camera = direction.double() @ tangent_axes(yaw, pitch).T
    right, up, forward = camera.unbind(-1)
    half = np.tan(np.deg2rad(fov) / 2)
    ahead = forward > 1e-9
    depth = torch.where(ahead, forward * half, torch.ones_like(forward))
    far = torch.full_like(forward, torch.inf)
    angle = torch.rad2deg(torch.atan2(torch.hypot(right, up), forward))
    return torch.where(ahead, right / depth, far), torch.where(ahead, -up / depth, far), angle


def widest_yaw(pitches: np.ndarray, pitch: float, angle: float) -> float:
    """How far in yaw, degrees, directions of some pitches (n,) can be from one of `pitch`, and within `angle` of it.

    A little more rather than less; below 0 where none can.
    """
    here, there = np.deg2rad(pitches), np.deg2rad(pitch)
    # Of directions `away` in yaw the cosine of the angle is sin sin + cos cos cos(away).
    least = np.cos(np.deg2rad(angle)) - np.sin(here) * np.sin(there) - 1e-9
    cosine = least / np.maximum(np.cos(here) * np.cos(there), 1e-12)
    if not (cosine <= 1).any():
        return -1.0
    return float(np.rad2deg(np.arccos(np.clip(cosine.min(), -1, 1)))) + 1e-3


def tilted_positions(
    size: tuple[int, int],
    vfov: float,
    horizon: float,
    pitch: float,
    roll: float,
    window: tuple[int, int, int, int] | None = None,
) -> tuple[Tensor, Tensor]:
    """Where the pixels of a tilted equirectangular image lie in the level one.

    Args:
        size: (H, W), pixels; W spans 360 degrees.
        vfov: degrees that H spans.
        horizon: row of pitch 0, pixels from the upper edge.
        pitch: how far the camera looks up, degrees.
        roll: how far it is then turned about where it looks, degrees; its right side goes down.
        window: (top, left, height, width) of the pixels wanted, which may go on past the right edge; None for all.
    Returns:
        row and column, float64 (height, width), pixels from the upper left corner (pixel centres at half-integers);
        columns 0..W, rows below 0 or above H where the band does not reach. float64, since float32 is off by a
        third of a pixel beside the poles of 4096x8192.
    """
    top, left, height, width = window or (0, 0, *size)
    row, column = (torch.arange(n, dtype=torch.float64) + 0.5 for n in (height, width))
    upwards = torch.deg2rad((horizon - top - row) * vfov / size[0])[:, None]
    yaw = torch.deg2rad((left + column) * 360 / size[1] - 180)
    right, up, forward = _tilted_axes(pitch, roll)
    # Sines per row and per column, not per pixel: a pixel takes one product and one sum per axis.
    sin, cos = upwards.sin(), upwards.cos()
    around = torch.outer(right, yaw.sin()) + torch.outer(forward, yaw.cos())
    x, y, z = (torch.addcmul(sin * axis, cos, across) for axis, across in zip(up, around, strict=True))
    # In place: for whole panoramas most of the time goes into new memory.
    source_row = y.clamp_(-1, 1).asin_().mul_(-size[0] / np.deg2rad(vfov)).add_(horizon)
    return source_row, x.atan2_(z).mul_(size[1] / (2 * np.pi)).add_(size[1] / 2)


def _tilted_axes(pitch: float, roll: float) -> Tensor:
    """Rows (3, 3): right, up and forward of a camera that looks ahead, with pitch and roll in degrees, float64."""
    right, up, forward = tangent_axes(0, pitch)
    angle = torch.deg2rad(torch.tensor(roll, dtype=torch.float64))
    return torch.stack([angle.cos() * right - angle.sin() * up, angle.sin() * right + angle.cos() * up, forward])


def solid_angle_of_rows(pitch: np.ndarray, degrees_per_row: float, width: int) -> np.ndarray:
    """Solid angle of one pixel per row of an equirectangular image: dyaw * (sin(upper) - sin(lower)), steradian.

    Args:
        pitch: of the middle of each row, degrees, (H,).
        degrees_per_row: pitch that one row spans.
        width: pixels around, spanning 360 degrees.
    """
    upper, lower = np.deg2rad(pitch + degrees_per_row / 2), np.deg2rad(pitch - degrees_per_row / 2)
    return 2 * np.pi / width * (np.sin(upper) - np.sin(lower))


def hann(distance: Tensor, reach: float) -> Tensor:
    """cos^2 fall-off: 1 at distance 0, 0 at `reach` and beyond; copies spaced `reach` apart sum to 1. Units cancel."""
    return torch.where(distance < reach, torch.cos(distance / reach * (np.pi / 2)) ** 2, 0.0)
