"""`--data cityscapes:...`: train ids and label ids, told apart by the names of files alone."""

from pathlib import Path

import miniature
import numpy as np
import pytest

from goodsam.datasets import parse_data, training_images
from goodsam.errors import GoodSAMError

TO_19 = [255] * 7 + [0, 1, 255, 255, 2, 3, 4, 255, 255, 255, 5, 255, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 255, 255]
TO_19 += [16, 17, 18]
TO_13 = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 11, 12, 12, 12, 255, 12, 12]
GT = "gtFine/val/bochum/bochum_000000_000019_gtFine"


def test_the_published_layout(tmp_path: Path) -> None:
    data = parse_data(miniature.write_cityscapes(tmp_path))
    assert (data.label_set_source, data.vfov, data.projection, len(data)) == ("cityscapes19", None, "photo", 2)
    assert next(iter(data)) == (
        "bochum/bochum_000000_000019_leftImg8bit",
        tmp_path / "leftImg8bit/val/bochum/bochum_000000_000019_leftImg8bit.png",
        tmp_path / f"{GT}_labelTrainIds.png",
    )


def test_label_ids_and_train_ids_are_the_same_labels(tmp_path: Path) -> None:
    given = {"train_ids": False}, {"label_ids": False}
    found = [
        parse_data(miniature.write_cityscapes(tmp_path / str(place), **kinds)) for place, kinds in enumerate(given)
    ]
    for one, other in zip(*found, strict=True):
        assert one[2].name.endswith("_labelIds.png")
        assert other[2].name.endswith("_labelTrainIds.png")
        assert (found[0].read_labels(one[2]) == found[1].read_labels(other[2])).all()


def test_the_table_of_label_ids(tmp_path: Path) -> None:
    text = miniature.write_cityscapes(tmp_path, train_ids=False)
    path = miniature.save(tmp_path / f"{GT}_labelIds.png", np.arange(34, dtype=np.uint8)[None])
    assert parse_data(text).read_labels(path).tolist() == [TO_19]
    to_13 = [value if value == 255 else TO_13[value] for value in TO_19]
    assert parse_data(f"{text},densepass13").read_labels(path).tolist() == [to_13]


def test_splits(tmp_path: Path) -> None:
    miniature.write_cityscapes(tmp_path, photos=1)
    text = miniature.write_cityscapes(tmp_path, "train", 3)
    assert (len(parse_data(text)), len(parse_data(f"{text},val")), len(parse_data(f"{text},train"))) == (1, 1, 3)
    with pytest.raises(GoodSAMError, match=r"'test' is no option of cityscapes; it has cityscapes19, .*, train, val"):
        parse_data(f"{text},test")
    with pytest.raises(GoodSAMError, match="train and val exclude each other; give one split"):
        parse_data(f"{text},train,val")


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("labelIds", [7, 34], r"value 34 is no class of Cityscapes' label ids, whose ids are 0\.\.33; 255 is none"),
        ("labelIds", [0, 18, 255], "value 255 .* These look like ids of cityscapes19, mapped already; give the files"),
        ("labelTrainIds", [7, 23, 26], "value 26 .* These look like Cityscapes' 34 label ids"),
    ],
)
def test_swapped_and_wrong_values(tmp_path: Path, name: str, values: list[int], message: str) -> None:
    text = miniature.write_cityscapes(tmp_path)
    path = miniature.save(tmp_path / f"{GT}_{name}.png", np.array([values], dtype=np.uint8))
    with pytest.raises(GoodSAMError, match=rf"_gtFine_{name}\.png: {message}"):
        parse_data(text).read_labels(path)


def test_missing_labels_and_roots(tmp_path: Path) -> None:
    text = miniature.write_cityscapes(tmp_path, train_ids=False)
    (tmp_path / f"{GT}_labelIds.png").unlink()
    with pytest.raises(GoodSAMError, match=r"bochum_000000_000019_leftImg8bit\.png: has no label map .*_labelIds\.png"):
        parse_data(text)
    with pytest.raises(GoodSAMError, match="has no folder leftImg8bit/train, which cityscapes has"):
        parse_data(f"{text},train")


def test_photos_are_nothing_to_distil(tmp_path: Path) -> None:
    with pytest.raises(GoodSAMError, match=r"holds ordinary photos, not panoramas; .*assistant train"):
        training_images(miniature.write_cityscapes(tmp_path))
