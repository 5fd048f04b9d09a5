"""Buildings: a walled box whose facade is drawn by its finish, under one of several roofs, with relief on the front."""

from dataclasses import dataclass

import numpy as np

from goodsam.streetworld.mesh import Builder, Finish
from goodsam.streetworld.shapes import Shape, boxes, joined, quads
from goodsam.streetworld.street import pick
from goodsam.streetworld.styles import Style, Weights

PATTERNS = ("plaster", "brick", "stone", "panel", "boards", "tile")


def choose(rng: np.random.Generator, weights: Weights) -> str:
    """One of the alternatives, by weight."""
    names = list(weights)
    share = np.array([weights[name] for name in names], float)
    return names[int(rng.choice(len(names), p=share / share.sum()))]


@dataclass(frozen=True)
class Body:
    """The walled box of a building: x away from the street (0 at its front), z along it."""

    width: float
    """Along the street, metres."""
    depth: float
    """Metres."""
    storeys: int
    storey: float
    """Metres."""
    base: float
    """Height of the ground, metres."""

    @property
    def top(self) -> float:
        """Height of the eaves, metres."""
        return self.base + self.storeys * self.storey


def _walls(body: Body, cell: float) -> Shape:
    """Four walls; uv counts metres, stretched so that whole window cells fit."""
    w, d, y0, y1 = body.width, body.depth, body.base - 1.5, body.top
    corners = [(0, 0), (0, w), (d, w), (d, 0)]
    walls, uvs = [], []
    for (xa, za), (xb, zb) in zip(corners, corners[1:] + corners[:1], strict=True):
        length = abs(xa - xb) + abs(za - zb)
        across = max(1, round(length / cell)) * cell
        walls.append([[xa, y0, za], [xb, y0, zb], [xb, y1, zb], [xa, y1, za]])
        low, high = y0 - body.base, y1 - body.base
        uvs.append([[0, low], [across, low], [across, high], [0, high]])
    return quads(np.array(walls), np.array(uvs))


def _roof(kind: str, body: Body, rng: np.random.Generator, over: float) -> tuple[list[Shape], list[Shape]]:
    """Roof surfaces, and gables to be finished as the wall is."""
    w, d, y = body.width, body.depth, body.top
    x0, x1, z0, z1 = -over, d + over, -over, w + over
    rise = float(rng.uniform(0.35, 0.75)) * min(d, w) / 2 + 0.4
    if kind == "flat":
        rim = 0.3 + float(rng.uniform(0, 0.7))
        edges = [((0.12, y, w / 2), (0.24, rim, w)), ((d - 0.12, y, w / 2), (0.24, rim, w))]
        edges += [((d / 2, y, z), (d, rim, 0.24)) for z in (0.12, w - 0.12)]
        flat = quads(np.array([[[0, y, 0], [d, y, 0], [d, y, w], [0, y, w]]]))
        return [flat], [boxes(np.array(base), np.array(size)) for base, size in edges]
    if kind == "mansard":
        k, h = 1.3, float(rng.uniform(2.2, 3.0))
        low, high = [(x0, z0), (x0, z1), (x1, z1), (x1, z0)], [(k, k), (k, w - k), (d - k, w - k), (d - k, k)]
        ring = zip(low, low[1:] + low[:1], high, high[1:] + high[:1], strict=True)
        sides = [[[a, y, b], [c, y, e], [g, y + h, i], [f, y + h, q]] for (a, b), (c, e), (f, q), (g, i) in ring]
        lid = [[x, y + h, z] for x, z in high]
        return [quads(np.array([*sides, lid]))], []
    inset = min(d / 2, w / 2 - 0.5) if kind == "hip" else 0.0
    ridge = [(d / 2, y + rise, z0 + inset), (d / 2, y + rise, z1 - inset)]
    front = [[x0, y, z0], [x0, y, z1], ridge[1], ridge[0]]
    back = [[x1, y, z0], [x1, y, z1], ridge[1], ridge[0]]
    ends = [[[x0, y, z], [x1, y, z], list(peak), list(peak)] for z, peak in ((z0, ridge[0]), (z1, ridge[1]))]
    if kind == "hip":
        return [quads(np.array([front, back, *ends]))], []
    gables = [[[0, y, z], [d, y, z], [d / 2, y + rise, z], [d / 2, y + rise, z]] for z in (0.0, w)]
    return [quads(np.array([front, back]))], [quads(np.array(gables))]


