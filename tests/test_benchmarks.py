"""The benchmark scripts run to their end; what they measure is never asserted."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import tiny
from PIL import Image

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
