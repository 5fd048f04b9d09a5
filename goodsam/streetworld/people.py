"""Pedestrians of tubes and spheres, in mid-stride."""

import numpy as np

from goodsam.streetworld.mesh import Builder, Color, Finish
from goodsam.streetworld.shapes import Shape, blob, joined, moved, tube
from goodsam.streetworld.street import pick
from goodsam.streetworld.styles import Style

_SKIN: tuple[Color, ...] = ((224, 184, 156), (198, 150, 120), (148, 104, 78), (96, 66, 50), (236, 204, 180))
_HAIR: tuple[Color, ...] = ((34, 28, 24), (74, 52, 36), (134, 104, 66), (150, 148, 144), (22, 22, 24))


def _parts(rng: np.random.Generator) -> dict[str, list[Shape]]:
    """A person of 1.75 m at the origin, walking along +z."""
    stride, swing = float(rng.uniform(0.02, 0.34)), float(rng.uniform(0.05, 0.3))
    long_coat = rng.random() < 0.3
    legs, arms, shoes, hands = [], [], [], []
    for s in (-1.0, 1.0):
        step = s * stride
        knee, foot = (s * 0.1, 0.5, step * 0.6 + 0.05), (s * 0.1, 0.09, step)
        legs += [tube((s * 0.09, 0.92, 0), knee, 0.092, 0.066), tube(knee, foot, 0.066, 0.045)]
        shoes.append(blob((s * 0.1, 0.05, step + 0.06), (0.05, 0.055, 0.14), cuts=1))
        elbow = (s * 0.27, 1.12, -s * swing * 0.5)
        hand = (s * 0.25, 0.88, -s * swing + 0.08)
        arms += [tube((s * 0.19, 1.42, 0), elbow, 0.062, 0.048), tube(elbow, hand, 0.048, 0.038)]
        hands.append(blob(hand, (0.045, 0.07, 0.05), cuts=1))
    torso = [
        tube((0, 0.86, 0), (0, 1.2, 0), 0.155, 0.15, 10),
        tube((0, 1.2, 0), (0, 1.44, 0), 0.15, 0.185, 10),
        blob((0, 1.43, 0), (0.205, 0.075, 0.12), cuts=1),
    ]
    if long_coat:
        torso.append(tube((0, 0.5, 0), (0, 0.95, 0), 0.23, 0.16, 10))
    skin = [tube((0, 1.44, 0), (0, 1.56, 0), 0.055, 0.05), blob((0, 1.64, 0.01), (0.082, 0.115, 0.095)), *hands]
    hair = [blob((0, 1.68, -0.015), (0.09, 0.1, 0.1))]
    bag = [blob((0, 1.2, -0.2), (0.15, 0.22, 0.1), cuts=1)] if rng.random() < 0.3 else []
    return {"top": [*torso, *arms], "legs": legs, "skin": skin, "hair": hair, "shoes": shoes + bag}


def add_person(
    builder: Builder, rng: np.random.Generator, style: Style, spot: tuple[float, float, float], yaw: float
) -> None:
    """Put a person on the ground, walking towards `yaw` degrees (0 is +z)."""
    colors = {
        "top": pick(rng, style.clothes, 0.2),
        "legs": pick(rng, style.clothes[:7], 0.2),
        "skin": pick(rng, _SKIN),
        "hair": pick(rng, _HAIR),
        "shoes": pick(rng, ((40, 38, 38), (180, 178, 174), (90, 66, 50))),
    }
    scale = float(rng.uniform(0.9, 1.07)) if rng.random() < 0.9 else float(rng.uniform(0.6, 0.8))
    instance = builder.new_instance()
    for part, shapes in _parts(rng).items():
        shape = moved(joined(shapes), spot, yaw, scale)
        pattern = float(rng.random() < 0.25) if part == "top" else 0.0
        builder.add(shape, "person", instance, Finish("cloth", colors[part], pick(rng, style.clothes), (pattern,)))
