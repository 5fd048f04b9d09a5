"""The benchmark scripts run to their end; what they measure is never asserted."""

import importlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from PIL import Image

import goodsam
from goodsam.dar.merging import merge_masks
from goodsam.masks import PanoramaMasks, masks_from_arrays
from goodsam.panorama import geometry_of
from goodsam.views import WHOLE, Crop

ROOT = Path(__file__).resolve().parents[1]


def test_stages_writes_a_ratio_for_each_stage(tmp_path: Path) -> None:
    photos = tiny.write_panoramas(tmp_path / "photos", 2)
    assistant = tiny.write_assistant(tmp_path / "assistant.onnx")
    given = [f"--panoramas={photos}", f"--assistant={assistant}", "--train-size=48x256"]
    command = [sys.executable, ROOT / "benchmarks" / "stages.py", "--small", "--json", tmp_path / "out.json", *given]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    rows = json.loads((tmp_path / "out.json").read_text())["rows"]
    assert [row["stage"] for row in rows] == ["masks", "label", "train", "predict"]
    for row in rows:
        assert row["ratio"] > 0
        assert row["peak_mb"] > 50
        assert row["stage"] in done.stdout


def test_regions_writes_a_row_for_each_way_to_cut(tmp_path: Path) -> None:
    photos = tiny.write_panoramas(tmp_path / "photos", 2)
    (tmp_path / "labels").mkdir()
    for photo in photos.iterdir():
        distance = ((np.array(Image.open(photo)).astype(int)[..., None, :] - tiny.COLORS) ** 2).sum(-1)
        Image.fromarray(distance.argmin(-1).astype(np.uint8)).save(tmp_path / "labels" / photo.name)
    given = ["--images", photos, "--labels", tmp_path / "labels", "--small", "--json", tmp_path / "out.json"]
    command = [sys.executable, ROOT / "benchmarks" / "regions.py", *given]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "felzenszwalb" in done.stdout
    assert json.loads((tmp_path / "out.json").read_text())


