"""Trees, hedges and shrubs: lumpy crowns with ragged edges of leaf cards."""

import numpy as np

from goodsam.streetworld.mesh import Builder, Finish
from goodsam.streetworld.shapes import Shape, blob, boxes, cards, joined, quads, tube
from goodsam.streetworld.street import pick
from goodsam.streetworld.styles import Style


def _tufts(blobs: list[Shape], rng: np.random.Generator, count: int, size: float) -> Shape:
    points = np.concatenate([b.vertices for b in blobs])
    normals = np.concatenate([b.normals for b in blobs])
    chosen = rng.integers(0, len(points), count)
    return cards(
        points[chosen] + normals[chosen] * rng.uniform(-0.1, 0.6, (count, 1)) * size, normals[chosen], size, rng
    )


def _broad(rng: np.random.Generator, height: float) -> tuple[list[Shape], list[Shape], list[Shape]]:
    fork, spread = height * rng.uniform(0.3, 0.42), height * rng.uniform(0.2, 0.3)
    wood = [tube((0, -0.3, 0), (0, fork * 1.1, 0), 0.022 * height, 0.015 * height)]
    crown = []
    for _ in range(rng.integers(6, 10)):
        angle, out = rng.uniform(0, 2 * np.pi), spread * np.sqrt(rng.uniform(0, 0.75))
        centre = np.array([out * np.cos(angle), rng.uniform(fork * 1.35, height * 0.86), out * np.sin(angle)])
        radius = spread * rng.uniform(0.4, 0.66)
        crown.append(blob(centre, (radius, radius * rng.uniform(0.7, 1), radius), rng, 0.28))
        wood.append(tube((0, fork * 0.9, 0), centre, 0.009 * height, 0.004 * height, 5, False))
    return wood, crown, [_tufts(crown, rng, 2200, 0.02 * height + 0.08)]


def _birch(rng: np.random.Generator, height: float) -> tuple[list[Shape], list[Shape], list[Shape]]:
    wood = [tube((0, -0.3, 0), (0, height * 0.9, 0), 0.014 * height, 0.004 * height)]
    crown = []
    for level in np.linspace(0.42, 0.94, 7):
        radius = height * (0.16 - 0.12 * abs(level - 0.6)) * rng.uniform(0.7, 1.1)
        centre = np.array([rng.normal(0, 0.35), level * height, rng.normal(0, 0.35)])
        crown.append(blob(centre, (radius, radius * 1.25, radius), rng, 0.35))
    # Few leaves inside: the sky shows through between the lumps.
    return wood, crown, [_tufts(crown, rng, 1600, 0.018 * height + 0.06)]


def _conifer(rng: np.random.Generator, height: float) -> tuple[list[Shape], list[Shape], list[Shape]]:
    wood = [tube((0, -0.3, 0), (0, height * 0.8, 0), 0.018 * height, 0.005 * height)]
    skirts = []
    for level in np.linspace(0.12, 0.86, 9):
        radius = height * 0.21 * (1.06 - level) * rng.uniform(0.85, 1.15)
        skirts.append(tube((0, height * level, 0), (0, height * (level + 0.17), 0), radius, 0.05, 11, False))
    return wood, skirts, [_tufts(skirts, rng, 1800, 0.018 * height + 0.08)]


def _palm(rng: np.random.Generator, height: float) -> tuple[list[Shape], list[Shape], list[Shape]]:
    lean = rng.normal(0, 0.04, 2) * height
    top = np.array([lean[0], height * 0.86, lean[1]])
    wood = [tube((0, -0.3, 0), top, 0.2, 0.13)]
    leaves = []
    for turn in np.linspace(0, 2 * np.pi, 15)[:-1] + rng.uniform(0, 0.4, 14):
        out, rise = np.array([np.cos(turn), 0, np.sin(turn)]), rng.uniform(0.1, 1.0)
        across = np.array([-out[2], 0, out[0]])
        reach = np.linspace(0, 1, 6)[:, None] * 2.6
        spine = top + reach * out + np.array([0, 1, 0]) * (rise * reach - 0.36 * reach**2 * rng.uniform(0.8, 1.2))
        wide = np.array([0.1, 0.42, 0.5, 0.42, 0.28, 0.03])[:, None]
        for s in (-1, 1):  # a frond hangs to both sides of its spine
            edge = spine + s * across * wide - np.array([0, 1, 0]) * wide * 0.5
            leaves.append(quads(np.stack([spine[:-1], spine[1:], edge[1:], edge[:-1]], 1)))
    return wood, leaves, []


