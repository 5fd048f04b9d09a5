"""What a training step sees: panoramas whole and in patches, with stored targets, in an order that the seed decides."""

import logging
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from goodsam import corrections, targets
from goodsam.augment import Tilt, Turn, Window, photometric
from goodsam.config import LevelOptions, RunOptions, TrainOptions, parse_size
from goodsam.errors import GoodSAMError
from goodsam.images import read_photo
from goodsam.labels import LabelSet
from goodsam.mka.balance import class_frequencies, rare_place, rarity
from goodsam.panorama import Geometry, geometry_of
from goodsam.run import Input, Run
from goodsam.student import STRIDE
from goodsam.targets import StoredProbabilities, shrink

log = logging.getLogger(__name__)

WHOLE, PATCHES = "whole", "patches"
Sample = dict[str, dict[str, Tensor]]
"""Level (whole, patches) -> what the student sees and learns from there: images (..., 3, H, W), ensemble and assistant
(..., C, h, w), valid (..., h, w), and level3, level4 where there are features. A batch has B first, patches then P."""


@dataclass(frozen=True)
class Scene:
    """What all panoramas of a training share."""

    geometry: Geometry
    """Of the whole panorama as the student labels it, in pixels."""
    label_set: LabelSet

    @property
    def size(self) -> tuple[int, int]:
        """(H, W), pixels."""
        return self.geometry.height, self.geometry.width

    @property
    def vfov(self) -> float:
        """Degrees that H spans."""
        return self.geometry.vfov


def look_at(inputs: list[Input], options: RunOptions, run: Run) -> Scene:
    """Size, field of view and classes of a training.

    Raises:
        GoodSAMError: a `--train-size` that cannot wrap.
    """
    pixels = read_photo(inputs[0].path)
    geometry = geometry_of((pixels.shape[0], pixels.shape[1]), options.input.vfov, options.input.horizon)
    given = options.level.train_size
    size = parse_size(given, "--train-size") if given is not None else (geometry.height, _near(geometry.width))
    if size[0] < STRIDE:
        raise GoodSAMError(f"--train-size {size[0]}x{size[1]}: the height must be at least {STRIDE}.")
    if size[1] % STRIDE:
        raise GoodSAMError(
            f"--train-size {size[0]}x{size[1]}: the width must be a multiple of {STRIDE} so that it can wrap; "
            f"{_near(size[1])} would be right."
        )
    natural = geometry.scaled(size[1]).height
    if abs(natural - size[0]) > 0.02 * natural + 1:
        log.warning("train: %dx%d stretches the panoramas; %dx%d would keep their shape.", *size, natural, size[1])
    made_with = run.record("label")["made_with"]
    colors = tuple((int(red), int(green), int(blue)) for red, green, blue in made_with["colors"])
    label_set = LabelSet(made_with["label_set"], tuple(made_with["classes"]), colors)
    return Scene(_resized(geometry, size), label_set)


def _near(width: float) -> int:
    return max(STRIDE, round(width / STRIDE) * STRIDE)


def _resized(geometry: Geometry, size: tuple[int, int]) -> Geometry:
    """The same band at another size."""
    return Geometry(*size, geometry.vfov, geometry.horizon * size[0] / geometry.height)


def whole_geometry(scene: Scene, scale: float) -> Geometry:
    """The whole panorama shrunk by `scale`, to a width that still wraps."""
    height, width = scene.size
    return _resized(scene.geometry, (max(STRIDE, round(height * scale)), _near(width * scale)))


def patch_size(scene: Scene, options: LevelOptions) -> tuple[int, int]:
    """(h, w) of patches, pixels: as asked for, cut off at the panorama's.

    Raises:
        GoodSAMError: no multiples of 32.
    """
    height, width = parse_size(options.patch_size, "--patch-size")
    if height % STRIDE or width % STRIDE:
        raise GoodSAMError(
            f"--patch-size {options.patch_size}: must be multiples of {STRIDE}, such as {_near(height)}x{_near(width)}."
        )
    return min(height, scene.size[0]), min(width, scene.size[1])


