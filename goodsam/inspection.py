"""One picture per panorama of every step, from what a run holds: why a pixel got its class."""

import difflib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from goodsam import drawing, predictor
from goodsam.config import FusionOptions
from goodsam.dar.fusion import pool
from goodsam.dar.merging import MergedMasks, merge_masks
from goodsam.errors import GoodSAMError
from goodsam.images import read_label_map
from goodsam.labels import IGNORE, LabelSet
from goodsam.masks import read_masks
from goodsam.panorama import Panorama, read_panorama
from goodsam.run import Run
from goodsam.targets import read_probabilities
from goodsam.views import View, footprint

WIDTH = 1600
"""Largest width of the picture, pixels."""


def inspect_run(root: Path, stems: Sequence[str], out: Path | None = None) -> list[Path]:
    """Write one picture of every step for each of some panoramas.

    Args:
        root: the run folder; masks and labels must be there.
        stems: names of panoramas, as those of the label maps without `.png`.
        out: folder for the pictures; default RUN/inspect.
    Returns:
        their paths.
    Raises:
        GoodSAMError: not a run, or no such panorama in it.
    """
    run = Run(root)
    known = run.inputs()
    if not known:
        raise GoodSAMError(f"{root}: not a run folder (it has no inputs.json); give the --out of goodsam distill.")
    paths = []
    for stem in stems:
        if stem not in known:
            near = difflib.get_close_matches(stem, known, n=1) or sorted(known)[:1]
            raise GoodSAMError(f"{root}: no panorama named {stem!r}; there is {near[0]!r}.")
        if not run.file("labels", stem).exists():
            raise GoodSAMError(f"{root}: {stem} has no labels yet; run `goodsam label` first.")
        path = (out or root / "inspect") / f"{stem}.jpg"
        drawing.stack(path, steps_of(run, stem, Path(known[stem]["path"])))
        paths.append(path)
    return paths


def steps_of(run: Run, stem: str, photo: Path) -> list[tuple[str, np.ndarray]]:
    """Caption and picture, uint8 (h, w, 3), of every step of one panorama, all of one width."""
    made, seen_with = run.record("label")["made_with"], run.record("masks")["made_with"]
    label_set = LabelSet(made["label_set"], tuple(made["classes"]), tuple((r, g, b) for r, g, b in made["colors"]))
    panorama = read_panorama(photo, seen_with["vfov"], seen_with["horizon"])
    labels = read_label_map(run.file("labels", stem))
    stored, _ = read_probabilities(run.file("assistant_probs", stem)).dense(len(label_set))
    merged = F.interpolate(stored[None], labels.shape, mode="bilinear", align_corners=False)[0]
    before = np.where(labels == IGNORE, IGNORE, merged.argmax(0).numpy()).astype(np.uint8)
    moved = 100 * float((before != labels)[labels != IGNORE].mean())
    colors = label_set.colorize(labels)
    sure = read_label_map(run.file("confidence", stem)) / 255
    strips = _masks_of(run, stem, panorama, before, label_set)
    strips += _fusion_of(run, stem, panorama, merged, label_set)
    strips += [
        (f"ensemble: {moved:.1f} % of the pixels have another class than the assistant's", colors),
        ("what fusion changed, in its new class", _on_grey(panorama.pixels, colors, before != labels)),
        ("confidence of the ensemble, 0 black to 1 yellow", drawing.heat(sure)),
    ]
    if run.student.exists():
        strips.append(("student", label_set.colorize(predictor.load(run.student).predict(panorama).labels)))
    photos = 3  # the first pictures are photographs, and may be smoothed; the others are colours that mean something
    strips = [(text, drawing.narrowed(picture, WIDTH, n < photos)) for n, (text, picture) in enumerate(strips)]
    key = drawing.legend(label_set, _shares(labels, panorama, len(label_set)), strips[0][1].shape[1])
    return [*strips, ("classes, with the ensemble's share of the solid angle", key)]


