"""The bonnet of the car that carries the camera, as a panoramic camera on a bracket above it sees it.

Only what the camera can see is modelled: the bonnet below and ahead. The roof behind lies under the camera's bracket.
"""

import numpy as np

from goodsam.streetworld.mesh import Builder, Color, Finish
from goodsam.streetworld.shapes import Shape, quads

_Rib = tuple[float, float, float, float]
"""z ahead of the camera, drop below it, half-width, how much the middle stands above the edges; metres."""

BONNETS: dict[str, tuple[_Rib, ...]] = {
    "long": (
        (-0.35, 0.78, 0.80, 0.05), (0.2, 0.80, 0.82, 0.06), (0.9, 0.83, 0.80, 0.07), (1.35, 0.87, 0.75, 0.08),
        (1.65, 0.93, 0.66, 0.08), (1.8, 1.05, 0.52, 0.06), (1.84, 1.4, 0.5, 0.0),
    ),
    "short": (
        (-0.35, 0.62, 0.88, 0.03), (0.3, 0.62, 0.92, 0.04), (0.9, 0.64, 0.90, 0.06), (1.25, 0.68, 0.84, 0.08),
        (1.42, 0.75, 0.78, 0.08), (1.48, 0.95, 0.76, 0.05), (1.5, 1.3, 0.76, 0.0),
    ),
}  # fmt: skip


def bonnet(kind: str) -> Shape:
    """A curved sheet with sides, relative to the camera."""
    ribs = np.array(BONNETS[kind])
    fine = np.linspace(0, len(ribs) - 1, 4 * len(ribs))
    z, drop, half, crown = (np.interp(fine, np.arange(len(ribs)), ribs[:, k])[:, None] for k in range(4))
    across = np.linspace(-1, 1, 17)[None]
    crease = 0.012 * np.exp(-(((np.abs(across) - 0.62) / 0.07) ** 2))
    sheet = np.stack([across * half, -drop + crown * (1 - across**2) + crease, z + 0 * across], -1)
    skirt = sheet[:, [0, -1]] - [0, 0.7, 0]
    full = np.concatenate([skirt[:, :1], sheet, skirt[:, 1:]], 1)
    corners = np.stack([full[:-1, :-1], full[:-1, 1:], full[1:, 1:], full[1:, :-1]], 2).reshape(-1, 4, 3)
    flat = quads(corners, corners[..., [0, 2]])
    return Shape(flat.vertices, flat.faces, _smooth(full), flat.uv)


def _smooth(grid: np.ndarray) -> np.ndarray:
    """Normals of a grid (r, c, 3) of points, laid out as the corners of its cells."""
    normal = np.cross(np.gradient(grid, axis=0), np.gradient(grid, axis=1))
    normal /= np.maximum(np.linalg.norm(normal, axis=-1, keepdims=True), 1e-9)
    cells = np.stack([normal[:-1, :-1], normal[:-1, 1:], normal[1:, 1:], normal[1:, :-1]], 2)
    return cells.reshape(-1, 3).astype(np.float32)


def add_bonnet(builder: Builder, kind: str, color: Color, camera: tuple[float, float, float]) -> None:
    """Put the bonnet below a camera at (x, y, z); its label is 255, its instance 0."""
    shape = bonnet(kind)
    vertices = shape.vertices + np.array(camera, np.float32)
    placed = Shape(vertices, shape.faces, shape.normals, shape.uv)
    builder.add(placed, None, 0, Finish("carpaint", color, (40, 40, 42)))
