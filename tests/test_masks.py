"""Masks: run-lengths against pycocotools' own arrays, and the file they are kept in."""

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
from pycocotools import mask as coco

from goodsam import files
from goodsam.errors import GoodSAMError
from goodsam.masks import Masks, PanoramaMasks, decode_runs, masks_from_arrays, read_masks
from goodsam.views import Crop, Tangent


def arrays_of(kind: str, size: tuple[int, int]) -> np.ndarray:
    generator = np.random.default_rng(len(kind))
    arrays = np.zeros((4, *size), dtype=bool)
    if kind == "random":
        arrays = generator.random((4, *size)) < np.array([0.05, 0.3, 0.6, 0.97])[:, None, None]
    elif kind == "full":
        arrays[:] = True
    elif kind == "single":
        arrays[0, 0, 0] = arrays[1, -1, -1] = arrays[2, size[0] // 2, 0] = arrays[3, 0, -1] = True
    elif kind == "mixed":
        arrays[1] = True
        arrays[2, 0, 0] = True
        arrays[3] = generator.random(size) < 0.5
    return arrays


KINDS = ["random", "empty", "full", "single", "mixed"]
# The last is long enough for run-lengths of several 5-bit groups.
SIZES = [(1, 1), (3, 5), (7, 2), (40, 90)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", KINDS)
def test_arrays_survive_a_round_trip(kind: str, size: tuple[int, int]) -> None:
    arrays = arrays_of(kind, size)
    masks = masks_from_arrays(arrays)
    assert masks.size == size
    assert len(masks) == 4
    assert masks.areas == tuple(int(mask.sum()) for mask in arrays)
    assert masks.ious == masks.stabilities == (None,) * 4
    assert (masks.to_arrays() == arrays).all()
    assert masks.to_arrays().dtype == bool


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", KINDS)
def test_decoded_runs_are_those_of_pycocotools(kind: str, size: tuple[int, int]) -> None:
    masks = masks_from_arrays(arrays_of(kind, size))
    starts, lengths, owners = decode_runs(masks.counts)
    painted = np.zeros((4, size[0] * size[1]), dtype=np.uint8)
    for start, length, owner in zip(starts, lengths, owners, strict=True):
        painted[owner, start : start + length] += 1
    for number, counts in enumerate(masks.counts):
        decoded = coco.decode({"size": list(size), "counts": counts})
        assert (painted[number].reshape(size, order="F") == decoded).all()


def test_runs_of_large_masks_decode() -> None:
    """Differences of both signs and numbers of four groups, as on a whole panorama."""
    generator = np.random.default_rng(1)
    arrays = np.zeros((3, 400, 900), dtype=bool)
    arrays[0, :, 500:] = True
    arrays[1, 17:390, 3:5] = True
    for _ in range(30):
        row, column = generator.integers(0, 400), generator.integers(0, 900)
        arrays[2, row : row + generator.integers(1, 200), column : column + generator.integers(1, 200)] ^= True
    index, offsets = masks_from_arrays(arrays).pixels()
    for number in range(3):
        part = index[offsets[number] : offsets[number + 1]]
        assert np.array_equal(np.sort(part), np.flatnonzero(arrays[number]))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", KINDS)
def test_pixels_are_the_flat_indices_of_each_mask(kind: str, size: tuple[int, int]) -> None:
    arrays = arrays_of(kind, size)
    index, offsets = masks_from_arrays(arrays).pixels()
    assert len(offsets) == 5
    assert offsets[-1] == len(index) == arrays.sum()
    for number, mask in enumerate(arrays):
        expected = {row * size[1] + column for row in range(size[0]) for column in range(size[1]) if mask[row, column]}
        part = index[offsets[number] : offsets[number + 1]].tolist()
        assert len(part) == len(expected)
        assert set(part) == expected


def test_no_masks_at_all() -> None:
    masks = masks_from_arrays(np.zeros((0, 4, 6), dtype=bool))
    assert len(masks) == 0
    assert masks.to_arrays().shape == (0, 4, 6)
    index, offsets = masks.pixels()
    assert index.size == 0
    assert offsets.tolist() == [0]


def test_areas_of_many_masks_do_not_overflow() -> None:
    masks = masks_from_arrays(np.ones((300, 2, 3), dtype=np.uint8))
    assert masks.areas == (6,) * 300


def test_select_keeps_the_order_given() -> None:
    masks = masks_from_arrays(arrays_of("random", (5, 6)), ious=[0.1, 0.2, 0.3, 0.4], stabilities=[1, None, 0.5, 0])
    chosen = masks.select([3, 0])
    assert chosen.ious == (0.4, 0.1)
    assert chosen.stabilities == (0, 1)
    assert chosen.areas == (masks.areas[3], masks.areas[0])
    assert (chosen.to_arrays() == masks.to_arrays()[[3, 0]]).all()


@pytest.fixture
def panorama_masks() -> PanoramaMasks:
    scored = masks_from_arrays(arrays_of("random", (5, 6)), ious=[0.12345, None, 1.0, 0.0], stabilities=[0.5] * 4)
    empty = masks_from_arrays(np.zeros((0, 32, 32), dtype=bool))
    views = ((Crop(-45.0, 90.0), scored), (Tangent(0.0, 90.0, 90.0), empty))
    return PanoramaMasks((5, 24), "some/teacher", views)


def test_masks_survive_the_disk(panorama_masks: PanoramaMasks, tmp_path: Path) -> None:
    path = tmp_path / "left" / "a.json.gz"
    panorama_masks.write(path)
    again = read_masks(path)
    assert (again.size, again.teacher) == ((5, 24), "some/teacher")
    assert [view for view, _ in again.views] == [view for view, _ in panorama_masks.views]
    assert (again.views[0][1].to_arrays() == panorama_masks.views[0][1].to_arrays()).all()
    assert again.views[0][1].ious == (0.1235, None, 1.0, 0.0)  # four digits
    assert again.views[1][1] == Masks((32, 32), (), (), (), ())


def test_the_file_is_as_the_design_says(panorama_masks: PanoramaMasks, tmp_path: Path) -> None:
    panorama_masks.write(tmp_path / "a.json.gz")
    value = json.loads(gzip.decompress((tmp_path / "a.json.gz").read_bytes()))
    assert set(value) == {"size", "teacher", "views"}
    assert value["views"][0]["view"] == {"kind": "crop", "yaw": -45.0, "width": 90.0}
    assert value["views"][1] == {
        "view": {"kind": "tangent", "yaw": 0.0, "pitch": 90.0, "fov": 90.0},
        "size": [32, 32],
        "masks": [],
    }
    mask = value["views"][0]["masks"][1]
    assert set(mask) == {"rle", "area", "iou", "stability"}
    decoded = coco.decode({"size": [5, 6], "counts": mask["rle"].encode()})
    assert decoded.sum() == mask["area"]


def test_same_masks_same_bytes_without_a_time(panorama_masks: PanoramaMasks, tmp_path: Path) -> None:
    panorama_masks.write(tmp_path / "a.json.gz")
    panorama_masks.write(tmp_path / "other-name.json.gz")
    first = (tmp_path / "a.json.gz").read_bytes()
    assert first == (tmp_path / "other-name.json.gz").read_bytes()
    assert first[4:8] == b"\0\0\0\0"  # MTIME of the gzip header
    assert first[3] == 0  # no flags: no file name


def test_a_damaged_file_is_named(panorama_masks: PanoramaMasks, tmp_path: Path) -> None:
    path = tmp_path / "a.json.gz"
    panorama_masks.write(path)
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    for damaged in (data[:middle], data[:middle] + bytes([data[middle] ^ 0xFF]) + data[middle + 1 :], b""):
        path.write_bytes(damaged)
        with pytest.raises(GoodSAMError, match=r"a\.json\.gz: cannot be read .*Delete it"):
            read_masks(path)


def test_json_of_another_form_is_named(tmp_path: Path) -> None:
    files.write_json_gz(tmp_path / "a.json.gz", {"views": [{"view": {"kind": "crop"}}]})
    with pytest.raises(GoodSAMError, match=r"a\.json\.gz: not a masks file"):
        read_masks(tmp_path / "a.json.gz")
