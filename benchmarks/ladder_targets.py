"""What the ladder's students learn from: the targets of a run, made in other ways than its label stage makes them."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from ladder_data import Clock
from ladder_scores import LABEL_SET, kept_folder
from ladder_steps import fused, fusion_options
from ladder_world import ADAPTED, Ladder

from goodsam import files, targets
from goodsam.ego import mount_of
from goodsam.run import Run
from goodsam.teachers.assistant import merged_probabilities, whole_probabilities
from goodsam.views import lay_views

PLAIN, VIEWS, ENSEMBLE, RICH = "plain labels", "views", "ensemble", "rich ensemble"
Pair = tuple[torch.Tensor, torch.Tensor]
"""Probabilities of the assistant and of the ensemble, float32 (C, H, W)."""


def targets_run(ladder: Ladder, name: str) -> Run:
    """A run folder with the targets of all unlabelled strips, kept.

    Args:
        ladder: with the strips.
        name: PLAIN: the label map of the assistant on the whole panorama, as one-hot; VIEWS: what it says of the views,
            without masks; ENSEMBLE: as the label stage leaves it; RICH: of the adapted assistant, fused with the
            teacher's masks and regions, as by `--adapt-steps` and `--sam NAME+regions`.
    """
    run = ladder.distilled(ladder.unlabelled, "masks", "label")
    if name == ENSEMBLE:
        return run
    made = Run(ladder.work / "targets" / name.replace(" ", "-"))
    decides = {"label": run.record("label")["fingerprint"], "strips": len(ladder.unlabelled.stems)}
    makers: dict[str, Callable[[str], Pair]] = {
        PLAIN: lambda stem: _plain(ladder, stem), RICH: lambda stem: _rich(ladder, run, stem),
    }  # fmt: skip
    if name == RICH:
        decides |= {"fusion": fusion_options(), "adapted": [item.sha256 for item in ladder.adapted(ADAPTED, 0).weights]}
    kept_folder(made.root, decides)
    for kept in ("label.json", "inputs.json", "run.yaml"):
        link(run.root / kept, made.root / kept)
    if name == VIEWS:
        for folder in ("ensemble", "assistant_probs"):
            link(run.root / "assistant_probs", made.root / folder)
        return made
    link(run.root / "features", made.root / "features")
    clock = Clock(ladder.work / "seconds.json")
    todo = [stem for stem in ladder.unlabelled.stems if not made.file("ensemble", stem).exists()]
    for stem in clock.track(todo, len(todo), f"targets {name} {files.fingerprint_of(decides)[:8]}"):
        assistant, ensemble = makers[name](stem)
        valid = _valid(ladder, stem)
        targets.write_probabilities(made.file("assistant_probs", stem), assistant, valid)
        targets.write_probabilities(made.file("ensemble", stem), ensemble, valid)
    return made


def link(source: Path, link: Path) -> None:
    if not link.is_symlink():
        link.symlink_to(source.resolve())


def _plain(ladder: Ladder, stem: str) -> Pair:
    said = whole_probabilities(ladder.assistant, ladder.unlabelled.panorama(stem))
    labels = torch.nn.functional.one_hot(said.argmax(0), len(LABEL_SET)).permute(2, 0, 1).float()
    return said, labels


def _rich(ladder: Ladder, run: Run, stem: str) -> Pair:
    panorama = ladder.seen(ladder.unlabelled, stem)
    views = lay_views(panorama.geometry)
    merged = merged_probabilities(ladder.adapted(ADAPTED, 0), panorama, views)
    return merged, fused(merged, ladder.masks_and_regions(run, ladder.unlabelled, stem), panorama.geometry)


def _valid(ladder: Ladder, stem: str) -> np.ndarray:
    """bool (H, W), False where the camera car is."""
    pixels = ladder.unlabelled.panorama(stem).pixels
    car = mount_of(pixels, ladder.cars(ladder.unlabelled))
    return np.ones(pixels.shape[:2], dtype=bool) if car is None else ~car.mask
