"""Triangles of simple solids, each with normals and texture coordinates in metres.

World axes are those of `goodsam.sphere`: x right, y up, z forward, metres. Winding is free: shading turns every normal
towards the camera.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

Point = Sequence[float] | np.ndarray
"""(3,), metres."""


@dataclass(frozen=True)
class Shape:
    """n vertices, m triangles."""

    vertices: np.ndarray
    """float32 (n, 3), metres."""
    faces: np.ndarray
    """int32 (m, 3), indices of vertices."""
    normals: np.ndarray
    """float32 (n, 3), unit length."""
    uv: np.ndarray
    """float32 (n, 2), texture coordinates, metres."""


def joined(shapes: Sequence[Shape]) -> Shape:
    """One shape of several."""
    starts = np.cumsum([0, *(len(shape.vertices) for shape in shapes)])
    faces = [shape.faces + start for shape, start in zip(shapes, starts[:-1], strict=True)]
    return Shape(
        np.concatenate([shape.vertices for shape in shapes]),
        np.concatenate(faces).astype(np.int32),
        np.concatenate([shape.normals for shape in shapes]),
        np.concatenate([shape.uv for shape in shapes]),
    )


def moved(shape: Shape, offset: Sequence[float] | np.ndarray, yaw: float = 0.0, scale: float = 1.0) -> Shape:
    """Scaled, turned about the vertical by `yaw` degrees (z towards x), then shifted by `offset` metres."""
    sine, cosine = np.sin(np.deg2rad(yaw)), np.cos(np.deg2rad(yaw))
    turn = np.array([[cosine, 0, -sine], [0, 1, 0], [sine, 0, cosine]], np.float32)
    vertices = shape.vertices @ turn * np.float32(scale) + np.asarray(offset, np.float32)
    return Shape(vertices, shape.faces, shape.normals @ turn, shape.uv * np.float32(scale))


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-9)


def quads(corners: np.ndarray, uv: np.ndarray | None = None) -> Shape:
    """k flat quadrilaterals.

    Args:
        corners: (k, 4, 3), metres, in order around; two equal corners make a triangle.
        uv: (k, 4, 2); by default metres along the first edge and along the last.
    """
    corners = np.asarray(corners, np.float64).reshape(-1, 4, 3)
    count = len(corners)
    normals = _unit(np.cross(corners[:, 2] - corners[:, 0], corners[:, 3] - corners[:, 1]))
    if uv is None:
        along = np.linalg.norm(corners[:, 1] - corners[:, 0], axis=-1)
        up = np.linalg.norm(corners[:, 3] - corners[:, 0], axis=-1)
        zero = np.zeros(count)
        uv = np.stack([np.stack([zero, along, along, zero], 1), np.stack([zero, zero, up, up], 1)], -1)
    faces = np.array([[0, 1, 2], [0, 2, 3]]) + 4 * np.arange(count)[:, None, None]
    return Shape(
        corners.reshape(-1, 3).astype(np.float32),
        faces.reshape(-1, 3).astype(np.int32),
        np.repeat(normals, 4, axis=0).astype(np.float32),
        np.asarray(uv, np.float32).reshape(-1, 2),
    )


def ground(x0: float, x1: float, z0: float, z1: float, y: float, step: float = 4.0) -> Shape:
    """A horizontal rectangle, cut every `step` metres of z so that it can bend; uv is (x, z)."""
    edges = np.linspace(z0, z1, max(2, int(np.ceil((z1 - z0) / step)) + 1))
    near, far = edges[:-1], edges[1:]
    left, right, level = np.full_like(near, x0), np.full_like(near, x1), np.full_like(near, y)
    corners = np.stack(
        [np.stack(c, -1) for c in ((left, level, near), (right, level, near), (right, level, far), (left, level, far))],
        1,
    )
    return quads(corners, corners[..., [0, 2]])


_FACES = np.array(
    [
        [[-1, 0, -1], [1, 0, -1], [1, 1, -1], [-1, 1, -1]],
        [[1, 0, -1], [1, 0, 1], [1, 1, 1], [1, 1, -1]],
        [[1, 0, 1], [-1, 0, 1], [-1, 1, 1], [1, 1, 1]],
        [[-1, 0, 1], [-1, 0, -1], [-1, 1, -1], [-1, 1, 1]],
        [[-1, 1, -1], [1, 1, -1], [1, 1, 1], [-1, 1, 1]],
        [[-1, 0, -1], [1, 0, -1], [1, 0, 1], [-1, 0, 1]],
    ]
) * np.array([0.5, 1, 0.5])


def boxes(base: np.ndarray, size: np.ndarray, yaw: float = 0.0) -> Shape:
    """k boxes.

    Args:
        base: (k, 3) or (3,), middle of the lower face, metres.
        size: (k, 3) or (3,), extent along x, y, z, metres.
        yaw: turns them all about the world's vertical through each base, degrees.
    """
    base, size = np.broadcast_arrays(np.atleast_2d(base), np.atleast_2d(size))
    sine, cosine = np.sin(np.deg2rad(yaw)), np.cos(np.deg2rad(yaw))
    turn = np.array([[cosine, 0, -sine], [0, 1, 0], [sine, 0, cosine]])
    corners = (_FACES[None] * size[:, None, None]) @ turn + base[:, None, None]
    return quads(corners)


def tube(start: Point, end: Point, r0: float, r1: float, sides: int = 8, cap: bool = True) -> Shape:
    """A cone's frustum from `start` to `end`, radii in metres; smooth normals."""
    a, b = np.asarray(start, np.float64), np.asarray(end, np.float64)
    axis = _unit(b - a)
    side = _unit(np.cross(axis, [0.31, 0.11, 0.94] if abs(axis[1]) > 0.5 else [0.0, 1.0, 0.0]))
    other = np.cross(axis, side)
    angle = np.linspace(0, 2 * np.pi, sides + 1)
    out = np.cos(angle)[:, None] * side + np.sin(angle)[:, None] * other
    length = float(np.linalg.norm(b - a))
    around = angle * max(r0, r1)
    vertices = np.concatenate([a + r0 * out, b + r1 * out])
    uv = np.concatenate([np.stack([around, 0 * around], 1), np.stack([around, 0 * around + length], 1)])
    i = np.arange(sides)
    faces = np.concatenate([np.stack([i, i + 1, i + sides + 2], 1), np.stack([i, i + sides + 2, i + sides + 1], 1)])
    normals = np.concatenate([out, out])
    if cap:
        vertices, uv = np.concatenate([vertices, b + r1 * out]), np.concatenate([uv, out[:, :2] * 0 + angle[:, None]])
        normals = np.concatenate([normals, np.repeat(axis[None], sides + 1, 0)])
        start_of_cap = 2 * (sides + 1)
        j = np.arange(1, sides - 1)
        faces = np.concatenate([faces, start_of_cap + np.stack([0 * j, j, j + 1], 1)])
    return Shape(*(v.astype(t) for v, t in zip((vertices, faces, normals, uv), "fiff", strict=True)))


