"""Labels of a run go out to each tool and come back, with sub-folders; what does not fit changes nothing."""

import json
import logging
import os
import re
import shutil
import sys
import zipfile
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import tiny
from PIL import Image
from review.shapes import blobs, labelled_run

from goodsam import cli, files
from goodsam.errors import GoodSAMError
from goodsam.review import TOOLS, bring_back, write_review
from goodsam.review.incoming import stem_named

STEMS = ["left/pano01", "left/pano02", "right/pano00"]
FILES = {"coco": "annotations/instances_default.json", "cvat": "annotations.xml", "label-studio": "tasks.json"}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return labelled_run(tmp_path_factory.mktemp("review"))


@pytest.fixture
def run(made: Path, tmp_path: Path) -> Path:
    """A run in which some pixels have no scene."""
    shutil.copytree(made, tmp_path / "RUN")
    for number, stem in enumerate(STEMS):
        labels = blobs(number, tiny.SIZE)
        files.write_image(tmp_path / "RUN" / "labels" / f"{stem}.png", np.where(labels == 4, 255, labels))
    return tmp_path / "RUN"


def read(path: Path) -> np.ndarray:
    return np.array(Image.open(path))


def submitted(folder: Path, tool: str) -> Path:
    """What the tool exports when a person submits everything unchanged."""
    path = folder / FILES[tool]
    if tool == "label-studio":
        tasks = json.loads(path.read_text())
        for task in tasks:
            task["annotations"] = task.pop("predictions")
        path = folder / "export.json"
        path.write_text(json.dumps(tasks))
    return path


@pytest.mark.parametrize("tool", TOOLS)
@pytest.mark.parametrize("form", ["file", "folder", "zip"])
def test_out_and_back(run: Path, tmp_path: Path, tool: str, form: str) -> None:
    folder = write_review(run, tool, tmp_path / "OUT")
    export = submitted(folder, tool)
    if form == "folder":
        export = folder
    if form == "zip":
        shutil.make_archive(str(tmp_path / "export"), "zip", folder)
        export = tmp_path / "export.zip"
    before = tiny.tree(run, "labels")
    paths = bring_back(run, export)
    assert paths == [run / "corrections" / f"{stem}.png" for stem in STEMS]
    for stem, path in zip(STEMS, paths, strict=True):
        np.testing.assert_array_equal(read(path), read(run / "labels" / f"{stem}.png"))
        assert (read(path) == 255).any()
    assert tiny.tree(run, "labels") == before
    assert json.loads((run / "corrections" / "classes.json").read_text()) == list(tiny.CLASSES)


@pytest.mark.parametrize("tool", TOOLS)
def test_images_lie_beside_the_labels(run: Path, tmp_path: Path, tool: str) -> None:
    folder = write_review(run, tool, tmp_path / "OUT")
    for stem in STEMS:
        photo = Path(json.loads((run / "inputs.json").read_text())[stem]["path"])
        assert (folder / "images" / f"{stem}.png").read_bytes() == photo.read_bytes()
    text = (folder / FILES[tool]).read_text()
    assert all(f"{stem}.png" in text for stem in STEMS)
    assert not list(tmp_path.glob("*.tmp"))


