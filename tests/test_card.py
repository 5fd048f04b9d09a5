"""The model card: what it says of a run, and what it does not give away."""

import json
import logging
import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from goodsam import files, weights
from goodsam.card import MEASURED, measured, student_card, with_measured
from goodsam.labels import LabelSet
from goodsam.run import Run
from goodsam.weights import WeightFile

CLASSES = LabelSet("lot", ("road", "sky"), ((10, 20, 30), (40, 50, 60)))
OPTIONS = {
    "sam": "facebook/sam-vit-huge", "assistant": "some/segmenter", "student": "t", "init": "nvidia/mit-b0",
    "steps": 2000, "batch_size": 4, "vfov": None,
}  # fmt: skip
WEIGHTS = (
    WeightFile("facebook/sam-vit-huge", "model.safetensors", "aa", "Apache-2.0"),
    WeightFile("some/segmenter", "model.safetensors", "bb", "odd | licence:\nresearch only"),
    WeightFile("nvidia/mit-b0", "model.safetensors", "cc", "Apache-2.0"),
)
METRICS = {
    "subject": "student:RUN/student", "data": "folder:IMAGES,LABELS", "label_set": "lot", "images": 12, "coverage": 1.0,
    "miou": 0.4321, "miou_sphere": None, "seam_miou": 0.4, "pixel_accuracy": 0.8, "boundary_f1": 0.3,
    "per_class": {"road": 0.8642, "sky": None},
}  # fmt: skip


def card_of(root: Path, agreement: dict[str, float] | None = None, vfov: float | None = None, **changed: Any) -> str:
    run = Run(root)
    run.take_inputs({name: root / f"{name}.jpg" for name in ("a", "b", "c", "d")})
    run.note_left_out({"d": "d.jpg: cut off"}, ["a", "b", "c"])
    made_with = {"panoramas": {"a": "1", "b": "2", "c": "3"}}
    run.begin("train", made_with, OPTIONS | changed, WEIGHTS)
    return student_card(run, CLASSES, (200, 1024), agreement, vfov)


def header_of(card: str) -> dict[str, Any]:
    return yaml.safe_load(card.split("---")[1])


def section(card: str, name: str) -> str:
    return " ".join(card.split(f"\n## {name}\n")[1].split("\n## ")[0].split())


def test_the_header_is_what_the_hub_reads(tmp_path: Path) -> None:
    assert header_of(card_of(tmp_path)) == {
        "library_name": "transformers",
        "pipeline_tag": "image-segmentation",
        "tags": ["goodsam", "panorama", "360", "segformer"],
        "license": "other",
        "license_name": "inherited-from-weights",
        "inherited_licences": ["Apache-2.0", "odd | licence:\nresearch only"],
        "base_model": "nvidia/mit-b0",
    }


@pytest.mark.parametrize("start", ["random", "street", "/models/mit", "./models/mit", "a/b/c"])
def test_a_start_that_is_not_on_the_hub_is_no_base_model(tmp_path: Path, start: str) -> None:
    assert "base_model" not in header_of(card_of(tmp_path, init=start))


def test_a_folder_of_the_form_of_an_id_is_no_base_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nvidia" / "mit-b0").mkdir(parents=True)
    card = card_of(tmp_path)
    assert "base_model" not in header_of(card)
    assert "starting from `mit-b0`" in " ".join(card.split())


def test_weights_stand_in_a_table_with_licences(tmp_path: Path) -> None:
    card = card_of(tmp_path)
    assert (
        "| id | file | licence | sha256 |\n|---|---|---|---|\n".replace("---|", " --- |").replace("|  ", "| ") in card
    )
    assert "| facebook/sam-vit-huge | model.safetensors | Apache-2.0 | aa |\n" in card
    assert "| some/segmenter | model.safetensors | odd \\| licence: research only | bb |\n" in card


def test_the_data_are_counted(tmp_path: Path) -> None:
    agreement = {"miou": 0.5, "pixel_accuracy": 0.75, "panoramas": 1}
    found = section(card_of(tmp_path), "Data")
    assert found.startswith(
        "3 unlabelled panoramas, 1 more left out since they could not be used. They span 360 * height"
    )
    assert "the student sees them at 200x1024 pixels" in found
    assert "They span 120.0 degrees of pitch" in section(card_of(tmp_path, vfov=120), "Data")
    assert "They span 70.3 degrees of pitch" in section(card_of(tmp_path, None, 70.3125), "Data")
    assert "1 of them were held back from training." in section(card_of(tmp_path, agreement), "Data")


def test_agreement_is_told_from_accuracy(tmp_path: Path) -> None:
    found = section(card_of(tmp_path, {"miou": 0.5, "pixel_accuracy": 0.754, "panoramas": 16}), "Metrics")
    assert "On 16 panoramas that were held back from training" in found
    assert "50.0 % mIoU and 75.4 % of pixels" in found
    assert "not how often that is right" in found
    assert "No panoramas were held back" in section(card_of(tmp_path), "Metrics")


