"""Several rounds: the student of one is the assistant of the next, and nothing is done twice."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest
import tiny
import yaml

import goodsam
from goodsam import files, pipeline
from goodsam.config import run_options
from goodsam.errors import GoodSAMError
from goodsam.run import Run


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rounds")
    tiny.write_panoramas(folder / "photos", 2)
    tiny.write_assistant(folder / "assistant.onnx")
    return folder


def given(world: Path, **changed: Any) -> dict[str, Any]:
    values = {"sam": "regions", "assistant": str(world / "assistant.onnx"), "init": "random", "device": "cpu"}
    return values | {"steps": 2, "batch_size": 1, "workers": 0, "patches": 1, "patch_size": "96x128"} | changed


def made(run: Path) -> dict[str, bytes]:
    return {
        name: content
        for name, content in tiny.tree(run, "labels", "ensemble", "student", "rounds").items()
        if "tensorboard" not in name and "README" not in name
    }


@pytest.fixture(scope="module")
def one(world: Path) -> dict[str, bytes]:
    """A run of one round that becomes, in the tests below, one of two rounds."""
    goodsam.distill(world / "photos", out=world / "RUN", **given(world))
    return made(world / "RUN")


def test_the_student_of_the_first_round_labels_for_the_second(
    world: Path, one: dict[str, bytes], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "goodsam")
    goodsam.distill(world / "photos", out=world / "RUN", **given(world, rounds=2, adapt_steps=0))
    text = caplog.text
    assert text.index("round 1 of 2") < text.index("label: 2 panoramas already done") < text.index("round 2 of 2")
    assert text.count("train: student of") == 1  # the first round is taken over, not made again
    first = {f"rounds/1/{name}": content for name, content in one.items()}
    now = made(world / "RUN")
    assert first.items() <= now.items()
    assert now["labels/pano00.png"] != one["labels/pano00.png"]

    record = Run(world / "RUN").record("label")["made_with"]
    student = world / "RUN" / "rounds" / "1" / "student"
    assert record["weights"] == [files.sha256_of(student / "model.safetensors")]
    assert record["classes"] == list(tiny.CLASSES)
    start = Run(world / "RUN").record("train")["made_with"]["start"]
    assert start == record["weights"]  # and it goes on learning
    assert (world / "RUN" / "features" / "pano00.npz").exists()  # the student has features, the ONNX file had none
    assert not (world / "RUN" / "rounds" / "1" / "masks").exists()  # masks are those of the run


def test_going_back_to_one_round_makes_nothing_again(world: Path, one: dict[str, bytes]) -> None:
    both = made(world / "RUN")
    goodsam.distill(world / "photos", out=world / "RUN", **given(world))
    assert one.items() <= made(world / "RUN").items()
    goodsam.distill(world / "photos", out=world / "RUN", **given(world, rounds=2))
    assert made(world / "RUN") == both


def test_a_later_assistant_is_adapted_though_the_first_could_not_be(world: Path, one: dict[str, bytes]) -> None:
    goodsam.distill(world / "photos", out=world / "RUN", **given(world, rounds=2, adapt_steps=1))
    adapted = files.sha256_of(world / "RUN" / "assistant" / "model.safetensors")
    assert Run(world / "RUN").record("label")["made_with"]["weights"] == [adapted]
    assert not (world / "RUN" / "rounds" / "1" / "assistant").exists()
    used = yaml.safe_load((world / "RUN" / "run.yaml").read_text())["weights"]
    assert adapted in {item["sha256"] for item in used}


def test_shards_label_a_later_round_once_the_first_is_trained(world: Path, tmp_path: Path) -> None:
    options = given(world, rounds=2)
    pipeline.distill(world / "photos", tmp_path / "RUN", run_options(**options), ("masks",))
    assert not (tmp_path / "RUN" / "rounds").exists()
    with pytest.raises(GoodSAMError, match=r"--shard: .*1 has no student yet.*--rounds less by one first"):
        pipeline.distill(world / "photos", tmp_path / "RUN", run_options(**options, shard="1/2"), ("label",))
    goodsam.distill(world / "photos", out=tmp_path / "RUN", **given(world))
    for shard in ("1/2", "2/2"):
        pipeline.distill(world / "photos", tmp_path / "RUN", run_options(**options, shard=shard), ("label",))
    assert json.loads((tmp_path / "RUN" / "label.json").read_text())["finished"]
    goodsam.distill(world / "photos", out=tmp_path / "RUN", **options)
    assert json.loads((tmp_path / "RUN" / "train.json").read_text())["finished"]


def test_no_round_is_refused(world: Path, tmp_path: Path) -> None:
    with pytest.raises(GoodSAMError, match="--rounds 0: must be at least 1"):
        goodsam.distill(world / "photos", out=tmp_path / "RUN", **given(world, rounds=0))
