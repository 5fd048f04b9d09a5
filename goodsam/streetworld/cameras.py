"""Rays of the three cameras, in the conventions of `goodsam.sphere`, and what they hit."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from goodsam import sphere
from goodsam.errors import GoodSAMError
from goodsam.panorama import Geometry, geometry_of
from goodsam.streetworld.mesh import Mesh
from goodsam.streetworld.scene import Eye

CameraKind = Literal["pinhole", "panorama", "strip"]
CAMERAS: tuple[CameraKind, ...] = ("pinhole", "panorama", "strip")
VFOV = {"panorama": 180.0, "strip": 70.0}
"""Vertical field of view of the panoramic cameras, degrees."""
DEFAULT_SIZE = {"pinhole": (480, 640), "panorama": (512, 1024), "strip": (400, 2048)}


def geometry(camera: CameraKind, size: tuple[int, int]) -> Geometry:
    """Where the pixels of a panoramic camera lie on the sphere."""
    return geometry_of(size, VFOV[camera])


def directions(camera: CameraKind, size: tuple[int, int], eye: Eye, shift: tuple[float, float] = (0, 0)) -> np.ndarray:
    """Unit directions of the pixels' centres.

    Args:
        size: (H, W), pixels.
        eye: for pinhole cameras, where they look.
        shift: of the sampling point from the centre, pixels right and down (-0.5..0.5).
    Returns:
        float32 (H, W, 3).
    Raises:
        GoodSAMError: an unknown camera.
    """
    height, width = size
    if camera in VFOV:
        band = geometry(camera, size)
        yaw = torch.from_numpy((np.arange(width) + 0.5 + shift[0]) / width * 360 - 180)
        pitch = torch.from_numpy(band.pitch_of_rows() - shift[1] * band.degrees_per_row)
        rows, columns = torch.meshgrid(pitch, yaw, indexing="ij")
        return sphere.direction_of(columns, rows).float().numpy()
    if camera != "pinhole":
        raise GoodSAMError(f"--camera {camera}: must be one of {', '.join(CAMERAS)}.")
    half = np.tan(np.deg2rad(eye.fov) / 2)
    across = (2 * (np.arange(width) + 0.5 + shift[0]) / width - 1) * half
    down = (2 * (np.arange(height) + 0.5 + shift[1]) / height - 1) * half * height / width
    right, up = np.meshgrid(across, -down)
    seen = np.stack([right, up, np.ones_like(right)], -1) @ sphere.tangent_axes(eye.yaw, eye.pitch).numpy()
    return (seen / np.linalg.norm(seen, axis=-1, keepdims=True)).astype(np.float32)


def pixel_angle(camera: CameraKind, size: tuple[int, int], eye: Eye) -> float:
    """What a pixel in the middle spans, radians."""
    if camera in VFOV:
        return float(np.deg2rad(geometry(camera, size).degrees_per_row))
    return float(2 * np.tan(np.deg2rad(eye.fov) / 2) / size[1])


@dataclass(frozen=True)
class Hits:
    """First hits of n rays."""

    face: np.ndarray
    """int32 (n,), -1 for the sky."""
    u: np.ndarray
    v: np.ndarray
    """float32 (n,), weights of the triangle's second and third corner."""
    distance: np.ndarray
    """float32 (n,), metres."""


class Tracer:
    """Casts rays on a mesh with Embree."""

    def __init__(self, mesh: Mesh) -> None:
        try:
            from embreex.mesh_construction import TriangleMesh
            from embreex.rtcore_scene import EmbreeScene
        except ImportError as error:
            raise GoodSAMError("the street world needs embreex; pip install 'goodsam[streetworld]'.") from error
        self._scene = EmbreeScene(robust=True)
        TriangleMesh(self._scene, mesh.vertices, mesh.faces)

    def first(self, origin: np.ndarray, rays: np.ndarray) -> Hits:
        """First hits of rays (n, 3) from origins (3,) or (n, 3)."""
        found = self._scene.run(_spread(origin, rays), np.ascontiguousarray(rays), output=True)
        return Hits(found["primID"], found["u"], found["v"], found["tfar"])

    def blocked(self, origin: np.ndarray, rays: np.ndarray, reach: float) -> np.ndarray:
        """Whether rays (n, 3) from (n, 3) hit anything within `reach` metres: bool (n,)."""
        if len(rays) == 0:
            return np.zeros(0, bool)
        reaches = np.full(len(rays), reach, np.float32)
        answer = self._scene.run(_spread(origin, rays), np.ascontiguousarray(rays), dists=reaches, query="OCCLUDED")
        return answer >= 0


def _spread(origin: np.ndarray, rays: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(np.broadcast_to(np.asarray(origin, np.float32), rays.shape))
