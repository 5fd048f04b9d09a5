"""Files of the street world: the same bytes from the same seed, in the forms that the design states."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("embreex", reason="the street world needs the `streetworld` extra")

from goodsam.errors import GoodSAMError
from goodsam.images import read_label_map, read_photo
from goodsam.streetworld import STYLES, build_scene, write_scenes


def _bytes(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*.*"))}


def test_same_seed_same_bytes_whatever_the_number_of_workers(tmp_path: Path) -> None:
    write_scenes(tmp_path / "a", 2, 5, "strip", "target", (48, 246))
    write_scenes(tmp_path / "b", 2, 5, "strip", "target", (48, 246), workers=2)
    write_scenes(tmp_path / "c", 2, 6, "strip", "target", (48, 246))
    one, two, other = (_bytes(tmp_path / name) for name in "abc")
    assert list(one) == [
        *(f"images/{i:05d}.jpg" for i in range(2)), *(f"instances/{i:05d}.png" for i in range(2)),
        *(f"labels/{i:05d}.png" for i in range(2)), "scenes.json",
    ]  # fmt: skip
    assert one == two
    assert all(one[name] != other[name] for name in one)
    assert one["images/00000.jpg"] != one["images/00001.jpg"]


def test_a_scene_does_not_depend_on_which_others_are_rendered(tmp_path: Path) -> None:
    write_scenes(tmp_path / "both", 2, 5, "pinhole", "source", (48, 64))
    write_scenes(tmp_path / "second", 1, 5, "pinhole", "source", (48, 64), first=1)
    both, second = _bytes(tmp_path / "both"), _bytes(tmp_path / "second")
    for name in ("images/00001.jpg", "labels/00001.png", "instances/00001.png"):
        assert both[name] == second[name]


def test_files_have_the_stated_forms(tmp_path: Path) -> None:
    done: list[int] = []
    write_scenes(tmp_path, 1, 9, "panorama", "target", (64, 128), done=done.append)
    assert done == [1]
    assert read_photo(tmp_path / "images/00000.jpg").shape == (64, 128, 3)
    labels = read_label_map(tmp_path / "labels/00000.png")
    with Image.open(tmp_path / "instances/00000.png") as image:
        assert image.mode == "I;16"
        instances = np.array(image)
    assert labels.shape == instances.shape == (64, 128)
    assert ((instances == 0) == (labels == 255)).all()
    table = json.loads((tmp_path / "scenes.json").read_text())
    assert (table["seed"], table["style"], table["camera"], table["size"]) == (9, "target", "panorama", [64, 128])
    (entry,) = table["scenes"]
    assert entry["stem"] == "00000"
    assert entry["eye"]["height"] > 1
    assert "fov" not in entry["eye"]


def test_the_camera_does_not_change_the_scene() -> None:
    bare, carried = (build_scene(4, 2, STYLES["target"], own_car=own) for own in (False, True))
    count = len(bare.mesh.faces)
    np.testing.assert_array_equal(bare.mesh.faces, carried.mesh.faces[:count])
    np.testing.assert_array_equal(bare.mesh.instances, carried.mesh.instances[:count])
    assert (carried.mesh.labels[count:] == 255).all()
    assert bare.eye == carried.eye
    assert bare.weather == carried.weather


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scenes": 0}, "--scenes 0"), ({"seed": -1}, "--seed -1"), ({"camera": "fisheye"}, "--camera fisheye"),
        ({"style": "paris"}, "--style paris"), ({"size": (64, 4)}, "--size 64x4"), ({"workers": 0}, "--workers 0"),
    ],
)  # fmt: skip
def test_values_that_are_not_allowed_are_refused(tmp_path: Path, change: dict, message: str) -> None:
    options = {"scenes": 1, "seed": 0, "camera": "pinhole", "style": "source", "size": (48, 64)} | change
    with pytest.raises(GoodSAMError, match=message):
        write_scenes(tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()
