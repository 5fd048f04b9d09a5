"""What a step sees: image and stored targets belong together pixel by pixel, however they are turned and cut."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from goodsam import loader, targets
from goodsam.config import LevelOptions, TrainOptions, run_options
from goodsam.errors import GoodSAMError
from goodsam.labels import LabelSet
from goodsam.loader import PATCHES, WHOLE, Order, Panoramas, Scene
from goodsam.panorama import geometry_of
from goodsam.run import Input, Run

HEIGHT, WIDTH = 96, 256
CLASSES = LabelSet("own", ("a", "b", "c", "d"), ((0, 0, 0),) * 4)


def class_at(row: np.ndarray, column: np.ndarray) -> np.ndarray:
    """Class of a place: blocks of 12 x 16 pixels, no two turns of which look alike."""
    return ((row // 12) * 7 + (column // 16) * 5 + (row // 12) * (column // 16)) % 4


def seen_at(row: np.ndarray, column: np.ndarray) -> np.ndarray:
    """Where there is a scene: not in the lowest rows of some columns (a camera car)."""
    return ~((row >= 80) & (column >= 64) & (column < 160))


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Run, list[Input]]:
    """A panorama whose red is the column and whose green is the row, with targets that are functions of both."""
    monkeypatch.setattr(loader, "photometric", lambda image, _: image)
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    pixels = np.stack([columns, rows, np.zeros_like(rows)], -1).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "pano.png")
    run, item = Run(tmp_path / "RUN"), Input("pano", tmp_path / "pano.png", "")
    labels = torch.from_numpy(class_at(rows, columns))
    probabilities = torch.nn.functional.one_hot(labels, 4).permute(2, 0, 1).float() * 0.9 + 0.025
    valid = seen_at(rows, columns)
    targets.write_probabilities(run.file("ensemble", "pano"), probabilities, valid)
    targets.write_probabilities(run.file("assistant_probs", "pano"), probabilities.flip(0), valid)
    features = {}
    for level, stride in targets.FEATURE_STRIDES.items():
        cells = np.stack([columns, rows]).reshape(2, HEIGHT // stride, stride, WIDTH // stride, stride)
        features[level] = torch.from_numpy(cells.mean((2, 4))).float()
    targets.write_features(run.file("features", "pano"), features)
    return run, [item]


def panoramas(world: tuple[Run, list[Input]], **options: Any) -> Panoramas:
    run, inputs = world
    return Panoramas(run, inputs, Scene(geometry_of((HEIGHT, WIDTH)), CLASSES), LevelOptions(**options))


def check(maps: dict[str, torch.Tensor], tolerance: float = 0.0) -> None:
    """Every target is what its place in the image says, read off the image's own colours."""
    place = (maps["images"][:2] * 255).numpy()
    height, width = place.shape[1:]
    column, row = place.reshape(2, height // 2, 2, width // 2, 2).astype(int).min((2, 4))  # of the 2x2 block
    wanted, valid = class_at(row, column), seen_at(row, column)
    assert (maps["valid"].numpy() == valid).mean() >= 1 - tolerance
    found = maps["ensemble"].argmax(0).numpy()
    assert (found == wanted)[valid].mean() >= 1 - tolerance
    assert (maps["assistant"].argmax(0).numpy() == 3 - wanted)[valid].mean() >= 1 - tolerance
    for level, stride in targets.FEATURE_STRIDES.items():
        cells = place.reshape(2, height // stride, stride, width // stride, stride).mean((2, 4))
        smooth = (cells[0] > 20) & (cells[0] < WIDTH - 20)  # red jumps at the panorama's own seam
        np.testing.assert_allclose(
            maps[f"level{level}"].numpy()[:, smooth], cells[:, smooth], atol=0.2 if not tolerance else 2
        )


@pytest.mark.parametrize("seed", range(6))
def test_targets_move_with_the_whole_panorama(world: tuple[Run, list[Input]], seed: int) -> None:
    sample = panoramas(world, whole_scale=1.0, patches=0, rare_patches=0.0)[0, seed]
    assert set(sample) == {WHOLE}
    assert sample[WHOLE]["images"].shape == (3, HEIGHT, WIDTH)
    check(sample[WHOLE])


@pytest.mark.parametrize("rare", [0.0, 1.0])
@pytest.mark.parametrize("seed", range(6))
def test_targets_move_with_patches(world: tuple[Run, list[Input]], seed: int, rare: float) -> None:
    sample = panoramas(world, whole_scale=0.0, patches=3, patch_size="64x96", rare_patches=rare)[0, seed]
    assert set(sample) == {PATCHES}
    assert sample[PATCHES]["images"].shape == (3, 3, 64, 96)
    for number in range(3):
        check({name: values[number] for name, values in sample[PATCHES].items()})


@pytest.mark.parametrize("seed", range(4))
def test_targets_move_with_a_tilted_camera(world: tuple[Run, list[Input]], seed: int) -> None:
    data = panoramas(world, whole_scale=1.0, patches=1, patch_size="96x64", tilt=5.0, rare_patches=0.0)
    sample = data[0, seed]
    for maps in (sample[WHOLE], {name: values[0] for name, values in sample[PATCHES].items()}):
        column, row = (maps["images"][:2] * 255).numpy()
        inside = (row > 6) & (row < 70) & (column > 6) & (column < WIDTH - 6)  # no edge, car or seam near
        found = maps["ensemble"].argmax(0).numpy()
        wanted = class_at(row.astype(int), column.astype(int))[::2, ::2]
        agree = (found == wanted)[inside[::2, ::2] & (maps["valid"].numpy() > 0)]
        assert agree.mean() > 0.75  # a block's border, a pixel wide, may fall on either side
        turned = (np.diff(row, axis=1)[inside[:, 1:]] != 0).mean()
        assert turned > 0.5  # rows are no rows any more


def test_a_tilt_leaves_out_what_the_panorama_does_not_show(world: tuple[Run, list[Input]]) -> None:
    level = panoramas(world, whole_scale=1.0, patches=0, rare_patches=0.0)[0, 1][WHOLE]["valid"].mean()
    tilted = panoramas(world, whole_scale=1.0, patches=0, rare_patches=0.0, tilt=9.0)[0, 1][WHOLE]["valid"].mean()
    assert tilted < level


def test_the_whole_is_shrunk_to_a_size_that_wraps(world: tuple[Run, list[Input]]) -> None:
    sample = panoramas(world, whole_scale=0.5, patches=0, rare_patches=0.0)[0, 0][WHOLE]
    assert sample["images"].shape == (3, 48, 128)
    assert sample["ensemble"].shape == (4, 24, 64)
    assert sample["level3"].shape == (2, 3, 8)
    assert sample["level4"].shape == (2, 2, 4)
    torch.testing.assert_close(sample["ensemble"].sum(0), torch.ones(24, 64))


def test_items_are_a_function_of_their_seed(world: tuple[Run, list[Input]]) -> None:
    data = panoramas(world, patch_size="64x64", tilt=3.0)
    first, again, other = data[0, 5], data[0, 5], data[0, 6]
    for level, maps in first.items():
        for name, values in maps.items():
            assert torch.equal(values, again[level][name])
    assert not torch.equal(first[PATCHES]["images"], other[PATCHES]["images"])


def test_rare_patches_hold_the_rare_class_more_often(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loader, "photometric", lambda image, _: image)
    Image.fromarray(np.zeros((64, 512, 3), dtype=np.uint8)).save(tmp_path / "pano.png")
    run, inputs = Run(tmp_path / "RUN"), [Input("pano", tmp_path / "pano.png", "")]
    labels = torch.zeros(64, 512, dtype=torch.long)
    labels[20:28, 300:308] = 2
    probabilities = torch.nn.functional.one_hot(labels, 4).permute(2, 0, 1).float()
    for folder in ("ensemble", "assistant_probs"):
        targets.write_probabilities(run.file(folder, "pano"), probabilities)
    scene = Scene(geometry_of((64, 512)), CLASSES)
    held = {}
    for rare in (0.0, 1.0):
        options = LevelOptions(whole_scale=0, patches=1, patch_size="32x64", rare_patches=rare)
        data = Panoramas(run, inputs, scene, options)
        held[rare] = np.mean([bool((data[0, seed][PATCHES]["ensemble"].argmax(1) == 2).any()) for seed in range(60)])
    assert held[0.0] < 0.3
    assert held[1.0] > 0.75  # drawn by rarity: f^-0.5 of 1/512 against that of the rest


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"patches": 0, "whole_scale": 0.0}, "--patches 0 --whole-scale 0: nothing is left to learn from"),
        ({"whole_scale": 1.5}, "--whole-scale 1.5: must be from 0 to 1"),
        ({"patch_size": "100x64"}, "--patch-size 100x64: must be multiples of 32, such as 96x64"),
        ({"patch_size": "64"}, "--patch-size 64: must be HEIGHTxWIDTH"),
    ],
)
def test_what_cannot_be_seen_is_refused(world: tuple[Run, list[Input]], options: dict[str, Any], text: str) -> None:
    with pytest.raises(GoodSAMError, match=text):
        panoramas(world, **options)


