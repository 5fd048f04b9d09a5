"""Label maps to send through the formats, and a run that has them."""

from pathlib import Path

import numpy as np
import tiny
from scipy import ndimage

from goodsam import pipeline
from goodsam.config import run_options
from goodsam.labels import LabelSet

CLASSES = LabelSet(
    "own", ("road", "sky", 'a "b" & <c>', "traffic light", "Straße"),
    ((128, 64, 128), (70, 130, 180), (1, 2, 3), (250, 170, 30), (0, 0, 0)),
)  # fmt: skip


def blobs(seed: int, size: tuple[int, int] = (37, 90)) -> np.ndarray:
    """Blobs of five classes and of 255, uint8 (H, W)."""
    noise = np.random.default_rng(seed).normal(size=(6, *size))
    smooth = ndimage.gaussian_filter(noise, (0, 3, 3), mode="wrap")
    ids = np.array([0, 1, 2, 3, 4, 255], dtype=np.uint8)
    return ids[smooth.argmax(0)]


def one_pixel() -> np.ndarray:
    """A class of one pixel at each corner of an unlabelled picture, and one in a field of another."""
    labels = np.full((9, 14), 255, dtype=np.uint8)
    labels[0, 0], labels[0, -1], labels[-1, 0], labels[-1, -1] = 0, 1, 2, 3
    labels[3:6, 3:9] = 4
    labels[4, 5] = 0
    return labels


MAPS = {
    **{f"blobs{seed}": blobs(seed) for seed in range(4)},
    "noise": np.random.default_rng(9).choice(np.array([0, 1, 4, 255], dtype=np.uint8), (31, 53)),
    "one pixel": one_pixel(),
    "a full image": np.full((20, 30), 3, dtype=np.uint8),
    "wide": np.repeat(np.arange(5, dtype=np.uint8), 40)[:, None] * np.ones((1, 900), dtype=np.uint8),
}
"""The wide one has runs longer than Label Studio's longest length."""


def labelled_run(folder: Path, number: int = 3) -> Path:
    """A run whose panoramas lie in sub-folders and are labelled: PHOTOS/left/pano00.png, ..."""
    photos = tiny.write_panoramas(folder / "PHOTOS" / "left", number)
    (folder / "PHOTOS" / "right").mkdir()
    (photos / "pano00.png").rename(folder / "PHOTOS" / "right" / "pano00.png")
    tiny.write_assistant(folder / "assistant.onnx")
    pipeline.distill(folder / "PHOTOS", folder / "RUN", run_options(**options(folder)), ("masks", "label"))
    return folder / "RUN"


def options(folder: Path, **changed: object) -> dict[str, object]:
    """Of a training of two steps."""
    given = {"sam": "regions", "assistant": str(folder / "assistant.onnx"), "init": "random", "steps": 2}
    return given | {"batch_size": 1, "workers": 0, "device": "cpu", "patches": 1, "patch_size": "96x128"} | changed
