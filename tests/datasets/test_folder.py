"""`--data folder:...`: pairing by stem, checked label values."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from goodsam.datasets import parse_data
from goodsam.errors import GoodSAMError


def write(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    for stem in ("b", "a", "left/a"):
        write(tmp_path / "images" / f"{stem}.jpg", np.zeros((4, 8, 3), dtype=np.uint8))
        write(tmp_path / "labels" / f"{stem}.png", np.array([[0, 18], [255, 3]], dtype=np.uint8))
    return tmp_path


def text(root: Path, *more: str) -> str:
    return "folder:" + ",".join([str(root / "images"), str(root / "labels"), *more])


def test_pairs_by_stem(folders: Path) -> None:
    data = parse_data(text(folders))
    assert data.label_set.name == data.label_set_source == "cityscapes19"
    assert len(data) == 3
    assert [stem for stem, _, _ in data] == ["a", "b", "left/a"]
    assert list(data)[2][1:] == (folders / "images/left/a.jpg", folders / "labels/left/a.png")
    assert data.read_labels(folders / "labels/a.png").tolist() == [[0, 18], [255, 3]]


def test_label_set_by_name_and_by_file(folders: Path) -> None:
    assert parse_data(text(folders, "densepass13")).label_set.name == "densepass13"
    path = folders / "own.yaml"
    path.write_text("name: own\nclasses: {ground: {}, rest: {}}\n")
    data = parse_data(text(folders, str(path)))
    assert data.label_set.names == ("ground", "rest")
    assert data.label_set_source == str(path)


@pytest.mark.parametrize(("gone", "what"), [("labels/b.png", "label map"), ("images/b.jpg", "image")])
def test_unpaired_stem_is_named(folders: Path, gone: str, what: str) -> None:
    (folders / gone).unlink()
    with pytest.raises(GoodSAMError, match=f"no {what} of the stem 'b'"):
        parse_data(text(folders))


@pytest.mark.parametrize(("label_set", "value", "hint"), [("cityscapes19", 33, True), ("densepass13", 18, False)])
def test_wrong_value_names_file_and_value(folders: Path, label_set: str, value: int, hint: bool) -> None:
    path = folders / "labels/a.png"
    write(path, np.array([[0, value], [255, 3]], dtype=np.uint8))
    with pytest.raises(GoodSAMError, match=f"value {value} ") as caught:
        parse_data(text(folders, label_set)).read_labels(path)
    assert str(path) in str(caught.value)
    assert ("34 label ids" in str(caught.value)) == hint


def test_colours_for_ids_are_refused(folders: Path) -> None:
    path = folders / "labels/a.png"
    write(path, np.zeros((2, 2, 3), dtype=np.uint8))
    with pytest.raises(GoodSAMError, match="one 8-bit channel"):
        parse_data(text(folders)).read_labels(path)


def test_lossy_label_maps_are_refused(folders: Path) -> None:
    (folders / "labels/a.png").rename(folders / "labels/a.jpg")
    with pytest.raises(GoodSAMError, match=r"a\.jpg.*changes pixel values"):
        parse_data(text(folders))


@pytest.mark.parametrize("wrong", ["folder", "folder:a", "folder:a,,b", "folder:a,b,c,d", "densepas:x", ""])
def test_other_forms_say_what_is_right(wrong: str) -> None:
    with pytest.raises(GoodSAMError, match="folder:IMAGES,LABELS"):
        parse_data(wrong)


def test_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(GoodSAMError, match="no such file or folder"):
        parse_data(text(tmp_path))