_TREES = {"broad": _broad, "birch": _birch, "conifer": _conifer, "palm": _palm}
_BARK = {
    "broad": ((92, 80, 66), (70, 62, 54), (110, 104, 92)),
    "birch": ((206, 202, 192), (180, 176, 166)),
    "conifer": ((92, 66, 50), (76, 62, 52)),
    "palm": ((132, 118, 98), (112, 100, 84)),
}


def tree_shape(kind: str, rng: np.random.Generator) -> tuple[Shape, Shape]:
    """Wood and leaves of a tree about 8 m high at the origin, to be moved and scaled."""
    wood, crown, tufts = _TREES[kind](rng, 8.0 * rng.uniform(0.85, 1.15))
    return joined(wood), joined([*crown, *tufts])


def bark(kind: str, rng: np.random.Generator) -> Finish:
    """The finish of a tree's wood."""
    return Finish("bark", pick(rng, _BARK[kind]), (40, 34, 30), (float(kind == "birch"),))


def foliage(rng: np.random.Generator, style: Style) -> Finish:
    """The finish of leaves."""
    color = pick(rng, style.leaves, 0.2)
    return Finish("leaves", color, pick(rng, style.leaves, 0.2), (float(rng.uniform(0.1, 0.3)),))


def add_hedge(
    builder: Builder, rng: np.random.Generator, style: Style, line: tuple[float, float, float], base: float
) -> None:
    """A hedge along z.

    Args:
        line: x of its middle, its least and greatest z, metres.
        base: height of the ground, metres.
    """
    x, z0, z1 = line
    height, thick = rng.uniform(0.9, 2.0), rng.uniform(0.5, 0.9)
    pieces = [boxes(np.array([x, base - 0.1, (z0 + z1) / 2]), np.array([thick, height, z1 - z0]))]
    for z in np.arange(z0 + 0.4, z1 - 0.2, 0.9):
        radii = (thick * 0.62, height * rng.uniform(0.5, 0.56), 0.75)
        pieces.append(blob((x, base + height / 2, z), radii, rng, 0.14, 1))
    count = int((z1 - z0) * (height * 2 + thick) * 14)
    spots = np.stack([rng.uniform(-0.5, 0.5, count), rng.uniform(0, 1, count), rng.uniform(0, 1, count)], 1)
    face = rng.random(count) < 0.35  # a third on the top, the rest on the two sides
    spots[face, 1] = 1.0
    spots[~face, 0] = np.sign(spots[~face, 0]) * 0.5
    points = spots * [thick * 1.1, height, z1 - z0] + [x, base, z0]
    outward = np.where(face[:, None], [0.0, 1.0, 0.0], np.sign(spots[:, :1]) * [1.0, 0.3, 0.0])
    pieces.append(cards(points, outward, 0.13, rng))
    builder.add(joined(pieces), "vegetation", builder.new_instance(), foliage(rng, style))


def add_shrub(builder: Builder, rng: np.random.Generator, style: Style, spot: tuple[float, float, float]) -> None:
    """A shrub of 0.4 to 1.6 m."""
    size = rng.uniform(0.35, 0.9)
    lumps = []
    for _ in range(3):
        off = np.array([rng.normal(0, 0.4), rng.uniform(0.4, 0.8), rng.normal(0, 0.4)]) * size
        centre = np.array(spot) + off
        lumps.append(blob(centre, np.array([1, 0.8, 1]) * size * rng.uniform(0.5, 0.8), rng, 0.3, 1))
    shape = joined([*lumps, _tufts(lumps, rng, 160, 0.12)])
    builder.add(shape, "vegetation", builder.new_instance(), foliage(rng, style))
