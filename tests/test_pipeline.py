"""The whole path, run as a user runs it: what it leaves, what it skips, what it survives."""

import errno
import gzip
import json
import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tiny
import yaml
from PIL import Image

import goodsam
from goodsam import files, pipeline, predictor
from goodsam.config import run_options
from goodsam.errors import GoodSAMError
from goodsam.schedule import resolve_precision
from goodsam.targets import read_probabilities

MADE = ("masks", "assistant_probs", "ensemble", "labels", "confidence")
TRAINING = {"student": "t", "init": "random", "steps": 2, "batch_size": 2, "workers": 0, "device": "cpu"}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("world")
    tiny.write_panoramas(folder / "photos", 3)
    tiny.write_assistant(folder / "assistant.onnx")
    return folder


def options(world: Path, **changed: object) -> dict[str, object]:
    return {"sam": "regions", "assistant": str(world / "assistant.onnx"), **TRAINING, **changed}


def label_run(photos: Path, out: Path, world: Path, **changed: object) -> Path:
    pipeline.distill(photos, out, run_options(**options(world, **changed)), ("masks", "label"))
    return out


@pytest.fixture(scope="module")
def finished(world: Path) -> Path:
    goodsam.distill(world / "photos", out=world / "RUN", **options(world))
    return world / "RUN"


def test_the_run_holds_what_the_design_says(finished: Path) -> None:
    stems = ["pano00", "pano01", "pano02"]
    for folder, suffix in zip(MADE, (".json.gz", ".npz", ".npz", ".png", ".png"), strict=True):
        assert sorted(path.name for path in (finished / folder).iterdir()) == [stem + suffix for stem in stems]
    assert {path.name for path in (finished / "student").iterdir()} == {
        "config.json", "model.safetensors", "preprocessor_config.json", "README.md",
    }  # fmt: skip
    assert (finished / "train" / "metrics.jsonl").exists()
    assert list((finished / "train" / "tensorboard").iterdir())
    for stage in ("masks", "label", "train"):  # nothing is adapted by default
        record = json.loads((finished / f"{stage}.json").read_text())
        assert record["finished"]
        assert len(record["fingerprint"]) == 64
    assert not (finished / "features").exists()  # an ONNX file has none
    assert not list(finished.rglob("*.tmp"))


def test_run_yaml_records_options_versions_and_weights(finished: Path, world: Path) -> None:
    value = yaml.safe_load((finished / "run.yaml").read_text())
    assert value["options"]["sam"] == "regions"
    assert value["options"]["temperature"] == 1.0
    assert value["options"]["train_size"] == "96x512"  # resolved
    assert value["options"]["precision"] == resolve_precision(run_options())  # of this machine
    assert value["versions"]["goodsam"] == goodsam.__version__
    (weights,) = value["weights"]
    assert weights["sha256"] == files.sha256_of(world / "assistant.onnx")
    assert weights["licence"] == "CC0-1.0"
    assert value["left_out"] == {}


def test_masks_file_has_the_form_of_the_design(finished: Path) -> None:
    value = json.loads(gzip.decompress((finished / "masks" / "pano00.json.gz").read_bytes()))
    assert value["size"] == [96, 512]
    assert value["teacher"] == "regions"
    assert len(value["views"]) == 8
    view = value["views"][0]
    assert view["view"] == {"yaw": -180.0, "width": 90.0, "kind": "crop"}
    assert view["size"] == [96, 128]
    assert set(view["masks"][0]) == {"rle", "area", "iou", "stability"}


def test_labels_and_confidence_are_read_off_the_ensemble(finished: Path) -> None:
    labels = np.array(Image.open(finished / "labels" / "pano00.png"))
    confidence = np.array(Image.open(finished / "confidence" / "pano00.png"))
    stored = read_probabilities(finished / "ensemble" / "pano00.npz")
    assert labels.shape == confidence.shape == (96, 512)
    assert stored.classes.shape == (3, 48, 256)
    assert set(np.unique(labels)) <= set(range(len(tiny.CLASSES)))
    agree = labels[::2, ::2] == stored.classes[0].numpy()
    assert agree.mean() > 0.95  # a block of 2x2 pixels may hold two classes
    assert abs(confidence[::2, ::2].astype(float) - stored.probs[0].numpy())[agree].mean() < 8


def test_the_ensemble_is_right_on_a_world_that_the_assistant_knows(finished: Path) -> None:
    labels = np.array(Image.open(finished / "labels" / "pano00.png"))
    image = tiny.panorama(0).astype(int)
    truth = ((image[..., None, :] - tiny.COLORS) ** 2).sum(-1).argmin(-1)
    assert (labels == truth).mean() > 0.95