def _masks_of(
    run: Run, stem: str, panorama: Panorama, before: np.ndarray, label_set: LabelSet
) -> list[tuple[str, np.ndarray]]:
    """What the teacher saw, beside the assistant's classes."""
    seen = read_masks(run.file("masks", stem))
    masks = merge_masks(seen.views, panorama.geometry)
    number = sum(len(found) for _, found in seen.views)
    return [
        (
            f"{stem}: {len(seen.views)} views, borders in white",
            view_picture(panorama, [view for view, _ in seen.views]),
        ),
        (
            f"masks of {seen.teacher}: {number} in all views, {len(masks.areas)} once joined",
            drawing.mask_picture(panorama.pixels, masks),
        ),
        (
            "borders: of masks white, of the assistant's classes orange, of both green",
            border_picture(panorama.pixels, masks, before),
        ),
        ("assistant, merged over the views", label_set.colorize(before)),
    ]


def _fusion_of(
    run: Run, stem: str, panorama: Panorama, merged: torch.Tensor, label_set: LabelSet
) -> list[tuple[str, np.ndarray]]:
    """What the masks have to say, and how much."""
    masks = merge_masks(read_masks(run.file("masks", stem)).views, panorama.geometry)
    pooled = pool(merged, masks, FusionOptions(**run.record("label")["made_with"]["fusion"]))
    share = pooled.share.numpy()
    said = np.where(share > 0, pooled.masks_say.argmax(0).numpy(), IGNORE).astype(np.uint8)
    most = max(1e-6, float(share.max()))
    return [
        (
            f"what the masks say: likeliest class of those that hold a pixel, {100 * (share > 0).mean():.0f} % of all",
            label_set.colorize(said),
        ),
        (f"how much they have to say, 0 black to {most:.2f} yellow", drawing.heat(share / most)),
    ]


def _shares(labels: np.ndarray, panorama: Panorama, number: int) -> np.ndarray:
    """Share of the solid angle of each class, (C,), 255 left out."""
    weight = np.repeat(panorama.geometry.solid_angle_of_rows(), labels.shape[1])
    inside = (labels != IGNORE).ravel()
    counts = np.bincount(labels.ravel()[inside], weights=weight[inside], minlength=number)
    return counts / max(counts.sum(), 1e-12)


def view_picture(panorama: Panorama, views: Sequence[View]) -> np.ndarray:
    """The panorama with the border of every view: uint8 (H, W, 3)."""
    picture = panorama.pixels.copy()
    size = (panorama.geometry.height, panorama.geometry.width)
    for view in views:
        inside = np.zeros(size, dtype=bool)
        inside.ravel()[footprint(view, panorama.geometry, size).index.numpy()] = True
        picture[inside & drawing.borders(inside)] = 255
    return picture


def border_picture(pixels: np.ndarray, masks: MergedMasks, labels: np.ndarray) -> np.ndarray:
    """The panorama darkened, under the borders of masks and of a label map: uint8 (H, W, 3)."""
    of_masks = np.zeros(labels.shape, dtype=bool)
    for number in range(len(masks.areas)):
        part = slice(masks.member.indptr[number], masks.member.indptr[number + 1])
        mask = np.zeros(labels.shape, dtype=bool)
        mask.ravel()[masks.member.indices[part][masks.member.data[part] >= 0.5]] = True
        of_masks |= mask & drawing.borders(mask)
    of_classes = drawing.borders(labels)
    near = torch.from_numpy(of_masks)[None, None].float()
    both = of_classes & (F.max_pool2d(near, 3, stride=1, padding=1)[0, 0].numpy() > 0)  # as good as on each other
    picture = (pixels * 0.45).astype(np.uint8)
    picture[of_masks] = 255
    picture[of_classes] = (240, 140, 20)
    picture[both] = (60, 220, 90)
    return picture


def _on_grey(pixels: np.ndarray, colors: np.ndarray, where: np.ndarray) -> np.ndarray:
    grey = np.repeat(pixels.mean(2, keepdims=True) * 0.55 + 45, 3, axis=2).astype(np.uint8)
    return np.where(where[..., None], colors, grey)