def test_classes_use_and_limits_are_said(tmp_path: Path) -> None:
    card = card_of(tmp_path)
    assert section(card, "Classes") == "2, of the label set lot, in the order of their ids: road, sky."
    assert "not accuracy" in section(card, "Intended use and limits")
    assert "safety" in section(card, "Intended use and limits")
    assert "goodsam predict STUDENT PHOTOS" in section(card, "Use")
    assert "goodsam evaluate student:STUDENT --data folder:" in section(card, "Evaluate")


def test_no_folder_of_this_machine_is_named(tmp_path: Path) -> None:
    (tmp_path / "own.onnx").touch()
    mine = str(tmp_path / "own.onnx")
    card = card_of(tmp_path, assistant=mine, init=str(tmp_path / "gone"), sam=f"{tmp_path / 'sam'}+regions")
    assert "assistant `own.onnx`" in " ".join(card.split())
    assert "`sam+regions`" in card
    assert str(tmp_path) not in card


def test_a_student_passes_licences_on(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text(card_of(tmp_path))
    assert weights.licence_of("me/student", tmp_path) == "Apache-2.0; odd | licence:\nresearch only"
    (tmp_path / "README.md").write_text("---\nlicense: mit\ninherited_licences: []\n---\n")
    assert weights.licence_of("me/student", tmp_path) == "unknown"


# --- figures against labels -----------------------------------------------------------------------------------------


def test_figures_take_the_place_of_none_and_of_older_ones(tmp_path: Path) -> None:
    card = card_of(tmp_path)
    assert "Not measured yet" in section(card, "Metrics")
    once = with_measured(card, METRICS)
    assert "Not measured yet" not in once
    found = section(once, "Metrics")
    assert "On `folder:IMAGES,LABELS`, 12 images, label set lot, in percent:" in found
    assert "| mIoU | 43.2 | | mIoU near the seam | 40.0 | | pixel accuracy | 80.0 |" in found
    assert found.endswith("IoU by class: road 86.4, sky -.")
    assert with_measured(with_measured(card, METRICS | {"miou": 0.1}), METRICS) == once
    before, after = card.split(MEASURED)
    assert once.startswith(before)
    assert once.endswith(after.split("\n\n", 2)[2])


def test_a_card_that_says_nothing_of_figures_gets_them_at_its_end() -> None:
    once = with_measured("# My card\n", METRICS)
    assert once.startswith(f"# My card\n\n{MEASURED}\n\nOn `folder:")
    assert with_measured(once, METRICS) == once


@pytest.fixture
def student(tmp_path: Path) -> Path:
    folder = tmp_path / "RUN" / "student"
    folder.mkdir(parents=True)
    (folder / "model.safetensors").touch()
    os.utime(folder / "model.safetensors", (1000, 1000))
    return folder


@pytest.mark.parametrize(
    ("subject", "known"),
    [
        ("student:RUN/student", True),
        ("student:../here/RUN/student", False),
        ("student:../RUN/student", True),
        ("student:OTHER/student", False),
        ("student:me/streets", False),
        ("student:.", False),
        ("student:/elsewhere/RUN/student", False),
        ("assistant:RUN/student", False),
        ("labels:RUN/student", False),
    ],
)
def test_only_figures_of_this_student_are_shown(student: Path, subject: str, known: bool) -> None:
    assert measured(student) is None
    (student.parent / "metrics.json").write_text(json.dumps(METRICS | {"subject": subject}))
    assert (measured(student) is not None) == known


def test_figures_given_by_a_whole_path_are_shown(student: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (student.parent / "metrics.json").write_text(json.dumps(METRICS | {"subject": f"student:{student}"}))
    assert measured(student) is not None
    monkeypatch.chdir(student)
    (student.parent / "metrics.json").write_text(json.dumps(METRICS | {"subject": "student:."}))
    assert measured(Path()) is not None


def test_figures_of_an_earlier_student_are_left_out(student: Path, caplog: pytest.LogCaptureFixture) -> None:
    (student.parent / "metrics.json").write_text(json.dumps(METRICS))
    os.utime(student.parent / "metrics.json", (999, 999))
    with caplog.at_level(logging.WARNING):
        assert measured(student) is None
    assert "older than the student" in caplog.text


def test_figures_of_other_weights_are_left_out(student: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A student that comes back from stale/ beside the metrics.json of the one that had taken its place."""
    own = files.sha256_of(student / "model.safetensors")
    for known, shown in (("another", False), (own, True)):
        (student.parent / "metrics.json").write_text(json.dumps(METRICS | {"weights": [known]}))
        with caplog.at_level(logging.WARNING):
            assert (measured(student) is not None) == shown
    assert "about other weights" in caplog.text
