"""One triangle mesh of a whole scene: what each triangle is, to which object it belongs, and how it is finished."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from goodsam.labels import IGNORE, LABEL_SETS
from goodsam.streetworld.shapes import Shape

CLASSES = LABEL_SETS["densepass13"].names
SKY = CLASSES.index("sky")
SKY_INSTANCE = 1
"""The sky is one object, so that instance 0 means no scene and nothing else."""

KINDS = (
    "asphalt",
    "paving",
    "grass",
    "soil",
    "paint",
    "facade",
    "masonry",
    "roof",
    "wood",
    "metal",
    "leaves",
    "bark",
    "carpaint",
    "glass",
    "rubber",
    "cloth",
    "sign",
    "lamp",
)
"""What a finish may be made of; `textures.LOOKS` has one function for each."""

Color = tuple[float, float, float]


@dataclass(frozen=True)
class Finish:
    """How a surface looks."""

    kind: str
    """One of KINDS."""
    color: Color
    """Main colour, sRGB 0..255."""
    second: Color = (128.0, 128.0, 128.0)
    """Other colour (joints, frames, borders), sRGB 0..255."""
    params: tuple[float, ...] = ()
    """Up to 6 numbers whose meaning the kind gives, in metres where they are lengths."""


@dataclass(frozen=True)
class Mesh:
    """n vertices, m triangles, f finishes."""

    vertices: np.ndarray
    """float32 (n, 3), metres."""
    faces: np.ndarray
    """int32 (m, 3)."""
    normals: np.ndarray
    """float32 (n, 3)."""
    uv: np.ndarray
    """float32 (n, 2), metres."""
    labels: np.ndarray
    """uint8 (m,), ids of densepass13, or 255."""
    instances: np.ndarray
    """uint16 (m,), 0 where the label is 255."""
    finish: np.ndarray
    """int32 (m,), rows of the tables below."""
    kinds: np.ndarray
    """int32 (f,), places in KINDS."""
    colors: np.ndarray
    """float32 (f, 2, 3), linear light 0..1: main and second colour."""
    params: np.ndarray
    """float32 (f, 6)."""


def linear(color: Sequence[float] | np.ndarray) -> np.ndarray:
    """sRGB 0..255 to linear light 0..1 (power 2.2)."""
    return (np.asarray(color, np.float32) / 255) ** np.float32(2.2)


@dataclass
class Builder:
    """Collects parts, then makes one mesh of them."""

    shapes: list[Shape] = field(default_factory=list)
    tags: list[tuple[int, int, int]] = field(default_factory=list)
    finishes: list[Finish] = field(default_factory=list)
    last_instance: int = SKY_INSTANCE

    def new_instance(self) -> int:
        """A number that no other object has."""
        self.last_instance += 1
        return self.last_instance

    def add(self, shape: Shape, label: str | None, instance: int, finish: Finish) -> None:
        """Add a part of an object; a label of None is the camera's own car (255)."""
        self.shapes.append(shape)
        self.finishes.append(finish)
        self.tags.append((IGNORE if label is None else CLASSES.index(label), instance, len(shape.faces)))

    def mesh(self, bend: float = 0.0, hill: float = 0.0) -> Mesh:
        """The whole scene, its street bent.

        Args:
            bend: x grows by bend * z^2, 1/m.
            hill: y grows by hill * (1 - cos(z / 45 m)), m.
        """
        starts = np.cumsum([0, *(len(shape.vertices) for shape in self.shapes)])
        faces = np.concatenate([s.faces + a for s, a in zip(self.shapes, starts[:-1], strict=True)]).astype(np.int32)
        vertices = np.concatenate([shape.vertices for shape in self.shapes])
        z = vertices[:, 2].copy()
        vertices[:, 0] += bend * z * z
        vertices[:, 1] += hill * (1 - np.cos(z / 45))
        tags = np.array(self.tags)
        params = np.zeros((len(self.finishes), 6), np.float32)
        for row, finish in zip(params, self.finishes, strict=True):
            row[: len(finish.params)] = finish.params
        return Mesh(
            np.ascontiguousarray(vertices, np.float32),
            np.ascontiguousarray(faces),
            np.concatenate([shape.normals for shape in self.shapes]),
            np.concatenate([shape.uv for shape in self.shapes]),
            np.repeat(tags[:, 0], tags[:, 2]).astype(np.uint8),
            np.repeat(tags[:, 1], tags[:, 2]).astype(np.uint16),
            np.repeat(np.arange(len(tags)), tags[:, 2]).astype(np.int32),
            np.array([KINDS.index(finish.kind) for finish in self.finishes], np.int32),
            np.stack([np.stack([linear(f.color), linear(f.second)]) for f in self.finishes]),
            params,
        )
