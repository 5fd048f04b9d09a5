"""From images to label maps, with a random student of a few thousand weights."""

import csv
import logging
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F
from transformers import SegformerConfig, SegformerForSemanticSegmentation

from goodsam.errors import GoodSAMError, UnreadableImageError
from goodsam.labels import LabelSet
from goodsam.panorama import Panorama, geometry_of
from goodsam.predictor import Prediction, Predictor, load, predict_files
from goodsam.student import Student, resize, save_student

CLASSES = LabelSet("lot", ("road", "sky", "car"), ((10, 20, 30), (40, 50, 60), (70, 80, 90)))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved student, trained (so it says) at 64 x 128 pixels on full spheres."""
    torch.manual_seed(0)
    config = SegformerConfig(
        hidden_sizes=[8, 8, 16, 16],
        depths=[1, 1, 1, 1],
        num_attention_heads=[1, 1, 2, 2],
        decoder_hidden_size=16,
        id2label=dict(enumerate(CLASSES.names)),
        label2id={name: index for index, name in enumerate(CLASSES.names)},
    )
    config.goodsam = {"label_set": "lot", "colors": [list(color) for color in CLASSES.colors]}
    model = SegformerForSemanticSegmentation(config)
    with torch.no_grad():
        model.decode_head.classifier.weight.mul_(40)  # a student with opinions
    path = tmp_path_factory.mktemp("run") / "student"
    save_student(Student(model), path, (64, 128), 180.0, "")
    return path


@pytest.fixture(scope="module")
def predictor(folder: Path) -> Predictor:
    return load(folder, "cpu")


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def tensor(pixels: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255


def test_a_predictor_knows_its_classes(predictor: Predictor) -> None:
    assert predictor.label_set == CLASSES
    assert not predictor.student.training


def test_what_is_no_student_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(GoodSAMError, match="not a student"):
        load(tmp_path, "cpu")


@pytest.mark.parametrize("size", [(64, 128), (50, 100), (33, 131), (20, 200), (90, 180)])
def test_results_have_the_images_own_size(predictor: Predictor, size: tuple[int, int]) -> None:
    pixels = noise(*size)
    found = predictor.predict(pixels)
    assert found.labels.shape == found.confidence.shape == size
    assert found.labels.dtype == np.uint8
    assert found.labels.max() < 3
    assert found.confidence.dtype == np.float32
    assert found.confidence.min() >= 1 / 3 - 1e-6
    assert found.confidence.max() <= 1 + 1e-6
    assert (found.image == pixels).all()
    assert found.geometry == geometry_of(size)


def test_labels_are_the_largest_probability_of_the_grown_logits(predictor: Predictor) -> None:
    pixels = noise(64, 128)
    found = predictor.predict(pixels)
    with torch.no_grad():
        probabilities = resize(predictor.student(tensor(pixels), wrap=True).logits, (64, 128), True)[0].softmax(0)
    largest = probabilities.max(0).values.numpy()
    np.testing.assert_allclose(found.confidence, largest, atol=1e-5)
    chosen = probabilities.numpy()[found.labels, np.arange(64)[:, None], np.arange(128)]
    np.testing.assert_allclose(chosen, largest, atol=1e-5)
    assert len(np.unique(found.labels)) > 1


def test_rolling_a_panorama_rolls_its_labels(predictor: Predictor) -> None:
    pixels = noise(64, 128)
    still, rolled = predictor.predict(pixels), predictor.predict(np.roll(pixels, 32, axis=1))
    np.testing.assert_allclose(np.roll(still.confidence, 32, axis=1), rolled.confidence, atol=1e-4)
    assert (np.roll(still.labels, 32, axis=1) == rolled.labels).mean() > 0.999


def test_paths_arrays_pillow_and_panoramas_agree(predictor: Predictor, tmp_path: Path) -> None:
    pixels = noise(64, 128)
    path = tmp_path / "a.png"
    Image.fromarray(pixels).save(path)
    panorama = Panorama(pixels, geometry_of((64, 128)))
    expected = predictor.predict(pixels)
    for image in (path, str(path), Image.fromarray(pixels), Image.fromarray(pixels).convert("RGBA"), panorama):
        found = predictor.predict(image)
        assert (found.labels == expected.labels).all()
        assert (found.confidence == expected.confidence).all()
        assert found.geometry == expected.geometry


@pytest.mark.parametrize("image", [noise(4, 8).astype(np.float32), noise(4, 8)[..., 0], noise(4, 8)[None]])
def test_other_arrays_are_refused(predictor: Predictor, image: np.ndarray) -> None:
    with pytest.raises(GoodSAMError, match=r"must be uint8 \(H, W, 3\), RGB; this is"):
        predictor.predict(image)


def test_a_tall_image_needs_vfov_or_photo_mode(predictor: Predictor) -> None:
    with pytest.raises(UnreadableImageError, match="the image: 64x40 pixels is taller than half its width"):
        predictor.predict(noise(40, 64))
    assert predictor.predict(noise(40, 64), vfov=150).geometry.vfov == 150
    assert predictor.predict(noise(40, 64), wrap=False).geometry is None


def seen_size(predictor: Predictor, monkeypatch: pytest.MonkeyPatch, image: np.ndarray, **options: object) -> list[int]:
    sizes: list[list[int]] = []
    forward = Student.forward

    def watch(self: Student, images: torch.Tensor, wrap: bool = False) -> object:
        sizes.append([*images.shape[-2:], wrap])
        return forward(self, images, wrap)

    with monkeypatch.context() as patch:
        patch.setattr(Student, "forward", watch)
        predictor.predict(image, **options)
    assert len(sizes) == 1
    return sizes[0]


def test_the_student_sees_pixels_per_degree_as_in_training(
    predictor: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert seen_size(predictor, monkeypatch, noise(100, 200)) == [64, 128, True]
    assert seen_size(predictor, monkeypatch, noise(100, 200), width=64) == [32, 64, True]
    assert seen_size(predictor, monkeypatch, noise(100, 400)) == [32, 128, True]  # half the sphere's height
    assert seen_size(predictor, monkeypatch, noise(90, 180), vfov=135, width=256) == [96, 256, True]
    assert seen_size(predictor, monkeypatch, noise(50, 70), wrap=False) == [50, 70, False]
    assert seen_size(predictor, monkeypatch, noise(50, 100), wrap=False, width=200) == [100, 200, False]


def test_a_width_that_cannot_wrap_is_refused_with_one_that_can(predictor: Predictor) -> None:
    with pytest.raises(GoodSAMError, match=r"--width 100: must be a multiple of 32 .*such as 96"):
        predictor.predict(noise(64, 128), width=100)


def test_photographs_are_seen_as_they_are(predictor: Predictor) -> None:
    pixels = noise(45, 50)
    found = predictor.predict(pixels, wrap=False)
    with torch.no_grad():
        logits = predictor.student(tensor(pixels), wrap=False).logits
        grown = F.interpolate(logits, (45, 50), mode="bilinear", align_corners=False)[0].softmax(0)
    np.testing.assert_allclose(found.confidence, grown.max(0).values, atol=1e-5)
    assert found.geometry is None
    counts = [int((found.labels == name).sum()) / (45 * 50) for name in range(3)]
    np.testing.assert_allclose(found.shares(), counts)


def prediction(height: int, width: int, vfov: float | None, horizon: float | None) -> Prediction:
    random = np.random.default_rng(0)
    labels = random.integers(0, 2, (height, width), dtype=np.uint8)  # nothing is a car
    geometry = geometry_of((height, width), vfov, horizon)
    return Prediction(labels, np.ones((height, width), np.float32), noise(height, width), geometry, CLASSES)


@pytest.mark.parametrize(("height", "vfov", "horizon"), [(10, None, None), (6, 100, 2), (4, None, None)])
def test_shares_are_of_the_solid_angle(height: int, vfov: float | None, horizon: float | None) -> None:
    found = prediction(height, 20, vfov, horizon)
    degrees = found.geometry.vfov / height
    top = degrees * (height / 2 if horizon is None else horizon)
    sums = [0.0, 0.0, 0.0]
    for row in range(height):
        upper, lower = math.radians(top - row * degrees), math.radians(top - (row + 1) * degrees)
        for column in range(20):
            sums[found.labels[row, column]] += math.sin(upper) - math.sin(lower)
    np.testing.assert_allclose(found.shares(), [value / sum(sums) for value in sums], rtol=1e-9)
    assert found.shares().sum() == pytest.approx(1)
    assert found.shares()[2] == 0


@pytest.mark.parametrize("strength", [0.0, 0.3, 0.5, 1.0])
def test_an_overlay_is_the_image_under_its_colours(strength: float) -> None:
    found = prediction(4, 8, None, None)
    overlay = found.overlay(strength)
    assert overlay.dtype == np.uint8
    for row in range(4):
        for column in range(8):
            color = np.array(CLASSES.colors[found.labels[row, column]])
            expected = found.image[row, column] * (1 - strength) + color * strength
            assert np.abs(overlay[row, column] - expected).max() <= 0.5 + 1e-9


# --- files --------------------------------------------------------------------------------------------------------


@pytest.fixture
def inputs(tmp_path: Path) -> Path:
    for seed, stem in enumerate(("a", "b.c", "left/a")):
        path = tmp_path / "in" / f"{stem}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(noise(32, 64, seed)).save(path)
    return tmp_path / "in"


def test_a_folder_gives_every_format_and_a_table(predictor: Predictor, inputs: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    formats = ("labels", "overlay", "color", "confidence")
    assert predict_files(predictor, [inputs], out, formats=formats) == 3
    stems = ("a", "b.c", "left/a")
    suffixes = {"labels": ".png", "overlay": ".jpg", "color": ".png", "confidence": ".png"}
    expected = {f"{name}/{stem}{suffixes[name]}" for name in formats for stem in stems} | {"shares.csv"}
    assert {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()} == expected
    with (out / "shares.csv").open() as file:
        table = list(csv.reader(file))
    assert table[0] == ["image", "road", "sky", "car"]
    assert [row[0] for row in table[1:]] == list(stems)
    for stem, row in zip(stems, table[1:], strict=True):
        single = predictor.predict(inputs / f"{stem}.png")
        assert (np.array(Image.open(out / "labels" / f"{stem}.png")) == single.labels).all()
        assert (np.array(Image.open(out / "color" / f"{stem}.png")) == CLASSES.colorize(single.labels)).all()
        assert (np.array(Image.open(out / "confidence" / f"{stem}.png")) == np.round(single.confidence * 255)).all()
        Image.fromarray(single.overlay()).save(tmp_path / "overlay.jpg", quality=92)
        assert (out / "overlay" / f"{stem}.jpg").read_bytes() == (tmp_path / "overlay.jpg").read_bytes()
        np.testing.assert_allclose([float(value) for value in row[1:]], single.shares(), atol=1e-6)


def test_an_unknown_format_is_refused_before_any_work(predictor: Predictor, inputs: Path, tmp_path: Path) -> None:
    with pytest.raises(
        GoodSAMError, match="--format colour: must be one or more of labels, overlay, color, confidence"
    ):
        predict_files(predictor, [inputs], tmp_path / "out", formats=("labels", "colour"))
    assert not (tmp_path / "out").exists()


def test_an_unreadable_image_is_left_out_with_its_name(
    predictor: Predictor, inputs: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (inputs / "broken.jpg").write_bytes(b"")
    with caplog.at_level(logging.WARNING):
        assert predict_files(predictor, [inputs], tmp_path / "out", formats=("labels",)) == 3
    assert "left out" in caplog.text
    assert "broken.jpg" in caplog.text
    with pytest.raises(UnreadableImageError, match=r"broken\.jpg"):
        predict_files(predictor, [inputs], tmp_path / "strict", formats=("labels",), strict=True)


def test_nothing_readable_is_an_error(predictor: Predictor, tmp_path: Path) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"")
    with pytest.raises(GoodSAMError, match="none of the 1 inputs could be read"):
        predict_files(predictor, [tmp_path / "broken.jpg"], tmp_path / "out")


def test_two_inputs_with_one_stem_are_refused_with_both_names(
    predictor: Predictor, inputs: Path, tmp_path: Path
) -> None:
    with pytest.raises(GoodSAMError, match=r"in/a\.png and .*left/a\.png: two inputs with one stem"):
        predict_files(predictor, [inputs, inputs / "left"], tmp_path / "out")
    assert predict_files(predictor, [inputs / "a.png", inputs / "a.png"], tmp_path / "out", formats=("labels",)) == 1
