"""The benchmark scripts run to their end; what they measure is never asserted."""

import json
import subprocess
import sys
from pathlib import Path

import tiny

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
