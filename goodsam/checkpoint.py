"""What a training leaves while it runs: a checkpoint to go on from, and a journal of its losses."""

import io
import json
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.tensorboard import SummaryWriter

from goodsam import files
from goodsam.errors import GoodSAMError, first_line
from goodsam.mka.loss import Loss


def save_checkpoint(
    folder: Path, fingerprint: str, model: dict[str, Any], optimizer: dict[str, Any], step: int
) -> None:
    """Write `train/checkpoint.pt`: everything that the next step depends on."""
    buffer = io.BytesIO()
    torch.save({"fingerprint": fingerprint, "step": step, "model": model, "optimizer": optimizer}, buffer)
    files.write_bytes(folder / "checkpoint.pt", buffer.getvalue())


def load_checkpoint(folder: Path, fingerprint: str, module: nn.Module, optimizer: torch.optim.Optimizer) -> int:
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
    if state["fingerprint"] != fingerprint:
        return 0
    module.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
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

    def write(self, step: int, loss: Loss, rate: float, seconds: float) -> None:
        """One step: its loss, its terms, the learning rate, and seconds since this process began to train."""
        values = {"loss": loss.total.item()} | {name: value.item() for name, value in loss.terms.items()}
        values["learning_rate"] = rate
        entry = {"step": step} | values | {"seconds": round(seconds, 2)}
        with self._path.open("a") as file:
            file.write(json.dumps(entry) + "\n")
        for name, value in values.items():
            self._events.add_scalar(name, value, step)
