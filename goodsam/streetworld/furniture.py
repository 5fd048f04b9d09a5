"""What stands along a street: lamps, posts, traffic lights, signs, fences and garden walls."""

import numpy as np

from goodsam.streetworld.mesh import Builder, Finish
from goodsam.streetworld.shapes import Shape, boxes, disc, joined, moved, quads, tube
from goodsam.streetworld.street import pick
from goodsam.streetworld.styles import Style

Spot = tuple[float, float, float]


def pole_metal(rng: np.random.Generator, style: Style) -> Finish:
    """The finish of lamp posts and the like."""
    return Finish("metal", pick(rng, style.pole_colors), (90, 84, 78), (0.0,))


def add_lamp(builder: Builder, finish: Finish, spot: Spot, reach: float, height: float) -> None:
    """A street lamp whose arm reaches `reach` metres along x (signed); all of it is pole."""
    parts = [tube((0, 0, 0), (0, height, 0), 0.085, 0.05), tube((0, 0, 0), (0, 1.1, 0), 0.12, 0.11)]
    if reach:
        parts.append(tube((0, height - 0.1, 0), (reach, height + 0.25, 0), 0.045, 0.035, 6))
        parts.append(boxes(np.array([reach, height + 0.14, 0]), np.array([0.75, 0.13, 0.28])))
    else:
        parts.append(tube((0, height, 0), (0, height + 0.5, 0), 0.14, 0.24, 8))
    builder.add(moved(joined(parts), spot), "pole", builder.new_instance(), finish)


def add_post(builder: Builder, rng: np.random.Generator, spot: Spot, ends: list[np.ndarray]) -> None:
    """A wooden or concrete post with a cross-arm and wires to `ends`, the tops of other posts; all of it is pole."""
    height = 8.0
    parts = [tube((0, 0, 0), (0, height, 0), 0.15, 0.1)]
    parts += [boxes(np.array([0, y, 0]), np.array([1.7, 0.11, 0.11])) for y in (height - 0.4, height - 1.0)]
    parts.append(tube((0.2, height - 2.2, 0), (0.2, height - 1.5, 0), 0.17, 0.17, 8))
    wood = rng.random() < 0.5
    finish = Finish("wood" if wood else "masonry", (112, 92, 74) if wood else (158, 156, 150), (60, 54, 48), (0.0,))
    instance = builder.new_instance()
    parts = [moved(joined(parts), spot)]
    for end in ends:
        for x in (-0.75, 0.75):
            shift = np.array([x, height - 0.3, 0])
            a, b = np.array(spot) + shift, end + shift
            mid = (a + b) / 2 - np.array([0, 0.5, 0])
            parts += [tube(p, q, 0.02, 0.02, 3, False) for p, q in ((a, mid), (mid, b))]
    builder.add(joined(parts), "pole", instance, finish)


def add_traffic_light(
    builder: Builder, rng: np.random.Generator, style: Style, spot: Spot, toward: int, reach: float
) -> None:
    """A traffic light: post and arm are pole, the housing is traffic light.

    Args:
        toward: +1 if it shines along +z, -1 along -z.
        reach: of the arm over the road along x (signed), metres; 0 has the housing on the post alone.
    """
    post = [tube((0, 0, 0), (0, 3.4 if not reach else 5.9, 0), 0.075, 0.06)]
    heads = [(0.0, 2.35)]
    if reach:
        post.append(tube((0, 5.7, 0), (reach, 5.9, 0), 0.06, 0.045, 6))
        heads += [(reach * 0.95, 5.3), (reach * 0.5, 5.3)][: rng.integers(1, 3)]
    builder.add(moved(joined(post), spot), "pole", builder.new_instance(), pole_metal(rng, style))
    color, lit = pick(rng, style.light_box), int(rng.integers(3))
    for x, y in heads:
        instance = builder.new_instance()
        z = 0.16 * toward
        housing = [boxes(np.array([x, y, z]), np.array([0.32, 1.0, 0.22]))]
        for i in range(3):  # hoods over the lamps
            hood = np.array([x, y + 0.13 + 0.32 * i + 0.22, z + toward * 0.18])
            housing.append(boxes(hood, np.array([0.26, 0.02, 0.16])))
        finish = Finish("metal", color, (30, 30, 32), (0.0,))
        builder.add(moved(joined(housing), spot), "traffic light", instance, finish)
        for i, hue in enumerate(((70, 235, 140), (250, 176, 40), (246, 50, 38))):
            on = i == lit
            shade = hue if on else tuple(c * 0.22 for c in hue)
            lamp = disc((x, y + 0.17 + 0.32 * i, z + toward * 0.115), (0, 0, toward), 0.115, 14)
            finish = Finish("lamp", shade, (0, 0, 0), (1.6 if on else 0.0,))  # type: ignore[arg-type]
            builder.add(moved(lamp, spot), "traffic light", instance, finish)


