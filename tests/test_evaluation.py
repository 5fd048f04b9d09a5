"""Subjects on data sets, from the strings of the command line to metrics.json and the table."""

import json
import sys
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console

from goodsam.datasets import parse_data
from goodsam.errors import GoodSAMError
from goodsam.evaluation import evaluate, resize_labels, table
from goodsam.labels import LABEL_SETS, LabelSet, load_label_set, own_label_set
from goodsam.metrics import Scores
from goodsam.panorama import Panorama, geometry_of
from goodsam.subjects import label_table
from goodsam.weights import WeightFile

SHARED = Path(__file__).resolve().parents[2] / "shared"
CITYSCAPES, DENSEPASS = LABEL_SETS["cityscapes19"], LABEL_SETS["densepass13"]
SIZE = (16, 64)


def write(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.astype(np.uint8)).save(path)


def blobs(seed: int, classes: int = 13, size: tuple[int, int] = SIZE) -> np.ndarray:
    coarse = np.random.default_rng(seed).choice([*range(classes), 255], size=(size[0] // 4, size[1] // 4))
    return coarse.repeat(4, axis=0).repeat(4, axis=1).astype(np.uint8)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two panoramas whose red channel is their label map, and label maps in densepass13."""
    for seed, stem in enumerate(("a", "left/b")):
        labels = blobs(seed)
        write(tmp_path / f"labels/{stem}.png", labels)
        write(tmp_path / f"images/{stem}.png", np.stack([labels, labels * 0, labels * 0], axis=-1))
    return tmp_path


def data_of(root: Path, label_set: str = "densepass13") -> str:
    return f"folder:{root / 'images'},{root / 'labels'},{label_set}"


def test_labels_against_themselves(root: Path) -> None:
    found = evaluate(f"labels:{root / 'labels'}", data_of(root), out=root / "out")
    assert found.miou == found.miou_sphere == found.seam_miou == found.pixel_accuracy == found.coverage == 1
    assert found.boundary_f1 == 1
    assert found.images == 2
    assert json.loads((root / "out/metrics.json").read_text()) == found.to_json()


def test_labels_on_disk_are_scored_as_scores_does(root: Path) -> None:
    scores = Scores(DENSEPASS)
    for seed, stem in enumerate(("a", "left/b")):
        prediction = np.roll(blobs(seed), 2, axis=1)
        write(root / f"found/{stem}.png", prediction)
        scores.add(blobs(seed), prediction, geometry_of(SIZE, 100, 3))
    subject = f"labels:{root / 'found'}"
    found = evaluate(subject, data_of(root), vfov=100, horizon=3, out=root / "x.json")
    assert found == scores.result(subject, data_of(root))
    assert found.miou is not None
    assert found.miou < 1
    assert (root / "x.json").is_file()


def test_limit_and_photo(root: Path) -> None:
    write(root / "images/a.png", np.zeros((64, 16, 3)))  # no panorama has this shape
    subject = f"labels:{root / 'labels'}"
    with pytest.raises(GoodSAMError, match=r"a\.png.*taller than half its width"):
        evaluate(subject, data_of(root))
    found = evaluate(subject, data_of(root), projection="photo", limit=1)
    assert found.images == 1
    assert found.seam_miou is found.miou_sphere is None
    assert not (root / "metrics.json").exists()


def test_labels_of_another_size_are_evaluated_at_their_own(root: Path) -> None:
    """A prediction twice as large, of the image's size: the labels stay as they are, the prediction is reduced."""
    for seed, stem in enumerate(("a", "left/b")):
        large = blobs(seed).repeat(2, axis=0).repeat(2, axis=1)
        write(root / f"found/{stem}.png", large)
        write(root / f"images/{stem}.png", np.zeros((*large.shape, 3)))
    # A horizon that leaves the sphere at the labels' size would be refused: it is in the image's rows.
    found = evaluate(f"labels:{root / 'found'}", data_of(root), vfov=90, horizon=30)
    assert found.pixels == 2 * SIZE[0] * SIZE[1]
    assert found.miou == 1


def test_resize_labels_is_nearest() -> None:
    labels = np.arange(12, dtype=np.uint8).reshape(3, 4)
    expected = np.array(Image.fromarray(labels).resize((9, 5), Image.Resampling.NEAREST))
    assert np.array_equal(resize_labels(labels, (5, 9)), expected)


@dataclass(frozen=True)
class Found:
    labels: np.ndarray
    confidence: np.ndarray


class FakeStudent:
    """Reads the label map that the red channel holds, and names it in its own label set."""

    def __init__(self, label_set: LabelSet, shift: int = 0) -> None:
        self.label_set = label_set
        self.shift = shift
        self.calls: list[tuple[type, bool, int | None]] = []
        self.weights, self.parameters = (WeightFile("fake", "model.safetensors", "abc", "none"),), 7

    def predict(self, image: Any, *, wrap: bool = True, width: int | None = None) -> Found:
        self.calls.append((type(image), wrap, width))
        red = (image.pixels if isinstance(image, Panorama) else image)[..., 0]
        names = {name: index for index, name in enumerate(self.label_set.names)}
        ids = np.array([names[name] for name in DENSEPASS.names] + [255] * 243, dtype=np.uint8)[red]
        return Found(ids, np.ones(red.shape, dtype=np.float32))


@pytest.fixture
def student(monkeypatch: pytest.MonkeyPatch) -> FakeStudent:
    fake = FakeStudent(CITYSCAPES)
    module = ModuleType("goodsam.predictor")
    module.load = lambda folder, device="auto": fake  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "goodsam.predictor", module)
    return fake


def test_student_is_mapped_to_the_label_set_of_the_data(root: Path, student: FakeStudent) -> None:
    found = evaluate(f"student:{root / 'student'}", data_of(root), width=32)
    assert found.miou == found.coverage == 1
    assert student.calls == [(Panorama, True, 32)] * 2
    assert not (root / "metrics.json").exists()  # no run.yaml: not a run
    evaluate(f"student:{root / 'student'}", data_of(root), projection="photo")
    assert student.calls[2:] == [(np.ndarray, False, None)] * 2


def test_student_of_a_run_writes_into_it(root: Path, student: FakeStudent) -> None:
    (root / "run.yaml").write_text("{}")
    found = evaluate(f"student:{root / 'student'}", data_of(root))
    assert json.loads((root / "metrics.json").read_text()) == found.to_json()


def test_student_that_lacks_classes_is_refused(root: Path, student: FakeStudent) -> None:
    student.label_set = LabelSet("indoor", ("wall", "floor"), ((0, 0, 0), (1, 1, 1)))
    with pytest.raises(GoodSAMError, match=r"indoor cannot be mapped to densepass13.*'road'"):
        evaluate(f"student:{root}", data_of(root))


def test_label_table_is_the_published_mapping() -> None:
    """DensePASS's own 19 -> 13."""
    expected = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 11, 12, 12, 12, 255, 12, 12]
    found = label_table("x", CITYSCAPES, DENSEPASS)
    assert found[:19].tolist() == expected
    assert set(found[19:]) == {255}
    same = own_label_set(DENSEPASS.names)
    assert label_table("x", same, DENSEPASS)[:13].tolist() == list(range(13))


