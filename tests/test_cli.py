"""The command line, in a process as a user starts it: help, exit status, one sentence instead of a traceback."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import tiny
import yaml
from PIL import Image

from goodsam import __version__

VERBS = ("distill", "masks", "label", "train", "predict", "evaluate", "compare", "review", "streetworld")
BELOW = (("data", "check"), ("assistant", "train"))


def goodsam(*arguments: object) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "COLUMNS": "120"}
    command = [sys.executable, "-m", "goodsam", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


def test_version_and_help() -> None:
    assert goodsam("--version").stdout.strip() == f"goodsam {__version__}"
    text = goodsam("--help").stdout
    assert all(verb in text for verb in (*VERBS, "data", "assistant"))


@pytest.mark.parametrize("verb", [*((verb,) for verb in VERBS), *BELOW])
def test_help_of_each_verb_explains_every_option(verb: tuple[str, ...]) -> None:
    text = goodsam(*verb, "--help").stdout
    options = [line for line in text.splitlines() if "--" in line and "│" in line]
    assert len(options) >= (2 if verb == ("data", "check") else 5)
    for line in options:
        assert len(line.replace("│", "").split("  ")) >= 2, f"no explanation: {line}"
    if verb[0] in VERBS[:4]:
        for unit in ("degrees", "pixels", "0..1", "default"):
            assert unit in text


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cli")
    tiny.write_panoramas(folder / "photos", 2)
    tiny.write_assistant(folder / "assistant.onnx")
    return folder


def test_config_file_and_command_line_together(world: Path) -> None:
    (world / "run.yaml").write_text(f"sam: regions\nassistant: {world / 'assistant.onnx'}\nlimit: 2\nview-width: 120\n")
    done = goodsam("masks", world / "photos", "--out", world / "A", "--config", world / "run.yaml", "--limit", 1)
    assert done.returncode == 0, done.stderr
    recorded = yaml.safe_load((world / "A" / "run.yaml").read_text())["options"]
    assert (recorded["sam"], recorded["view_width"], recorded["limit"]) == ("regions", 120, 1)
    again = goodsam("masks", world / "photos", "--out", world / "A", "--config", world / "A" / "run.yaml")
    assert again.returncode == 0
    assert "already done" in again.stderr


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("distill", "nowhere", "--out", "RUN"), "nowhere: no such file or folder"),
        (("masks", "photos", "--out", "RUN", "--sam", "facebook/sam-vit-huge"), "--sam facebook/sam-vit-huge: not on"),
        (("distill", "photos", "--out", "RUN", "--sam", "regions", "--assistant", "a.onnx"), "a.onnx"),
        (("distill", "photos", "--out", "RUN", "--config", "none.yaml"), "--config none.yaml: cannot be read"),
        (("predict", "photos", "photos", "--out", "OUT"), "photos: not a student"),
        (("evaluate", "student:x", "--data", "cityscapes:x"), "cityscapes"),
    ],
)
def test_a_mistake_is_one_sentence(world: Path, arguments: tuple[str, ...], sentence: str, tmp_path: Path) -> None:
    known = {"photos": str(world / "photos"), "RUN": str(tmp_path / "RUN")}
    done = goodsam(*(known.get(word, word) for word in arguments))
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert sentence in done.stderr.replace(str(world / "photos"), "photos").replace("\n", " ")


def test_the_default_start_that_cannot_be_reached_lists_the_choices(world: Path) -> None:
    """Never a silent fall-back to random weights."""
    given = ("--sam", "regions", "--assistant", world / "assistant.onnx", "--steps", 1, "--device", "cpu")
    done = goodsam("distill", world / "photos", "--out", world / "B", *given)
    assert done.returncode == 1
    text = " ".join(done.stderr.split())
    assert "--init nvidia/mit-b0: not on this disk" in text
    assert "--init DIR" in text
    assert "--init random" in text
    assert not (world / "B").exists()  # said before anything long begins


def test_strict_and_exit_status(tmp_path: Path) -> None:
    photos = tiny.write_panoramas(tmp_path / "photos", 1)
    Image.new("CMYK", (200, 100)).save(photos / "ink.jpg")
    done = goodsam("masks", photos, "--out", tmp_path / "RUN", "--sam", "regions")
    assert done.returncode == 0
    assert "ink.jpg: ink colours (CMYK)" in done.stderr
    strict = goodsam("masks", photos, "--out", tmp_path / "RUN", "--sam", "regions", "--strict")
    assert strict.returncode == 1
    assert "1 of 2 inputs were left out" in strict.stderr


def test_streetworld_renders_labelled_scenes(tmp_path: Path) -> None:
    pytest.importorskip("embreex")
    given = ("--scenes", 2, "--seed", 5, "--camera", "strip", "--style", "target", "--size", "40x208")
    done = goodsam("streetworld", "--out", tmp_path / "world", *given)
    assert done.returncode == 0, done.stderr
    for folder, suffix in (("images", "jpg"), ("labels", "png"), ("instances", "png")):
        assert [path.name for path in sorted((tmp_path / "world" / folder).iterdir())] == [
            f"00000.{suffix}", f"00001.{suffix}",
        ]  # fmt: skip
    wrong = goodsam("streetworld", "--out", tmp_path / "world", "--scenes", 0)
    assert wrong.returncode == 1
    assert "--scenes 0: must be at least 1" in wrong.stderr


def test_streetworld_splits_set_style_and_seed(tmp_path: Path) -> None:
    pytest.importorskip("embreex")
    given = ("--out", tmp_path / "world", "--scenes", 1, "--size", "40x208")
    done = goodsam("streetworld", *given, "--split", "target-dev")
    assert done.returncode == 0, done.stderr
    table = json.loads((tmp_path / "world" / "scenes.json").read_text())
    assert (table["split"], table["style"], table["seed"]) == ("target-dev", "target", 202)
    for more, message in (
        (("--split", "target-dev", "--seed", 202), "leave out --seed and --style"),
        (("--split", "source-dev"), "must be one of source-train, source-test, target-unlabelled"),
    ):
        wrong = goodsam("streetworld", *given, *more)
        assert wrong.returncode == 1
        assert message in " ".join(wrong.stderr.split())
    plain = goodsam("streetworld", *given)
    assert plain.returncode == 0, plain.stderr
    table = json.loads((tmp_path / "world" / "scenes.json").read_text())
    assert (table["split"], table["style"], table["seed"]) == (None, "source", 0)


def test_an_interrupt_says_what_is_kept(tmp_path: Path) -> None:
    scenes = ("--scenes", "500", "--size", "40x208", "--out", str(tmp_path / "world"))
    process = subprocess.Popen(
        [sys.executable, "-m", "goodsam", "streetworld", *scenes], stderr=subprocess.PIPE, text=True
    )
    while not list(tmp_path.glob("world/images/*.jpg")):
        assert process.poll() is None
        time.sleep(0.05)
    said = ""
    while process.returncode is None:  # Python loses a signal that comes while a destructor runs; people press again
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            _, said = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "interrupted; what is finished is kept" in said
