"""Training on several processes: the same losses as on one, and what is left of it when it is killed.

On CPUs processes are started by torchrun; `accelerate launch` is a front of it on GPUs, and on CPUs would need MPI.
"""

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import tiny

from goodsam import pipeline
from goodsam.config import run_options

STEPS = 5
MODELS = ["--sam=regions", "--assistant=assistant.onnx", "--init=random", "--device=cpu"]
TRAINING = [
    f"--steps={STEPS}", "--batch-size=4", "--frozen-norm", "--workers=0", "--patch-size=96x128", "--patches=1",
    "--checkpoint-every=2", "--held-back=0.4", "--validate-every=2",
]  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tiny.write_panoramas(tmp_path / "photos", 5)
    tiny.write_assistant(tmp_path / "assistant.onnx")
    given = {"sam": "regions", "assistant": str(tmp_path / "assistant.onnx"), "init": "random", "device": "cpu"}
    pipeline.distill(tmp_path / "photos", tmp_path / "RUN", run_options(**given), ("masks", "label"))
    return tmp_path


def command(processes: int, *options: str) -> list[str]:
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"] if processes > 1 else []
    return [sys.executable, *launcher, "-m", "goodsam", "train", "photos", "--out=RUN", *MODELS, *TRAINING, *options]


def start(folder: Path, processes: int, *options: str) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    with (folder / "log").open("wb") as log:
        return subprocess.Popen(
            command(processes, *options), cwd=folder, env=environment, stdout=log, stderr=log, start_new_session=True
        )


def train(folder: Path, processes: int, *options: str) -> list[dict[str, float]]:
    assert start(folder, processes, *options).wait() == 0, (folder / "log").read_text()[-3000:]
    return journal(folder)


def kill(process: subprocess.Popen[bytes]) -> None:
    """kill -9 of a launcher and of its workers, which have sessions of their own."""
    listed = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    parent_of = dict(map(int, line.split()) for line in listed.splitlines())
    family = {process.pid}
    while more := {pid for pid, parent in parent_of.items() if parent in family} - family:
        family |= more
    for pid in family:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.wait()


def journal(folder: Path) -> list[dict[str, float]]:
    path = folder / "RUN" / "train" / "metrics.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    return [json.loads(line) for line in lines if line.endswith("}")]


def forget(folder: Path) -> None:
    """As if nothing had been trained."""
    for name in ("train", "student"):
        (folder / "RUN" / name).rename(folder / f"{name}-{time.monotonic_ns()}")
    (folder / "RUN" / "train.json").unlink()


def test_two_processes_give_the_losses_of_one_and_survive_being_killed(folder: Path) -> None:
    alone = train(folder, 1)
    assert [entry["step"] for entry in alone] == list(range(STEPS))
    assert [entry["step"] for entry in alone if "agreement" in entry] == [1, 3, 4]
    forget(folder)
    parts = train(folder, 1, "--accumulate=2")
    forget(folder)

    running = start(folder, 2)
    random_step = random.randrange(1, STEPS - 1)
    while len(journal(folder)) <= random_step and running.poll() is None:
        time.sleep(0.02)
    kill(running)
    together = train(folder, 2)
    for entries in (parts, together):
        assert len(entries) == STEPS
        for one, other in zip(alone, entries, strict=True):
            for name in ("loss", "ens", "ta", "learning_rate"):
                assert other[name] == pytest.approx(one[name], rel=1e-5), (random_step, one, other)
    assert together[-1]["agreement"] == pytest.approx(alone[-1]["agreement"], abs=2e-3)
    log = (folder / "log").read_text()
    assert "2 process(es)" in log
    assert log.count("train: student of") == 1  # one process talks
