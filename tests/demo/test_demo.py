"""A demo small enough for a test: everything but the size is what `goodsam demo` does."""

import dataclasses
import json
import re
import shutil
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
import tiny
from PIL import Image

from goodsam import cli, demo, evaluate, pipeline
from goodsam.demo import strips
from goodsam.demo.page import NEXT
from goodsam.errors import GoodSAMError

pytest.importorskip("embreex")

ROOT = Path(__file__).resolve().parents[2]
KEYS = ["start", "assistant_whole", "assistant_views", "ensemble", "student"]
TINY = demo.DemoOptions(
    unlabelled=2, test=2, shown=1, size=(64, 320), sam="regions", steps=2, batch_size=1, train_size="64x320",
    train_workers=0, render_workers=1, device="cpu",
)  # fmt: skip


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished demo. Not to be changed by a test."""
    folder = tmp_path_factory.mktemp("demo") / "out"
    demo.run_demo(folder, TINY)
    return folder


VOID = ("img", "meta", "line", "polyline")


class Page(HTMLParser):
    """Figures, links, sources and pictures of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.figures: dict[str, str] = {}
        self.outside: list[str] = []
        self.alts: list[str] = []
        self.open: list[str] = []
        self._figure: str | None = None
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self._figure = given.get("data-figure")
        if tag == "img":
            self.alts.append(given["alt"] or "")
        self.outside += [
            f"{tag} {name}={value}"
            for name, value in attrs
            if tag != "a" and value and not value.startswith("data:image/jpeg;base64,") and "://" in value
        ]
        if tag in ("script", "link", "iframe"):
            self.outside.append(tag)
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._figure:
            self.figures[self._figure] = data
            self._figure = None


def times_of(folder: Path) -> dict[str, int]:
    """When each file that was made from something was written."""
    kept = ("unlabelled", "test", "predictions", "evaluations", "masks", "labels", "student", "train")
    single = ("metrics.json", "report.html", "demo.jpg", "times.json")
    return {
        path.relative_to(folder).as_posix(): path.stat().st_mtime_ns
        for path in folder.rglob("*")
        if path.is_file() and (path.name in single or set(kept) & set(path.relative_to(folder).parts))
    }


def test_everything_is_there(out: Path) -> None:
    metrics = json.loads((out / "metrics.json").read_text())
    assert list(metrics) == KEYS
    for key, evaluation in metrics.items():
        assert evaluation["images"] == 2, key
        assert evaluation["label_set"] == "densepass13"
    assert metrics["start"]["subject"] == "student:street"
    assert metrics["student"]["subject"] == f"student:{out / 'run' / 'student'}"
    with Image.open(out / "demo.jpg") as picture:
        assert picture.width == 320
        assert picture.height > 4 * 64
    assert (out / "run" / "student" / "model.safetensors").is_file()


def test_metrics_are_what_evaluate_says(out: Path) -> None:
    metrics = json.loads((out / "metrics.json").read_text())
    data = f"streetworld:{out / 'test'}"
    assert evaluate(f"student:{out / 'run' / 'student'}", data, device="cpu").to_json() == metrics["student"]
    assert evaluate("assistant:street", data, views="whole", device="cpu").to_json() == metrics["assistant_whole"]


def test_the_page_says_what_metrics_json_says(out: Path) -> None:
    metrics = json.loads((out / "metrics.json").read_text())
    page = Page((out / "report.html").read_text())
    assert page.open == []
    wanted = {f"{key}.{name}": metrics[key][name] for key in KEYS for name in ("miou", "boundary_f1", "seam_miou")}
    for key in ("start", "assistant_views", "ensemble", "student"):
        wanted |= {f"{key}.per_class.{name}": value for name, value in metrics[key]["per_class"].items()}
    shown = {name: None if value is None else f"{100 * value:.1f}" for name, value in wanted.items()}
    assert {name: None if text == "\N{EN DASH}" else text for name, text in page.figures.items()} == shown


def test_the_page_needs_nothing_else(out: Path) -> None:
    text = (out / "report.html").read_text()
    page = Page(text)
    assert page.outside == []
    assert not re.search(r"url\(|@import|src=\"(?!data:)", text)
    assert len(page.alts) == 7
    assert all(page.alts)
    assert 'name="viewport"' in text
    assert "prefers-color-scheme: dark" in text
    assert "$" not in text.split("</style>")[1]