def disc(centre: Sequence[float], facing: Sequence[float], radius: float, sides: int = 16) -> Shape:
    """A regular polygon that faces a direction; uv in -1..1 from its middle (upright where it can be)."""
    middle, normal = np.asarray(centre, np.float64), _unit(np.asarray(facing, np.float64))
    right = _unit(np.cross([0.0, 1.0, 0.0], normal))
    up = np.cross(normal, right)
    angle = 2 * np.pi * np.arange(sides) / sides + np.pi / 2 + (np.pi / 4 if sides == 4 else 0)
    flat = np.stack([np.cos(angle), np.sin(angle)], 1)
    vertices = np.concatenate([middle[None], middle + radius * (flat[:, :1] * right + flat[:, 1:] * up)])
    i = np.arange(sides)
    faces = np.stack([0 * i, i + 1, (i + 1) % sides + 1], 1)
    uv = np.concatenate([np.zeros((1, 2)), flat])
    normals = np.repeat(normal[None], sides + 1, 0)
    return Shape(*(v.astype(t) for v, t in zip((vertices, faces, normals, uv), "fiff", strict=True)))


@lru_cache(maxsize=4)
def _sphere(cuts: int) -> tuple[np.ndarray, np.ndarray]:
    """Unit sphere from an octahedron whose edges are halved `cuts` times."""
    vertices = [np.array(v, float) for v in ((1, 0, 0), (-1, 0, 0), (0, 1, 0), (0, -1, 0), (0, 0, 1), (0, 0, -1))]
    faces = [(a, b, c) for a in (0, 1) for b in (2, 3) for c in (4, 5)]
    for _ in range(cuts):
        middles: dict[tuple[int, int], int] = {}

        def middle(a: int, b: int, middles: dict[tuple[int, int], int] = middles) -> int:
            key = (min(a, b), max(a, b))
            if key not in middles:
                vertices.append(_unit(vertices[a] + vertices[b]))
                middles[key] = len(vertices) - 1
            return middles[key]

        halved = []
        for a, b, c in faces:
            ab, bc, ca = middle(a, b), middle(b, c), middle(c, a)
            halved += [(a, ab, ca), (b, bc, ab), (c, ca, bc), (ab, bc, ca)]
        faces = halved
    return np.array(vertices), np.array(faces, np.int32)


def blob(
    centre: Sequence[float] | np.ndarray,
    radii: Sequence[float] | np.ndarray,
    rng: np.random.Generator | None = None,
    rough: float = 0.0,
    cuts: int = 2,
) -> Shape:
    """An ellipsoid, displaced by smooth lumps of relative height `rough`."""
    unit, faces = _sphere(cuts)
    radius = np.ones(len(unit))
    if rng is not None and rough > 0:
        waves = rng.normal(0, 3.2, (6, 3))
        radius += rough * np.sin(unit @ waves.T + rng.uniform(0, 6.3, 6)).mean(1) * 2.2
    radii = np.asarray(radii, np.float64)
    vertices = unit * radius[:, None] * radii + np.asarray(centre)
    uv = np.stack([np.arctan2(unit[:, 0], unit[:, 2]) * radii[0], unit[:, 1] * radii[1]], 1) + np.asarray(centre)[:2]
    return Shape(*(v.astype(t) for v, t in zip((vertices, faces, _unit(unit / radii), uv), "fiff", strict=True)))


def cards(points: np.ndarray, outward: np.ndarray, size: float, rng: np.random.Generator) -> Shape:
    """Leafy tufts: a randomly turned triangle of about `size` metres at each of the points (k, 3)."""
    count = len(points)
    corners = points[:, None] + rng.normal(0, size * 0.62, (count, 3, 3))
    # Cards lit by their own random normals look like confetti; leaves scatter light as the crown does.
    normals = _unit(outward + rng.normal(0, 0.35, (count, 3)))
    uv = corners[..., [0, 1]] + corners[..., [2, 2]] * 0.7
    faces = np.arange(3 * count).reshape(-1, 3)
    parts = (corners.reshape(-1, 3), faces, np.repeat(normals, 3, 0), uv.reshape(-1, 2))
    return Shape(*(v.astype(t) for v, t in zip(parts, "fiff", strict=True)))
