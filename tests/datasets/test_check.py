"""`goodsam data check`: what it counts, the first wrong file, the published numbers; and distilling by name."""

import logging
import os
import subprocess
import sys
from pathlib import Path

import miniature
import numpy as np
import pytest
from PIL import Image

from goodsam.datasets import find_panoramas, parse_data
from goodsam.datasets.check import check_data, same_size, table
from goodsam.errors import GoodSAMError


def goodsam(*arguments: object) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "COLUMNS": "160"}
    command = [sys.executable, "-m", "goodsam", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


def write_each(root: Path) -> list[str]:
    """One of each kind."""
    return [
        miniature.write_densepass(root / "densepass"),
        f"densepass:{root / 'densepass'},densepass13",
        miniature.write_wildpass(root / "wildpass"),
        miniature.write_stanford2d3d(root / "stanford2d3d"),
        f"stanford2d3d:{root / 'stanford2d3d'},stanford8,fold3",
        miniature.write_synpass(root / "synpass"),
        f"synpass:{root / 'synpass'},train,densepass13",
        miniature.write_cityscapes(root / "cityscapes"),
    ]


def test_counts_are_those_of_the_labels(tmp_path: Path) -> None:
    for text in write_each(tmp_path):
        data = parse_data(text)
        maps = [data.read_labels(labels) for _, _, labels in data]
        checked = check_data(text, workers=2)
        assert checked.images == len(maps) == sum(checked.sizes.values())
        assert checked.sizes == {maps[0].shape: len(maps)}
        assert checked.pixels.tolist() == sum(np.bincount(one.ravel(), minlength=256) for one in maps).tolist()
        assert checked.seen_in.tolist() == [sum(value in one for one in maps) for value in range(256)]
        rows = table(checked).row_count
        assert rows == len(data.label_set) + 1 + 1 + 1 + (checked.unlabelled is not None)


@pytest.mark.parametrize(
    ("option", "expected"),
    [
        ("densepass", 100),
        ("wildpass", 500),
        ("stanford2d3d", 373),
        ("stanford2d3d,fold2", 557),
        ("stanford2d3d,fold3", 483),
        ("stanford2d3d,train", 1040),
        ("synpass", 1690),
        ("synpass,train", 5700),
        ("cityscapes", 500),
    ],
)
def test_other_numbers_than_published_are_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, option: str, expected: int
) -> None:
    kind, *options = option.split(",")
    text = ",".join([getattr(miniature, f"write_{kind}")(tmp_path), *options])
    with caplog.at_level(logging.WARNING, "goodsam"):
        assert check_data(text).expected == expected
    assert f"labelled images; published are {expected}." in caplog.text
    assert ("unlabelled images; published are 2000." in caplog.text) == (kind in ("densepass", "wildpass"))


def test_data_of_ones_own_has_no_published_number(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    miniature.write_densepass(tmp_path, image_ending=".png", label_ending=".png")
    checked = check_data(f"folder:{tmp_path / 'leftImg8bit/val'},{tmp_path / 'gtFine/val'}")
    assert (checked.expected, checked.unlabelled, checked.images) == (None, None, 2)
    assert not caplog.records


def test_label_maps_of_another_size_are_named(tmp_path: Path) -> None:
    for place, text in enumerate(write_each(tmp_path)):
        _, image, labels = list(parse_data(text))[-1]
        before = labels.read_bytes()
        Image.open(labels).crop((0, 0, 96, 20)).save(labels)
        width, height = Image.open(image).size
        with pytest.raises(GoodSAMError) as caught:
            check_data(text)
        assert str(caught.value) == (
            f"{labels}: 96x20 pixels, but its image {image} has {width}x{height}; they must be the same."
        ), place
        labels.write_bytes(before)


def test_the_first_wrong_file_in_sorted_order_is_named(tmp_path: Path) -> None:
    text = miniature.write_densepass(tmp_path, labelled=9)
    for number in (103, 107):
        path = tmp_path / f"gtFine/val/cs/{number}_labelTrainIds.png"
        miniature.save(path, np.full(miniature.SIZE, number - 70, dtype=np.uint8))
    for _ in range(3):
        with pytest.raises(GoodSAMError, match=r"cs/103_labelTrainIds\.png: value 33 "):
            check_data(text, workers=4)
    with pytest.raises(GoodSAMError, match="--workers 0: must be at least 1"):
        check_data(text, workers=0)


def test_same_size_does_not_decode(tmp_path: Path) -> None:
    path = miniature.save(tmp_path / "image.png", np.zeros((40, 80, 3), dtype=np.uint8))
    path.write_bytes(path.read_bytes()[:60])  # the head alone
    assert same_size(path, tmp_path / "labels.png", np.zeros((40, 80), dtype=np.uint8)) == (40, 80)


def test_the_command_prints_a_table(tmp_path: Path) -> None:
    done = goodsam("data", "check", f"{miniature.write_densepass(tmp_path)},densepass13")
    assert done.returncode == 0, done.stderr
    for what in ("densepass13", "car", "ignored", "320x64 pixels", "labelled images (published: 100)", "none"):
        assert what in done.stdout
    assert "2 labelled images; published are 100." in done.stderr


def test_the_command_exits_1_on_the_first_wrong_file(tmp_path: Path) -> None:
    text = miniature.write_wildpass(tmp_path)
    path = miniature.save(tmp_path / "gtFine/val/cs/1.png", np.full(miniature.SIZE, 99, dtype=np.uint8))
    done = goodsam("data", "check", text, "--workers", 2)
    assert (done.returncode, done.stdout) == (1, "")
    assert f"error: {path}: value 99 is no class of WildPASS, whose ids are 0..25, with 255 ignored." in done.stderr
    assert "Traceback" not in done.stderr
    wrong = goodsam("data", "check", "denspass:x")
    assert wrong.returncode == 1
    assert "densepass:..., wildpass:..." in wrong.stderr


def test_a_data_set_can_be_distilled_by_name(tmp_path: Path) -> None:
    text = miniature.write_wildpass(tmp_path / "data")
    run = tmp_path / "RUN"
    done = goodsam("masks", text, "--out", run, "--sam", "regions", "--view-width", 120, "--device", "cpu")
    assert done.returncode == 0, done.stderr
    masks = sorted(path.relative_to(run / "masks").as_posix() for path in (run / "masks").rglob("*.json.gz"))
    assert masks == ["Amsterdam/1.json.gz", "Amsterdam/3.json.gz", "Athens/2.json.gz"]


def test_panoramas_by_path_or_by_name(tmp_path: Path) -> None:
    text = miniature.write_densepass(tmp_path)
    images = tmp_path / "leftImg8bit/train"
    expected = find_panoramas(text)
    assert find_panoramas(images) == find_panoramas(str(images)) == expected
    assert find_panoramas(f"folder:{images}") == find_panoramas(f"folder:{images},anything") == expected
    assert list(find_panoramas(images / "Athens/2.png")) == ["2"]
    with pytest.raises(GoodSAMError, match=r"photoz: no such file or folder, and no data set; .* wildpass:\.\.\."):
        find_panoramas("photoz")
    with pytest.raises(GoodSAMError, match="widlpass:x: no such file or folder, and no data set"):
        find_panoramas("widlpass:x")