def test_images_are_copied_where_they_cannot_be_linked(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def other_disk(*_: object) -> None:
        raise OSError("Invalid cross-device link")

    monkeypatch.setattr(os, "link", other_disk)
    image = write_review(run, "coco", stems=["left/pano01"]) / "images" / "left" / "pano01.png"
    assert image == run / "review" / "coco" / "images" / "left" / "pano01.png"
    assert image.stat().st_nlink == 1
    assert read(image).shape == (*tiny.SIZE, 3)


def test_the_same_run_gives_the_same_bytes(run: Path, tmp_path: Path) -> None:
    for tool in TOOLS:
        one, other = (tiny.tree(write_review(run, tool, tmp_path / tool / name), ".") for name in "ab")
        assert one == other


def test_the_least_sure_are_chosen(run: Path, tmp_path: Path) -> None:
    for stem, sure in zip(STEMS, (200, 90, 150), strict=True):
        files.write_image(run / "confidence" / f"{stem}.png", np.full(tiny.SIZE, sure, dtype=np.uint8))
    folder = write_review(run, "label-studio", tmp_path / "OUT", least_sure=2)
    tasks = json.loads((folder / "tasks.json").read_text())
    assert [task["data"]["stem"] for task in tasks] == ["left/pano02", "right/pano00"]
    assert tasks[0]["predictions"][0]["score"] == pytest.approx(90 / 255, abs=1e-3)
    bring_back(run, submitted(folder, "label-studio"))
    again = write_review(run, "label-studio", tmp_path / "AGAIN", least_sure=2)
    assert [task["data"]["stem"] for task in json.loads((again / "tasks.json").read_text())] == ["left/pano01"]
    bring_back(run, submitted(again, "label-studio"))
    with pytest.raises(GoodSAMError, match=r"--least-sure 1: every panorama of .* has a correction already"):
        write_review(run, "coco", least_sure=1)


def test_a_correction_goes_out_in_the_place_of_the_ensemble(run: Path, tmp_path: Path) -> None:
    folder = write_review(run, "cvat", tmp_path / "OUT", stems=["left/pano01"])
    path = folder / "annotations.xml"
    path.write_text(path.read_text().replace('label="sky"', 'label="building"'))
    bring_back(run, path)
    corrected = read(run / "corrections" / "left" / "pano01.png")
    assert not (corrected == 1).any()
    again = write_review(run, "cvat", tmp_path / "AGAIN")
    bring_back(run, again)
    np.testing.assert_array_equal(read(run / "corrections" / "left" / "pano01.png"), corrected)


def test_what_nobody_drew_on_is_passed_over(run: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write_review(run, "cvat", tmp_path / "OUT") / "annotations.xml"
    tree = ElementTree.parse(path)
    image = tree.getroot().findall("image")[1]
    for mask in list(image):
        image.remove(mask)
    first = tree.getroot().findall("image")[0]
    first.remove(first[0])
    tree.write(path)
    with caplog.at_level(logging.INFO, "goodsam"):
        paths = bring_back(run, path)
    assert [path.stem for path in paths] == ["pano01", "pano00"]
    assert "nothing is drawn on left/pano02.png; it stays as it is" in caplog.text
    assert "2 corrections in" in caplog.text
    labels, found = (read(run / name / "left" / "pano01.png") for name in ("labels", "corrections"))
    np.testing.assert_array_equal(found, np.where(labels == 0, 255, labels))  # the mask of class 0 was deleted


def wrong_class(value: Any) -> None:
    value["categories"][0]["name"] = "rode"


def wrong_size(value: Any) -> None:
    value["images"][2] |= {"width": 600}
    value["annotations"] = [item for item in value["annotations"] if item["image_id"] != 3]
    value["annotations"].append({"image_id": 3, "category_id": 1, "segmentation": [[0, 0, 9, 0, 9, 9]]})


def stranger(value: Any) -> None:
    value["images"][2]["file_name"] = "elsewhere/other.png"


def twice(value: Any) -> None:
    value["images"][2]["file_name"] = value["images"][0]["file_name"]


def lost_image(value: Any) -> None:
    value["images"].pop()


def lost_key(value: Any) -> None:
    del value["images"][0]["height"]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            wrong_class,
            "instances_default.json: left/pano01.png: class 'rode' is not one of the run's. Did you mean 'road'",
        ),
        (
            wrong_size,
            "instances_default.json: right/pano00 is 600x96 pixels, the panorama is 512x96; correct it at its",
        ),
        (
            stranger,
            "instances_default.json: elsewhere/other is no panorama of this run that has labels; one is named left",
        ),
        (twice, "left/pano01 is in "),
        (lost_image, "has annotations of image_id 3, but no such image"),
        (lost_key, "not as the annotation tool writes it ('height' is missing); export it again"),
    ],
)
def test_an_export_that_does_not_fit_changes_nothing(run: Path, tmp_path: Path, change: Any, sentence: str) -> None:
    path = write_review(run, "coco", tmp_path / "OUT") / FILES["coco"]
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value))
    with pytest.raises(GoodSAMError) as caught:
        bring_back(run, path)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (run / "corrections").exists()


@pytest.mark.parametrize("tool", TOOLS)
def test_a_file_that_is_cut_off_changes_nothing(run: Path, tmp_path: Path, tool: str) -> None:
    path = submitted(write_review(run, tool, tmp_path / "OUT"), tool)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(GoodSAMError, match=rf"{path.name}: cannot be read as (JSON|XML) .*cut off or damaged, export"):
        bring_back(run, path)
    archive = tmp_path / "export.zip"
    with zipfile.ZipFile(archive, "w") as writer:
        writer.write(path)
    archive.write_bytes(archive.read_bytes()[:-30])
    with pytest.raises(GoodSAMError, match=r"export\.zip: cannot be read as a zip"):
        bring_back(run, archive)
    assert not (run / "corrections").exists()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[]", "holds no export that is known; expected a JSON file of COCO"),
        ('[{"image": "/data/a.png", "label": []}]', "Label Studio's JSON of tasks (not JSON-MIN)"),
        ("<View/>", "holds no export that is known"),
        ("no export", "is neither JSON, XML nor a zip; expected a JSON file of COCO"),
        ("", "is neither JSON, XML nor a zip"),
        (
            '[{"data": {"stem": "left/pano01"}, "predictions": []}]',
            "nothing is drawn on any panorama of it, or nothing",
        ),
    ],
)
def test_what_is_no_export_is_refused(run: Path, tmp_path: Path, text: str, sentence: str) -> None:
    (tmp_path / "file").write_text(text)
    with pytest.raises(GoodSAMError, match=re.escape(sentence)):
        bring_back(run, tmp_path / "file")


