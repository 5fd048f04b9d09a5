"""What a training step sees: panoramas with their stored targets, in an order that the seed alone decides."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from goodsam import targets
from goodsam.augment import Turn, photometric
from goodsam.config import TrainOptions
from goodsam.images import read_photo
from goodsam.labels import LabelSet
from goodsam.run import Input, Run
from goodsam.targets import shrink


@dataclass(frozen=True)
class Scene:
    """What all panoramas of a training share."""

    size: tuple[int, int]
    """(H, W) that the student sees, pixels."""
    vfov: float
    """Degrees that H spans."""
    label_set: LabelSet


class Panoramas(Dataset[dict[str, Tensor]]):
    """Panoramas with their stored targets, resized and augmented.

    An item is asked for by (index, seed); everything random about it comes from that seed.
    """

    def __init__(self, run: Run, inputs: list[Input], scene: Scene) -> None:
        self._run, self._inputs, self._scene = run, inputs, scene

    def __len__(self) -> int:
        return len(self._inputs)

    def __getitem__(self, key: tuple[int, int]) -> dict[str, Tensor]:
        index, seed = key
        item, (height, width) = self._inputs[index], self._scene.size
        generator = torch.Generator().manual_seed(seed)
        turn = Turn.draw(generator, width)
        image = torch.from_numpy(read_photo(item.path)).permute(2, 0, 1).float() / 255
        sample = {"images": photometric(shrink(image, (height, width)), generator)}
        stored = targets.read_probabilities(self._run.file("ensemble", item.stem))
        half = targets.half_size((height, width))
        classes = len(self._scene.label_set)
        ensemble, valid = stored.dense(classes)
        assistant, _ = targets.read_probabilities(self._run.file("assistant_probs", item.stem)).dense(classes)
        sample["ensemble"], sample["assistant"] = shrink(ensemble, half), shrink(assistant, half)
        sample["valid"] = (shrink(valid[None].float(), half)[0] > 0.5).float()
        features = self._run.file("features", item.stem)
        if features.exists():
            for level, values in targets.read_features(features).items():
                sample[f"level{level}"] = shrink(values, targets.feature_size((height, width), level))
        return {name: turn(values) for name, values in sample.items()}


class Order(Sampler[list[tuple[int, int]]]):
    """Which panoramas each step sees: every epoch in a new order, all of it a function of seed and step."""

    def __init__(self, number: int, options: TrainOptions, first_step: int, process: int, processes: int) -> None:
        self._number, self._options, self._first = number, options, first_step
        self._share = slice(process, None, processes)

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        size, seed = self._options.batch_size, self._options.seed
        for step in range(self._first, self._options.steps):
            batch = [(self._index(n), seed * 1_000_003 + n) for n in range(step * size, (step + 1) * size)]
            yield batch[self._share]

    def _index(self, n: int) -> int:
        epoch, place = divmod(n, self._number)
        generator = torch.Generator().manual_seed(self._options.seed * 7919 + epoch)
        return int(torch.randperm(self._number, generator=generator)[place])

    def __len__(self) -> int:
        return self._options.steps - self._first
