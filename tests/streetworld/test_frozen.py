"""The street world is frozen: the same scenes, labels and looks as when results and bundled weights were made.

Labels and instances must match to the byte. Pixels come out of floating-point shading, which differs in the last place
between processors and now and then rounds to another grey level (numpy and torch without their wide vector
instructions are enough for that); therefore they are compared, before JPEG, as means over a grid of blocks, within half
a grey level.

The expected values lie in frozen.json. `python tests/streetworld/test_frozen.py` writes that file anew. Changing it
voids the results in docs/results.md that rest on the street world, and the bundled weights, which must then be made
again.
"""

import hashlib
import json
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest

pytest.importorskip("embreex", reason="the street world needs the `streetworld` extra")

from goodsam.streetworld import SPLITS, STYLES, Rendered, build_scene, render
from goodsam.streetworld.cameras import CameraKind

FILE = Path(__file__).with_name("frozen.json")
SIZES = {"pinhole": (96, 128), "strip": (40, 208), "panorama": (64, 128)}
SCENES: tuple[tuple[str, int, CameraKind], ...] = (
    ("source-train", 0, "pinhole"),
    ("source-train", 20007, "pinhole"),
    ("source-test", 3, "strip"),
    ("source-test", 1, "panorama"),
    ("target-unlabelled", 0, "strip"),
    ("target-dev", 5, "pinhole"),
    ("target-dev", 2, "strip"),
    ("target-test", 4, "panorama"),
)
BLOCKS = (4, 8)  # rows and columns of blocks
TOLERANCE = 0.5  # grey levels
WARNING = (
    "Do not change: what docs/results.md says of the street world and the bundled weights rest on these scenes and are "
    "void once this file differs. Written by tests/streetworld/test_frozen.py."
)


def taken(split: str, index: int, camera: CameraKind) -> Rendered:
    """A picture as `goodsam streetworld --split` takes it, before JPEG."""
    chosen = SPLITS[split]
    scene = build_scene(chosen.seed, index, STYLES[chosen.style], own_car=camera != "pinhole")
    return render(scene, camera, SIZES[camera])


def block_means(pixels: np.ndarray) -> np.ndarray:
    """uint8 (H, W, 3) -> mean of each of the 4 x 8 blocks and channel, grey levels, float64 (4, 8, 3)."""
    height, width, channels = pixels.shape
    rows, columns = BLOCKS
    return pixels.reshape(rows, height // rows, columns, width // columns, channels).mean((1, 3))


def sha256(ids: np.ndarray) -> str:
    """Of the ids in rows, little-endian, whatever the machine."""
    return hashlib.sha256(np.ascontiguousarray(ids.astype(ids.dtype.newbyteorder("<"))).tobytes()).hexdigest()


def summary(picture: Rendered) -> dict[str, Any]:
    """What frozen.json holds of a picture."""
    return {
        "labels": sha256(picture.labels),
        "instances": sha256(picture.instances),
        "block_means": np.round(block_means(picture.pixels), 2).tolist(),
    }


def write_file() -> None:
    """Write frozen.json; see the top of this file for what that means."""
    scenes = {f"{split} {index} {camera}": summary(taken(split, index, camera)) for split, index, camera in SCENES}
    lines = ",\n".join(f"    {json.dumps(name)}: {json.dumps(value)}" for name, value in scenes.items())
    FILE.write_text(f'{{\n  "warning": {json.dumps(WARNING)},\n  "scenes": {{\n{lines}\n  }}\n}}\n')


def test_the_splits_are_those_written_down() -> None:
    assert {name: (split.style, split.seed) for name, split in SPLITS.items()} == {
        "source-train": ("source", 101),
        "source-test": ("source", 102),
        "target-unlabelled": ("target", 201),
        "target-dev": ("target", 202),
        "target-test": ("target", 203),
    }


@pytest.mark.parametrize(("split", "index", "camera"), SCENES)
def test_a_scene_looks_as_it_did(split: str, index: int, camera: CameraKind) -> None:
    expected = json.loads(FILE.read_text())["scenes"][f"{split} {index} {camera}"]
    picture = taken(split, index, camera)
    found = summary(picture)
    assert (found["labels"], found["instances"]) == (expected["labels"], expected["instances"])
    np.testing.assert_allclose(block_means(picture.pixels), expected["block_means"], rtol=0, atol=TOLERANCE)


def test_every_split_and_camera_is_watched() -> None:
    assert {split for split, _, _ in SCENES} == set(SPLITS)
    assert {camera for _, _, camera in SCENES} == set(get_args(CameraKind)) == set(SIZES)
    assert len(json.loads(FILE.read_text())["scenes"]) == len(SCENES)


def test_a_slight_change_is_noticed() -> None:
    """One class id, or one block one grey level brighter."""
    picture = taken(*SCENES[0])
    labels, pixels = picture.labels.copy(), picture.pixels.copy()
    labels[0, 0] += 1
    pixels[:24, :16] = np.minimum(pixels[:24, :16], 254) + 1
    assert sha256(labels) != sha256(picture.labels)
    assert np.abs(block_means(pixels) - block_means(picture.pixels)).max() > TOLERANCE


if __name__ == "__main__":
    write_file()