def test_the_page_repeats_the_readme() -> None:
    readme = (ROOT / "README.md").read_text().splitlines()
    for _, command in NEXT:
        assert command in readme


def test_labels_of_the_unlabelled_are_gone_before_anything_learns(out: Path) -> None:
    assert sorted(path.name for path in (out / "unlabelled").iterdir()) == ["images", "made_with.json"]
    assert [path.name for path in sorted((out / "unlabelled" / "images").iterdir())] == ["00000.jpg", "00001.jpg"]
    read = json.loads((out / "run" / "inputs.json").read_text())
    assert {Path(entry["path"]).parent for entry in read.values()} == {out / "unlabelled" / "images"}


def test_a_second_run_makes_nothing_anew(out: Path) -> None:
    before = times_of(out)
    assert len(before) > 30
    demo.run_demo(out, TINY)
    assert times_of(out) == before


def test_the_command(out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    """A smaller demo in the folder of a larger one takes what is there; the larger one finds all of its own again."""
    folder = tmp_path / "copy"
    shutil.copytree(out, folder)
    before = times_of(folder)
    fewer = dataclasses.replace(TINY, unlabelled=1, test=1, steps=1)
    monkeypatch.setattr(demo, "FULL", TINY)
    monkeypatch.setattr(demo, "FAST", fewer)
    monkeypatch.setattr(sys, "argv", ["goodsam", "demo", "--out", str(folder), "--fast"])
    with pytest.raises(SystemExit, match=r"^0$"):
        cli.main()
    said = capsys.readouterr().out
    assert "What each step brings" in said
    assert "Student after" in said
    assert str(folder / "report.html") in said.replace("\n", "")
    metrics = json.loads((folder / "metrics.json").read_text())
    assert [metrics[key]["images"] for key in KEYS] == [1] * 5
    after = times_of(folder)
    same = [name for name in before if name.startswith(("unlabelled", "test/", "run/masks", "run/labels"))]
    assert {name: before[name] for name in same} == {name: after[name] for name in same}

    demo.run_demo(folder, TINY)
    first, again = (json.loads((path / "metrics.json").read_text()) for path in (out, folder))
    assert {key: first[key]["confusion"] for key in KEYS} == {key: again[key]["confusion"] for key in KEYS}


def test_a_stopped_rendering_goes_on(out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped while a strip was moved in, and before it was listed; with two processes this time."""
    folder = tmp_path / "out"
    shutil.copytree(out, folder, ignore=shutil.ignore_patterns("*run", "predictions", "evaluations"))
    table = json.loads((folder / "test" / "scenes.json").read_text())
    (folder / "test" / "scenes.json").write_text(json.dumps(table | {"scenes": table["scenes"][:1]}))
    (folder / "test" / "instances" / "00001.png").unlink()
    (folder / "test" / "labels" / "00007.png").write_text("left over")
    (folder / "unlabelled" / "images" / "00000.jpg").unlink()
    stopped = KeyboardInterrupt()
    monkeypatch.setattr(pipeline, "distill", lambda *_: (_ for _ in ()).throw(stopped))
    with pytest.raises(KeyboardInterrupt):
        demo.run_demo(folder, dataclasses.replace(TINY, render_workers=2))
    assert tiny.tree(folder, "test", "unlabelled") == tiny.tree(out, "test", "unlabelled")
    assert not (folder / "rendering").exists()


def test_mistakes_are_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(GoodSAMError, match="is a file; give a folder"):
        demo.run_demo(tmp_path / "file", TINY)
    with pytest.raises(GoodSAMError, match="holds other things than a demo"):
        demo.run_demo(tmp_path, TINY)
    monkeypatch.setattr("goodsam.weights._ASSETS", tmp_path)
    with pytest.raises(GoodSAMError, match=r"--assistant street: .*not part of this installation"):
        demo.run_demo(tmp_path / "new", TINY)
    monkeypatch.undo()
    monkeypatch.setattr(strips.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(GoodSAMError, match=r"embreex.*pip install 'goodsam\[streetworld\]'"):
        demo.run_demo(tmp_path / "new", TINY)


def test_fast_is_the_beginning_of_full() -> None:
    same = ("size", "sam", "assistant", "init", "preset", "train_size")
    assert {name: getattr(demo.FAST, name) for name in same} == {name: getattr(demo.FULL, name) for name in same}
    assert demo.FAST.unlabelled <= demo.FULL.unlabelled
    assert demo.FAST.test <= demo.FULL.test
