"""`--data wildpass:...`: ids of WildPASS's own, eight classes, and what is refused."""

from pathlib import Path

import miniature
import numpy as np
import pytest

from goodsam.datasets import parse_data, training_images
from goodsam.errors import GoodSAMError

# 0..25 of the files: car 4, truck 5, bus 8, road 11, sidewalk 12, curb 13, person 17, crosswalk 24.
TO_8 = [255, 255, 255, 255, 0, 1, 255, 255, 2, 255, 255, 3, 4, 6, 255, 255, 255, 5] + [255] * 6 + [7, 255]


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_the_published_layout(tmp_path: Path, suffix: str) -> None:
    data = parse_data(miniature.write_wildpass(tmp_path, image_suffix=suffix))
    assert data.label_set.name == data.label_set_source == "wildpass8"
    assert data.label_set.names == ("car", "truck", "bus", "road", "sidewalk", "person", "curb", "crosswalk")
    assert (data.vfov, data.projection, len(data)) == (70, "panorama", 2)
    assert next(iter(data)) == ("cs/1", tmp_path / f"leftImg8bit/val/cs/1{suffix}", tmp_path / "gtFine/val/cs/1.png")


def test_the_table(tmp_path: Path) -> None:
    text = miniature.write_wildpass(tmp_path)
    path = miniature.save(tmp_path / "gtFine/val/cs/1.png", np.array([[*range(26), 255]], dtype=np.uint8))
    assert parse_data(text).read_labels(path).tolist() == [[*TO_8, 255]]


def test_unlabelled_images(tmp_path: Path) -> None:
    assert list(training_images(miniature.write_wildpass(tmp_path))) == ["Amsterdam/1", "Amsterdam/3", "Athens/2"]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([11, 26], r"value 26 is no class of WildPASS, whose ids are 0\.\.25, with 255 ignored\.$"),
        ([11, 200], "value 200 .*look like colours"),
        (
            [0, 3, 5, 255],
            r"values 0\.\.5 and 255 look like ids of wildpass8, mapped already; every file of WildPASS has some above 7"
            r"\. Give the files as published, or these as folder:IMAGES,LABELS,wildpass8",
        ),
    ],
)
def test_wrong_values(tmp_path: Path, values: list[int], message: str) -> None:
    text = miniature.write_wildpass(tmp_path)
    path = miniature.save(tmp_path / "gtFine/val/cs/2.png", np.array([values], dtype=np.uint8))
    with pytest.raises(GoodSAMError, match=rf"cs/2\.png: {message}"):
        parse_data(text).read_labels(path)


def test_only_ignored_pixels_are_no_mapping(tmp_path: Path) -> None:
    text = miniature.write_wildpass(tmp_path)
    path = miniature.save(tmp_path / "gtFine/val/cs/2.png", np.full((2, 2), 255, dtype=np.uint8))
    assert (parse_data(text).read_labels(path) == 255).all()


def test_colours_are_refused(tmp_path: Path) -> None:
    text = miniature.write_wildpass(tmp_path)
    path = miniature.save(tmp_path / "gtFine/val/cs/2.png", np.zeros((2, 2, 3), dtype=np.uint8))
    with pytest.raises(GoodSAMError, match="save the ids, not their colours"):
        parse_data(text).read_labels(path)


def test_missing_files_and_folders(tmp_path: Path) -> None:
    text = miniature.write_wildpass(tmp_path)
    (tmp_path / "gtFine/val/cs/2.png").unlink()
    with pytest.raises(GoodSAMError, match=r"leftImg8bit/val/cs/2\.png: has no label map \*\.png of the name 'cs/2'"):
        parse_data(text)
    (tmp_path / "gtFine").rename(tmp_path / "gt")
    with pytest.raises(GoodSAMError, match="has no folder gtFine/val, which wildpass has"):
        parse_data(text)
    with pytest.raises(GoodSAMError, match="'val' is no option of wildpass; it has wildpass8"):
        parse_data(f"{text},val")


def test_lossy_label_maps_are_refused(tmp_path: Path) -> None:
    text = miniature.write_wildpass(tmp_path)
    (tmp_path / "gtFine/val/cs/2.png").rename(tmp_path / "gtFine/val/cs/2.jpg")
    with pytest.raises(GoodSAMError, match=r"gtFine/val/cs/2\.jpg: a label map in a format that changes pixel values"):
        parse_data(text)


def test_an_empty_root(tmp_path: Path) -> None:
    with pytest.raises(GoodSAMError, match="has no folder leftImg8bit/val, which wildpass has"):
        parse_data(f"wildpass:{tmp_path}")