def test_the_student_labels_new_panoramas(finished: Path, tmp_path: Path) -> None:
    Image.fromarray(tiny.panorama(99)).save(tmp_path / "new.png")
    prediction = goodsam.load(finished / "student", "cpu").predict(tmp_path / "new.png")
    assert prediction.labels.shape == tiny.SIZE
    assert prediction.label_set.names == tiny.CLASSES
    assert goodsam.predict(finished / "student", [tmp_path / "new.png"], out=tmp_path / "out", device="cpu") == 1
    assert (np.array(Image.open(tmp_path / "out" / "labels" / "new.png")) == prediction.labels).all()


def test_a_second_call_does_nothing(finished: Path, world: Path, caplog: pytest.LogCaptureFixture) -> None:
    before = {path: path.stat().st_mtime_ns for name in (*MADE, "student") for path in (finished / name).iterdir()}
    with caplog.at_level(logging.INFO, "goodsam"):
        goodsam.distill(world / "photos", out=finished, **options(world))
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert "masks: 3 panoramas already done" in caplog.text
    assert "train: already done" in caplog.text


def test_two_shards_leave_the_bytes_of_one_process(finished: Path, world: Path, tmp_path: Path) -> None:
    for stage in ("masks", "label"):
        for shard in ("1/2", "2/2"):
            given = run_options(**options(world, shard=shard))
            pipeline.distill(world / "photos", tmp_path / "RUN", given, (stage,))
    assert tiny.tree(tmp_path / "RUN", *MADE) == tiny.tree(finished, *MADE)
    assert json.loads((tmp_path / "RUN" / "label.json").read_text())["finished"]


def test_a_shard_labels_what_it_has_masked(world: Path, tmp_path: Path) -> None:
    for stage in ("masks", "label"):
        pipeline.distill(world / "photos", tmp_path / "RUN", run_options(**options(world, shard="1/2")), (stage,))
    masked = {path.name.split(".")[0] for path in (tmp_path / "RUN" / "masks").iterdir()}
    assert len(masked) == 2
    assert {path.stem for path in (tmp_path / "RUN" / "labels").iterdir()} == masked


def test_a_larger_limit_only_adds_files(finished: Path, world: Path, tmp_path: Path) -> None:
    label_run(world / "photos", tmp_path / "RUN", world, limit=2)
    first = {path: path.stat().st_mtime_ns for name in MADE for path in (tmp_path / "RUN" / name).iterdir()}
    assert len(first) == 2 * len(MADE)
    label_run(world / "photos", tmp_path / "RUN", world)
    assert {path: path.stat().st_mtime_ns for path in first} == first
    assert tiny.tree(tmp_path / "RUN", *MADE) == tiny.tree(finished, *MADE)


def test_other_options_set_aside_and_bring_back(world: Path, tmp_path: Path) -> None:
    run = label_run(world / "photos", tmp_path / "RUN", world, limit=1)
    before = tiny.tree(run, *MADE)
    label_run(world / "photos", run, world, limit=1, mask_weight=0.5)
    assert tiny.tree(run, "masks") == {name: data for name, data in before.items() if name.startswith("masks/")}
    assert tiny.tree(run, "ensemble") != {n: d for n, d in before.items() if n.startswith("ensemble/")}
    assert len(list((run / "stale").iterdir())) == 1
    label_run(world / "photos", run, world, limit=1)
    assert tiny.tree(run, *MADE) == before


def test_a_photo_that_changed_is_done_again(world: Path, tmp_path: Path) -> None:
    photos = tiny.write_panoramas(tmp_path / "photos", 2)
    run = label_run(photos, tmp_path / "RUN", world)
    before = tiny.tree(run, "labels")
    Image.fromarray(tiny.panorama(7)).save(photos / "pano01.png")
    label_run(photos, run, world)
    after = tiny.tree(run, "labels")
    assert after["labels/pano00.png"] == before["labels/pano00.png"]
    assert after["labels/pano01.png"] != before["labels/pano01.png"]


def test_a_given_camera_car_is_255_and_has_no_weight(world: Path, tmp_path: Path) -> None:
    mask = np.zeros(tiny.SIZE, dtype=np.uint8)
    mask[80:] = 255
    Image.fromarray(mask).save(tmp_path / "car.png")
    run = label_run(world / "photos", tmp_path / "RUN", world, limit=1, ego=str(tmp_path / "car.png"))
    labels = np.array(Image.open(run / "labels" / "pano00.png"))
    assert (labels[80:] == 255).all()
    assert (labels[:80] != 255).all()
    _, valid = read_probabilities(run / "ensemble" / "pano00.npz").dense(4)
    assert not valid[40:].any()
    assert valid[:40].all()


