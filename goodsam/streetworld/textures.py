"""What surfaces are made of: one function for each kind of finish, from points to reflectance and gloss."""

from collections.abc import Callable

import numpy as np

from goodsam.streetworld.patterns import Look, Surface, bricks, hashed, line, mix, noise, toned
from goodsam.streetworld.walls import facade, masonry


def asphalt(s: Surface) -> Look:
    """Params: wear of the wheel tracks 0..1, share of repair patches 0..1."""
    n = s.noise
    patch = (noise(s.uv[0] * 0.5 + 40, s.uv[1] * 0.16 + 11, 1.6) > 0.75 - 0.35 * s.params[1]).astype(np.float32)
    color = mix(s.color, s.second, 0.75 * patch)
    crack = line(n[1] + 0.35 * n[2], 0.02, 0.01 + s.foot * 0.35) * (n[0] > 0.3)
    oil = np.clip(np.abs(n[0] + 0.4 * n[1]) - 0.55, 0, 1)
    tone = 0.06 * n[0] + 0.06 * n[1] + 0.05 * n[2] + 0.11 * n[3] + 0.2 * n[4] - 0.35 * crack - 0.5 * oil * s.params[0]
    return toned(color, tone), np.full(len(color), 0.035, np.float32)


def paving(s: Surface) -> Look:
    """Params: side of a stone in metres (0: cast), how much longer it is."""
    n = s.noise
    side, ratio = s.params[0], s.params[1]
    laid = side > 0.01
    high = np.where(laid, side, 1.0)
    tone, seam = bricks(s, high * ratio, high, 0.006)  # type: ignore[arg-type]
    stain = np.clip(n[0] + 0.6 * n[1] - 0.5, 0, 1)
    gum = (n[3] > 0.86) * 0.25
    value = 0.09 * n[0] + 0.08 * n[1] + 0.09 * n[2] + 0.12 * n[3] + 0.2 * n[4] + 0.13 * tone * laid - 0.35 * stain - gum
    return mix(toned(s.color, value), s.second * 0.45, seam * laid * 0.8), np.full(len(value), 0.03, np.float32)


def grass(s: Surface) -> Look:
    n = s.noise
    color = mix(s.color, s.second, 0.5 + 0.6 * n[0] + 0.4 * n[1])
    bare = np.clip((n[1] + 0.5 * n[0] + 0.25 * n[2] - 0.62) * 3, 0, 1)
    color = mix(color, np.broadcast_to(np.array([0.17, 0.12, 0.075], np.float32), color.shape), bare)
    return toned(color, 0.16 * n[1] + 0.22 * n[2] + 0.42 * n[3] + 0.5 * n[4]), np.zeros(len(color), np.float32)


def soil(s: Surface) -> Look:
    n = s.noise
    color = mix(s.color, s.second, 0.5 + 0.8 * n[0] + 0.6 * n[1])
    return toned(color, 0.15 * n[1] + 0.2 * n[2] + 0.3 * n[3] + 0.4 * n[4]), np.zeros(len(color), np.float32)


def paint(s: Surface) -> Look:
    """Params: wear 0..1."""
    n = s.noise
    worn = np.clip((0.35 * n[1] + 0.45 * n[2] + 0.4 * n[3] + 0.4 * n[4] + s.params[0] - 0.75) * 2.5, 0, 0.9)
    return toned(mix(s.color, s.second, worn), 0.08 * n[2] + 0.1 * n[4]), np.full(len(worn), 0.04, np.float32)


def roof(s: Surface) -> Look:
    n = s.noise
    tone, seam = bricks(s, 0.3, 0.26, 0.016)
    moss = np.clip(n[0] * 0.6 + n[1] * 0.7 - 0.35, 0, 0.6)
    color = toned(s.color, 0.2 * tone + 0.09 * n[0] + 0.1 * n[1] + 0.1 * n[2] + 0.1 * n[3] - 0.45 * seam)
    return mix(color, np.broadcast_to(np.array([0.10, 0.115, 0.06], np.float32), color.shape), moss), np.full(
        len(tone), 0.03, np.float32
    )


def wood(s: Surface) -> Look:
    grain = noise(s.uv[0] * 6, s.uv[1] * 0.5 + s.salt * 60, 0.4) * np.clip(1 - 3 * s.foot, 0, 1)
    plank = hashed(np.floor((s.uv[0] + s.uv[1] * 0) / 0.15), np.floor(s.salt * 71)) - 0.5
    return toned(s.color, 0.22 * grain + 0.12 * s.noise[1] + 0.12 * s.noise[3] + 0.15 * plank), np.full(
        len(grain), 0.02, np.float32
    )