def test_colours_writes_a_row_for_each_style_and_classifier(tmp_path: Path) -> None:
    pytest.importorskip("embreex", reason="the street world needs the `streetworld` extra")
    command = [sys.executable, ROOT / "benchmarks" / "colours.py", "--small", "--json", tmp_path / "out.json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    styles = json.loads((tmp_path / "out.json").read_text())["styles"]
    assert list(styles) == ["source", "target"]
    for style in styles.values():
        assert "target-test" not in (style["train"], style["test"])
        assert len(style["classifiers"]) == 4
        for name, row in style["classifiers"].items():
            assert 0 < row["miou"] < 1
            assert name in done.stdout


def test_ladder_goes_on_where_it_was_and_counts_as_evaluate_does(tmp_path: Path) -> None:
    pytest.importorskip("embreex", reason="the street world needs the `streetworld` extra")
    few = ["--unlabelled=2", "--test=2", "--spheres=1", "--choose=1", "--steps=2", "--batch-size=2", "--workers=1"]
    sizes = [
        "--size=64x256",
        "--sphere-size=128x256",
        "--train-size=64x256",
        "--sam=regions",
        "--adapt-steps=2",
        "--seeds=2",
    ]
    work, out = tmp_path / "work", tmp_path / "out.json"
    command = [sys.executable, ROOT / "benchmarks" / "ladder.py", "--work", work, "--json", out, *few, *sizes]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    result = json.loads(out.read_text())
    rows = {(row["data"], row["rung"]): row for row in result["rows"]}
    assert len(rows) == 49  # tangent views on the sphere alone; the tuned assistant and most students on strips
    for (_, rung), row in rows.items():
        assert rung in done.stdout
        assert row["seconds"] > 0
        assert all(item["low"] <= item["difference"] + 1e-12 for item in row["compared"] if item["seeds"] > 1)
        assert all(item["low"] <= item["high"] for item in row["compared"])
    seeded = {rung for (_, rung), row in rows.items() if len(row.get("seeds", ())) == 2}
    assert len(seeded) == 13  # five of what is adapted, and eight students
    assert {"adapted: both; our fusion, regions too", "student: ensemble", "+ average of the weights"} <= seeded
    assert sum(item["chosen"] for item in result["scales"]) == 1

    labels = work / "rungs" / "target-test-strip-64x256" / "our-fusion" / "labels"
    evaluation = goodsam.evaluate(f"labels:{labels}", f"streetworld:{work}/data/target-test-strip-64x256").to_json()
    for name in ("miou", "boundary_f1", "seam_miou", "pixel_accuracy", "per_class"):
        assert rows["strips", "our fusion"][name] == pytest.approx(evaluation[name])

    lost = labels.parent / "counts" / "00001.npz"
    lost.unlink()
    before = {path: path.stat().st_mtime_ns for path in work.rglob("*.*") if path.suffix in (".png", ".npz", ".jpg")}
    subprocess.run(command, capture_output=True, check=True)
    made_again = {lost, labels / "00001.png"}
    assert lost.exists()
    assert all(path.stat().st_mtime_ns == time for path, time in before.items() if path not in made_again)
    assert json.loads(out.read_text())["scales"] == result["scales"]


def test_teacher_measures_objects_photos_and_panoramas(tmp_path: Path) -> None:
    pytest.importorskip("embreex", reason="the street world needs the `streetworld` extra")
    photos = tiny.write_panoramas(tmp_path / "photos", 1)
    (tmp_path / "labels").mkdir()
    for photo in photos.iterdir():
        Image.fromarray((np.array(Image.open(photo))[..., 0] > 99).astype(np.uint8)).save(
            tmp_path / "labels" / photo.name
        )
    given = ["--strips=1", "--size=80x416", "--automatic=2", "--photos", photos, "--labels", tmp_path / "labels"]
    given += ["--panoramas", photos, "--assistant", tiny.write_assistant(tmp_path / "assistant.onnx")]
    command = [sys.executable, ROOT / "benchmarks" / "teacher.py", "--small", "--json", tmp_path / "out.json", *given]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    result = json.loads((tmp_path / "out.json").read_text())
    everything = result["street_world"]["table"]["all"]
    assert 0 <= everything["chosen"] <= everything["prompt"] <= 1
    assert -1 <= result["street_world"]["correlation"] <= 1
    for name in ("photos", "panoramas"):
        assert set(result[name]) == {"street", "regions"}
        assert 0 <= result[name]["regions"]["recall"] <= 1
    assert "street world" in done.stdout


def test_fusion_measures_every_form_on_strips_and_the_chosen_one_on_photos(tmp_path: Path) -> None:
    pytest.importorskip("embreex", reason="the street world needs the `streetworld` extra")
    photos = tiny.write_panoramas(tmp_path / "photos", 1)
    (tmp_path / "labels").mkdir()
    for photo in photos.iterdir():
        Image.fromarray(np.array(Image.open(photo))[..., 0] // 64).save(tmp_path / "labels" / photo.name)
    given = ["--strips=1", "--size=80x416", "--photos", photos, "--labels", tmp_path / "labels"]
    given += ["--photo-assistant", tiny.write_assistant(tmp_path / "assistant.onnx")]
    command = [sys.executable, ROOT / "benchmarks" / "fusion.py", "--small", "--json", tmp_path / "out.json", *given]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    result = json.loads((tmp_path / "out.json").read_text())
    assert len(result["strips"]) == 40
    assert len(result["photos"]) == 9
    for row in (*result["strips"], *result["photos"]):
        assert 0 < row["miou"] <= 1
        assert row["more"][1] <= row["more"][2]
        assert (row["more"][0] == 0) or (row["form"] != "assistant alone")
    assert "| true instances | logarithmic pool |" in done.stdout


def test_painting_with_a_gate_is_that_of_a_loop() -> None:
    """The form that fusion had before, which it is compared with."""
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        fusion = importlib.import_module("fusion")
    finally:
        sys.path.remove(str(ROOT / "benchmarks"))
    random = np.random.default_rng(0)
    size, views = (12, 24), []
    for view in (WHOLE, Crop(0.0, 180.0)):
        arrays = random.uniform(0, 1, (3, 12, 24 if view is WHOLE else 12)) < [[[0.8]], [[0.3]], [[0.1]]]
        views.append((view, masks_from_arrays(arrays, [0.9, 0.8, 0.7], [1.0, 0.9, 0.8])))
    geometry = geometry_of(size, 90.0)
    merged = torch.from_numpy(random.dirichlet(np.full(3, 0.3), size)).permute(2, 0, 1).float()
    masks = PanoramaMasks(size, "dots", tuple(views))
    joined = merge_masks(views, geometry)
    case = fusion.Case(merged, np.zeros(size, np.uint8), geometry, {}, True)
    expected = merged.flatten(1).T.double().numpy()
    start = expected.copy()
    member = joined.member.toarray() > 0
    for number in sorted(range(len(member)), key=lambda n: -joined.areas[n]):
        inside = np.flatnonzero(member[number])
        mean = start[inside].mean(0)
        agreement = (start[inside].argmax(1) == mean.argmax()).mean()
        gate = joined.scores[number] * min(1.0, max(0.0, (agreement - 0.5) / 0.4))
        for pixel in inside:
            expected[pixel] = (1 - gate) * expected[pixel] + gate * mean
    assert np.array_equal(fusion.painted(case, masks, joined), expected.argmax(1).reshape(size))


def test_train_puts_every_figure_beside_its_peer(tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    command = [sys.executable, ROOT / "benchmarks" / "train.py", "--small", "--json", out]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    result = json.loads(out.read_text())
    assert set(result) == {"options", "steps", "data", "sizes", "machine", "versions"}
    assert set(result["steps"]) == {"patches", "whole"}
    for found in result["steps"].values():
        names = [row["step"] for row in found["rows"]]
        assert names[::2] == ["plain", "plain head", "supervised"]
        assert names[1::2] == ["plain, half labels", "supervised, memory not kept", "distillation"]
        assert found["shape"] in done.stdout
        for row in found["rows"]:
            assert row["step"] in done.stdout
            assert len(row["turns"]) == result["options"]["steps"]
            assert min(row[name] for name in ("seconds", "images_per_second", "to_plain", "to_supervised")) > 0
            assert row["peak_mb"] > row["imports_mb"] > 50
    assert [row["work"] for row in result["data"]["loads"]] == ["decode JPEG alone", "load", "load, tilt 5"]
    assert all(row["milliseconds"] > 0 and row["of_a_step"] > 0 for row in result["data"]["loads"])
    assert [row["workers"] for row in result["data"]["trainings"]] == [0, 1]
    assert all(0 <= row["waiting"] <= 1 for row in result["data"]["trainings"])
    (size,) = result["sizes"]
    assert size["student"] == "t"
    assert size["operations"] < size["plain_operations"]  # counted, not measured
    assert min(value for value in size.values() if not isinstance(value, str)) > 0


def test_labels_measures_our_masks_and_goes_on_where_it_was(tmp_path: Path) -> None:
    pytest.importorskip("embreex", reason="the street world needs the `streetworld` extra")
    given = ["--small", "--size=64x256", "--presets", "fast", "--network=tiny", "--peers=none", "--workers=1"]
    work, out = tmp_path / "work", tmp_path / "out.json"
    command = [sys.executable, ROOT / "benchmarks" / "labels.py", "--work", work, "--json", out, *given]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    result = json.loads(out.read_text())
    (row,) = result["rows"].values()
    masks = row["masks"]
    assert masks["prompts"] >= 8  # at least one a view
    assert 0 < masks["kept"] <= 3 * masks["prompts"]
    assert 0 < masks["encoder"] + masks["decoder"] < masks["seconds"] < row["seconds"]
    assert 0 <= row["miou"] <= 1
    assert 0 <= row["boundary_f1"] <= 1
    assert row["peak_mb"] > 50
    assert row["times"] is None
    assert result["full"]["ours, fast"]["masks"]["prompts"] == row["view"]["prompts"]
    assert "ours, fast" in done.stdout

    before = {path: path.stat().st_mtime_ns for folder in ("ways", "full") for path in (work / folder).rglob("*.np*")}
    subprocess.run(command, capture_output=True, check=True)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert json.loads(out.read_text())["rows"] == result["rows"]


def test_evaluate_finds_the_same_miou_as_a_torchmetrics_loop(tmp_path: Path) -> None:
    """Both ways are run on two strips; how long they take is never asserted."""
    out = tmp_path / "out.json"
    command = [sys.executable, ROOT / "benchmarks" / "evaluate.py", "--number", "2", "--rounds", "1", "--json", out]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    rows = json.loads(out.read_text())["rows"]
    assert [(row["way"], row["workers"]) for row in rows] == [
        ("torchmetrics loop", 1), ("goodsam evaluate", 1), ("goodsam evaluate", 2),
    ]  # fmt: skip
    assert rows[0]["miou"] == pytest.approx(rows[1]["miou"], abs=1e-9)
    assert rows[1]["miou"] == rows[2]["miou"]
    assert all(row["images_per_second"] > 0 and row["memory"] > 50 for row in rows)
    assert "images/s" in done.stdout


def test_memory_measures_each_stage_in_a_process_of_its_own(tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    command = [sys.executable, ROOT / "benchmarks" / "memory.py", "--small", "--width=512", "--scale=1", "--json", out]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    rows = json.loads(out.read_text())["rows"]
    assert [(row["teacher"], row["stage"]) for row in rows] == [("regions", "masks"), ("regions", "label")]
    assert all(row["peak_mb"] > 50 for row in rows)
    assert "MB" in done.stdout
