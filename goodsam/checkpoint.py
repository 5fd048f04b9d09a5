"""What a training leaves while it runs: a checkpoint to go on from, and a journal of its losses."""

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
from torch.utils.tensorboard import SummaryWriter

from goodsam import files
from goodsam.errors import GoodSAMError, first_line


class Stateful(Protocol):
    """Anything that a checkpoint can hold: modules, optimisers, and objects of one's own."""

    def state_dict(self) -> Mapping[str, Any]:
        """Tensors and plain values."""

    def load_state_dict(self, state: Any, /) -> Any:
        """Take up what `state_dict` gave."""


def save_checkpoint(folder: Path, fingerprint: str, step: int, **parts: Stateful) -> None:
    """Write `train/checkpoint.pt`: everything that the next step depends on, part by part."""
    buffer = io.BytesIO()
    state = {name: dict(part.state_dict()) for name, part in parts.items()}
    torch.save({"fingerprint": fingerprint, "step": step, **state}, buffer)
    files.write_bytes(folder / "checkpoint.pt", buffer.getvalue())


def load_checkpoint(folder: Path, fingerprint: str, **parts: Stateful) -> int:
    """Take up a checkpoint of the same training; returns the next step, 0 without one.

    Raises:
        GoodSAMError: the file is damaged.
    """
    path = folder / "checkpoint.pt"
    if not path.exists():
        return 0
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises pickle, zip and runtime errors for a damaged file
        raise GoodSAMError(
            f"{path}: cannot be read ({first_line(error)}). Delete it to train from the start."
        ) from error
    if state["fingerprint"] != fingerprint or not parts.keys() <= state.keys():
        return 0
    for name, part in parts.items():
        part.load_state_dict(state[name])
    return int(state["step"])


class Journal:
    """`train/metrics.jsonl` and TensorBoard events: one entry a step.

    Args:
        folder: `RUN/train`.
        step: the first step to come; later entries, of steps after the last checkpoint, are dropped.
    """

    def __init__(self, folder: Path, step: int) -> None:
        self._path = folder / "metrics.jsonl"
        lines = self._path.read_text().splitlines() if self._path.exists() else []
        kept = [line for line in lines if line.endswith("}") and json.loads(line)["step"] < step]
        files.write_text(self._path, "".join(f"{line}\n" for line in kept))
        self._events = SummaryWriter(str(folder / "tensorboard"), purge_step=step, flush_secs=30)

    def write(self, step: int, values: Mapping[str, float], seconds: float) -> None:
        """One step: its losses, learning rate and the like, and seconds since this process began to train."""
        entry = {"step": step, **values, "seconds": round(seconds, 2)}
        with self._path.open("a") as file:
            file.write(json.dumps(entry) + "\n")
        for name, value in values.items():
            self._events.add_scalar(name, value, step)
