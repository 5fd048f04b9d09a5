"""The street itself: carriageway, markings, crossings, kerbs, sidewalks, verges and the ground between."""

from dataclasses import dataclass

import numpy as np

from goodsam.streetworld.mesh import Builder, Color, Finish
from goodsam.streetworld.shapes import Shape, disc, ground, joined, moved, quads
from goodsam.streetworld.styles import Style

NEAR, FAR = -140.0, 190.0
"""The street runs along z between these, metres; the camera stands at z = 0."""
DEEP = 90.0
"""Side streets and plots reach so far from the middle, metres."""
SIDES = (-1, 1)


@dataclass(frozen=True)
class Junction:
    """A side street that meets the street at a right angle."""

    z: float
    """Its middle, metres."""
    half: float
    """Half its width, metres."""
    sides: tuple[int, ...]
    """-1 left, 1 right."""


@dataclass(frozen=True)
class Layout:
    """The plan of a street."""

    lanes: int
    lane_width: float
    """Metres."""
    parking: tuple[float, float]
    """Width of the parking lanes left and right, metres; 0 where there is none."""
    kerb: float
    """Height, metres."""
    verge: tuple[float, float]
    """Width of the grass strip left and right, metres; 0 where there is none."""
    sidewalk: float
    """Width, metres."""
    junctions: tuple[Junction, ...]
    crossings: tuple[float, ...]
    """Middles of crossings, z in metres."""
    bend: float
    """x grows by bend * z^2, 1/m."""
    hill: float
    """y grows by hill * (1 - cos(z / 45 m)), metres."""

    def edge(self, side: int) -> float:
        """Distance of a kerb from the middle, metres."""
        return self.lanes * self.lane_width / 2 + self.parking[side > 0]

    def walk(self, side: int) -> float:
        """Distance of the sidewalk's inner edge from the middle, metres."""
        return self.edge(side) + (0.15 + self.verge[side > 0] if self.verge[side > 0] else 0.0)

    def front(self, side: int) -> float:
        """Distance of the plots from the middle, metres."""
        return self.walk(side) + self.sidewalk

    def blocks(self, side: int) -> list[tuple[float, float]]:
        """Stretches of z between side streets."""
        cuts = sorted((j.z - j.half, j.z + j.half) for j in self.junctions if side in j.sides)
        edges = [NEAR, *(z for cut in cuts for z in cut), FAR]
        return list(zip(edges[::2], edges[1::2], strict=True))


def draw_layout(rng: np.random.Generator, style: Style) -> Layout:
    """A plan within the ranges of a style."""
    spots = [float(rng.uniform(low, low + 35)) for low in (-95, 8, 75) if rng.random() < 0.6]
    junctions = tuple(Junction(z, float(rng.uniform(3.2, 6)), ((-1,), (1,), (-1, 1))[rng.integers(3)]) for z in spots)
    crossings = [j.z - j.half - 3.5 for j in junctions if rng.random() < 0.8]
    if rng.random() < 0.6:
        crossings.append(float(rng.uniform(6, 30)))
    return Layout(
        lanes=int(rng.choice(style.lanes)),
        lane_width=float(rng.uniform(*style.lane_width)),
        parking=tuple(2.2 if rng.random() < style.parking else 0.0 for _ in SIDES),  # type: ignore[arg-type]
        kerb=float(rng.uniform(*style.kerb)),
        verge=tuple(float(rng.uniform(1, 2.4)) * (rng.random() < style.verge) for _ in SIDES),  # type: ignore[arg-type]
        sidewalk=float(rng.uniform(*style.sidewalk_width)),
        junctions=junctions,
        crossings=tuple(crossings),
        bend=float(rng.choice([0.0, rng.uniform(-1, 1) / 500])),
        hill=float(rng.uniform(-1.6, 1.6)),
    )


def pick(rng: np.random.Generator, colors: tuple[Color, ...], spread: float = 0.1) -> Color:
    """A colour of a palette, varied in brightness and a little in hue."""
    color = np.array(colors[rng.integers(len(colors))]) * rng.uniform(1 - spread, 1 + spread)
    red, green, blue = np.clip(color * rng.uniform(1 - spread / 5, 1 + spread / 5, 3), 8, 244)
    return float(red), float(green), float(blue)


def _between(side: int, inner: float, outer: float, z0: float, z1: float, y: float) -> Shape:
    low, high = sorted((side * inner, side * outer))
    return ground(low, high, z0, z1, y)


def _upright(side: int, x: float, z0: float, z1: float, height: float) -> Shape:
    flat = ground(0, height, z0, z1, 0.0)
    corners = flat.vertices.reshape(-1, 4, 3)
    upright = np.stack([np.full_like(corners[..., 0], side * x), corners[..., 0], corners[..., 2]], -1)
    return quads(upright, corners[..., [2, 0]])


