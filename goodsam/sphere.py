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


def tangent_directions(yaw: float, pitch: float, fov: float, size: int) -> Tensor:
    """Directions seen by a square perspective camera: float64 (size, size, 3), not normalised.

    Args:
        yaw, pitch: where it looks, degrees.
        fov: field of view from side to side, degrees, below 180.
        size: pixels along a side.
    """
    half = np.tan(np.deg2rad(fov) / 2)
    along = (2 * (torch.arange(size, dtype=torch.float64) + 0.5) / size - 1) * half
    right, up = torch.meshgrid(along, -along, indexing="xy")
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
