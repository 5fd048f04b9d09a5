"""Every command of the page on reviewing runs, one after the other."""

import re
import shlex
import shutil
import sys
from pathlib import Path

import pytest
from review.shapes import labelled_run, options

from goodsam import cli

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "review.md").read_text()
COMMANDS = [line for text in re.findall(r"```sh\n(.*?)```", PAGE, re.S) for line in text.strip().splitlines()]


def run(line: str, monkeypatch: pytest.MonkeyPatch, more: list[str]) -> None:
    monkeypatch.setattr(sys, "argv", [*shlex.split(line), *more])
    try:
        cli.main()
    except SystemExit as ended:
        assert ended.code in (0, None), line  # noqa: PT017 (a command may end by returning or by exiting)


def test_the_commands_run_in_their_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    labelled_run(tmp_path)
    monkeypatch.chdir(tmp_path)
    training = [f"--{name.replace('_', '-')}={value}" for name, value in options(tmp_path).items()]
    for line in COMMANDS:
        run(line, monkeypatch, training if line.startswith("goodsam train") else [])
        if "--to" in line:
            shutil.make_archive("CORRECTED", "zip", "TO_CORRECT")
    assert len(list(Path("RUN/corrections").rglob("*.png"))) == 3
    assert Path("RUN/student/model.safetensors").exists()


def test_the_files_that_the_page_names_are_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    labelled_run(tmp_path, 2)
    monkeypatch.chdir(tmp_path)
    written = {
        "cvat": {"labels.json", "annotations.xml"},
        "label-studio": {"labels.xml", "tasks.json"},
        "coco": {"annotations/instances_default.json"},
    }
    for tool, names in written.items():
        run(f"goodsam review RUN --to {tool} --stems left/pano01 --out {tool}", monkeypatch, [])
        found = {path.relative_to(tool).as_posix() for path in Path(tool).rglob("*") if path.is_file()}
        assert found == names | {"images/left/pano01.png"}
        assert all(f"`{name}`" in PAGE for name in names)
