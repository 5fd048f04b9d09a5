"""`--data densepass:...`: layout, drifting names, the 13 classes, and what is refused."""

from pathlib import Path

import miniature
import numpy as np
import pytest

from goodsam.datasets import parse_data, training_images
from goodsam.errors import GoodSAMError
from goodsam.evaluation import evaluate

TO_13 = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 11, 12, 12, 12, 255, 12, 12]


def test_the_published_layout(tmp_path: Path) -> None:
    data = parse_data(miniature.write_densepass(tmp_path))
    assert data.label_set.name == data.label_set_source == "cityscapes19"
    assert (data.vfov, data.projection, len(data)) == (70, "panorama", 2)
    stem, image, labels = next(iter(data))
    assert (stem, image) == ("cs/100_", tmp_path / "leftImg8bit/val/cs/100_.png")
    assert labels == tmp_path / "gtFine/val/cs/100_labelTrainIds.png"
    assert (data.read_labels(labels) == miniature.scene(0, miniature.SIZE, miniature.TRAIN_IDS)).all()


@pytest.mark.parametrize("image", ["_.png", ".png", "_.jpg", ".jpg"])
@pytest.mark.parametrize("label", ["_labelTrainIds.png", "__labelTrainIds.png", "_gtFine_labelTrainIds.png"])
def test_names_that_drift_between_copies(tmp_path: Path, image: str, label: str) -> None:
    data = parse_data(miniature.write_densepass(tmp_path, image_ending=image, label_ending=label))
    assert [(path.name, labels.name) for _, path, labels in data] == [
        (f"100{image}", f"100{label}"),
        (f"101{image}", f"101{label}"),
    ]


def test_the_13_classes_by_the_published_table(tmp_path: Path) -> None:
    text = miniature.write_densepass(tmp_path)
    path = miniature.save(tmp_path / "gtFine/val/cs/100_labelTrainIds.png", np.arange(19, dtype=np.uint8)[None])
    data = parse_data(f"{text},densepass13")
    assert data.label_set.name == data.label_set_source == "densepass13"
    assert data.read_labels(path).tolist() == [TO_13]
    miniature.save(path, np.array([[255]], dtype=np.uint8))
    assert data.read_labels(path).tolist() == [[255]]


def test_it_can_be_evaluated_on(tmp_path: Path) -> None:
    text = miniature.write_densepass(tmp_path)
    for stem, _, labels in parse_data(text):
        target = tmp_path / f"found/{stem}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(labels.read_bytes())
    assert evaluate(f"labels:{tmp_path / 'found'},label_set=cityscapes19", f"{text},densepass13").miou == 1


def test_unlabelled_images(tmp_path: Path) -> None:
    text = miniature.write_densepass(tmp_path)
    assert list(training_images(text)) == ["Amsterdam/1", "Amsterdam/3", "Athens/2"]
    assert training_images(f"{text},densepass13") == training_images(text)
    (tmp_path / "leftImg8bit/train").rename(tmp_path / "train")
    assert training_images(text)["Athens/2"] == tmp_path / "train/Athens/2.png"
    (tmp_path / "train").rename(tmp_path / "gone")
    with pytest.raises(GoodSAMError, match="has no folder leftImg8bit/train or train, which densepass has"):
        training_images(text)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([0, 19, 255], r"value 19 is no class of cityscapes19, whose ids are 0\.\.18, with 255 ignored"),
        ([7, 11, 33], "value 33 .* These look like Cityscapes' 34 label ids; give the files with train ids"),
        ([29, 76, 150], "value 150 .* These look like colours or grey levels; give the files with class ids"),
    ],
)
@pytest.mark.parametrize("option", ["", ",densepass13"])
def test_wrong_values_are_named_before_mapping(tmp_path: Path, values: list[int], message: str, option: str) -> None:
    text = miniature.write_densepass(tmp_path)
    path = miniature.save(tmp_path / "gtFine/val/cs/101_labelTrainIds.png", np.array([values], dtype=np.uint8))
    with pytest.raises(GoodSAMError, match=rf"101_labelTrainIds\.png: {message}"):
        parse_data(text + option).read_labels(path)


def test_files_that_do_not_fit_are_named(tmp_path: Path) -> None:
    text = miniature.write_densepass(tmp_path)
    path = tmp_path / "gtFine/val/cs/100_labelTrainIds.png"
    path.rename(path.with_name("100_labelIds.png"))
    with pytest.raises(GoodSAMError, match=r"cs/100_\.png: has no label map .*\*_labelTrainIds\.png of the name 'cs/1"):
        parse_data(text)
    path.with_name("100_labelIds.png").rename(path)
    image = tmp_path / "leftImg8bit/val/cs/100_.png"
    image.rename(tmp_path / "100_.png")
    with pytest.raises(GoodSAMError, match=r"100_labelTrainIds\.png: has no image of the name 'cs/100'"):
        parse_data(text)
    (tmp_path / "100_.png").rename(image)
    miniature.save(image.with_name("100.jpg"), np.zeros((4, 8, 3), dtype=np.uint8))
    with pytest.raises(GoodSAMError, match=r"100_\.png: is .*100\.jpg under another name; keep one of the two"):
        parse_data(text)


def test_wrong_and_empty_roots(tmp_path: Path) -> None:
    with pytest.raises(GoodSAMError, match=r"densepass:/nowhere: no such folder '/nowhere'; give densepass:ROOT"):
        parse_data("densepass:/nowhere")
    with pytest.raises(GoodSAMError, match="no such folder ''"):
        parse_data("densepass:")
    with pytest.raises(GoodSAMError, match="has no folder leftImg8bit/val, which densepass has; give the folder"):
        parse_data(f"densepass:{tmp_path}")
    (tmp_path / "leftImg8bit/val/cs").mkdir(parents=True)
    with pytest.raises(GoodSAMError, match="leftImg8bit/val: no images in this folder"):
        parse_data(f"densepass:{tmp_path}")


def test_options(tmp_path: Path) -> None:
    text = miniature.write_densepass(tmp_path)
    with pytest.raises(GoodSAMError, match="'densepass12' is no option of densepass; it has cityscapes19, densepass13"):
        parse_data(f"{text},densepass12")
    with pytest.raises(GoodSAMError, match="cityscapes19 and densepass13 exclude each other; give one label set"):
        parse_data(f"{text},cityscapes19,densepass13")