def test_an_interrupted_evaluation_goes_on(root: Path, student: FakeStudent, monkeypatch: pytest.MonkeyPatch) -> None:
    subject, out = f"student:{root / 'student'}", root / "out/metrics.json"
    expected = evaluate(subject, data_of(root))
    student.calls.clear()
    monkeypatch.setattr("goodsam.evaluation.KEEP_EVERY", 0.0)
    original = FakeStudent.predict

    def stopped(self: FakeStudent, image: Any, **given: Any) -> Found:
        if len(self.calls) == 1:
            raise KeyboardInterrupt
        return original(self, image, **given)

    write(root / "images/c.png", np.zeros((*SIZE, 3)))
    write(root / "labels/c.png", np.zeros(SIZE))
    with monkeypatch.context() as patch:
        patch.setattr(FakeStudent, "predict", stopped)
        with pytest.raises(KeyboardInterrupt):
            evaluate(subject, data_of(root), out=out, workers=1)
    # The first image is predicted but not yet counted when the second stops it: nothing is counted twice.
    with monkeypatch.context() as patch:
        patch.setattr("goodsam.evaluation._Kept.forget", lambda self: None)
        evaluate(subject, data_of(root), out=out, limit=3)
    assert (root / "out/metrics.partial.npz").is_file()
    student.calls.clear()
    again = evaluate(subject, data_of(root), out=out, limit=3)
    assert student.calls == []  # all three were kept
    assert again.images == 3
    assert not (root / "out/metrics.partial.npz").exists()
    assert (
        evaluate(subject, data_of(root), limit=2).confusion != expected.confusion
    )  # c is another image, in the middle


