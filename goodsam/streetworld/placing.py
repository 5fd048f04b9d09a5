"""What stands where: plots, sidewalks, carriageway and the far end of the street are filled, each by chance."""

from collections.abc import Iterator

import numpy as np

from goodsam.streetworld import furniture, plants
from goodsam.streetworld.buildings import add_building, choose
from goodsam.streetworld.mesh import Builder
from goodsam.streetworld.people import add_person
from goodsam.streetworld.shapes import Shape, moved
from goodsam.streetworld.street import SIDES, Layout, pick
from goodsam.streetworld.styles import Style
from goodsam.streetworld.vehicles import VEHICLES, add_vehicle


def _lots(rng: np.random.Generator, style: Style, z0: float, z1: float) -> Iterator[tuple[str, float, float]]:
    """Plots of a block, kind and stretch of z; a block keeps to one kind for several plots, as real ones do."""
    z, kind, left = z0, choose(rng, style.buildings), int(rng.integers(1, 5))
    while z < z1 - 6:
        wide = {"terrace": (7, 13), "house": (13, 21), "block": (15, 32), "office": (18, 40), "shed": (12, 26)}[kind]
        end = min(z + rng.uniform(*wide), z1)
        yield kind, z, end
        z, left = end, left - 1
        if left == 0:
            kind, left = choose(rng, style.buildings), int(rng.integers(1, 5))
            z += rng.choice([0.0, rng.uniform(2, 9)])


def fill_plots(builder: Builder, rng: np.random.Generator, style: Style, layout: Layout, side: int) -> None:
    """Buildings, what encloses their plots, and what grows there, along one side."""
    trees = {kind: plants.tree_shape(kind, rng) for kind in style.trees}
    front, ground = layout.front(side), layout.kerb
    for low, high in layout.blocks(side):
        garden = rng.random() < 0.7
        for kind, z0, z1 in _lots(rng, style, low + 2.4, high - 2.4):
            open_front = kind in ("house", "shed") or (garden and rng.random() < 0.6)
            setback = rng.uniform(3, 8) if open_front else rng.uniform(0.0, 0.15)
            gap = rng.uniform(1.5, 4) if kind == "house" else 0.0
            if rng.random() < 0.94 and z1 - z0 - 2 * gap > 5:
                size = (z1 - z0 - 2 * gap, float(rng.uniform(8, 13)), ground)
                add_building(builder, rng, style, kind, (side, front + setback, z0 + gap), size)
            if not open_front:
                continue
            _enclose(builder, rng, style, (side * (front + 0.2), z0 + 0.1, z1 - 0.1), ground)
            for _ in range(rng.integers(0, 4)):
                spot = (side * (front + rng.uniform(1, max(1.2, setback - 0.8))), ground, rng.uniform(z0 + 1, z1 - 1))
                if rng.random() < 0.35:
                    _plant(builder, rng, style, trees, choose(rng, style.trees), spot, 0.6)
                else:
                    plants.add_shrub(builder, rng, style, spot)


def _enclose(
    builder: Builder, rng: np.random.Generator, style: Style, line: tuple[float, float, float], base: float
) -> None:
    """The edge of a plot towards the street, with a gate left open."""
    kind, (x, z0, z1) = choose(rng, style.boundary), line
    gate = rng.uniform(z0 + 1, max(z0 + 1.1, z1 - 4))
    fence = choose(rng, style.fences)
    for a, b in ((z0, gate), (gate + rng.uniform(1.2, 3), z1)):
        if b - a < 1:
            continue
        if kind == "hedge":
            plants.add_hedge(builder, rng, style, (x, a, b), base)
        elif kind == "fence":
            furniture.add_fence(builder, rng, fence, (x, a, b), base)
        elif kind == "wall":
            furniture.add_wall(builder, rng, style, (x, a, b), base)


def _plant(
    builder: Builder,
    rng: np.random.Generator,
    style: Style,
    trees: dict[str, tuple[Shape, Shape]],
    kind: str,
    spot: tuple[float, float, float],
    scale: float = 1.0,
) -> None:
    wood, leaves = trees[kind]
    instance, yaw, size = builder.new_instance(), float(rng.uniform(0, 360)), scale * float(rng.uniform(0.7, 1.35))
    # A trunk is vegetation, as in Cityscapes.
    builder.add(moved(wood, spot, yaw, size), "vegetation", instance, plants.bark(kind, rng))
    builder.add(moved(leaves, spot, yaw, size), "vegetation", instance, plants.foliage(rng, style))