def add_sign(
    builder: Builder, rng: np.random.Generator, style: Style, spot: Spot, toward: int, large: bool = False
) -> None:
    """A sign that faces along +z or -z, on its post; the post is pole."""
    face, border = style.signs[rng.integers(len(style.signs))]
    post = [tube((0, 0, 0), (0, 3.0 if not large else 5.6, 0), 0.035, 0.035, 6)]
    sides = int(rng.choice([3, 4, 4, 18, 18]))
    builder.add(moved(joined(post), spot), "pole", builder.new_instance(), pole_metal(rng, style))
    back = Finish("metal", (146, 148, 148), (110, 110, 110), (0.0,))
    z, seed = 0.05 * toward, float(rng.uniform(0, 100))
    if large:
        w, h, y = rng.uniform(0.9, 1.6), rng.uniform(0.5, 1.0), 4.5
        corners = np.array([[-w, y - h, z], [w, y - h, z], [w, y + h, z], [-w, y + h, z]])
        uv = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])
        plates, sides = [quads(corners[None], uv[None])], 4
    else:
        size = rng.uniform(0.3, 0.42)
        plates = [disc((0, 2.55, z), (0, 0, toward), size * (1.25 if sides == 4 else 1), sides)]
        if rng.random() < 0.35:
            plates.append(disc((0, 2.0, z), (0, 0, toward), 0.3, 4))
    instance = builder.new_instance()
    builder.add(moved(joined(plates), spot), "traffic sign", instance, Finish("sign", face, border, (sides, seed)))
    behind = [Shape(p.vertices - np.array([0, 0, 0.02 * toward], np.float32), p.faces, p.normals, p.uv) for p in plates]
    builder.add(moved(joined(behind), spot), "traffic sign", instance, back)


def add_fence(
    builder: Builder, rng: np.random.Generator, kind: str, line: tuple[float, float, float], base: float
) -> None:
    """A fence along z: posts, rails, and thin bars or boards between them.

    Args:
        kind: bars (wrought iron), slats (pickets), boards (closed) or rail (crash barrier, railing).
        line: its x, its least and greatest z, metres.
        base: height of the ground, metres.
    """
    x, z0, z1 = line
    height = {"bars": rng.uniform(1.2, 2.0), "slats": rng.uniform(0.9, 1.3), "boards": rng.uniform(1.5, 2.1)}.get(
        kind, 1.0
    )
    thick, gap = {"bars": (0.025, 0.13), "slats": (0.075, 0.125), "boards": (0.15, 0.156)}.get(kind, (0.04, 0.5))
    z = np.arange(z0, z1, gap)
    upright = np.stack([np.full_like(z, x), np.full_like(z, base), z], 1)
    posts = np.arange(z0, z1 + 0.1, 2.4)
    stand = np.stack([np.full_like(posts, x), np.full_like(posts, base), posts], 1)
    parts = [boxes(stand, np.array([0.09, height + 0.08, 0.09]))]
    if kind != "rail":
        tall = np.stack([np.full_like(z, 0.022), height + 0.05 * rng.uniform(-1, 1, len(z)), np.full_like(z, thick)], 1)
        parts.append(boxes(upright, tall))
    levels = (0.4, 0.7, 0.98) if kind == "rail" else (0.18, height - 0.18)
    for level in levels:
        rail = np.array([x, base + level, (z0 + z1) / 2])
        parts.append(boxes(rail, np.array([0.05, 0.13 if kind == "rail" else 0.05, z1 - z0])))
    if kind in ("bars", "rail"):
        color = pick(rng, ((44, 48, 46), (70, 92, 80), (150, 152, 152), (120, 118, 114)))
        finish = Finish("metal", color, (110, 78, 56), (0.0,))
    else:
        color = pick(rng, ((140, 112, 84), (206, 200, 190), (112, 84, 62), (96, 104, 90)))
        finish = Finish("wood", color, (70, 58, 48), (0.15,))
    builder.add(joined(parts), "fence", builder.new_instance(), finish)


def add_wall(
    builder: Builder, rng: np.random.Generator, style: Style, line: tuple[float, float, float], base: float
) -> None:
    """A garden wall along z, with a coping and now and then piers."""
    x, z0, z1 = line
    height, thick = rng.uniform(0.8, 2.3), 0.25
    parts = [boxes(np.array([x, base - 0.3, (z0 + z1) / 2]), np.array([thick, height + 0.3, z1 - z0]))]
    parts.append(boxes(np.array([x, base + height, (z0 + z1) / 2]), np.array([thick + 0.12, 0.07, z1 - z0])))
    if rng.random() < 0.5:
        z = np.arange(z0 + 0.25, z1, 3.2)
        piers = np.stack([np.full_like(z, x), np.full_like(z, base - 0.3), z], 1)
        parts.append(boxes(piers, np.array([0.42, height + 0.6, 0.42])))
    finish = Finish(
        "masonry", pick(rng, style.walls), pick(rng, style.paving), (float(rng.choice([0, 1, 1, 2, 2, 3])), 1.0)
    )
    builder.add(joined(parts), "wall", builder.new_instance(), finish)
