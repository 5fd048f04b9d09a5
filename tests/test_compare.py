"""Subjects side by side: figures as `evaluate` gives them, differences, pictures, the page."""

import base64
import io
import json
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import yaml
from PIL import Image
from rich.console import Console

from goodsam.comparison import compare, tables
from goodsam.comparison.passing import distinct
from goodsam.comparison.pictures import BETTER, BOTH, NONE, WORSE, difference_picture
from goodsam.errors import GoodSAMError
from goodsam.evaluation import evaluate
from goodsam.labels import LabelSet
from goodsam.student import new_student, save_student

SIZE, NUMBER = (24, 96), 8
ODD = "5 <b>&\"'"


def write(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.astype(np.uint8)).save(path)


def blobs(seed: int) -> np.ndarray:
    coarse = np.random.default_rng(seed).choice([*range(13), 255], size=(SIZE[0] // 6, SIZE[1] // 6))
    return coarse.repeat(6, axis=0).repeat(6, axis=1).astype(np.uint8)


def stem_of(seed: int) -> str:
    return ODD if seed == 5 else str(seed)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Panoramas and three subjects: `near` is off by one column; `far` by three; `mixed` as near, but on 2, 5, 7."""
    for seed in range(NUMBER):
        labels, stem = blobs(seed), stem_of(seed)
        write(tmp_path / f"labels/{stem}.png", labels)
        write(tmp_path / f"images/{stem}.png", labels[..., None].repeat(3, axis=2))
        write(tmp_path / f"near/{stem}.png", np.roll(labels, 1, axis=1))
        write(tmp_path / f"far/{stem}.png", np.roll(labels, 3, axis=1))
        off = {2: 0, 5: 4, 7: 2}.get(seed, 1)
        write(tmp_path / f"mixed/{stem}.png", np.roll(labels, off, axis=1))
    return tmp_path


def data_of(root: Path) -> str:
    return f"folder:{root / 'images'},{root / 'labels'},densepass13"


def on_disk(root: Path, *names: str) -> list[str]:
    return [f"labels:{root / name}" for name in names]


def test_figures_are_those_of_evaluate(root: Path) -> None:
    subjects = on_disk(root, "near", "far", "mixed")
    found = compare(subjects, data_of(root), limit=6, workers=2)
    alone = [evaluate(subject, data_of(root), limit=6, workers=1) for subject in subjects]
    assert [one.evaluation for one in found.subjects] == alone
    first, far, _ = found.subjects
    assert first.difference is first.difference_interval is None
    assert far.difference == alone[1].miou - alone[0].miou  # type: ignore[operator]
    assert far.per_class_difference["car"] == alone[1].per_class["car"] - alone[0].per_class["car"]  # type: ignore[operator]
    assert all(one.parameters is one.operations is one.milliseconds is None for one in found.subjects)


def test_the_interval_tells_a_real_difference_from_none(root: Path) -> None:
    _, far, near = compare(on_disk(root, "near", "far", "near"), data_of(root)).subjects
    assert far.difference_interval is not None
    assert far.difference_interval[0] < far.difference < far.difference_interval[1] < 0  # type: ignore[operator]
    assert far.sure
    assert near.difference_interval == [0, 0]
    assert not near.sure
    for seed in range(NUMBER):  # as often better as worse
        write(root / f"even/{stem_of(seed)}.png", np.roll(blobs(seed), 2 * (seed % 2), axis=1))
    _, even = compare(on_disk(root, "near", "even"), data_of(root)).subjects
    assert even.difference_interval is not None
    assert even.difference_interval[0] < 0 < even.difference_interval[1]


class Parsed(HTMLParser):
    """Tags must close; keeps titles, alternative texts and pictures."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.found: list[tuple[str, str]] = []
        self.pictures: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "img":
            self.found.append(("img", given["alt"] or ""))
            self.pictures.append(given["src"] or "")
        elif tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in ("h3", "h4", "b"):
            self.found.append((self.open[-1], data))


def test_the_page_shows_the_images_that_differ_most(root: Path) -> None:
    found = compare(on_disk(root, "near", "mixed"), data_of(root), out=root / "out")
    mixed = found.subjects[1]
    assert [one.stem for one in mixed.gains] == ["2"]
    assert [one.stem for one in mixed.losses] == [ODD, "7"]
    assert mixed.gains[0].later == 1
    text = (root / "out/compare.html").read_text()
    page = Parsed(text)
    titles = [text for tag, text in page.found if tag == "h4"]
    assert [title.partition(": B ")[0] for title in titles] == ["2", ODD, "7"]
    assert "<b>&" not in text
    assert len(page.pictures) == 3 * 5
    assert not re.search(r'(src|href)="(?!data:)', text)
    shown = [np.asarray(Image.open(io.BytesIO(base64.b64decode(one.partition(",")[2])))) for one in page.pictures]
    assert {picture.shape for picture in shown} == {(*SIZE, 3)}
    assert np.abs(shown[0].astype(int) - blobs(2)[..., None]).mean() < 8
    right = difference_picture(blobs(2), np.roll(blobs(2), 1, axis=1), blobs(2))
    assert np.abs(shown[4].astype(int) - right).mean() < 16


def test_what_is_kept_does_not_grow_and_pictures_are_shrunk(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("goodsam.comparison.pictures.WIDTH", 48)
    order = [3, 0, 4, 1, 2]
    for seed in range(NUMBER):
        write(root / f"slide/{stem_of(seed)}.png", np.roll(blobs(seed), order[seed % 5], axis=1))
    write(root / "labels/3.png", np.full(SIZE, 255))  # nothing to differ on
    near, slide = compare(on_disk(root, "near", "slide"), data_of(root), out=root / "out").subjects
    gains = {stem_of(seed): _miou(root, "slide", seed) - _miou(root, "near", seed) for seed in range(NUMBER)}
    known = sorted((gain, stem) for stem, gain in gains.items() if not np.isnan(gain))
    assert len(known) == NUMBER - 1
    assert [one.stem for one in slide.losses] == [stem for value, stem in known[:3] if value < 0]
    assert [one.stem for one in slide.gains] == [stem for value, stem in known[::-1][:3] if value > 0]
    assert {(one.width, one.height) for one in slide.gains[0].pictures} == {(48, 12)}
    assert near.gains == near.losses == []


def _miou(root: Path, name: str, seed: int) -> float:
    """Of one image, class by class."""
    labels, said = (np.array(Image.open(root / f"{folder}/{stem_of(seed)}.png")) for folder in ("labels", name))
    said = said[labels != 255]
    labels = labels[labels != 255]
    ious = [((labels == c) & (said == c)).sum() / ((labels == c) | (said == c)).sum() for c in np.unique(labels)]
    return float(np.mean(ious)) if ious else float("nan")


def test_difference_picture() -> None:
    truth, first, later = (np.array([row], np.uint8) for row in ([1, 1, 1, 1, 255], [1, 0, 1, 0, 255], [1, 1, 0, 2, 1]))
    expected = [BOTH, BETTER, WORSE, NONE, NONE]
    assert difference_picture(truth, first, later)[0].tolist() == [list(color) for color in expected]


def test_json_holds_everything(root: Path) -> None:
    found = compare(on_disk(root, "near", "mixed"), data_of(root), out=root / "out")
    read = json.loads((root / "out/compare.json").read_text())
    assert read == json.loads(json.dumps(found.to_json()))
    assert read["subjects"][1]["evaluation"] == evaluate(on_disk(root, "mixed")[0], data_of(root)).to_json()
    assert [one["image"] for one in read["subjects"][1]["losses"]] == [ODD, "7"]
    assert read["subjects"][1]["difference"] == found.subjects[1].difference
    assert "jpeg" not in json.dumps(read)


def test_one_name_twice_is_numbered(root: Path) -> None:
    found = compare(on_disk(root, "near", "near"), data_of(root), limit=1, out=root / "out")
    name = on_disk(root, "near")[0]
    assert [one.name for one in found.subjects] == [name, f"{name} (2)"]
    assert found.subjects[1].difference == 0
    assert found.subjects[1].difference_interval is None  # of one image
    assert "No image on which they differ" in (root / "out/compare.html").read_text()
    assert distinct(["a", "a (2)", "a", "a"]) == ["a", "a (2)", "a (3)", "a (4)"]


def test_flat_photos(root: Path) -> None:
    found = compare(on_disk(root, "near", "far"), data_of(root), projection="photo", out=root / "out")
    assert found.subjects[0].evaluation.seam_miou is None
    assert "\N{EN DASH}" in (root / "out/compare.html").read_text()


def test_terminal_tables_fit_80_columns(root: Path) -> None:
    found = compare(on_disk(root, "near", "far"), data_of(root))
    console = Console(width=80, record=True, file=io.StringIO())
    for part in tables(found):
        console.print(part)
    text = console.export_text()
    assert "…" not in text
    near, far = ([line for line in text.splitlines() if line.split()[:1] == [key]] for key in ("A", "B"))
    assert f"{100 * found.subjects[0].evaluation.miou:.2f}" in near[-1]  # type: ignore[operator]
    assert f"{100 * found.subjects[1].difference:+.2f}" in far[-1]  # type: ignore[operator]
    assert any(line.split()[0] == "sidewalk" and len(line.split()) == 4 for line in text.splitlines() if line.split())


@pytest.mark.parametrize(
    ("names", "options", "message"),
    [
        (("near",), {}, "takes two subjects or more; for one, goodsam evaluate labels:.*near --data folder:"),
        (("near", "nowhere"), {}, "nowhere: no such folder"),
        (("near", "far"), {"out": "x/compare.json"}, r"--out x/compare\.json: must be a folder"),
        (("near", "far"), {"limit": 0}, "--limit 0"),
    ],
)
def test_refusals(root: Path, names: tuple[str, ...], options: dict[str, Any], message: str) -> None:
    with pytest.raises(GoodSAMError, match=message):
        compare(on_disk(root, *names), data_of(root), **options)


def test_label_sets_that_do_not_fit_are_refused_before_anything_is_read(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (root / "rooms.yaml").write_text("name: rooms\nclasses: {wall: {}, floor: {}}\n")
    monkeypatch.setattr("goodsam.comparison.passing.score", lambda *_, **__: pytest.fail("something was computed"))
    with pytest.raises(GoodSAMError, match="rooms cannot be mapped to densepass13"):
        compare([*on_disk(root, "near"), f"labels:{root / 'far'},label_set={root / 'rooms.yaml'}"], data_of(root))


def test_a_student_and_an_onnx_assistant_on_the_command_line(tmp_path: Path) -> None:
    images = tiny.write_panoramas(tmp_path / "images", 3)
    for seed in range(3):
        nearest = np.abs(tiny.panorama(seed).astype(int)[..., None, :] - tiny.COLORS).sum(-1).argmin(-1)
        write(tmp_path / f"labels/pano{seed:02d}.png", nearest)
    classes = {name: {"color": color.tolist()} for name, color in zip(tiny.CLASSES, tiny.COLORS, strict=True)}
    (tmp_path / "own.yaml").write_text(yaml.safe_dump({"name": "own", "classes": classes}, sort_keys=False))
    assistant = tiny.write_assistant(tmp_path / "assistant.onnx")
    colors = tuple((int(red), int(green), int(blue)) for red, green, blue in tiny.COLORS)
    student = new_student("t", LabelSet("own", tiny.CLASSES, colors), "random")
    save_student(student, tmp_path / "student", (96, 512), 67.5, "a card")
    data = f"folder:{images},{tmp_path / 'labels'},{tmp_path / 'own.yaml'}"
    subjects = [f"student:{tmp_path / 'student'}", f"assistant:{assistant}"]
    command = [sys.executable, "-m", "goodsam", "compare", *subjects, "--data", data, "--out", str(tmp_path / "out")]
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "COLUMNS": "80"}
    done = subprocess.run(
        [*command, "--device", "cpu", "--views", "crops", "--workers", "1"],
        capture_output=True, text=True, env=environment, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    first, second = json.loads((tmp_path / "out/compare.json").read_text())["subjects"]
    assert first["parameters"] == sum(item.numel() for item in student.parameters())
    assert second["parameters"] == 304
    assert second["operations"] == 8 * 2 * 96 * 128 * 4 * 75
    assert first["operations"] > second["operations"]
    assert min(first["milliseconds"], second["milliseconds"]) > 0
    for one, subject in zip((first, second), subjects, strict=True):
        assert one["evaluation"] == evaluate(subject, data, device="cpu").to_json()
    assert second["difference_interval"][0] > 0
    assert "compare.html: written" in done.stderr
    assert all(f"{100 * one['evaluation']['miou']:.2f}" in done.stdout for one in (first, second))