def test_what_was_kept_of_other_images_or_weights_is_not_gone_on_with(
    root: Path, student: FakeStudent, monkeypatch: pytest.MonkeyPatch
) -> None:
    subject, out = f"student:{root / 'student'}", root / "metrics.json"
    monkeypatch.setattr("goodsam.evaluation.KEEP_EVERY", 0.0)
    monkeypatch.setattr("goodsam.evaluation._Kept.forget", lambda self: None)
    evaluate(subject, data_of(root), out=out)
    student.calls.clear()
    evaluate(subject, data_of(root), out=out, limit=1)
    assert len(student.calls) == 1
    student.weights = (WeightFile("fake", "model.safetensors", "other", "none"),)
    found = evaluate(subject, data_of(root), out=out)
    assert len(student.calls) == 3
    assert found.weights == ["other"]


def test_label_maps_of_a_run_are_in_its_label_set(root: Path) -> None:
    """RUN/label.json says what the ids of RUN/labels are; they are mapped to the data's."""
    for seed, stem in enumerate(("a", "left/b")):
        in_19 = np.where(blobs(seed) == 12, 13, blobs(seed))  # car is 13 of Cityscapes' classes
        write(root / f"run/labels/{stem}.png", in_19)
        write(root / f"loose/{stem}.png", in_19)
    made_with = {"label_set": "own", "classes": CITYSCAPES.names, "colors": CITYSCAPES.colors}
    (root / "run/label.json").write_text(json.dumps({"made_with": made_with}))
    assert evaluate(f"labels:{root / 'run/labels'}", data_of(root)).miou == 1
    with pytest.raises(GoodSAMError, match="value 13 is no class of densepass13"):
        evaluate(f"labels:{root / 'loose'}", data_of(root))
    assert evaluate(f"labels:{root / 'loose'},label_set=cityscapes19", data_of(root)).miou == 1


def test_a_subject_has_options_of_its_own(root: Path, student: FakeStudent) -> None:
    evaluate(f"student:{root / 'student'},width=64", data_of(root), width=32, limit=1)
    assert student.calls == [(Panorama, True, 64)]


@dataclass(frozen=True)
class Output:
    probabilities: torch.Tensor
    features: dict[int, torch.Tensor] = field(default_factory=dict)


class FakeAssistant:
    """Says what the red channel holds, of 13 classes; remembers the sizes that it saw."""

    def __init__(self, label_set: LabelSet) -> None:
        self.label_set = label_set
        self.sizes: list[tuple[int, ...]] = []
        self.weights = ()

    def predict(self, images: torch.Tensor) -> Output:
        self.sizes.append(tuple(images.shape[2:]))
        ids = (images[:, 0] * 255).round().long()
        return Output(torch.stack([(ids == index).float() for index in range(len(self.label_set))], dim=1) + 1e-6)


@pytest.fixture
def assistants(monkeypatch: pytest.MonkeyPatch) -> list[FakeAssistant]:
    made: list[FakeAssistant] = []

    def load(name: str, label_set: str | None = None, device: Any = "cpu") -> FakeAssistant:
        if name == "no/model":
            raise GoodSAMError("no such model")
        assert label_set is not None
        made.append(FakeAssistant(load_label_set(label_set)))
        return made[-1]

    monkeypatch.setattr("goodsam.teachers.assistant.load_assistant", load)
    return made