def test_no_such_file(run: Path, tmp_path: Path) -> None:
    with pytest.raises(GoodSAMError, match=r"gone\.zip: cannot be read \(No such file"):
        bring_back(run, tmp_path / "gone.zip")


def test_names_that_a_tool_shortened_or_lengthened() -> None:
    known = ["left/0001", "left/0002", "right/0002"]
    assert stem_named("left/0002", known, "file") == "left/0002"
    assert stem_named("0001", known, "file") == "left/0001"
    assert stem_named("images/right/0002", known, "file") == "right/0002"
    with pytest.raises(GoodSAMError, match="file: 0002 may be left/0002 or right/0002"):
        stem_named("0002", known, "file")
    with pytest.raises(GoodSAMError, match="file: eft/0001 is no panorama"):
        stem_named("eft/0001", known, "file")


def test_classes_of_another_time_are_refused(run: Path, tmp_path: Path) -> None:
    folder = write_review(run, "coco", tmp_path / "OUT")
    bring_back(run, folder)
    (run / "corrections" / "classes.json").write_text('["sky", "road"]')
    before = tiny.tree(run, "corrections")
    with pytest.raises(GoodSAMError, match=r"classes\.json: these corrections were drawn with other classes"):
        bring_back(run, folder)
    assert tiny.tree(run, "corrections") == before


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"stems": ["left/pano1"]}, "no labels of a panorama named 'left/pano1'; there is 'left/pano01'"),
        ({"stems": ["left/pano01"], "least_sure": 1}, "--stems and --least-sure: give one of them"),
        ({"least_sure": 0}, "--least-sure 0: must be at least 1"),
        ({"tool": "paint"}, "--to paint: must be one of coco, cvat, label-studio"),
    ],
)
def test_a_wrong_option_is_one_sentence(run: Path, given: dict[str, Any], sentence: str) -> None:
    with pytest.raises(GoodSAMError, match=re.escape(sentence)):
        write_review(run, **{"tool": "coco"} | given)
    assert not (run / "review").exists()


def test_a_folder_with_somebody_s_work_is_left_alone(run: Path, tmp_path: Path) -> None:
    (tmp_path / "OUT").mkdir()
    (tmp_path / "OUT" / "export.json").write_text("work")
    with pytest.raises(GoodSAMError, match="OUT: is there already, with perhaps somebody's work"):
        write_review(run, "coco", tmp_path / "OUT")
    assert [path.name for path in (tmp_path / "OUT").iterdir()] == ["export.json"]


def test_no_run_and_no_labels(run: Path, tmp_path: Path) -> None:
    with pytest.raises(GoodSAMError, match="not a run folder"):
        write_review(tmp_path, "coco")
    shutil.rmtree(run / "labels")
    with pytest.raises(GoodSAMError, match="has no labels yet; run `goodsam label` first"):
        bring_back(run, tmp_path)


def test_a_photo_of_another_size_is_refused(run: Path, tmp_path: Path) -> None:
    known = json.loads((run / "inputs.json").read_text())
    Image.new("RGB", (100, 50)).save(tmp_path / "small.png")
    known["left/pano01"]["path"] = str(tmp_path / "small.png")
    (run / "inputs.json").write_text(json.dumps(known))
    with pytest.raises(GoodSAMError, match=r"small\.png: is 100x50 pixels, its label map 512x96; it has changed"):
        write_review(run, "coco", tmp_path / "OUT")
    assert not (tmp_path / "OUT").exists()


def command(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["goodsam", "review", *map(str, arguments)])
    try:
        cli.main()
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0


def test_the_command(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(monkeypatch, run, "--to", "cvat", "--out", tmp_path / "OUT", "--stems", *STEMS[:2]) == 0
    assert command(monkeypatch, run, "--from", tmp_path / "OUT") == 0
    assert len(list((run / "corrections").rglob("*.png"))) == 2
    capsys.readouterr()
    for wrong in ((), ("--to", "coco", "--from", tmp_path), ("--from", tmp_path / "OUT", "--least-sure", 3)):
        assert command(monkeypatch, run, *wrong) == 1
        assert "error: review" in capsys.readouterr().err
