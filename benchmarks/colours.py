"""How much of the street world is given away by colour: classifiers that see no shapes, within one style.

    python benchmarks/colours.py [--small] [--json FILE]

Two classifiers learn from the labels of some pinhole scenes and are tested on others: one sees the colour of a pixel
alone (classes counted per colour), one the 7x7 pixels around it and its row (a network of two hidden layers). Both
figures are meant as upper bounds: how the classes are weighed against each other is chosen where it scores best, on the
test scenes themselves. Neither style's final test scenes (target-test) are touched.
"""

import argparse
import json
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view
from torch import nn

from goodsam.images import read_label_map, read_photo
from goodsam.labels import LABEL_SETS
from goodsam.metrics import confusion_matrix, iou_of
from goodsam.streetworld import SPLITS, write_scenes

SIZE = (240, 320)
SPLITS_OF = {"source": ("source-train", "source-test"), "target": ("target-unlabelled", "target-dev")}
"""Style -> splits to train and to test on."""
FIRST_TRAIN = 20000
"""Index of the first scene to train on: far from those that anything else is trained on."""
CLASSES = LABEL_SETS["densepass13"].names
COUNT = len(CLASSES)
LEVELS = (16, 32)
"""Colours are counted in bins of so many levels per channel."""
POWERS = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Class priors to assume when naming pixels: (share of the class) ** power; 0 is balanced, 1 as in the pictures."""
PATCH, HIDDEN = 7, 256


@dataclass(frozen=True)
class Effort:
    """How much is rendered and trained."""

    train: int
    """Scenes to train on, of each style."""
    test: int
    """Scenes to test on, of each style."""
    steps: int
    """Of each network."""
    batch: int = 1024
    """Pixels."""


FULL, SMALL = Effort(40, 20, 2500), Effort(2, 1, 20)


@dataclass(frozen=True)
class Pictures:
    """n pictures with their truth."""

    pixels: np.ndarray
    """uint8 (n, H, W, 3), RGB."""
    labels: np.ndarray
    """uint8 (n, H, W), ids of densepass13; pinhole pictures have no 255."""

    def shares(self) -> np.ndarray:
        """Share of each class, float64 (C,), never 0."""
        return np.maximum(np.bincount(self.labels.ravel(), minlength=COUNT), 1) / self.labels.size


def rendered(split: str, scenes: int, first: int, folder: Path) -> Pictures:
    """Pinhole pictures of a split, read back from their files, JPEG and all."""
    chosen = SPLITS[split]
    write_scenes(folder, scenes, chosen.seed, "pinhole", chosen.style, SIZE, first)
    stems = [f"{index:05d}" for index in range(first, first + scenes)]
    return Pictures(
        np.stack([read_photo(folder / "images" / f"{stem}.jpg") for stem in stems]),
        np.stack([read_label_map(folder / "labels" / f"{stem}.png") for stem in stems]),
    )


@dataclass(frozen=True)
class Score:
    """How well a classifier names the pixels of the test scenes."""

    miou: float
    """0..1, over the classes present."""
    prior_power: float
    """Which of POWERS it was reached with."""
    per_class: dict[str, float | None]
    """Intersection over union; None where the class does not occur."""


def score(logits: np.ndarray, assumed: np.ndarray, shares: np.ndarray, labels: np.ndarray) -> Score:
    """The best score over priors.

    Args:
        logits: float32 (n, C), logarithms of probabilities up to a constant per pixel.
        assumed: (C,), the class prior that they were learnt under.
        shares: (C,), of the classes in the pictures that they were learnt from.
        labels: uint8 (n,).
    """
    scores = []
    for power in POWERS:
        shift = (power * np.log(shares) - np.log(assumed)).astype(np.float32)
        named = (logits + shift).argmax(1).astype(np.uint8)
        iou = iou_of(confusion_matrix(labels[None], named[None], COUNT))
        per_class = {name: None if np.isnan(one) else float(one) for name, one in zip(CLASSES, iou, strict=True)}
        scores.append(Score(float(np.nanmean(iou)), power, per_class))
    return max(scores, key=lambda one: one.miou)


def by_colour(train: Pictures, test: Pictures, levels: int) -> Score:
    """Classes counted per colour, `levels` ** 3 colours."""

    def bins(pixels: np.ndarray) -> np.ndarray:
        red, green, blue = np.moveaxis(pixels.astype(np.int64) * levels // 256, -1, 0)
        return ((red * levels + green) * levels + blue).ravel()

    shares = train.shares()
    cells = bins(train.pixels) * COUNT + train.labels.ravel()
    votes = np.bincount(cells, minlength=levels**3 * COUNT).reshape(-1, COUNT)
    # Colours never seen get the shares of the classes alone.
    logits = np.log(votes + 0.01 * shares).astype(np.float32)
    return score(logits[bins(test.pixels)], shares, shares, test.labels.ravel())


class Patches:
    """The surroundings of any pixel of some pictures; past the border, pictures are mirrored."""

    def __init__(self, pictures: Pictures) -> None:
        edge = PATCH // 2
        padded = np.pad(pictures.pixels, ((0, 0), (edge, edge), (edge, edge), (0, 0)), mode="reflect")
        self._windows = sliding_window_view(padded, (PATCH, PATCH), axis=(1, 2))
        self._shape = pictures.labels.shape

    def at(self, pixels: np.ndarray) -> torch.Tensor:
        """Inputs float32 (n, 3 * 7 * 7 + 1) of pixels by their place in the flattened pictures: colours, then row."""
        picture, row, column = np.unravel_index(pixels, self._shape)
        colours = torch.from_numpy(self._windows[picture, row, column].reshape(len(pixels), -1)).float()
        rows = torch.from_numpy((row + 0.5) / self._shape[1]).float()
        return torch.cat([colours / 64 - 2, 4 * rows[:, None] - 2], 1)


def by_patch(train: Pictures, test: Pictures, effort: Effort, balanced: bool) -> Score:
    """A network on 7x7 patches and the row, from pixels drawn evenly or, `balanced`, each class equally often."""
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    inputs, labels, shares = Patches(train), train.labels.ravel(), train.shares()
    # Pixels sorted by class, where each present class begins and how many it has.
    order = np.argsort(labels, kind="stable")
    _, begin, number = np.unique(labels[order], return_index=True, return_counts=True)
    net = nn.Sequential(
        nn.Linear(3 * PATCH * PATCH + 1, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, HIDDEN), nn.ReLU(),
        nn.Linear(HIDDEN, COUNT),
    )  # fmt: skip
    optimiser = torch.optim.AdamW(net.parameters(), 2e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 2e-3, total_steps=effort.steps)
    for _ in range(effort.steps):
        if balanced:
            drawn = rng.integers(len(begin), size=effort.batch)
            pixels = order[begin[drawn] + rng.integers(number[drawn])]
        else:
            pixels = rng.integers(labels.size, size=effort.batch)
        loss = nn.functional.cross_entropy(net(inputs.at(pixels)), torch.from_numpy(labels[pixels]).long())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    seen = Patches(test)
    with torch.inference_mode():
        parts = np.array_split(np.arange(test.labels.size), max(1, test.labels.size // 20000))
        logits = np.concatenate([net(seen.at(part)).log_softmax(1).numpy() for part in parts])
    assumed = np.full(COUNT, 1 / COUNT) if balanced else shares
    return score(logits, assumed, shares, test.labels.ravel())


def measure(train: Pictures, test: Pictures, effort: Effort) -> dict[str, Score]:
    """Classifier -> its best score."""
    rows = {f"colour, {levels}^3 bins": by_colour(train, test, levels) for levels in LEVELS}
    rows["7x7 and row, even"] = by_patch(train, test, effort, balanced=False)
    rows["7x7 and row, balanced"] = by_patch(train, test, effort, balanced=True)
    return rows


def main() -> None:
    """Print one row per style and classifier."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write the figures here as well")
    parser.add_argument("--small", action="store_true", help="a few scenes and steps, to see that it runs")
    options = parser.parse_args()
    effort = SMALL if options.small else FULL
    styles: dict[str, object] = {}
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        for style, (train, test) in SPLITS_OF.items():
            learnt = rendered(train, effort.train, FIRST_TRAIN, Path(folder, train))
            rows = measure(learnt, rendered(test, effort.test, 0, Path(folder, test)), effort)
            scores = {name: asdict(row) for name, row in rows.items()}
            styles[style] = {"train": train, "test": test, "classifiers": scores}
            for name, row in rows.items():
                print(f"{style:7} {name:22} mIoU {row.miou:.3f}  prior ^ {row.prior_power}")
    print(f"{time.perf_counter() - start:.0f} s")
    if options.json:
        result = {"size": SIZE, "effort": asdict(effort), "styles": styles}
        options.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
