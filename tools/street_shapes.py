"""Pictures of overlapping shapes with procedural textures, for training the bundled teacher to see any object.

Street scenes alone would teach what streets hold; these teach that an object ends where its texture does.
"""

import math
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

Texture = Callable[[np.random.Generator, int, int], np.ndarray]


def shapes_picture(random: np.random.Generator, size: int = 512) -> tuple[np.ndarray, np.ndarray]:
    """A textured background and 6 to 40 shapes painted one over another.

    Returns:
        uint8 (size, size, 3), RGB, and uint16 (size, size), 1 the background and 2 upwards the shapes.
    """
    outlines = [_outline(random, size) for _ in range(random.integers(6, 41))]
    outlines.sort(key=lambda points: -np.ptp(points, axis=0).prod())  # large first, so that few are hidden
    for _ in range(len(outlines) // 3):  # but not in strict order, or nothing large would cover anything small
        first, second = random.integers(0, len(outlines), 2)
        outlines[first], outlines[second] = outlines[second], outlines[first]
    canvas = Image.new("L", (size, size), 1)
    draw = ImageDraw.Draw(canvas)
    for number, points in enumerate(outlines):
        draw.polygon([tuple(point) for point in points.tolist()], fill=number + 2)
    instances = np.array(canvas)
    colour = random.uniform(20, 235, 3)
    picture = _textured(random, size, size, colour)
    for number, points in enumerate(outlines):
        left, top = np.clip(np.floor(points.min(axis=0)).astype(int), 0, size - 1)
        right, bottom = np.clip(np.ceil(points.max(axis=0)).astype(int) + 1, 1, size)
        inside = instances[top:bottom, left:right] == number + 2
        if inside.any():
            near = colour + random.normal(0, 25, 3)  # a third differs from the background by little: outlines are faint
            own = near if random.random() < 0.33 else random.uniform(10, 245, 3)
            texture = _textured(random, bottom - top, right - left, own)
            picture[top:bottom, left:right][inside] = texture[inside]
    image = Image.fromarray(np.clip(picture, 0, 255).astype(np.uint8))
    if random.random() < 0.7:
        image = image.filter(ImageFilter.GaussianBlur(random.uniform(0.4, 1.2)))
    return np.array(image), instances.astype(np.uint16)


def _outline(random: np.random.Generator, size: int) -> np.ndarray:
    """A closed outline around a random centre: float (N, 2), x and y in pixels."""
    radius = math.exp(random.uniform(math.log(9), math.log(0.5 * size)))
    kind = random.choice(["polygon", "ellipse", "rectangle", "bar", "blob"], p=[0.2, 0.15, 0.25, 0.25, 0.15])
    stretch = random.uniform(0.3, 1)
    if kind == "polygon":
        angles = np.sort(random.uniform(0, 2 * math.pi, random.integers(3, 9)))
        points = _polar(angles, random.uniform(0.4, 1, len(angles)))
    elif kind == "ellipse":
        points = _polar(np.linspace(0, 2 * math.pi, 40, endpoint=False), np.ones(40))
    elif kind == "blob":
        angles = np.linspace(0, 2 * math.pi, 60, endpoint=False)
        waves = [random.uniform(0, 0.25) * np.cos(n * angles + random.uniform(0, 6.3)) for n in range(2, 6)]
        points = _polar(angles, 1 + np.sum(waves, axis=0))
    else:
        points = np.array([[-1.0, -1], [1, -1], [1, 1], [-1, 1]])
        if kind == "bar":
            radius = random.uniform(30, 0.5 * size)
            stretch = random.uniform(1.5, 7) / radius  # 3 to 14 pixels wide
    points = points * radius * np.array([1, stretch])
    # Half the boxes stand upright, as most man-made things do.
    upright = kind in ("rectangle", "bar") and random.random() < 0.6
    turn = random.integers(0, 2) * math.pi / 2 if upright else random.uniform(0, math.pi)
    rotation = np.array([[math.cos(turn), math.sin(turn)], [-math.sin(turn), math.cos(turn)]])
    return points @ rotation + random.uniform(0, size, 2)


def _polar(angles: np.ndarray, radii: np.ndarray) -> np.ndarray:
    """Points (N, 2) at N angles in radians and radii."""
    return np.stack([np.cos(angles) * radii, np.sin(angles) * radii], axis=1)


def _textured(random: np.random.Generator, height: int, width: int, colour: np.ndarray) -> np.ndarray:
    """float32 (height, width, 3) around a colour: a pattern to a second colour, shading and grain."""
    kind = int(random.integers(0, len(_PATTERNS)))
    pattern = _PATTERNS[kind](random, height, width)
    step = random.normal(0, 1, 3) * 15 + random.choice([-1, 1]) * random.uniform(8, 70)
    shade = 1 + random.uniform(0, 0.4) * (_gradient(random, height, width) - 0.5)
    if random.random() < 0.5:
        shade = shade + random.uniform(0, 0.25) * (_noise(random, height, width) - 0.5)
    grain = random.standard_normal((height, width), dtype=np.float32)[..., None] * random.uniform(0, 7)
    values = colour.astype(np.float32) + pattern[..., None] * step.astype(np.float32)
    return values * shade[..., None] + grain


def _plain(random: np.random.Generator, height: int, width: int) -> np.ndarray:
    return np.zeros((height, width), np.float32)


def _projection(random: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Distance along a random direction, pixels."""
    turn = random.choice([0.0, math.pi / 2, random.uniform(0, math.pi)])
    rows, columns = np.ogrid[:height, :width]
    return (columns * math.cos(turn) + rows * math.sin(turn)).astype(np.float32)


def _gradient(random: np.random.Generator, height: int, width: int) -> np.ndarray:
    along = _projection(random, height, width) * random.choice([-1, 1])
    along = along - along.min()
    return along / max(float(along.max()), 1.0)


def _stripes(random: np.random.Generator, height: int, width: int) -> np.ndarray:
    phase = _projection(random, height, width) / random.uniform(3, 24) % 1
    return (phase < random.uniform(0.15, 0.6)).astype(np.float32)


def _checks(random: np.random.Generator, height: int, width: int) -> np.ndarray:
    period = random.uniform(3, 24)
    rows, columns = np.ogrid[:height, :width]
    return ((rows // period + columns // (period * random.uniform(0.6, 2))) % 2).astype(np.float32)


def _noise(random: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Smooth noise of one random scale, about 0..1."""
    cell = math.exp(random.uniform(math.log(2), math.log(60)))
    coarse = random.random((max(2, round(height / cell)), max(2, round(width / cell))), dtype=np.float32)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BILINEAR))


def _two_noises(random: np.random.Generator, height: int, width: int) -> np.ndarray:
    return 0.6 * _noise(random, height, width) + 0.4 * _noise(random, height, width)


def _speckles(random: np.random.Generator, height: int, width: int) -> np.ndarray:
    return (_noise(random, height, width) > random.uniform(0.4, 0.8)).astype(np.float32)


_PATTERNS: list[Texture] = [_plain, _gradient, _stripes, _checks, _noise, _two_noises, _speckles]
