"""What the ladder's students learn from: the targets of a run, made in other ways than its label stage makes them."""

from pathlib import Path

import numpy as np
import torch
from ladder_data import Clock
from ladder_scores import LABEL_SET, kept_folder
from ladder_world import Ladder

from goodsam import files, targets
from goodsam.ego import mount_of
from goodsam.run import Run
from goodsam.teachers.assistant import whole_probabilities

PLAIN, VIEWS, ENSEMBLE = "plain labels", "views", "ensemble"


def targets_run(ladder: Ladder, name: str) -> Run:
    """A run folder with the targets of all unlabelled strips, kept.

    Args:
        ladder: with the strips.
        name: PLAIN: the label map of the assistant on the whole panorama, as one-hot; VIEWS: what it says of the views,
            without masks; ENSEMBLE: as the label stage leaves it.
    """
    run = ladder.distilled(ladder.unlabelled, "masks", "label")
    if name == ENSEMBLE:
        return run
    made = Run(ladder.work / "targets" / name.replace(" ", "-"))
    decides = {"label": run.record("label")["fingerprint"], "strips": len(ladder.unlabelled.stems)}
    kept_folder(made.root, decides)
    for kept in ("label.json", "inputs.json", "run.yaml"):
        link(run.root / kept, made.root / kept)
    if name == VIEWS:
        for folder in ("ensemble", "assistant_probs"):
            link(run.root / "assistant_probs", made.root / folder)
        return made
    clock = Clock(ladder.work / "seconds.json")
    todo = [stem for stem in ladder.unlabelled.stems if not made.file("ensemble", stem).exists()]
    for stem in clock.track(todo, len(todo), f"targets {name} {files.fingerprint_of(decides)[:8]}"):
        said = whole_probabilities(ladder.assistant, ladder.unlabelled.panorama(stem))
        labels = torch.nn.functional.one_hot(said.argmax(0), len(LABEL_SET)).permute(2, 0, 1).float()
        valid = _valid(ladder, stem)
        targets.write_probabilities(made.file("assistant_probs", stem), said, valid)
        targets.write_probabilities(made.file("ensemble", stem), labels, valid)
    return made


def link(source: Path, link: Path) -> None:
    if not link.is_symlink():
        link.symlink_to(source.resolve())


def _valid(ladder: Ladder, stem: str) -> np.ndarray:
    """bool (H, W), False where the camera car is."""
    pixels = ladder.unlabelled.panorama(stem).pixels
    car = mount_of(pixels, ladder.cars(ladder.unlabelled))
    return np.ones(pixels.shape[:2], dtype=bool) if car is None else ~car.mask
