"""Cars, vans and trucks: a loft over cross-sections along the length, with glass, wheels and lamps."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from goodsam.streetworld.mesh import Builder, Color, Finish
from goodsam.streetworld.shapes import Shape, boxes, disc, joined, moved, quads, tube

_Section = tuple[float, float, float, float, str]
"""z from the middle forward, height of the belt, height of the top, half-width at the top as a share of the half-width,
and what lies between this section and the next: b body, w window, s sloped screen."""


@dataclass(frozen=True)
class Vehicle:
    """Shape of a kind of vehicle, metres."""

    half: float
    """Half its width."""
    floor: float
    wheel: float
    """Radius of a wheel."""
    axles: tuple[float, float]
    sections: tuple[_Section, ...]
    """From the tail (least z) to the nose."""


VEHICLES = {
    "saloon": Vehicle(0.90, 0.24, 0.32, (-1.35, 1.40), (
        (-2.30, 0.62, 0.70, 0.90, "b"), (-2.22, 0.90, 0.96, 0.92, "b"), (-1.62, 0.93, 1.02, 0.90, "s"),
        (-0.95, 0.93, 1.42, 0.70, "b"), (-0.85, 0.93, 1.44, 0.70, "w"), (0.00, 0.92, 1.46, 0.71, "b"),
        (0.10, 0.92, 1.46, 0.71, "w"), (0.55, 0.91, 1.42, 0.72, "s"), (1.15, 0.90, 0.99, 0.88, "b"),
        (2.10, 0.72, 0.82, 0.86, "b"), (2.32, 0.52, 0.62, 0.82, "b"))),
    "hatch": Vehicle(0.87, 0.24, 0.31, (-1.25, 1.22), (
        (-1.98, 0.60, 0.70, 0.92, "b"), (-1.93, 0.92, 1.00, 0.90, "s"), (-1.62, 0.95, 1.44, 0.74, "b"),
        (-1.42, 0.95, 1.48, 0.74, "w"), (-0.35, 0.94, 1.52, 0.75, "b"), (-0.25, 0.94, 1.52, 0.75, "w"),
        (0.45, 0.92, 1.47, 0.75, "s"), (1.12, 0.90, 1.02, 0.88, "b"), (1.85, 0.74, 0.84, 0.86, "b"),
        (2.00, 0.52, 0.62, 0.84, "b"))),
    "suv": Vehicle(0.94, 0.32, 0.37, (-1.40, 1.38), (
        (-2.22, 0.72, 0.80, 0.94, "b"), (-2.18, 1.06, 1.12, 0.92, "s"), (-2.00, 1.08, 1.66, 0.78, "b"),
        (-1.80, 1.08, 1.70, 0.78, "w"), (-0.35, 1.06, 1.73, 0.79, "b"), (-0.25, 1.06, 1.73, 0.79, "w"),
        (0.40, 1.04, 1.67, 0.79, "s"), (1.05, 1.02, 1.14, 0.90, "b"), (2.05, 0.92, 1.00, 0.88, "b"),
        (2.24, 0.62, 0.70, 0.86, "b"))),
    "van": Vehicle(0.98, 0.26, 0.34, (-1.60, 1.75), (
        (-2.60, 1.00, 1.06, 0.97, "b"), (-2.58, 1.15, 2.10, 0.90, "b"), (0.55, 1.15, 2.14, 0.90, "b"),
        (0.62, 1.15, 2.13, 0.90, "w"), (1.35, 1.12, 1.98, 0.86, "s"), (2.05, 1.06, 1.16, 0.90, "b"),
        (2.52, 0.80, 0.90, 0.88, "b"), (2.64, 0.52, 0.62, 0.86, "b"))),
    "truck": Vehicle(1.18, 0.50, 0.46, (-2.30, 2.30), (
        (-3.80, 1.10, 3.20, 1.00, "b"), (1.40, 1.10, 3.20, 1.00, "b"), (1.42, 1.40, 2.50, 0.96, "b"),
        (1.75, 1.40, 2.55, 0.95, "w"), (2.75, 1.35, 2.48, 0.93, "s"), (3.15, 1.20, 1.40, 0.95, "b"),
        (3.30, 0.60, 0.70, 0.95, "b"))),
}  # fmt: skip


def loft(vehicle: Vehicle) -> tuple[Shape, Shape]:
    """Painted body and glass of a vehicle that stands at the origin and looks along +z."""
    paint: list[list[list[float]]] = []
    glass: list[list[list[float]]] = []
    half, low = vehicle.half, vehicle.floor
    for (z0, b0, t0, k0, what), (z1, b1, t1, k1, _) in zip(vehicle.sections, vehicle.sections[1:], strict=False):
        for s in (-1.0, 1.0):
            x, a0, a1 = s * half, s * half * k0, s * half * k1
            # A shoulder line breaks the side in two, so that it catches the sky as sheet metal does.
            m0, m1 = 0.62 * b0 + 0.38 * low, 0.62 * b1 + 0.38 * low
            paint.append([[x * 0.94, low, z0], [x * 0.94, low, z1], [x, m1, z1], [x, m0, z0]])
            paint.append([[x, m0, z0], [x, m1, z1], [x * 0.96, b1, z1], [x * 0.96, b0, z0]])
            side = [[x * 0.96, b0, z0], [x * 0.96, b1, z1], [a1, t1, z1], [a0, t0, z0]]
            (glass if what in "ws" else paint).append(side)
        top = [[-half * k0, t0, z0], [half * k0, t0, z0], [half * k1, t1, z1], [-half * k1, t1, z1]]
        (glass if what == "s" else paint).append(top)
    for z, belt, top_y, k, _ in (vehicle.sections[0], vehicle.sections[-1]):
        paint.append([[-half, low, z], [half, low, z], [half, belt, z], [-half, belt, z]])
        paint.append([[-half, belt, z], [half, belt, z], [half * k, top_y, z], [-half * k, top_y, z]])
    return quads(np.array(paint)), quads(np.array(glass))


def _wheels(vehicle: Vehicle) -> tuple[Shape, Shape]:
    tyres, hubs, r = [], [], vehicle.wheel
    for z in vehicle.axles:
        for s in (-1, 1):
            out = s * (vehicle.half + 0.015)
            tyres.append(tube((out - s * 0.22, r, z), (out, r, z), r, r, 16))
            # The arch: a dark ring of body-side shadow around the tyre.
            tyres.append(disc((s * (vehicle.half - 0.015), r + 0.03, z), (s, 0, 0), r * 1.2, 18))
            hubs.append(disc((out + s * 0.012, r, z), (s, 0, 0), r * 0.62, 12))
    return joined(tyres), joined(hubs)


def _fittings(vehicle: Vehicle) -> tuple[Shape, Shape, Shape]:
    """Front lamps with plates, tail lamps, and dark trim."""
    tail, nose = vehicle.sections[1], vehicle.sections[-2]
    h, zt, zn = vehicle.half, tail[0] - 0.02, nose[0] + 0.05
    end_t, end_n = vehicle.sections[0][0], vehicle.sections[-1][0]
    y = 0.82 * nose[1]
    white = [boxes(np.array([s * h * 0.7, y - 0.06, zn]), np.array([0.34, 0.14, 0.16])) for s in (-1, 1)]
    white.append(boxes(np.array([0, 0.42, end_t - 0.02]), np.array([0.5, 0.12, 0.03])))
    white.append(boxes(np.array([0, 0.40, end_n + 0.01]), np.array([0.5, 0.12, 0.03])))
    red = [boxes(np.array([s * h * 0.8, 0.68, zt]), np.array([0.26, 0.24, 0.14])) for s in (-1, 1)]
    dark = [
        boxes(np.array([0, vehicle.floor - 0.02, end_t + 0.06]), np.array([h * 1.86, 0.2, 0.16])),
        boxes(np.array([0, vehicle.floor - 0.02, end_n - 0.06]), np.array([h * 1.8, 0.18, 0.16])),
        boxes(np.array([0, vehicle.floor - 0.06, 0]), np.array([h * 1.86, 0.12, end_n - end_t - 0.5])),
    ]
    mirror = next((s for s in vehicle.sections[::-1] if s[4] == "s"), vehicle.sections[-3])
    dark += [
        boxes(np.array([s * (h + 0.08), mirror[1], mirror[0] + 0.2]), np.array([0.18, 0.14, 0.08])) for s in (-1, 1)
    ]
    return joined(white), joined(red), joined(dark)


@lru_cache(maxsize=len(VEHICLES))
def _parts(kind: str) -> tuple[Shape, ...]:
    vehicle = VEHICLES[kind]
    return (*loft(vehicle), *_wheels(vehicle), *_fittings(vehicle))


def add_vehicle(
    builder: Builder,
    kind: str,
    color: Color,
    offset: tuple[float, float, float],
    yaw: float = 0.0,
) -> None:
    """Put a vehicle of a kind on the road, looking towards `yaw` degrees (0 is +z)."""
    instance = builder.new_instance()
    body, glass, tyres, hubs, white, red, dark = _parts(kind)
    for shape, finish in (
        (body, Finish("carpaint", color, (40, 40, 42))),
        (glass, Finish("glass", (26, 30, 32), (60, 64, 66))),
        (tyres, Finish("rubber", (26, 26, 27))),
        (hubs, Finish("metal", (132, 134, 136), (50, 50, 52), (1.0,))),
        (white, Finish("lamp", (206, 206, 200), (0, 0, 0), (0.0,))),
        (red, Finish("lamp", (128, 24, 22), (0, 0, 0), (0.1,))),
        (dark, Finish("rubber", (34, 35, 37))),
    ):
        builder.add(moved(shape, offset, yaw), "car", instance, finish)
