"""The bundled models: whole, small, licensed, in the formats of the real ones, and reached by the name `street`."""

import json
from pathlib import Path

import pytest
import torch
import yaml
from safetensors import safe_open
from transformers import AutoModelForSemanticSegmentation, Sam2Model

import goodsam
from goodsam import weights
from goodsam.config import RunOptions, TeacherOptions
from goodsam.labels import LABEL_SETS
from goodsam.pipeline import load_teacher
from goodsam.student import new_student, resolve_start
from goodsam.teachers.assistant import load_assistant
from goodsam.teachers.mask_generator import SamTeacher

ASSETS = Path(goodsam.__file__).parent / "assets"
FOLDERS = ("street-teacher", "street-assistant", "street-start")
LABELS = LABEL_SETS["densepass13"]


def test_all_weights_together_stay_small() -> None:
    assert {path.name for path in ASSETS.iterdir()} == set(FOLDERS)
    assert sum(path.stat().st_size for path in ASSETS.rglob("*")) < 30e6


@pytest.mark.parametrize("name", FOLDERS)
def test_weights_are_half_precision_with_a_card(name: str) -> None:
    folder = ASSETS / name
    with safe_open(folder / "model.safetensors", "pt") as file:
        tensors = [file.get_tensor(key) for key in list(file.keys())]
    assert {tensor.dtype for tensor in tensors if tensor.is_floating_point()} == {torch.float16}
    card = (folder / "README.md").read_text()
    assert yaml.safe_load(card.split("---")[1])["license"] == "apache-2.0"
    made_by = "python tools/train_street_teacher.py" if name == "street-teacher" else "goodsam assistant train --data"
    assert made_by in card
    assert json.loads((folder / "config.json").read_text())["model_type"] in ("segformer", "sam2")


def test_transformers_loads_them_without_us() -> None:
    for name in ("street-assistant", "street-start"):
        AutoModelForSemanticSegmentation.from_pretrained(ASSETS / name)
    Sam2Model.from_pretrained(ASSETS / "street-teacher")


def test_names_lead_to_them() -> None:
    teacher = load_teacher(RunOptions(teacher=TeacherOptions(sam="street")), torch.device("cpu"))
    assert isinstance(teacher, SamTeacher)
    assert [item.licence for item in teacher.weights] == ["apache-2.0"]
    assert next(teacher._model.parameters()).dtype == torch.float32
    assistant = load_assistant("street")
    assert assistant.label_set.names == LABELS.names
    assert [item.licence for item in assistant.weights] == ["apache-2.0"]
    assert goodsam.load("street", "cpu").label_set.names == LABELS.names
    assert resolve_start("t", "street") == ("street", weights.resolve("street", "--init"))


def test_the_start_is_a_student_and_the_assistant_is_larger() -> None:
    start = new_student("t", LABELS, "street")
    given = goodsam.load("street", "cpu").student.state_dict()
    assert all(torch.equal(value, given[name]) for name, value in start.state_dict().items())
    assistant = AutoModelForSemanticSegmentation.from_pretrained(ASSETS / "street-assistant")
    assert sum(p.numel() for p in assistant.parameters()) > 1.4 * sum(p.numel() for p in start.parameters())
