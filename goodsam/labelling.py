"""One panorama labelled: what the assistant says of its views merged, fused with the masks, and written.

Floats of 19 classes for each of 10,000 x 5,000 pixels are 3.8 GB, and fusion needs several of such. So P is kept at a
size that fits (`merged.MOST`), and what is needed at full size is made in bands of rows. The largest there:

    P                                    4 C bytes a pixel that is kept: 0.67 GB at most
    the panorama, and its car hidden     3 bytes a pixel each: 0.3 GB
    masks, one number a view's pixel     2 bytes: 0.5 GB for 26 views of 10 million pixels
    labels, confidence, stored P and E   5 bytes a pixel: 0.25 GB
    a band of a million pixels           about 0.8 GB: P and E, and some twenty parts of masks a pixel
    footprints of views                  nothing is kept of such a size (`views.KEPT_UP_TO`)

Before the bands the assistant sees one view after the other, beside P and the panorama: a SegFormer's widest layers
take 2.4 GB for a view of 10 million pixels, on the device that it runs on.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from torch import Tensor

from goodsam import files, targets
from goodsam.config import FusionOptions
from goodsam.dar.fusion import class_sums, pool
from goodsam.dar.merging import Joiner
from goodsam.labels import IGNORE
from goodsam.masks import Masks
from goodsam.merged import MergedViews
from goodsam.panorama import Panorama
from goodsam.profiling import timed
from goodsam.run import Run
from goodsam.teachers.assistant import Assistant, predict_views, whole_probabilities
from goodsam.views import Merger, View

Seen = Sequence[tuple[View, Masks]]


@dataclass(frozen=True)
class Labelled:
    """What there is to write of a panorama; arrays as files hold them."""

    merged: dict[str, np.ndarray]
    """`classes` and `probs` of P, see `targets.compress`."""
    ensemble: dict[str, np.ndarray]
    """Of E, alike."""
    labels: np.ndarray
    """uint8 (H, W), 255 where there is no scene."""
    confidence: np.ndarray
    """uint8 (H, W)."""


def label_panorama(
    run: Run,
    assistant: Assistant,
    stem: str,
    panorama: Panorama,
    seen: Seen,
    valid: np.ndarray,
    projection: targets.Projection | None,
    scales: Sequence[float],
    whole_view: bool,
    options: FusionOptions,
) -> Callable[[], None]:
    """Label one panorama; what is returned writes it, the label map last, since its being there means that all is.

    Args:
        run: where to.
        assistant: which names.
        stem: of the panorama.
        panorama: as the assistant sees it, the camera car hidden.
        seen: its views with the teacher's masks.
        valid: bool (H, W), False where the camera car is.
        projection: of the assistant's features; None where it has none.
        scales: by which views are enlarged for the assistant.
        whole_view: whether it also sees the whole panorama.
        options: of the fusion.
    """
    with timed("merge"):
        merged, levels = look(assistant, panorama, [view for view, _ in seen], projection, scales, whole_view)
    with timed("fuse"):
        labelled = fuse_bands(merged, seen, valid, options)
        features = {level: merger.result() for level, merger in levels.items()}
    return partial(_write, run, stem, labelled, features)


def _write(run: Run, stem: str, labelled: Labelled, features: dict[int, Tensor]) -> None:
    with timed("write"):
        files.write_npz(run.file("assistant_probs", stem), **labelled.merged)
        if features:
            targets.write_features(run.file("features", stem), features)
        files.write_npz(run.file("ensemble", stem), **labelled.ensemble)
        files.write_image(run.file("confidence", stem), labelled.confidence)
        files.write_image(run.file("labels", stem), labelled.labels)


def look(
    assistant: Assistant,
    panorama: Panorama,
    views: Sequence[View],
    projection: targets.Projection | None,
    scales: Sequence[float],
    whole_view: bool,
) -> tuple[MergedViews, dict[int, Merger]]:
    """The views' probabilities merged, and their projected features, level by level; see `label_panorama`."""
    geometry = panorama.geometry
    merged, levels = MergedViews(geometry, len(assistant.label_set)), {}
    for level, axes in (projection.axes if projection is not None else {}).items():
        size = targets.feature_size((geometry.height, geometry.width), level)
        levels[level] = Merger(geometry, axes.shape[1], size)
    for view, output in predict_views(assistant, panorama, views, scales):
        merged.add(view, output.probabilities[0])
        for level, merger in levels.items():
            assert projection is not None
            merger.add(view, projection(level, output.features[level][0].cpu()))
        del output  # before the assistant sees the next view
    merged.mean(whole_probabilities(assistant, panorama, scales) if whole_view else None)
    return merged, levels


def fuse_bands(
    merged: MergedViews, seen: Seen, valid: np.ndarray, options: FusionOptions, pixels: int | None = None
) -> Labelled:
    """P and E as they are stored, and what is read off E, one band of rows after the other.

    Twice over the bands: what P says of a mask is its mean over all of the mask.

    Args:
        merged: P.
        seen: views with their masks.
        valid: bool (H, W), False where there is no scene.
        options: of the fusion.
        pixels: of a band, see `views.bands`.
    """
    joiner = Joiner(seen, merged.geometry, pixels)
    sums, areas = np.zeros((joiner.count, merged.classes)), np.zeros(joiner.count, dtype=np.int64)
    for rows, said in merged.bands(pixels):
        masks = joiner.band(rows)
        sums, areas = sums + class_sums(said, masks), areas + masks.areas
    means = sums / np.maximum(areas, 1)[:, None]
    parts = []
    for rows, said in merged.bands(pixels):
        scene = valid[slice(*rows)]
        ensemble = pool(said, joiner.band(rows), options, means).ensemble
        confidence, labels = ensemble.max(0)
        sure = np.where(scene, (confidence * 255).round().byte().numpy(), 0).astype(np.uint8)
        names = np.where(scene, labels.byte().numpy(), IGNORE).astype(np.uint8)
        parts.append((*targets.compress(said, scene), *targets.compress(ensemble, scene), names, sure))
    joined = [np.concatenate(part, axis=-2) for part in zip(*parts, strict=True)]
    stored = [dict(zip(("classes", "probs"), joined[n : n + 2], strict=True)) for n in (0, 2)]
    return Labelled(stored[0], stored[1], joined[4], joined[5])
