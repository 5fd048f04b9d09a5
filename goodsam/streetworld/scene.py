"""A scene from a seed: what stands where, the weather, and where the camera is.

Each part of a scene has its own stream of random numbers, named after it, so that a scene depends only on seed, index
and style, whatever camera looks at it.
"""

import zlib
from dataclasses import dataclass

import numpy as np

from goodsam.streetworld.bonnet import add_bonnet
from goodsam.streetworld.mesh import Builder, Color, Mesh
from goodsam.streetworld.placing import fill_horizon, fill_plots, fill_road, fill_walk
from goodsam.streetworld.street import SIDES, Layout, add_ground, add_markings, draw_layout, pick
from goodsam.streetworld.styles import Style


@dataclass(frozen=True)
class Weather:
    """Sun, sky and air."""

    sun_yaw: float
    """Degrees."""
    sun_elevation: float
    """Degrees."""
    sun: float
    """Strength of direct light; skylight is 1."""
    clouds: float
    """Share of the sky that clouds cover, 0..1."""
    haze: float
    """Light lost per metre."""
    zenith: Color
    horizon: Color
    seed: int
    """Which clouds."""


@dataclass(frozen=True)
class Eye:
    """Where the camera stands and how it takes pictures."""

    x: float
    """Metres from the middle of the street; z is 0."""
    height: float
    """Metres above the road."""
    yaw: float
    """Where a pinhole camera looks, degrees; a panorama's middle is always yaw 0."""
    pitch: float
    """Of a pinhole camera, degrees."""
    fov: float
    """Horizontal field of view of a pinhole camera, degrees."""
    exposure: float
    balance: float
    noise: float
    blur: float
    jpeg: int
    own_car: str
    """Shape of the bonnet of the car that carries the camera (long, short), or none."""


@dataclass(frozen=True)
class Scene:
    """All that a camera needs."""

    style: str
    seed: int
    index: int
    mesh: Mesh
    layout: Layout
    weather: Weather
    eye: Eye


def stream(seed: int, index: int, style: str, part: str) -> np.random.Generator:
    """The random numbers of one part of a scene."""
    return np.random.default_rng([seed, index, zlib.crc32(style.encode()), zlib.crc32(part.encode())])


def build_scene(seed: int, index: int, style: Style, own_car: bool = False) -> Scene:
    """The scene of a seed and index; `own_car` puts the bonnet below the camera where the style has one."""
    rngs = {
        part: stream(seed, index, style.name, part) for part in ("layout", "plots", "road", "walk", "weather", "eye")
    }
    layout = draw_layout(rngs["layout"], style)
    builder = Builder()
    road = add_ground(builder, rngs["layout"], style, layout)
    add_markings(builder, rngs["layout"], style, layout, road)
    for side in SIDES:
        fill_plots(builder, rngs["plots"], style, layout, side)
        fill_walk(builder, rngs["walk"], style, layout, side)
    fill_road(builder, rngs["road"], style, layout)
    fill_horizon(builder, rngs["plots"], style, layout)
    weather, eye = _draw_weather(rngs["weather"], style), _draw_eye(rngs["eye"], style, layout)
    if own_car and eye.own_car != "none":
        add_bonnet(builder, eye.own_car, pick(rngs["eye"], style.paints), (eye.x, eye.height, 0.0))
    return Scene(style.name, seed, index, builder.mesh(layout.bend, layout.hill), layout, weather, eye)


def _draw_weather(rng: np.random.Generator, style: Style) -> Weather:
    clouds = float(rng.uniform(*style.clouds))
    return Weather(
        sun_yaw=float(rng.uniform(-180, 180)),
        sun_elevation=float(rng.uniform(*style.sun_elevation)),
        sun=float(rng.uniform(*style.sun)) * (1 if clouds < 0.75 else 0.25),
        clouds=clouds,
        haze=float(rng.uniform(*style.haze)),
        zenith=pick(rng, style.zenith),
        horizon=pick(rng, style.horizon, 0.05),
        seed=int(rng.integers(1 << 20)),
    )


def _draw_eye(rng: np.random.Generator, style: Style, layout: Layout) -> Eye:
    own = str(rng.choice(["long", "short"])) if style.own_car else "none"
    lane = int(rng.integers(layout.lanes // 2))
    return Eye(
        x=(lane + 0.5) * layout.lane_width + float(rng.uniform(-0.3, 0.3)),
        height=float(rng.uniform(*style.camera_height)),
        yaw=float(rng.normal(0, 7)),
        pitch=float(rng.normal(0, 2)),
        fov=float(rng.uniform(60, 90)),
        exposure=float(rng.uniform(*style.exposure)),
        balance=float(rng.uniform(*style.balance)),
        noise=float(rng.uniform(*style.noise)),
        blur=float(rng.uniform(*style.blur)),
        jpeg=int(rng.integers(style.jpeg[0], style.jpeg[1] + 1)),
        own_car=own,
    )
