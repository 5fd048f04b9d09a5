"""The camera car, found in synthetic and in rendered panoramas, and not found where there is none."""

import json
from pathlib import Path

import numpy as np
import pytest
import tiny
from PIL import Image
from scipy import ndimage

from goodsam import ego, pipeline
from goodsam.config import run_options
from goodsam.ego import Mount, edges, find_mounts, hidden, mount_of, outline, read_mounts, write_mounts
from goodsam.panorama import Panorama, geometry_of
from goodsam.streetworld import split_named, write_scenes

SIZE = (100, 512)


def street(seed: int, car: np.ndarray | None) -> np.ndarray:
    """Sky, houses, a road with markings and grain, exposed at random; a dark or a bright car over it: (H, W, 3)."""
    random = np.random.default_rng(seed)
    height, width = SIZE
    pixels = np.full((*SIZE, 3), 200.0)
    pixels[height // 2 :] = random.uniform(70, 130)
    for _ in range(12):
        left, broad = random.integers(0, width), random.integers(10, 60)
        top, bottom = random.integers(20, 45), random.integers(50, 62)
        pixels[top:bottom, np.arange(left, left + broad) % width] = random.uniform(40, 220, 3)
    for _ in range(5):
        left, row = random.integers(0, width), random.integers(60, 95)
        pixels[row : row + 3, np.arange(left, left + 60) % width] = 230
    grain = ndimage.gaussian_filter(random.normal(0, 20, SIZE), 1.5, mode="wrap")
    pixels += grain[..., None]
    if car is not None:
        paint = random.choice([random.uniform(10, 40), random.uniform(180, 240)]) + 10 * np.sin(
            np.arange(width) / 30 + random.uniform(0, 6)
        )
        pixels[car] = np.broadcast_to(paint[None, :, None], pixels.shape)[car]
    pixels = pixels * random.uniform(0.7, 1.2) + random.normal(0, 3, pixels.shape)
    return pixels.clip(0, 255).astype(np.uint8)


def bonnet(centre: int, wide: int, high: int) -> np.ndarray:
    """An ellipse at the lower edge, wrapping: bool (H, W)."""
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    apart = (columns - centre + SIZE[1] // 2) % SIZE[1] - SIZE[1] // 2
    return (apart / wide) ** 2 + ((SIZE[0] - rows) / high) ** 2 < 1


def write(folder: Path, cars: list[np.ndarray | None], first: int = 0) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    for number, car in enumerate(cars, first):
        Image.fromarray(street(number, car)).save(folder / f"{number:03d}.png")
    return sorted(folder.glob("*.png"))


def iou(a: np.ndarray, b: np.ndarray) -> float:
    return float((a & b).sum() / (a | b).sum())


@pytest.mark.parametrize("centre", [250, 3])
def test_a_car_is_found_also_across_the_seam(centre: int, tmp_path: Path) -> None:
    car = bonnet(centre, 90, 24)
    (mount,) = find_mounts(write(tmp_path, [car] * 14))
    assert mount.photos >= 9  # in some the paint is as bright as the road
    assert iou(mount.mask, car) >= 0.9


def test_nothing_is_found_where_there_is_none(tmp_path: Path) -> None:
    assert find_mounts(write(tmp_path, [None] * 40)) == []


def test_two_cars_and_photos_without_one_are_told_apart(tmp_path: Path) -> None:
    cars = [bonnet(250, 90, 24), bonnet(130, 60, 32)]
    paths = write(tmp_path, [cars[0], cars[1], None] * 14)
    mounts = find_mounts(paths)
    assert len(mounts) == 2
    mounts.sort(key=lambda mount: iou(mount.mask, cars[1]))
    for mount, car in zip(mounts, cars, strict=True):
        assert iou(mount.mask, car) >= 0.9
    right = 0
    for number, path in enumerate(paths):
        right += mount_of(np.array(Image.open(path)), mounts) is [*mounts, None][number % 3]
    assert right >= 34  # of 42: in some the paint is as bright as the road


def test_too_few_photos_say_nothing(tmp_path: Path) -> None:
    assert find_mounts(write(tmp_path, [bonnet(250, 90, 24)] * (ego.FEWEST - 1))) == []


def test_large_folders_are_sampled_evenly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ego, "MOST", 8)
    paths = [tmp_path / f"{number}" for number in range(50)]
    assert [int(path.name) for path in ego.sampled(paths)] == [0, 7, 14, 21, 28, 35, 42, 49]
    assert ego.sampled(paths[:3]) == paths[:3]


def test_photos_of_another_size_have_their_own_mounts(tmp_path: Path) -> None:
    car = bonnet(250, 90, 24)
    paths = write(tmp_path, [car] * 8)
    for path in paths[:4]:
        Image.open(path).resize((600, 117)).save(path)
    assert find_mounts(paths) == []  # four of each
    mount = Mount(car, 8)
    assert mount_of(np.array(Image.open(paths[0])), [mount]) is None
    assert mount_of(np.array(Image.open(paths[7])), [mount]) is mount


def test_mounts_are_kept_on_disk(tmp_path: Path) -> None:
    car = bonnet(250, 90, 24)
    write_mounts(tmp_path / "ego", [Mount(car, 12)], 40)
    (found,), panoramas = read_mounts(tmp_path / "ego")
    assert panoramas == 40
    assert found.photos == 12
    np.testing.assert_array_equal(found.mask, car)


def test_edges_are_a_share_of_each_row_whatever_the_exposure() -> None:
    pixels = street(0, None)
    found = edges(pixels)
    assert found.shape == (50, 512)
    np.testing.assert_allclose(found.mean(1), ego.EDGES, atol=0.01)
    assert (edges((pixels * 0.5).astype(np.uint8)) == found).mean() > 0.95


def test_an_outline_needs_frequent_edges() -> None:
    frequency = np.full((40, 120), 0.15)
    rows = (30 - 12 * np.sin(np.linspace(0, np.pi, 60))).round().astype(int)
    frequency[rows, np.arange(30, 90)] = 0.9
    frequency[30:, [30, 89]] = 0.9
    found = outline(frequency, 50)
    assert found[25, 60]
    assert not found[:, :28].any()
    assert not outline(np.minimum(frequency, 0.3), 50).any()


def test_a_bonnet_of_the_street_world(tmp_path: Path) -> None:
    """Half the usual size and few, so that it takes seconds; `benchmarks/ego.py` looks at both bonnets at full size."""
    for name, number in (("target-dev", 12), ("source-train", 3)):
        split = split_named(name)
        write_scenes(tmp_path / name, number, split.seed, "strip", split.style, (200, 1024))
    paths = {name: sorted((tmp_path / name / "images").glob("*.jpg")) for name in ("target-dev", "source-train")}
    mounts = find_mounts(paths["target-dev"])
    assert mounts
    for path in paths["target-dev"]:
        found = mount_of(np.array(Image.open(path)), mounts)
        truth = np.array(Image.open(tmp_path / "target-dev" / "labels" / f"{path.stem}.png")) == 255
        assert found is None or iou(found.mask, truth) >= 0.9
    assert sum(mount_of(np.array(Image.open(path)), mounts) is not None for path in paths["target-dev"]) >= 6
    assert all(mount_of(np.array(Image.open(path)), mounts) is None for path in paths["source-train"])


def test_a_hidden_car_is_a_patch_of_the_road_beside_it() -> None:
    car = bonnet(3, 90, 24)
    pixels = street(1, car)
    found = hidden(Panorama(pixels, geometry_of(SIZE)), car)
    inside = found.pixels[car]
    assert (inside == inside[0]).all()
    around = np.roll(car, 4, axis=1) | np.roll(car, -4, axis=1) | np.roll(car, -4, axis=0)
    np.testing.assert_allclose(inside[0], pixels[around & ~car].mean(0), atol=15)
    far = ~ndimage.binary_dilation(np.tile(car, (1, 3)), iterations=3)[:, SIZE[1] : 2 * SIZE[1]]
    np.testing.assert_array_equal(found.pixels[far], pixels[far])
    nothing = Panorama(pixels, geometry_of(SIZE))
    assert hidden(nothing, np.zeros(SIZE, dtype=bool)) is nothing


def test_the_run_takes_the_car_out_of_the_labels(tmp_path: Path) -> None:
    car = bonnet(250, 90, 24)
    write(tmp_path / "photos", [car] * 12)
    given = {"sam": "regions", "assistant": str(tiny.write_assistant(tmp_path / "assistant.onnx")), "device": "cpu"}
    options = run_options(**given, limit=1)  # the folder decides, not the limit
    run = pipeline.distill(tmp_path / "photos", tmp_path / "RUN", options, ("masks", "label"))
    labels = np.array(Image.open(run.file("labels", "000")))
    assert iou(labels == 255, car) >= 0.9
    assert json.loads((run.ego / "mounts.json").read_text())["panoramas"] == 12
    off = pipeline.distill(
        tmp_path / "photos", tmp_path / "OFF", run_options(**given, limit=1, ego="off"), ("masks", "label")
    )
    assert (np.array(Image.open(off.file("labels", "000"))) != 255).all()


def test_a_folder_without_a_car_is_looked_at_again_when_it_grows(tmp_path: Path) -> None:
    car = bonnet(250, 90, 24)
    write(tmp_path / "photos", [car] * 3)
    given = run_options(sam="regions", assistant=str(tiny.write_assistant(tmp_path / "assistant.onnx")), device="cpu")
    run = pipeline.distill(tmp_path / "photos", tmp_path / "RUN", given, ("masks", "label"))
    assert read_mounts(run.ego) == ([], 3)
    write(tmp_path / "photos", [car] * 9, first=3)
    run = pipeline.distill(tmp_path / "photos", tmp_path / "RUN", given, ("masks", "label"))
    assert len(read_mounts(run.ego)[0]) == 1
    assert iou(np.array(Image.open(run.file("labels", "000"))) == 255, car) >= 0.9
