"""`--data synpass:...`: weathers and splits, native ids, the 13 classes of DensePASS, and what is refused."""

import logging
from pathlib import Path

import miniature
import numpy as np
import pytest

from goodsam.datasets import parse_data, training_images
from goodsam.errors import GoodSAMError

TO_13 = [255, 2, 4, 255, 11, 5, 0, 0, 1, 8, 12, 3, 7, 10, 255, 255, 255, 255, 6, 255, 255, 255, 9]
LABELS = "semantic/cloud/val/MAP_1_point0/000000_trainID.png"


def test_the_published_layout(tmp_path: Path) -> None:
    data = parse_data(miniature.write_synpass(tmp_path))
    assert data.label_set.name == data.label_set_source == "synpass23"
    assert (data.vfov, data.projection, len(data)) == (180, "panorama", 4)
    assert next(iter(data)) == (
        "cloud/val/MAP_1_point0/000000",
        tmp_path / "img/cloud/val/MAP_1_point0/000000.jpg",
        tmp_path / LABELS,
    )


def test_native_ids_stay_and_0_is_ignored(tmp_path: Path) -> None:
    text = miniature.write_synpass(tmp_path)
    path = miniature.save(tmp_path / LABELS, np.array([[*range(23), 255]], dtype=np.uint8))
    assert parse_data(text).read_labels(path).tolist() == [[255, *range(1, 23), 255]]


def test_the_13_classes_by_the_published_table(tmp_path: Path) -> None:
    text = miniature.write_synpass(tmp_path)
    path = miniature.save(tmp_path / LABELS, np.array([[*range(23), 255]], dtype=np.uint8))
    data = parse_data(f"{text},densepass13")
    assert data.label_set.name == "densepass13"
    assert data.read_labels(path).tolist() == [[*TO_13, 255]]


def test_splits(tmp_path: Path) -> None:
    text = miniature.write_synpass(tmp_path, ("train", "test"))
    assert [stem.split("/")[1] for stem, _, _ in parse_data(f"{text},test,densepass13")] == ["test"] * 4
    assert [stem.split("/")[0] for stem in training_images(text)] == ["cloud", "fog", "rain", "sun"]
    assert all("/train/" in stem for stem in training_images(f"{text},densepass13"))
    with pytest.raises(
        GoodSAMError, match=r"img/cloud/val: no such folder, nor those of fog/val, .* which synpass has"
    ):
        parse_data(text)
    with pytest.raises(
        GoodSAMError, match="'night' is no option of synpass; it has synpass23, densepass13, train, val"
    ):
        parse_data(f"{text},night")


def test_a_missing_weather_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    text = miniature.write_synpass(tmp_path)
    for folder in ("img", "semantic"):
        (tmp_path / folder / "sun").rename(tmp_path / f"{folder}-sun")
    with caplog.at_level(logging.WARNING, "goodsam"):
        assert len(parse_data(text)) == 3
    assert "img/sun/val" in caplog.text


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([7, 23], r"value 23 is no class of synpass23, whose ids are 0\.\.22, with 255 ignored"),
        ([7, 70, 128], "value 128 .*look like colours or grey levels"),
        (
            [0, 8, 12, 255],
            r"values 0\.\.12 and 255 look like ids of densepass13, mapped already; every file of synpass23",
        ),
    ],
)
def test_wrong_and_swapped_values(tmp_path: Path, values: list[int], message: str) -> None:
    text = miniature.write_synpass(tmp_path)
    path = miniature.save(tmp_path / LABELS, np.array([values], dtype=np.uint8))
    with pytest.raises(GoodSAMError, match=rf"000000_trainID\.png: {message}"):
        parse_data(f"{text},densepass13").read_labels(path)


def test_missing_labels_and_empty_root(tmp_path: Path) -> None:
    text = miniature.write_synpass(tmp_path)
    (tmp_path / LABELS).rename(tmp_path / "semantic/cloud/val/MAP_1_point0/000000.png")
    with pytest.raises(GoodSAMError, match=r"000000\.jpg: has no label map \*_trainID\.png of the name 'cloud/val/MAP"):
        parse_data(text)
    (tmp_path / "empty").mkdir()
    with pytest.raises(GoodSAMError, match="give the folder above them all as ROOT"):
        parse_data(f"synpass:{tmp_path / 'empty'}")