class Panoramas(Dataset[Sample]):
    """Panoramas with their stored targets, as a training step sees them.

    An item is asked for by (index, seed); everything random about it comes from that seed.

    Args:
        run: holds the targets.
        inputs: the panoramas.
        scene: their size and classes.
        options: whole, patches, and how they are turned.
    Raises:
        GoodSAMError: an option that leaves nothing to see, or is out of range.
    """

    def __init__(self, run: Run, inputs: list[Input], scene: Scene, options: LevelOptions) -> None:
        self._run, self._inputs, self._scene, self._options = run, inputs, scene, options
        if not (options.patches > 0 or options.whole_scale > 0):
            raise GoodSAMError("--patches 0 --whole-scale 0: nothing is left to learn from; give one of them.")
        if not 0 <= options.whole_scale <= 1:
            raise GoodSAMError(f"--whole-scale {options.whole_scale:g}: must be from 0 to 1.")
        self._patch = patch_size(scene, options)
        rare = options.rare_patches > 0 and options.patches > 0
        self._rarity = rarity(class_frequencies(run, inputs, len(scene.label_set))) if rare else np.empty(0)

    def __len__(self) -> int:
        return len(self._inputs)

    def __getitem__(self, key: tuple[int, int]) -> Sample:
        index, seed = key
        generator = torch.Generator().manual_seed(seed)
        seen = _Panorama(self._run, self._inputs[index], self._scene)
        sample: Sample = {}
        if self._options.whole_scale:
            geometry = whole_geometry(self._scene, self._options.whole_scale)
            turn = Turn.draw(generator, geometry.width)
            whole = seen.cut(self._tilt(generator), geometry)
            sample[WHOLE] = {name: turn(values) for name, values in whole.items()}
            sample[WHOLE]["images"] = photometric(sample[WHOLE]["images"], generator)
        patches = [self._cut_patch(seen, generator) for _ in range(self._options.patches)]
        if patches:
            sample[PATCHES] = {name: torch.stack([patch[name] for patch in patches]) for name in patches[0]}
        return sample

    def _cut_patch(self, seen: "_Panorama", generator: torch.Generator) -> dict[str, Tensor]:
        window = self._place(seen, generator)
        patch = seen.cut(self._tilt(generator), self._scene.geometry, window)
        if torch.rand((), generator=generator) < 0.5:
            patch = {name: values.flip(-1) for name, values in patch.items()}
        return patch | {"images": photometric(patch["images"], generator)}

    def _tilt(self, generator: torch.Generator) -> Tilt:
        return Tilt.draw(generator, self._options.tilt) if self._options.tilt else Tilt(0.0, 0.0)

    def _place(self, seen: "_Panorama", generator: torch.Generator) -> Window:
        """Where a patch is cut: on a pixel of a rare class, which may lie anywhere in it, or anywhere."""
        (height, width), (whole_height, whole_width) = self._patch, self._scene.size
        aimed = bool(torch.rand((), generator=generator) < self._options.rare_patches)
        place = rare_place(seen.ensemble.labels(), self._rarity, generator) if aimed and len(self._rarity) else None
        cells = (whole_height - height) // STRIDE, whole_width // STRIDE - 1
        if place is None:
            top, left = (int(torch.randint(last + 1, (), generator=generator)) for last in cells)
        else:
            top = min(_cell_before(place[0] * whole_height, height, generator), cells[0])
            left = _cell_before(place[1] * whole_width, width, generator)
        return Window(max(0, top) * STRIDE, left * STRIDE % whole_width, height, width)


def _cell_before(pixel: float, length: int, generator: torch.Generator) -> int:
    """Where a stretch of `length` pixels begins, in cells of 32 pixels, such that it holds a pixel: any such cell."""
    first, last = math.ceil((pixel - length) / STRIDE), math.floor(pixel / STRIDE)
    return first + int(torch.randint(max(1, last - first + 1), (), generator=generator))


class _Panorama:
    """One panorama and its stored targets, read once for everything that is cut from it."""

    def __init__(self, run: Run, item: Input, scene: Scene) -> None:
        self._scene = scene
        self._image = torch.from_numpy(read_photo(item.path)).permute(2, 0, 1)
        self.ensemble, self._assistant = corrections.targets_of(run, item.stem)
        features = run.file("features", item.stem)
        self._features = targets.read_features(features) if features.exists() else {}

    def cut(self, tilt: Tilt, geometry: Geometry, window: Window | None = None) -> dict[str, Tensor]:
        """Image and targets, or a window of them, at the resolution of `geometry`, as a tilted camera sees them.

        Returns:
            images float (3, H, W), ensemble and assistant float (C, h, w), valid float (h, w), level3 and level4.
        """
        size, half = (geometry.height, geometry.width), targets.half_size((geometry.height, geometry.width))
        image = shrink(self._image.float() / 255, size)
        found = {"images": tilt(image, geometry, window)[0]}
        level = not (tilt.pitch or tilt.roll)
        for name, stored in (("ensemble", self.ensemble), ("assistant", self._assistant)):
            if level and window is not None and stored.size == half:  # cut while it is small
                stored = StoredProbabilities(window.cut(stored.classes, size), window.cut(stored.probs, size))
                found[name], valid = stored.dense(len(self._scene.label_set))
            else:
                dense, there = stored.dense(len(self._scene.label_set))
                found[name], seen = tilt(shrink(dense, half), geometry, window)
                part, _ = tilt(shrink(there[None].float(), half), geometry, window)
                valid = (part[0] > 0.5) & seen
            if name == "ensemble":
                found["valid"] = valid.float()
        for number, values in self._features.items():
            sized = shrink(values, targets.feature_size(size, number))
            found[f"level{number}"] = tilt(sized, geometry, window)[0]
        return found


class Order(Sampler[list[tuple[int, int]]]):
    """Which panoramas each step sees: every epoch in a new order, all of it a function of seed and step.

    A batch comes in `accumulate` parts, one after the other, and each process has its share of every part.
    """

    def __init__(self, number: int, options: TrainOptions, first_step: int, process: int, processes: int) -> None:
        self._number, self._options, self._first = number, options, first_step
        self._process, self._processes = process, processes

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        size, seed, parts = self._options.batch_size, self._options.seed, self._options.accumulate
        for step in range(self._first, self._options.steps):
            batch = [(self._index(n), seed * 1_000_003 + n) for n in range(step * size, (step + 1) * size)]
            for part in range(parts):
                yield batch[self._process + part * self._processes :: self._processes * parts]

    def _index(self, n: int) -> int:
        epoch, place = divmod(n, self._number)
        generator = torch.Generator().manual_seed(self._options.seed * 7919 + epoch)
        return int(torch.randperm(self._number, generator=generator)[place])

    def __len__(self) -> int:
        return (self._options.steps - self._first) * self._options.accumulate