def test_every_epoch_sees_every_panorama_once() -> None:
    options = TrainOptions(steps=6, batch_size=4, seed=3)
    batches = list(Order(8, options, 0, 0, 1))
    assert sorted(index for batch in batches[:2] for index, _ in batch) == list(range(8))
    assert batches[0] != batches[2]
    assert len({seed for batch in batches for _, seed in batch}) == 24
    assert list(Order(8, options, 4, 0, 1)) == batches[4:]


@pytest.mark.parametrize(("processes", "accumulate"), [(2, 1), (1, 4), (2, 2)])
def test_a_batch_is_the_same_however_it_is_split(processes: int, accumulate: int) -> None:
    whole = list(Order(8, TrainOptions(steps=3, batch_size=4), 0, 0, 1))
    options = TrainOptions(steps=3, batch_size=4, accumulate=accumulate)
    shares = [list(Order(8, options, 0, process, processes)) for process in range(processes)]
    assert {len(share) for share in shares} == {3 * accumulate}
    for step, batch in enumerate(whole):
        parts = [part for share in shares for part in share[step * accumulate : (step + 1) * accumulate]]
        assert {len(part) for part in parts} == {4 // processes // accumulate}
        assert sorted(item for part in parts for item in part) == sorted(batch)


def test_a_scene_takes_size_and_field_of_view(world: tuple[Run, list[Input]]) -> None:
    run, inputs = world
    record = {"label_set": "own", "classes": ["a", "b"], "colors": [[0, 0, 0], [1, 1, 1]]}
    run.begin("label", record, {}, [])
    scene = loader.look_at(inputs, run_options(train_size="48x128"), run)
    assert scene.size == (48, 128)
    assert scene.vfov == pytest.approx(135)
    assert scene.geometry.horizon == pytest.approx(24)
    assert scene.label_set.names == ("a", "b")