@pytest.mark.parametrize(("views", "seen"), [("whole", [SIZE]), ("crops", [(16, 16)] * 8)])
def test_assistant_on_panoramas(
    root: Path, assistants: list[FakeAssistant], views: str, seen: list[tuple[int, int]]
) -> None:
    found = evaluate("assistant:some/model", data_of(root), views=views, device="cpu")
    assert found.miou == 1
    assert assistants[0].label_set == DENSEPASS
    assert assistants[0].sizes == seen * 2


def test_assistant_sees_the_whole_photo(root: Path, assistants: list[FakeAssistant]) -> None:
    found = evaluate("assistant:some/model", data_of(root), projection="photo", device="cpu")
    assert found.miou == 1
    evaluate("assistant:some/model", data_of(root), projection="photo", view_scale=1.5, device="cpu")
    assert assistants[0].sizes == [SIZE] * 2
    assert assistants[1].sizes == [(24, 96)] * 2


def test_assistant_error_names_subject_and_label_set(root: Path, assistants: list[FakeAssistant]) -> None:
    with pytest.raises(GoodSAMError, match=r"assistant:no/model.*densepass13.*no such model"):
        evaluate("assistant:no/model", data_of(root), device="cpu")


def test_missing_or_wrong_label_map_is_named(root: Path) -> None:
    write(root / "found/a.png", blobs(0))
    with pytest.raises(GoodSAMError, match=r"left/b\.png: missing"):
        evaluate(f"labels:{root / 'found'}", data_of(root))
    write(root / "found/left/b.png", np.full(SIZE, 18))
    with pytest.raises(GoodSAMError, match=r"left/b\.png: value 18 "):
        evaluate(f"labels:{root / 'found'}", data_of(root))


@pytest.mark.parametrize(
    ("subject", "options", "message"),
    [
        ("sam:x", {}, "must be student:DIR, student:OWNER/NAME, assistant:ID or labels:DIR"),
        ("labels", {}, "must be student:DIR"),
        ("labels:", {}, "must be student:DIR"),
        ("labels:/nowhere", {}, "no such folder"),
        ("labels:x,views=whole", {}, "'views' is no option of labels; it has label_set"),
        ("student:x,width=many", {}, "width must be a number"),
        ("assistant:x,views=fish", {}, "views must be one of whole, crops, tangent, auto"),
        ("assistant:x,scale=big", {}, "scale big: must be"),
        ("labels:x", {"workers": 0}, "--workers 0"),
        ("labels:x", {"limit": 0}, "--limit 0"),
        ("labels:x", {"projection": "fisheye"}, "panorama or photo"),
    ],
)
def test_refusals(root: Path, subject: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(GoodSAMError, match=message):
        evaluate(subject, data_of(root), **options)


def test_table_prints_percents(root: Path) -> None:
    write(root / "found/a.png", np.where(blobs(0) == 0, 255, blobs(0)))
    found = evaluate(f"labels:{root / 'found'}", data_of(root), limit=1, projection="photo")
    console = Console(width=200, record=True, file=StringIO())
    console.print(table(found))
    lines = {
        line.split("│")[1].strip(): line.split("│")[2].strip()
        for line in console.export_text().splitlines()
        if "│" in line
    }
    assert lines["road"] == "0.00"
    assert lines["sky"] == "100.00"
    assert lines["mIoU near the seam"] == "-"
    assert lines["coverage"] == f"{100 * found.coverage:.2f}"  # type: ignore[operator]


@pytest.mark.shared
def test_real_labels_against_themselves() -> None:
    camvid = SHARED / "camvid"
    if not camvid.is_dir():
        pytest.skip(f"no photos at {camvid}")
    data = f"folder:{camvid / 'images'},{camvid / 'labels'}"
    assert len(parse_data(data)) > 90
    found = evaluate(f"labels:{camvid / 'labels'}", data, projection="photo", limit=5)
    assert found.miou == found.boundary_f1 == 1
    assert 0 < found.ignored < found.pixels
