"""How far a student agrees with the ensemble on panoramas that training does not see. No true label takes part."""

import logging
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from safetensors.torch import load_file, save
from torch.nn import functional as F

from goodsam import files, targets
from goodsam.images import read_photo
from goodsam.loader import Scene
from goodsam.metrics import confusion_matrix, iou_of
from goodsam.run import Input, Run
from goodsam.student import Student, resize
from goodsam.targets import shrink

log = logging.getLogger(__name__)

MOST = 16
"""Panoramas held back at most: enough to tell students apart, and a look at them takes time."""


@dataclass(frozen=True)
class Agreement:
    """With the ensemble's labels, which is not accuracy."""

    miou: float
    """Mean over the classes in the ensemble of intersection over union, 0..1."""
    pixel_accuracy: float
    """Share of the pixels with the ensemble's class, 0..1."""
    panoramas: int


def hold_back(
    inputs: Sequence[Input], share: float, seed: int, corrected: Collection[Input] = ()
) -> tuple[list[Input], list[Input]]:
    """Split inputs into those to train on and those held back: drawn at random, none where a share is below one.

    Those that a person corrected are never held back (our choice): they are few, and drawn to be learned from.
    """
    number = min(MOST, int(share * len(inputs)))
    order = np.random.default_rng(seed).permutation(len(inputs)).tolist()
    chosen = set([place for place in order if inputs[place] not in corrected][:number])
    kept = [item for place, item in enumerate(inputs) if place not in chosen]
    return kept, [item for place, item in enumerate(inputs) if place in chosen]


@torch.no_grad()
def agreement(student: Student, run: Run, inputs: Sequence[Input], scene: Scene, accelerator: Accelerator) -> Agreement:
    """Label whole panoramas, as `predict` does, and compare with the ensemble; processes share the panoramas.

    Args:
        student: in evaluation mode, on the accelerator's device.
        run: that holds the ensemble.
        inputs: the panoramas, at least one.
        scene: their size and classes.
        accelerator: of the training.
    """
    classes, half = len(scene.label_set), targets.half_size(scene.size)
    confusion = np.zeros((classes, classes + 1), dtype=np.int64)
    for item in inputs[accelerator.process_index :: accelerator.num_processes]:
        image = torch.from_numpy(read_photo(item.path)).permute(2, 0, 1).float() / 255
        logits = student(shrink(image, scene.size)[None].to(accelerator.device), wrap=True).logits
        found = resize(logits, half, wrap=True)[0].argmax(0).byte().cpu()
        wanted = targets.read_probabilities(run.file("ensemble", item.stem)).labels()
        if wanted.shape != found.shape:
            wanted = F.interpolate(wanted[None, None], half, mode="nearest-exact")[0, 0]
        confusion += confusion_matrix(wanted.numpy(), found.numpy(), classes)
    whole = accelerator.reduce(torch.from_numpy(confusion).to(accelerator.device)).cpu().numpy()
    ious = iou_of(whole)
    right = float(np.diag(whole).sum() / max(1, whole.sum()))
    return Agreement(float(np.nanmean(ious)) if not np.isnan(ious).all() else 0.0, right, len(inputs))


class Choice:
    """Looks at the student now and then, and keeps the best one in `RUN/train/best.safetensors`.

    Args:
        run: of the training.
        inputs: the panoramas held back; with none, every look is skipped and the last student is the best.
        scene: their size and classes.
        accelerator: of the training.
    """

    def __init__(self, run: Run, inputs: Sequence[Input], scene: Scene, accelerator: Accelerator) -> None:
        self._run, self._inputs, self._scene, self._accelerator = run, inputs, scene, accelerator
        self._best: Agreement | None = None
        self.stale = 0
        """Looks since the best one."""

    @property
    def panoramas(self) -> int:
        """How many are held back."""
        return len(self._inputs)

    def look(self, student: Student, step: int) -> dict[str, float]:
        """Compare the student with the best so far; returns values for the journal."""
        if not self._inputs:
            return {}
        found = agreement(student, self._run, self._inputs, self._scene, self._accelerator)
        self.stale += 1
        if self._best is None or found.miou >= self._best.miou:
            self._best, self.stale = found, 0
            if self._accelerator.is_main_process:
                weights = {name: value.contiguous().cpu() for name, value in student.state_dict().items()}
                files.write_bytes(self._path, save(weights))
        log.info("train: after step %d, agreement with held-back ensembles %.1f mIoU.", step + 1, 100 * found.miou)
        return {"agreement": found.miou}

    def finish(self, student: Student) -> Agreement | None:
        """Give the student the weights of the best look, and say how good that was; None where nothing is held back."""
        if self._best is not None:
            student.load_state_dict(load_file(self._path))
        return self._best

    @property
    def _path(self) -> Path:
        return self._run.train / "best.safetensors"

    def state_dict(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {"best": None if self._best is None else asdict(self._best), "stale": self.stale}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """From a checkpoint. Without its file (deleted by hand), the next look is the best again."""
        best = state["best"]
        if best is not None and self._path.exists():
            self._best, self.stale = Agreement(**best), int(state["stale"])