def _relief(body: Body, kind: str, cell: float, rng: np.random.Generator, style: Style) -> list[Shape]:
    """What stands out of the front: cornices, balconies, bays, steps."""
    w, parts = body.width, []
    count = max(1, round(w / cell))
    places = (np.arange(count) + 0.5) * w / count
    if kind in ("terrace", "block") and rng.random() < 0.7:
        levels = [body.top - 0.25] + ([body.base + body.storey - 0.1] if rng.random() < 0.6 else [])
        parts += [boxes(np.array([-0.12, y, w / 2]), np.array([0.3, 0.28, w])) for y in levels]
    if kind == "block" and rng.random() < style.balconies:
        stack = places[rng.integers(2) :: 2]
        floors = body.base + body.storey * np.arange(1, body.storeys)
        z, y = (axis.ravel() for axis in np.meshgrid(stack, floors))
        wide = 0.92 * w / count
        slab = np.stack([np.full_like(z, -0.55), y - 0.14, z], 1)
        parts.append(boxes(slab, np.array([1.2, 0.16, wide])))
        parts.append(boxes(slab + np.array([-0.56, 0.1, 0]), np.array([0.06, 1.0, wide])))
        for shift in (-wide / 2, wide / 2):
            parts.append(boxes(slab + np.array([0.0, 0.1, shift]), np.array([1.2, 1.0, 0.05])))
    return parts


def add_building(
    builder: Builder,
    rng: np.random.Generator,
    style: Style,
    kind: str,
    place: tuple[int, float, float],
    size: tuple[float, float, float],
) -> None:
    """Put a building on a plot.

    Args:
        kind: a kind of building of the style.
        place: side of the street (-1, 1), distance of its front from the middle, least z; metres.
        size: width along the street, depth, height of the ground under it; metres.
    """
    low, high = style.storeys[kind]
    storey = float(rng.uniform(2.8, 3.5)) if kind != "shed" else float(rng.uniform(3.2, 4.5))
    body = Body(size[0], size[1], int(rng.integers(low, high + 1)), storey, size[2])
    cell = float(rng.uniform(*style.window)) * (0.75 if kind == "office" else 1.0)
    pattern = choose(rng, style.wall_pattern)
    wide, tall = (0.86, 0.74) if kind == "office" else (float(rng.uniform(0.36, 0.6)), float(rng.uniform(0.42, 0.62)))
    shop = float(kind in ("terrace", "block", "office") and rng.random() < 0.55)
    color, trim = (
        pick(rng, style.walls, 0.14),
        pick(rng, ((224, 222, 216), (84, 60, 46), (60, 62, 66), (150, 140, 128))),
    )
    detail = (cell, storey, wide, tall, float(PATTERNS.index(pattern)), shop)
    facade = Finish("facade", color, trim, detail)
    plain = Finish("masonry", color, trim, (float(PATTERNS.index(pattern)), 0.0))
    roof_kind = "flat" if kind == "office" or body.storeys > 6 else choose(rng, style.roofs)
    surfaces, gables = _roof(roof_kind, body, rng, 0.35 if roof_kind in ("gable", "hip") else 0.05)
    tops = []
    if roof_kind == "flat":
        for _ in range(rng.integers(0, 4)):
            spot = [rng.uniform(2, body.depth - 2), body.top, rng.uniform(2, max(2.1, body.width - 2))]
            tops.append(boxes(np.array(spot), rng.uniform([1, 0.6, 1], [3, 2.6, 3])))
    elif rng.random() < 0.8:
        spots = rng.uniform(1, body.width - 1, rng.integers(1, 3))
        tops += [boxes(np.array([body.depth / 2 + 0.6, body.top, z]), np.array([0.6, 4.2, 0.8])) for z in spots]
    accent = Finish("masonry", pick(rng, style.walls), trim, (float(rng.choice([0, 1, 3])), 0.0))
    relief = _relief(body, kind, cell, rng, style)
    tiles = "masonry" if roof_kind == "flat" else "roof"
    instance = builder.new_instance()
    roof = Finish(tiles, pick(rng, style.roof_colors), (60, 58, 56), (3.0 if roof_kind == "flat" else 0.0, 0.0))
    for shapes, finish in (
        ([_walls(body, cell)], facade), (surfaces, roof), (gables, plain), ([*tops, *relief], accent),
    ):  # fmt: skip
        if shapes:
            builder.add(_placed(joined(shapes), place), "building", instance, finish)


def _placed(shape: Shape, place: tuple[int, float, float]) -> Shape:
    side, front, z = place
    flip = np.array([side, 1, 1], np.float32)
    vertices = shape.vertices * flip + np.array([side * front, 0, z], np.float32)
    return Shape(vertices, shape.faces, shape.normals * flip, shape.uv)
