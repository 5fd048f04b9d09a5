"""A student shared and got back, through a stand-in that keeps files as the hub's cache does; no network."""

import json
import logging
import os
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tiny
import torch
import yaml
from hubs import Hub, offline_hub
from huggingface_hub.errors import HfHubHTTPError, HTTPError, LocalTokenNotFoundError, OfflineModeIsEnabled
from PIL import Image
from transformers import SegformerConfig, SegformerForSemanticSegmentation

import goodsam
from goodsam import cli, evaluation
from goodsam.errors import GoodSAMError
from goodsam.hub import push
from goodsam.labels import LabelSet
from goodsam.student import Student, save_student

CLASSES = LabelSet("lot", ("road", "sky", "car"), ((10, 20, 30), (40, 50, 60), (70, 80, 90)))
CARD = "---\nlicense: other\ninherited_licences: [Apache-2.0, for research only]\n---\n# A student\n"


@pytest.fixture
def student(tmp_path: Path) -> Path:
    """`RUN/student`, random and small."""
    torch.manual_seed(0)
    config = SegformerConfig(
        hidden_sizes=[8, 8, 16, 16], depths=[1, 1, 1, 1], num_attention_heads=[1, 1, 2, 2], decoder_hidden_size=16,
        id2label=dict(enumerate(CLASSES.names)), label2id={name: index for index, name in enumerate(CLASSES.names)},
    )  # fmt: skip
    config.goodsam = {"label_set": "lot", "colors": [list(color) for color in CLASSES.colors]}
    model = SegformerForSemanticSegmentation(config)
    with torch.no_grad():
        model.decode_head.classifier.weight.mul_(40)  # a student with opinions
    folder = tmp_path / "RUN" / "student"
    save_student(Student(model), folder, (64, 128), 180.0, CARD)
    return folder


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> type[Hub]:
    return offline_hub(tmp_path / "cache", monkeypatch)


def goodsam_command(monkeypatch: pytest.MonkeyPatch, *words: object) -> None:
    monkeypatch.setattr(sys, "argv", ["goodsam", *map(str, words)])
    try:
        cli.main()
    except SystemExit as ended:
        assert ended.code in (0, None)  # noqa: PT017 (a command may end by returning or by exiting)


def test_what_was_pushed_labels_as_the_folder_does(student: Path, hub: type[Hub]) -> None:
    assert goodsam.push(student, "me/streets") == "https://huggingface.co/me/streets"
    picture = tiny.panorama(0, (64, 128))
    here, there = (goodsam.load(name, "cpu").predict(picture) for name in (student, "me/streets"))
    assert len(np.unique(here.labels)) > 1
    assert (here.labels == there.labels).all()
    assert (here.confidence == there.confidence).all()
    assert here.label_set == there.label_set == CLASSES


def test_nothing_but_the_student_goes_up(student: Path, hub: type[Hub]) -> None:
    for name in ("notes.txt", "code.py", "pytorch_model.bin", ".secret"):
        (student / name).write_text("not for others")
    push(student, "me/streets")
    (snapshot,) = (hub.cache / "models--me--streets" / "snapshots").iterdir()
    assert {path.name for path in snapshot.iterdir()} == {
        "README.md", "config.json", "model.safetensors", "preprocessor_config.json",
    }  # fmt: skip


def test_a_later_push_takes_the_place_of_the_first(student: Path, hub: type[Hub]) -> None:
    push(student, "me/streets")
    model = goodsam.load(student, "cpu").student
    with torch.no_grad():
        model.model.decode_head.classifier.bias.copy_(torch.tensor([0.0, 0.0, 1e6]))
    save_student(model, student, (64, 128), 180.0, CARD)
    push(student, "me/streets", message="Cars alone")
    assert hub.calls[-1] == ("upload_folder", {"commit_message": "Cars alone"})
    assert (goodsam.load("me/streets", "cpu").predict(tiny.panorama(0, (64, 128))).labels == 2).all()


def test_the_licences_are_said_before_anything_is_sent(
    student: Path, hub: type[Hub], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(*_: object, **__: object) -> str:
        assert "(Apache-2.0; for research only); check that" in caplog.text
        raise OSError("no network")

    monkeypatch.setattr(hub, "create_repo", refuses)
    with caplog.at_level(logging.WARNING), pytest.raises(GoodSAMError, match="no network"):
        push(student, "me/streets")


def test_private_is_private_or_refused(student: Path, hub: type[Hub]) -> None:
    push(student, "me/secret", private=True)
    assert hub.calls[0] == ("create_repo", {"private": True, "exist_ok": True})
    push(student, "me/secret")  # goes on as it is: None leaves the choice to the hub
    assert hub.calls[2] == ("create_repo", {"private": None, "exist_ok": True})
    hub.public.add("me/open")
    hub.calls.clear()
    with pytest.raises(GoodSAMError, match="push me/open --private: there already is a public model of that name"):
        push(student, "me/open", private=True)
    assert [name for name, _ in hub.calls] == ["create_repo"]


@pytest.mark.parametrize("name", ["streets", "me/", "/streets", "a/b/c", "me/my streets", "./streets", "me/a--b", ""])
def test_other_ids_are_refused(student: Path, hub: type[Hub], name: str) -> None:
    with pytest.raises(GoodSAMError, match=rf"push {name}: must be OWNER/NAME"):
        push(student, name)
    assert hub.calls == []


def test_what_is_no_student_is_refused(student: Path, hub: type[Hub], tmp_path: Path) -> None:
    with pytest.raises(GoodSAMError, match=r"nowhere: not a student .*give the RUN/student folder"):
        push(tmp_path / "nowhere", "me/streets")
    with pytest.raises(GoodSAMError, match=r"RUN: not a student \(config\.json is missing"):
        push(student.parent, "me/streets")
    for name in ("README.md", "model.safetensors"):
        (student / name).unlink()
        with pytest.raises(GoodSAMError, match=rf"student: not a whole student, {name} is missing"):
            push(student, "me/streets")
    config = student / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"model_type": "sam"}))
    with pytest.raises(GoodSAMError, match="not a segformer's"):
        push(student, "me/streets")
    assert hub.calls == []