def add_ground(builder: Builder, rng: np.random.Generator, style: Style, layout: Layout) -> int:
    """Carriageways, kerbs, sidewalks, verges and plots. Returns the carriageway's instance."""
    wear, patches = float(rng.uniform(0, 1)), float(rng.uniform(0.2, 1))
    asphalt = Finish("asphalt", pick(rng, style.asphalt), pick(rng, style.asphalt), (wear, patches))
    left, right = -layout.edge(-1), layout.edge(1)
    road = [ground(left, right, NEAR, FAR, 0.0)]
    for j in layout.junctions:
        road += [_between(s, layout.edge(s), DEEP, j.z - j.half, j.z + j.half, 0.0) for s in j.sides]
    surface = builder.new_instance()
    builder.add(joined(road), "road", surface, asphalt)
    soil = Finish("soil", pick(rng, style.grass), pick(rng, style.paving))
    builder.add(ground(-400, 400, NEAR - 200, FAR + 200, -0.06, 8.0), "terrain", builder.new_instance(), soil)
    stone = float(rng.choice(style.paving_stone))
    paving = Finish("paving", pick(rng, style.paving), pick(rng, style.asphalt), (stone, float(rng.uniform(0.8, 2))))
    kerbstone = Finish("paving", pick(rng, style.paving), (90, 88, 84), (1.0, 8.0))
    for side in SIDES:
        for z0, z1 in layout.blocks(side):
            _add_block(builder, rng, style, layout, (side, z0, z1), (paving, kerbstone))
    return surface


def _add_block(
    builder: Builder,
    rng: np.random.Generator,
    style: Style,
    layout: Layout,
    block: tuple[int, float, float],
    finishes: tuple[Finish, Finish],
) -> None:
    side, z0, z1 = block
    edge, walk, front, top = layout.edge(side), layout.walk(side), layout.front(side), layout.kerb
    paving, kerbstone = finishes
    sidewalk = builder.new_instance()
    kerb = [_upright(side, edge, z0, z1, top), _between(side, edge, edge + 0.15, z0, z1, top + 0.004)]
    for z in (z0, z1):
        near, far = (z, z + 0.15) if z == z0 else (z - 0.15, z)
        kerb.append(_between(side, edge, DEEP, near, far, top + 0.004))
        ends = np.array([[side * edge, 0, z], [side * DEEP, 0, z], [side * DEEP, top, z], [side * edge, top, z]])
        kerb.append(quads(ends[None]))
    builder.add(joined(kerb), "sidewalk", sidewalk, kerbstone)
    strips = [_between(side, walk, front, z0, z1, top)]
    strips += [_between(side, front, DEEP, a, b, top) for a, b in ((z0, z0 + 2.2), (z1 - 2.2, z1))]
    if walk > edge + 0.2:
        strips += [_between(side, edge, walk, a, b, top) for a, b in ((z0, z0 + 4), (z1 - 4, z1))]
        grass = Finish("grass", pick(rng, style.grass), pick(rng, style.grass))
        builder.add(_between(side, edge + 0.15, walk, z0 + 4, z1 - 4, top), "terrain", builder.new_instance(), grass)
    builder.add(joined(strips), "sidewalk", sidewalk, paving)
    plot = _between(side, front, DEEP, z0 + 2.2, z1 - 2.2, top)
    kind = "grass" if rng.random() < 0.75 else "soil"
    builder.add(plot, "terrain", builder.new_instance(), Finish(kind, pick(rng, style.grass), pick(rng, style.grass)))


def add_markings(builder: Builder, rng: np.random.Generator, style: Style, layout: Layout, road: int) -> None:
    """Paint and manhole covers, a few millimetres above the road; part of the instance `road`."""
    color = pick(rng, style.marking, 0.05)
    paint = Finish("paint", color, pick(rng, style.asphalt), (float(rng.uniform(0.1, 0.75)),))
    half, width, bars = layout.lanes * layout.lane_width / 2, 0.14, []
    open_z = [(j.z - j.half - 4, j.z + j.half + 1) for j in layout.junctions]
    for lane in range(1, layout.lanes):
        x, middle = -half + lane * layout.lane_width, lane * 2 == layout.lanes
        dash, gap = (4.0, 6.0) if not middle else (3.0, float(rng.choice([0.0, 3.0, 6.0])))
        bars += [
            (x - width / 2, x + width / 2, z, z + dash)
            for z in np.arange(NEAR, FAR, dash + gap)
            if not any(a < z + dash and z < b for a, b in open_z)
        ]
    for side in SIDES:
        if rng.random() < 0.5:
            x = side * (half + (0.0 if layout.parking[side > 0] else -0.3))
            bars += [(x - 0.06, x + 0.06, a + 1, b - 1) for a, b in layout.blocks(side)]
    left, right, long = -layout.edge(-1), layout.edge(1), float(rng.uniform(2.6, 4))
    for z in layout.crossings:
        bars += [(x, x + 0.5, z - long / 2, z + long / 2) for x in np.arange(left + 0.3, right - 0.5, 1.0)]
        bars.append((0.1, half - 0.1, z - long / 2 - 1.6, z - long / 2 - 1.2))
    if bars:
        shapes = [ground(*bar, 0.006) for bar in bars]
        builder.add(joined(shapes), "road", road, paint)
    iron = Finish("metal", (74, 72, 70), (50, 48, 46), (0.0,))
    for _ in range(rng.integers(2, 7)):
        x, z = rng.uniform(left + 1, right - 1), rng.uniform(-40, 60)
        builder.add(moved(disc((0, 0, 0), (0, 1, 0.001), 0.33, 14), (x, 0.005, z)), "road", road, iron)