def test_a_camera_car_of_another_size_is_refused(world: Path, tmp_path: Path) -> None:
    Image.fromarray(np.zeros((10, 20), dtype=np.uint8)).save(tmp_path / "car.png")
    with pytest.raises(GoodSAMError, match=r"car\.png: is 20x10 pixels, the panorama is 512x96"):
        label_run(world / "photos", tmp_path / "RUN", world, limit=1, ego=str(tmp_path / "car.png"))


def test_rolling_by_a_view_step_rolls_the_ensemble(world: Path, tmp_path: Path) -> None:
    """At least 99.9 % of pixels: views see the same pixels; only ties in the order of painting may differ."""
    step = tiny.SIZE[1] // 8
    photos = tmp_path / "photos"
    photos.mkdir()
    Image.fromarray(tiny.panorama(3)).save(photos / "a.png")
    Image.fromarray(np.roll(tiny.panorama(3), step, axis=1)).save(photos / "b.png")
    run = label_run(photos, tmp_path / "RUN", world)
    a, b = (np.array(Image.open(run / "labels" / f"{name}.png")) for name in "ab")
    assert (np.roll(a, step, axis=1) == b).mean() >= 0.999


@pytest.mark.shared
def test_rolling_a_real_panorama_rolls_the_ensemble(shared: Path, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    source = sorted((shared / "panoramas" / "panoramax").glob("*.jpg"))[4]
    pixels = np.array(Image.open(source))
    Image.fromarray(pixels).save(photos / "a.png")
    Image.fromarray(np.roll(pixels, 256, axis=1)).save(photos / "b.png")
    assistant = str(shared / "models" / "espnetv2-cityscapes.onnx")
    given = run_options(sam="regions", assistant=assistant, device="cpu")
    pipeline.distill(photos, tmp_path / "RUN", given, ("masks", "label"))
    a, b = (np.array(Image.open(tmp_path / "RUN" / "labels" / f"{name}.png")) for name in "ab")
    assert (np.roll(a, 256, axis=1) == b).mean() >= 0.999


def test_bad_inputs_are_left_out_named_and_counted(
    world: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    photos = tiny.write_panoramas(tmp_path / "photos", 2)
    (photos / "empty.jpg").touch()
    (photos / "text.jpg").write_text("not a photo")
    whole = (photos / "pano00.png").read_bytes()
    (photos / "cut.png").write_bytes(whole[: len(whole) // 2])
    Image.new("RGB", (100, 100)).save(photos / "square.png")
    with caplog.at_level(logging.INFO, "goodsam"):
        run = label_run(photos, tmp_path / "RUN", world)
    assert {path.stem for path in (run / "labels").iterdir()} == {"pano00", "pano01"}
    left_out = yaml.safe_load((run / "run.yaml").read_text())["left_out"]
    assert set(left_out) == {"empty", "text", "cut", "square"}
    assert "--vfov" in left_out["square"]
    assert "4 of 6 inputs were left out" in caplog.text
    assert "panoramas of 512x96 pixels span 67.5 degrees of pitch (--vfov), seen through 8 crops" in caplog.text
    with pytest.raises(GoodSAMError, match="4 of 6 inputs were left out"):
        label_run(photos, run, world, strict=True)


def test_nothing_readable_is_an_error(world: Path, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "empty.jpg").touch()
    with pytest.raises(GoodSAMError, match=r"1 of 1 inputs were left out.*empty\.jpg: the file is empty"):
        label_run(tmp_path / "photos", tmp_path / "RUN", world)


def test_a_full_disk_loses_nothing(
    world: Path, tmp_path: Path, finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = []
    replace = os.replace

    def fills_up(source: str, target: Path) -> None:
        if Path(target).parent.name in MADE:
            if len(written) == 8:
                raise OSError(errno.ENOSPC, "No space left on device")
            written.append(target)
        replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(files.os, "replace", fills_up)
        with pytest.raises(GoodSAMError, match=r"No space left on device.*run the same command again"):
            label_run(world / "photos", tmp_path / "RUN", world)
    kept = tiny.tree(tmp_path / "RUN", *MADE)
    assert len(kept) == 8
    assert not list((tmp_path / "RUN").rglob("*.tmp"))
    label_run(world / "photos", tmp_path / "RUN", world)
    complete = tiny.tree(tmp_path / "RUN", *MADE)
    assert complete == tiny.tree(finished, *MADE)
    assert {name: complete[name] for name in kept} == kept


def test_stages_ask_for_what_comes_before(world: Path, tmp_path: Path) -> None:
    with pytest.raises(GoodSAMError, match="has no masks yet; run `goodsam masks` first"):
        pipeline.distill(world / "photos", tmp_path / "RUN", run_options(**options(world)), ("label",))
    with pytest.raises(GoodSAMError, match="has no labels yet; run `goodsam label` first"):
        pipeline.distill(world / "photos", tmp_path / "RUN", run_options(**options(world)), ("train",))


def test_a_shard_cannot_be_distilled(world: Path, tmp_path: Path) -> None:
    with pytest.raises(GoodSAMError, match="--shard is for `goodsam masks` and `goodsam label`"):
        pipeline.distill(world / "photos", tmp_path / "RUN", run_options(**options(world, shard="1/2")))
    assert not (tmp_path / "RUN").exists()


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"shard": "3/2"}, "--shard 3/2: must be I/N"),
        ({"limit": 0}, "--limit 0: must be at least 1"),
        ({"ego": "maybe"}, "--ego maybe: must be auto, off or a PNG file"),
        ({"mask_weight": -1.0}, "--mask-weight -1: must be 0 or more"),
        ({"view_scale": "0"}, "--view-scale 0: must be auto, or factors above 0"),
        ({"view_step": 50.0}, "--view-step 50: must divide 360"),
        ({"label_set": "nonsense"}, "label set 'nonsense': must be one of"),
        ({"label_set": "densepass13"}, "label set densepass13: classes 'sidewalk', 'wall'"),
        ({"assistant": "no/such-model"}, "--assistant no/such-model: not on this disk"),
        ({"sam": "missing"}, "--sam missing: no such folder"),
    ],
)
def test_a_wrong_option_is_one_sentence(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: dict[str, object], sentence: str
) -> None:
    def unreachable(*args: object, **kwargs: object) -> str:
        raise OSError("no connection")

    monkeypatch.setattr("goodsam.weights.snapshot_download", unreachable)
    with pytest.raises(GoodSAMError) as caught:
        label_run(world / "photos", tmp_path / "RUN", world, **{"limit": 1} | changed)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


# -- kill -9 --------------------------------------------------------------------------------------------------------


def command(photos: Path, out: Path, world: Path) -> list[str]:
    given = [f"--{name.replace('_', '-')}={value}" for name, value in options(world, steps=16).items()]
    return [sys.executable, "-m", "goodsam", "distill", str(photos), "--out", str(out), *given, "--checkpoint-every=2"]


def kill_when(arguments: list[str], ready: Path, pattern: str, number: int) -> None:
    """Run a command and kill it as soon as `number` files match; fails if it ends before."""
    process = subprocess.Popen(arguments, stderr=subprocess.DEVNULL)
    while len(list(ready.glob(pattern))) < number:
        assert process.poll() is None, f"ended before {number} of {pattern} were there"
        time.sleep(0.002)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL


def test_kill_in_each_stage_then_the_same_command(world: Path, tmp_path: Path) -> None:
    photos = tiny.write_panoramas(tmp_path / "photos", 10)
    out = tmp_path / "RUN"
    arguments = command(photos, out, world)
    kill_when(arguments, out, "masks/*.json.gz", 2)
    assert len(list(out.glob("masks/*.json.gz"))) < 10
    kill_when(arguments, out, "labels/*.png", 2)
    assert len(list(out.glob("labels/*.png"))) < 10
    kill_when(arguments, out, "train/checkpoint.pt", 1)
    assert not (out / "student").exists()
    subprocess.run(arguments, check=True, stderr=subprocess.DEVNULL)

    whole = tmp_path / "whole"
    subprocess.run(command(photos, whole, world), check=True, stderr=subprocess.DEVNULL)
    assert tiny.tree(out, *MADE) == tiny.tree(whole, *MADE)
    resumed, straight = (_losses(run / "train" / "metrics.jsonl") for run in (out, whole))
    assert list(resumed) == list(range(16))
    assert resumed == pytest.approx(straight, rel=1e-5)
    assert predictor.load(out / "student", "cpu").label_set.names == tiny.CLASSES


def _losses(path: Path) -> dict[int, float]:
    entries = [json.loads(line) for line in path.read_text().splitlines()]
    return {entry["step"]: entry["loss"] for entry in entries}