def refused(status: int, said: str | None = None) -> HfHubHTTPError:
    """What the client raises, without the HTTP library that answers are made with, which depends on its version."""
    error = HfHubHTTPError.__new__(HfHubHTTPError)
    error.args = (f"{status} Client Error\nfor url",)
    error.response, error.server_message = SimpleNamespace(status_code=status), said
    return error


@pytest.mark.parametrize("call", ["create_repo", "upload_folder"])
@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (refused(401), "you are not logged in; run `hf auth login` with a token that may write"),
        (LocalTokenNotFoundError("no token"), "you are not logged in; run `hf auth login`"),
        (refused(403), "you may not write there; take an OWNER that is you or an organisation of yours"),
        (refused(404), "you may not write there"),
        (refused(400, "no such licence.\nAt all."), r"not reached or refused it \(no such licence\)\."),
        (refused(503), r"not reached or refused it \(503 Client Error\)\. Check the connection"),
        (
            OfflineModeIsEnabled("offline mode is enabled."),
            r"\(offline mode is enabled\)\. .*HF_HUB_OFFLINE is not set",
        ),
        (HTTPError("Name or service not known"), r"\(Name or service not known\)\. Check the connection"),
        (ValueError("Invalid metadata in README.md.\n- no"), r"refused it \(Invalid metadata in README\.md\)"),
    ],
)
def test_what_the_hub_has_against_it_is_one_sentence(
    student: Path, hub: type[Hub], monkeypatch: pytest.MonkeyPatch, call: str, error: Exception, sentence: str
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(hub, call, fails)
    with pytest.raises(GoodSAMError, match=rf"^push me/streets: .*{sentence}") as caught:
        push(student, "me/streets")
    assert "\n" not in str(caught.value)


def test_offline_is_an_error_with_the_real_client(student: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(GoodSAMError, match=r"push me/streets: the Hugging Face hub was not reached .*HF_HUB_OFFLINE"):
        push(student, "me/streets")


# --- getting it back ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["nowhere", "a/b/c", "./student", Path("nowhere")])
def test_what_is_neither_folder_nor_on_the_hub_is_refused(hub: type[Hub], name: str | Path) -> None:
    with pytest.raises(GoodSAMError, match=r"student .*: no such folder, and not a Hugging Face id of the form"):
        goodsam.load(name, "cpu")


def test_a_name_that_the_hub_does_not_have_is_refused(hub: type[Hub]) -> None:
    with pytest.raises(GoodSAMError, match="student me/none: not on this disk, and the Hugging Face hub does not give"):
        goodsam.load("me/none", "cpu")


def test_a_folder_comes_before_the_hub(student: Path, hub: type[Hub], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(student.parent.parent)
    assert goodsam.load("RUN/student", "cpu").label_set == CLASSES
    assert goodsam.load(Path("RUN/student"), "cpu").label_set == CLASSES


def test_commands_take_a_name_of_the_hub(
    student: Path, hub: type[Hub], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos = tiny.write_panoramas(tmp_path / "photos", 1, (64, 128))
    goodsam_command(monkeypatch, "push", student, "me/streets", "--private", "--message", "First")
    assert hub.calls == [
        ("create_repo", {"private": True, "exist_ok": True}), ("upload_folder", {"commit_message": "First"}),
    ]  # fmt: skip
    goodsam_command(monkeypatch, "predict", "me/streets", photos, "--out", tmp_path / "out", "--device", "cpu")
    found = np.array(Image.open(tmp_path / "out" / "labels" / "pano00.png"))
    assert (found == goodsam.load(student, "cpu").predict(photos / "pano00.png").labels).all()
    classes = {name: {} for name in CLASSES.names}
    (tmp_path / "lot.yaml").write_text(yaml.safe_dump({"name": "lot", "classes": classes}, sort_keys=False))
    data = f"folder:{photos},{tmp_path / 'out' / 'labels'},{tmp_path / 'lot.yaml'}"
    assert evaluation.evaluate("student:me/streets", data, device="cpu").pixel_accuracy == 1


def test_a_push_takes_the_figures_of_an_evaluation_along(
    student: Path, hub: type[Hub], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    photos = tiny.write_panoramas(tmp_path / "photos", 1, (64, 128))
    goodsam_command(monkeypatch, "predict", student, photos, "--out", "out", "--device", "cpu")
    classes = {name: {} for name in CLASSES.names}
    (tmp_path / "lot.yaml").write_text(yaml.safe_dump({"name": "lot", "classes": classes}, sort_keys=False))
    data = f"folder:{photos},{tmp_path / 'out' / 'labels'},lot.yaml"
    evaluation.evaluate("student:RUN/student", data, out="RUN", device="cpu")
    os.utime(student / "model.safetensors", (1, 1))
    push(student, "me/streets")
    (snapshot,) = (hub.cache / "models--me--streets" / "snapshots").iterdir()
    card = (snapshot / "README.md").read_text()
    assert "On `folder:photos,labels,lot.yaml`, 1 images, label set lot" in card
    assert "| mIoU | 100.0 |" in card
    assert str(tmp_path) not in card
    push(student, "me/streets")
    assert (student / "README.md").read_text() == card  # refreshed, not repeated