def fill_walk(builder: Builder, rng: np.random.Generator, style: Style, layout: Layout, side: int) -> None:
    """Lamps, trees, signs, traffic lights, railings and people along one sidewalk."""
    edge, walk, front, top = layout.edge(side), layout.walk(side), layout.front(side), layout.kerb
    kind = choose(rng, style.trees)
    trees = {kind: plants.tree_shape(kind, rng)}
    finish = furniture.pole_metal(rng, style)
    arm, height = -side * rng.uniform(*style.lamp_arm), rng.uniform(5, 8.5)
    arm, height = (arm, height) if rng.random() < 0.7 else (0.0, rng.uniform(3.4, 4.6))
    planted, distance = rng.random() < 0.7, rng.uniform(*style.tree_distance)
    shift, spacing, phase = edge + 0.5, rng.uniform(18, 32), rng.uniform(0, 9)
    wired, posts = rng.random() < style.wires / 2, list[np.ndarray]()
    for low, high in layout.blocks(side):
        for z in np.arange(low + 3 + phase, high - 3, spacing):
            furniture.add_lamp(builder, finish, (side * shift, top, z), arm, height)
        if planted:
            inner = edge + (0.95 if walk > edge + 0.2 else 0.7)
            for z in np.arange(low + 6, high - 6, distance):
                if rng.random() < 0.85:
                    _plant(builder, rng, style, trees, kind, (side * inner, top, z + rng.uniform(-1, 1)), 0.85)
        if wired:
            for z in np.arange(low + 5, high - 3, 28):
                foot = (side * (front - 0.35), top, float(z))
                furniture.add_post(builder, rng, foot, posts[-1:])
                posts.append(np.array(foot))
        for z in rng.uniform(low + 2, high - 2, int((high - low) / 22) + 1):
            spot = (side * (edge + rng.uniform(0.35, 0.6)), top, float(z))
            furniture.add_sign(builder, rng, style, spot, -side if rng.random() < 0.8 else side, rng.random() < 0.12)
        if rng.random() < 0.3 and high - low > 30:
            z = rng.uniform(low + 6, high - 20)
            furniture.add_fence(builder, rng, "rail", (side * (edge + 0.25), z, z + rng.uniform(6, 14)), top)
    for z in layout.crossings:
        reach = -side * min(4.5, edge - 0.8) if rng.random() < 0.4 else 0.0
        if rng.random() < 0.85:
            spot = (side * (edge + 0.45), top, z - side * 2.6)
            furniture.add_traffic_light(builder, rng, style, spot, -side, float(reach))
    for _ in range(rng.integers(style.people[0], style.people[1] + 1)):
        x, z = side * rng.uniform(edge + 0.5, front - 0.3), rng.uniform(-30, 55)
        if any(a < z < b for a, b in layout.blocks(side)):
            add_person(builder, rng, style, (x, top, z), float(rng.choice([0, 180]) + rng.normal(0, 12)))


def fill_road(builder: Builder, rng: np.random.Generator, style: Style, layout: Layout) -> None:
    """Parked and driving cars, and people on the crossings. The camera's own lane stays free around it."""
    for side in SIDES:
        if not layout.parking[side > 0]:
            continue
        full = rng.uniform(0.35, 0.95)
        for low, high in layout.blocks(side):
            z = low + 6.0
            while z < high - 6:
                kind = choose(rng, style.vehicles)
                length = VEHICLES[kind].sections[-1][0] - VEHICLES[kind].sections[0][0]
                clear = all(abs(z + length / 2 - c) > 6 for c in layout.crossings)
                if rng.random() < full and clear and kind != "truck":
                    x = side * (layout.edge(side) - 1.1 + rng.normal(0, 0.06))
                    yaw = float((0 if side > 0 else 180) + rng.normal(0, 1.2))
                    add_vehicle(builder, kind, pick(rng, style.paints), (x, 0.0, z + length / 2), yaw)
                z += length + rng.uniform(0.6, 1.8)
    for lane in range(layout.lanes):
        x = (lane + 0.5 - layout.lanes / 2) * layout.lane_width
        z = -90.0 + rng.uniform(0, 30)
        while z < 120:
            if abs(z) > 11:
                kind, yaw = choose(rng, style.vehicles), 0.0 if x > 0 else 180.0
                add_vehicle(builder, kind, pick(rng, style.paints), (x + rng.normal(0, 0.15), 0.0, z), yaw)
            z += rng.uniform(9, 45)
    for z in layout.crossings:
        for _ in range(rng.integers(0, 4)):
            x = rng.uniform(-layout.edge(-1), layout.edge(1))
            if abs(z) > 4:
                spot = (float(x), 0.0, float(z + rng.uniform(-1.2, 1.2)))
                add_person(builder, rng, style, spot, float(rng.choice([90, -90]) + rng.normal(0, 10)))


def fill_horizon(builder: Builder, rng: np.random.Generator, style: Style, layout: Layout) -> None:
    """Second rows of buildings and trees, and what closes the street at both ends."""
    trees = {kind: plants.tree_shape(kind, rng) for kind in style.trees}
    for side in SIDES:
        for low, high in layout.blocks(side):
            for z in np.arange(low + 5, high - 20, 26):
                place = (side, layout.front(side) + rng.uniform(30, 50), float(z))
                add_building(builder, rng, style, choose(rng, style.buildings), place, (20.0, 14.0, 0.0))
                if rng.random() < 0.7:
                    spot = (side * (layout.front(side) + rng.uniform(18, 28)), 0.0, float(z + rng.uniform(0, 20)))
                    _plant(builder, rng, style, trees, choose(rng, style.trees), spot, 1.2)
        for end in (-182.0, 200.0):
            for front in (0.0, 24.0, 48.0):
                size = (24.0, 16.0, -0.5)
                add_building(builder, rng, style, choose(rng, style.buildings), (side, front, end), size)
        for j in layout.junctions:
            if side in j.sides:
                add_building(
                    builder, rng, style, choose(rng, style.buildings), (side, 92.0, j.z - 15), (30.0, 12.0, 0.0)
                )
