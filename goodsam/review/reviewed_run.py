"""The run that is reviewed: its panoramas, its classes, and how sure its labels are."""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from goodsam.errors import GoodSAMError
from goodsam.images import read_label_map
from goodsam.labels import IGNORE, LabelSet
from goodsam.panorama import geometry_of
from goodsam.run import Run


@dataclass(frozen=True)
class ReviewedRun:
    """A run with labels."""

    run: Run
    label_set: LabelSet
    photos: dict[str, Path]
    """stem -> its photo, of every panorama that has labels, sorted."""

    def confidence(self, stem: str) -> float:
        """Mean of `RUN/confidence` where there is a scene, weighted by solid angle: 0..1, 0 where there is none."""
        labels = read_label_map(self.run.file("labels", stem))
        sure = read_label_map(self.run.file("confidence", stem)) / 255
        seen_with = self.run.record("masks")["made_with"]
        geometry = geometry_of((labels.shape[0], labels.shape[1]), seen_with["vfov"], seen_with["horizon"])
        weight = (labels != IGNORE) * np.asarray(geometry.solid_angle_of_rows())[:, None]
        return float((weight * sure).sum() / max(float(weight.sum()), 1e-12))

    def choose(self, stems: Sequence[str] | None, least_sure: int | None) -> list[str]:
        """Which panoramas to review: those named, the least sure ones that have no correction yet, or all.

        Raises:
            GoodSAMError: both are asked for, an unknown name, or a number below 1.
        """
        if stems and least_sure is not None:
            raise GoodSAMError("--stems and --least-sure: give one of them.")
        if least_sure is not None and least_sure < 1:
            raise GoodSAMError(f"--least-sure {least_sure}: must be at least 1.")
        for stem in stems or ():
            if stem not in self.photos:
                near = difflib.get_close_matches(stem, self.photos, n=1) or list(self.photos)[:1]
                raise GoodSAMError(f"{self.run.root}: no labels of a panorama named {stem!r}; there is {near[0]!r}.")
        if least_sure is None:
            return sorted(set(stems)) if stems else list(self.photos)
        left = [stem for stem in self.photos if not self.run.file("corrections", stem).exists()]
        if not left:
            raise GoodSAMError(
                f"--least-sure {least_sure}: every panorama of {self.run.root} has a correction already."
            )
        return sorted(sorted(left, key=lambda stem: (self.confidence(stem), stem))[:least_sure])


def open_run(root: Path) -> ReviewedRun:
    """A run folder.

    Raises:
        GoodSAMError: no run, no labels in it, or two classes with one name, which no tool can tell apart.
    """
    run = Run(root)
    known, record = run.inputs(), run.record("label")
    if not known:
        raise GoodSAMError(f"{root}: not a run folder (it has no inputs.json); give the --out of goodsam distill.")
    photos = {stem: Path(entry["path"]) for stem, entry in known.items() if run.file("labels", stem).exists()}
    if not record or not photos:
        raise GoodSAMError(f"{root}: has no labels yet; run `goodsam label` first.")
    made_with = record["made_with"]
    colors = tuple((int(red), int(green), int(blue)) for red, green, blue in made_with["colors"])
    label_set = LabelSet(made_with["label_set"], tuple(made_with["classes"]), colors)
    twice = sorted({name for name in label_set.names if label_set.names.count(name) > 1})
    if twice:
        raise GoodSAMError(f"{root}: has two classes named {twice[0]!r}; give a --label-set with distinct names.")
    return ReviewedRun(run, label_set, dict(sorted(photos.items())))
