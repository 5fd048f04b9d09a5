"""Where a person corrected a panorama, training takes the person's word; without corrections nothing is different."""

import json
import logging
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from PIL import Image
from review.shapes import blobs, labelled_run, options

import goodsam
from goodsam import corrections, files, loader, pipeline, targets
from goodsam.agreement import hold_back
from goodsam.config import LevelOptions, run_options
from goodsam.errors import GoodSAMError
from goodsam.labels import LabelSet
from goodsam.loader import PATCHES, WHOLE, Panoramas, Scene
from goodsam.mka.balance import class_frequencies
from goodsam.panorama import geometry_of
from goodsam.run import Input, Run

SIZE = (64, 128)
LABELS = LabelSet("own", ("a", "b", "c", "d", "e"), ((0, 0, 0),) * 5)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Run, list[Input]]:
    """A panorama whose experts are unsure, with a camera car below, and a correction in blocks of 2x2 pixels."""
    monkeypatch.setattr(loader, "photometric", lambda image, _: image)
    Image.fromarray(np.zeros((*SIZE, 3), dtype=np.uint8)).save(tmp_path / "pano.png")
    run = Run(tmp_path / "RUN")
    unsure = torch.rand(5, *SIZE, generator=torch.Generator().manual_seed(0)).softmax(0)
    valid = np.ones(SIZE, dtype=bool)
    valid[56:] = False
    for folder in ("ensemble", "assistant_probs"):
        targets.write_probabilities(run.file(folder, "pano"), unsure, valid)
    drawn = np.repeat(np.repeat(blobs(2, (SIZE[0] // 2, SIZE[1] // 2)), 2, 0), 2, 1)
    drawn[60:, 8:20] = 1  # on the car
    files.write_image(run.file("corrections", "pano"), drawn)
    return run, [Input("pano", tmp_path / "pano.png", "")]


def panoramas(world: tuple[Run, list[Input]], **given: Any) -> Panoramas:
    return Panoramas(*world, Scene(geometry_of(SIZE), LABELS), LevelOptions(**given))


def wanted(run: Run) -> np.ndarray:
    drawn = np.array(Image.open(run.file("corrections", "pano")))[::2, ::2].copy()
    drawn[28:] = 255
    return drawn


def test_targets_of_a_corrected_panorama_are_one_hot(world: tuple[Run, list[Input]]) -> None:
    data = panoramas(world, whole_scale=1.0, patches=2, patch_size="64x64", rare_patches=0.0)
    for seed in range(4):
        sample = data[0, seed]
        patches = [{name: values[n] for name, values in sample[PATCHES].items()} for n in range(2)]
        for maps in (sample[WHOLE], *patches):
            valid = maps["valid"] > 0
            for name in ("ensemble", "assistant"):
                assert (maps[name].amax(0)[valid] == 1).all()
                assert ((maps[name] == 0) | (maps[name] == 1))[:, valid].all()
            torch.testing.assert_close(maps["ensemble"], maps["assistant"])
            assert not valid[28:].any()  # the camera car stays out, whatever is drawn on it


def test_targets_are_the_person_s_classes(world: tuple[Run, list[Input]]) -> None:
    for stored in corrections.targets_of(world[0], "pano"):
        np.testing.assert_array_equal(stored.labels().numpy(), wanted(world[0]))


def test_frequencies_and_rare_patches_follow_the_correction(world: tuple[Run, list[Input]]) -> None:
    counts = np.bincount(wanted(world[0]).ravel(), minlength=256)[:5]
    np.testing.assert_allclose(class_frequencies(*world, 5), counts / counts.sum())


def test_a_smaller_training_size_and_a_tilt_blend_the_person_s_classes(world: tuple[Run, list[Input]]) -> None:
    sample = panoramas(world, whole_scale=0.5, patches=1, patch_size="32x32", tilt=5.0)[0, 3]
    for maps in sample.values():
        torch.testing.assert_close(maps["ensemble"].sum(-3), torch.ones_like(maps["valid"]))


@pytest.mark.parametrize("size", [(6, 8), (7, 9)])
def test_a_block_has_the_class_of_most_of_its_pixels(size: tuple[int, int]) -> None:
    labels = np.random.default_rng(0).choice(np.array([0, 1, 2, 255], dtype=np.uint8), size)
    found = corrections.one_hot(labels)
    assert found.size == targets.half_size(size)
    for row in range(found.size[0]):
        for column in range(found.size[1]):
            block = [int(value) for value in labels[2 * row : 2 * row + 2, 2 * column : 2 * column + 2].ravel()]
            named = [value for value in block if value != 255]
            expected = max(named, key=lambda value: (named.count(value), -named.index(value))) if named else 255
            assert int(found.labels()[row, column]) == expected


def test_corrected_panoramas_are_never_held_back() -> None:
    inputs = [Input(f"{n:02d}", Path(), "") for n in range(40)]
    _, before = hold_back(inputs, 0.1, 0)
    kept, held_back = hold_back(inputs, 0.1, 0, [before[0], *inputs[:3]])
    assert before[0] not in held_back
    assert len(held_back) == len(before) == 4
    assert set(before[1:]) - set(inputs[:3]) <= set(held_back)  # the others stay where they were
    assert len(kept) == 36
    assert hold_back(inputs, 0.1, 0, inputs) == (inputs, [])


# -- a whole run ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corrections")
    labelled_run(folder, 2)
    train(folder)
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    """A copy of a finished run and its photos; the run knows the photos by where they were."""
    shutil.copytree(made, tmp_path / "world")
    return tmp_path / "world"


def train(folder: Path, **changed: object) -> dict[str, Any]:
    given = run_options(**options(folder, **changed))
    pipeline.distill(folder / "PHOTOS", folder / "RUN", given, ("train",))
    return Run(folder / "RUN").record("train")


def correct(folder: Path, stem: str = "left/pano01") -> Path:
    run = Run(folder / "RUN")
    labels = np.array(Image.open(run.file("labels", stem)))
    files.write_image(run.file("corrections", stem), np.where(labels == 2, 3, labels))
    corrections.write_classes(run, tiny.CLASSES)
    return run.file("corrections", stem)


def test_a_later_training_takes_corrections_and_the_earlier_comes_back(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before = train(folder)
    weights = (folder / "RUN" / "student" / "model.safetensors").read_bytes()
    assert "corrections" not in before["made_with"]
    labels = tiny.tree(folder / "RUN", "labels", "ensemble", "assistant_probs")
    path = correct(folder)
    with caplog.at_level(logging.INFO, "goodsam"):
        after = train(folder)
    assert "a person's corrections stand in for the labels of 1 panoramas" in caplog.text
    assert after["made_with"]["corrections"] == {"left/pano01": files.sha256_of(path)}
    assert after["finished"]
    assert (folder / "RUN" / "student" / "model.safetensors").read_bytes() != weights
    card = " ".join((folder / "RUN" / "student" / "README.md").read_text().split())
    assert "distilled without labels but for 1 panoramas that a person corrected" in card
    assert "But for 1 corrected panoramas nobody drew a label for it" in card
    assert tiny.tree(folder / "RUN", "labels", "ensemble", "assistant_probs") == labels

    caplog.clear()
    with caplog.at_level(logging.INFO, "goodsam"):
        assert train(folder)["fingerprint"] == after["fingerprint"]
    assert "train: already done" in caplog.text

    shutil.rmtree(folder / "RUN" / "corrections")
    assert train(folder)["fingerprint"] == before["fingerprint"]
    assert (folder / "RUN" / "student" / "model.safetensors").read_bytes() == weights


def test_without_corrections_the_fingerprint_is_that_of_what_it_was_made_with(made: Path) -> None:
    record = Run(made / "RUN").record("train")
    assert record["fingerprint"] == files.fingerprint_of(record["made_with"])
    assert set(record["made_with"]) == {"label", "panoramas", "student", "start", "training", "levels", "loss"}
    assert "Nobody drew a label for it" in (made / "RUN" / "student" / "README.md").read_text()


def test_labelling_again_leaves_corrections_alone(folder: Path) -> None:
    path = correct(folder)
    before = path.read_bytes()
    given = run_options(**options(folder, mask_weight=0.5))
    pipeline.distill(folder / "PHOTOS", folder / "RUN", given, ("masks", "label"))
    assert path.read_bytes() == before


def test_rounds_share_the_corrections(folder: Path) -> None:
    correct(folder)
    given = options(folder, rounds=2)
    goodsam.distill(folder / "PHOTOS", out=folder / "RUN", **given)  # type: ignore[arg-type]
    run = Run(folder / "RUN")
    for one in (run, run.round(1)):
        assert set(one.record("train")["made_with"]["corrections"]) == {"left/pano01"}
    assert run.round(1).file("corrections", "left/pano01") == run.file("corrections", "left/pano01")
    assert not (folder / "RUN" / "rounds" / "1" / "corrections").exists()


def test_a_photo_that_changed_takes_its_correction_with_it(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    path, photo = correct(folder), folder / "PHOTOS" / "left" / "pano01.png"
    drawn, was = path.read_bytes(), photo.read_bytes()
    Image.fromarray(tiny.panorama(7)).save(photo)
    pipeline.distill(folder / "PHOTOS", folder / "RUN", run_options(**options(folder)), ("masks", "label"))
    assert not path.exists()
    (kept,) = (folder / "RUN" / "stale").glob("corrections-*/left/pano01.png")
    assert kept.read_bytes() == drawn
    assert "was drawn on the photo as it was before; kept as" in caplog.text
    photo.write_bytes(was)
    pipeline.distill(folder / "PHOTOS", folder / "RUN", run_options(**options(folder)), ("masks",))
    assert path.read_bytes() == drawn


@pytest.mark.parametrize(
    ("labels", "classes", "sentence"),
    [
        (np.zeros(tiny.SIZE, np.uint8), ["a", "b"], r"classes\.json: these corrections were drawn with other classes"),
        (np.full(tiny.SIZE, 4, np.uint8), list(tiny.CLASSES), r"pano01\.png: has id 4; ids are 0 to 3, and 255"),
        (np.zeros((10, 20), np.uint8), list(tiny.CLASSES), r"pano01\.png: is 20x10 pixels, the panorama's targets"),
    ],
)
def test_a_correction_that_does_not_fit_is_one_sentence(
    folder: Path, labels: np.ndarray, classes: list[str], sentence: str
) -> None:
    files.write_image(correct(folder), labels)
    (folder / "RUN" / "corrections" / "classes.json").write_text(json.dumps(classes))
    with pytest.raises(GoodSAMError, match=sentence):
        train(folder)