def metal(s: Surface) -> Look:
    n = s.noise
    rust = np.clip((n[1] + 0.6 * n[2] + 0.3 * n[3] - 0.75) * 2, 0, 0.7) * (s.params[0] < 0.5)
    return toned(mix(s.color, s.second, rust), 0.08 * n[1] + 0.08 * n[3]), np.full(len(rust), 0.09, np.float32)


def leaves(s: Surface) -> Look:
    """Params: how uneven the colour is, 0..1."""
    n = s.noise
    color = mix(s.color, s.second, 0.45 + 0.5 * n[0] + 0.5 * n[1])
    return toned(color, 0.12 * n[1] + 0.30 * n[2] + 0.5 * n[3] + 0.3 * n[4] - 0.08), np.full(
        len(color), 0.02, np.float32
    )


def bark(s: Surface) -> Look:
    """Params: 1 for birch, whose dark marks lie across."""
    n = s.noise
    ridges = noise(s.uv[0] * 5, s.uv[1], 0.4) * np.clip(1 - 3 * s.foot, 0, 1)
    marks = (noise(s.uv[0], s.uv[1] * 6, 0.5) > 0.45) * s.params[0]
    color = toned(s.color, 0.35 * ridges * (1 - s.params[0]) + 0.12 * n[1] + 0.2 * n[3])
    return mix(color, s.second, 0.8 * marks), np.zeros(len(ridges), np.float32)


def carpaint(s: Surface) -> Look:
    n = s.noise
    dirt = np.clip(0.12 * n[1] + 0.1 * n[2] + 0.05, 0, 0.12) * (1 - s.level)
    return mix(toned(s.color, 0.02 * n[0] + 0.03 * n[4]), s.second * 2.5, dirt), np.full(len(dirt), 0.16, np.float32)


def glass(s: Surface) -> Look:
    return toned(s.color, 0.5 * s.noise[1] + 0.3 * s.noise[2]), np.full(len(s.color), 0.55, np.float32)


def rubber(s: Surface) -> Look:
    return toned(s.color, 0.2 * s.noise[2] + 0.25 * s.noise[3]), np.full(len(s.color), 0.03, np.float32)


def cloth(s: Surface) -> Look:
    """Params: 1 for stripes."""
    n = s.noise
    stripe = (np.sin(s.uv[1] * 90) > 0.2) * s.params[0] * np.clip(1 - 20 * s.foot, 0, 1)
    return mix(toned(s.color, 0.15 * n[2] + 0.28 * n[3] + 0.12 * n[4]), s.second, 0.7 * stripe), np.zeros(
        len(stripe), np.float32
    )


def sign(s: Surface) -> Look:
    """A border and a device. uv runs -1..1; params: corners, which device."""
    x, y = s.uv
    sides, which = s.params[0], s.params[1]
    radius = np.where(sides == 4, np.maximum(np.abs(x), np.abs(y)) * 1.0, np.hypot(x, y) * np.where(sides == 3, 1.5, 1))
    border = radius > np.where(sides == 4, 0.64, 0.76)
    # A pictogram: strokes of a coarse noise mirrored about the middle, or lines of text.
    figure = noise(np.abs(x) + which, y + which, 0.55) + 0.4 * noise(np.abs(x), y + which * 3, 0.2) > 0.12
    text = (np.sin(y * 9 + which) > 0.2) & (noise(x * 2, np.floor(y * 1.4) + which, 0.25) > -0.25)
    device = np.where(np.floor(which) % 2 == 0, figure, text) & (radius < 0.6)
    color = mix(s.color, s.second, (border | device).astype(np.float32))
    return toned(color, 0.05 * s.noise[1] + 0.05 * s.noise[3]), np.full(len(x), 0.05, np.float32)


def lamp(s: Surface) -> Look:
    """Params: light sent out, as a multiple of the colour."""
    return toned(s.color, 0.15 * s.noise[3]), np.where(s.params[0] > 0, -s.params[0], 0.12).astype(np.float32)


LOOKS: dict[str, Callable[[Surface], Look]] = {
    "asphalt": asphalt, "paving": paving, "grass": grass, "soil": soil, "paint": paint, "facade": facade,
    "masonry": masonry, "roof": roof, "wood": wood, "metal": metal, "leaves": leaves, "bark": bark,
    "carpaint": carpaint, "glass": glass, "rubber": rubber, "cloth": cloth, "sign": sign, "lamp": lamp,
}  # fmt: skip
