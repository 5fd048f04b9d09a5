"""What a step of training costs, beside the plain library calls that do the same share of work.

    OMP_NUM_THREADS=1 python benchmarks/train.py [--small] [--json FILE] [--student t] [--steps 10] [--precision fp32]

Three tables. Steps: from the usual way to one of the distillation, each with one thing changed, on patches and on a
whole panorama. Data: what it takes to load a panorama, and for which share of its time a training waits for that.
Sizes: the students' parameters, operations and seconds beside those of transformers' own model.

What is compared takes turns, one step each, so that noise hits all alike: seconds are medians over the turns, ratios
medians of the ratios within a turn. Every kind of step has a process of its own, so that its peak memory is its own,
and so is how it gets memory (`goodsam.memory`). Pictures and targets are random: what they show changes no time.
"""

import argparse
import contextlib
import functools
import itertools
import multiprocessing
import os
import platform
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from PIL import Image
from rich.console import Console
from rich.table import Column, Table
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.data import DataLoader
from torch.utils.flop_counter import FlopCounterMode

from goodsam import __version__, files, targets
from goodsam.average import Average
from goodsam.config import LevelOptions, LossOptions, TrainOptions, parse_size
from goodsam.distiller import Distiller
from goodsam.images import read_photo
from goodsam.labels import IGNORE, load_label_set
from goodsam.loader import PATCHES, WHOLE, Order, Panoramas, Sample, Scene, patch_size
from goodsam.memory import keep_freed_memory
from goodsam.mka.loss import MKALoss
from goodsam.panorama import geometry_of
from goodsam.run import Input, Run
from goodsam.segformer import encode
from goodsam.student import SIZES, Student, new_student, resize
from goodsam.train import Waiting, one_step, parameter_groups

SMALL = {"steps": 2, "size": "96x512", "patch_size": "96x128", "students": "t"}
"""Options of --small; any of them may still be given."""
CLASSES = load_label_set("densepass13")
TRAIN = TrainOptions()
PANORAMAS = 4
"""Files of the synthetic run."""
WIDTH = 150
"""Columns of the tables where the output is no terminal."""

Step = Callable[[], object]


@dataclass(frozen=True)
class Shape:
    """The pictures of one step."""

    number: int
    height: int
    width: int
    wrap: bool

    @property
    def size(self) -> tuple[int, int]:
        """(H, W), pixels."""
        return self.height, self.width

    def __str__(self) -> str:
        return f"{self.number} x 3 x {self.height} x {self.width}{', wrapped' if self.wrap else ''}"


# -- steps ----------------------------------------------------------------------------------------------------------


def plain(student: str, shape: Shape, precision: str) -> Step:
    """transformers' own model, padding, head and loss, labels of the pictures' size: the usual way."""
    return _plain(student, shape, precision, shape.size)


def plain_half(student: str, shape: Shape, precision: str) -> Step:
    """The same with labels of half the size, such as those of the distillation."""
    return _plain(student, shape, precision, targets.half_size(shape.size))


def _plain(student: str, shape: Shape, precision: str, size: tuple[int, int]) -> Step:
    model = new_student(student, CLASSES, "random").model
    images, labels = torch.rand(shape.number, 3, *shape.size), torch.randint(len(CLASSES), (shape.number, *size))
    return supervised_step(model, lambda: model(images, labels=labels).loss, precision)


def plain_head(student: str, shape: Shape, precision: str) -> Step:
    """Our student with transformers' decode head."""
    own = new_student(student, CLASSES, "random")

    def logits(images: Tensor) -> Tensor:
        return own.model.decode_head(encode(own.model.segformer, (images - own.mean) / own.std, shape.wrap))

    return _supervised(own, shape, precision, logits)


def supervised(student: str, shape: Shape, precision: str) -> Step:
    """Our student, cross-entropy to a label map of half the size."""
    own = new_student(student, CLASSES, "random")
    return _supervised(own, shape, precision, lambda images: own(images, wrap=shape.wrap).logits)


def _supervised(own: Student, shape: Shape, precision: str, logits: Callable[[Tensor], Tensor]) -> Step:
    half = targets.half_size(shape.size)
    images, labels = torch.rand(shape.number, 3, *shape.size), torch.randint(len(CLASSES), (shape.number, *half))

    def loss() -> Tensor:
        return F.cross_entropy(resize(logits(images), half, shape.wrap).float(), labels, ignore_index=IGNORE)

    return supervised_step(own, loss, precision)


def supervised_step(model: nn.Module, loss: Callable[[], Tensor], precision: str) -> Step:
    """One step of the loop that everybody writes, with the optimiser and clipping of our training."""
    optimizer = torch.optim.AdamW(parameter_groups(model.train(), TRAIN.weight_decay), lr=TRAIN.learning_rate)

    def step() -> None:
        with arithmetic(precision):
            value = loss()
        value.backward()
        nn.utils.clip_grad_norm_(model.parameters(), TRAIN.clip)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def arithmetic(precision: str) -> contextlib.AbstractContextManager[object]:
    """Mixed precision, as Accelerate has it for our own step."""
    return contextlib.nullcontext() if precision == "fp32" else torch.autocast("cpu", torch.bfloat16)


def distillation(student: str, shape: Shape, precision: str) -> Step:
    """A step of `goodsam train` with all terms of the loss, and the running average."""
    step, sample = distilling(student, precision), random_sample(shape)
    return lambda: step(sample)


def distilling(student: str, precision: str) -> Callable[[Sample], object]:
    """What `goodsam.train.fit` does with a batch."""
    own = new_student(student, CLASSES, "random")
    channels = dict.fromkeys(targets.FEATURE_STRIDES, targets.FEATURE_CHANNELS)
    distiller = Distiller(own, MKALoss(LossOptions(), own.channels, channels)).train()
    average = Average(own, TRAIN.average)
    accelerator = Accelerator(cpu=True, mixed_precision="no" if precision == "fp32" else precision)
    made = torch.optim.AdamW(parameter_groups(distiller, TRAIN.weight_decay), lr=TRAIN.learning_rate)
    prepared, optimizer = accelerator.prepare(distiller, made)
    steps = itertools.count()

    def step(sample: Sample) -> None:
        number = next(steps)
        one_step(accelerator, prepared, optimizer, [sample], TRAIN, number)
        average.update(own, number)

    return step


def random_sample(shape: Shape) -> Sample:
    """A batch of one panorama, whole or in patches, with all targets."""
    number, half = shape.number, targets.half_size(shape.size)
    maps = {"images": torch.rand(number, 3, *shape.size), "valid": torch.ones(number, *half)}
    for name in ("ensemble", "assistant"):
        maps[name] = (3 * torch.randn(number, len(CLASSES), *half)).softmax(1)
    for level in targets.FEATURE_STRIDES:
        size = targets.feature_size(shape.size, level)
        maps[f"level{level}"] = torch.randn(number, targets.FEATURE_CHANNELS, *size)
    return {WHOLE: maps} if shape.wrap else {PATCHES: {name: values[None] for name, values in maps.items()}}


@dataclass(frozen=True)
class Kind:
    """A kind of step, and how its process gets memory."""

    make: Callable[[str, Shape, str], Step]
    keeps: bool
    """Freed memory stays with the process, as in `goodsam train`."""


STEPS = {
    "plain": Kind(plain, False),
    "plain, half labels": Kind(plain_half, False),
    "plain head": Kind(plain_head, False),
    "supervised, memory not kept": Kind(supervised, False),
    "supervised": Kind(supervised, True),
    "distillation": Kind(distillation, True),
}


class Bench:
    """A kind of step in a process of its own."""

    _step: Step

    def __init__(self, name: str, student: str, shape: Shape, precision: str) -> None:
        self._pool = own_process()
        self.imports_mb = self._pool.submit(Bench._begin, name, student, shape, precision).result()

    def __call__(self) -> float:
        """Seconds of one step."""
        return self._pool.submit(Bench._timed).result()

    def close(self) -> float:
        """End the process; returns its peak memory, MB."""
        with self._pool:
            return self._pool.submit(resident).result()

    @staticmethod
    def _begin(name: str, student: str, shape: Shape, precision: str) -> float:
        before = resident()
        if STEPS[name].keeps:
            keep_freed_memory()
        Bench._step = staticmethod(STEPS[name].make(student, shape, precision))  # there is but one in a process
        return before

    @staticmethod
    def _timed() -> float:
        return timed(Bench._step)


def own_process() -> ProcessPoolExecutor:
    """A process that has the imports behind it and nothing else.

    It is forked from a server: quick, and with no memory of ours. Pages of libraries that it does not touch are not
    counted.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["accelerate", "transformers", "goodsam.train"])
    return ProcessPoolExecutor(1, mp_context=context)


def resident() -> float:
    """Largest memory so far of this process, MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def timed(do: Step) -> float:
    """Seconds that it takes."""
    start = time.perf_counter()
    do()
    return time.perf_counter() - start


def in_turns(work: Mapping[str, Callable[[], float]], turns: int) -> dict[str, list[float]]:
    """Seconds of each piece of work, which it says itself, in each turn; after one turn that does not count."""
    seconds: dict[str, list[float]] = {name: [] for name in work}
    for _ in range(turns + 1):
        for name, do in work.items():
            seconds[name].append(do())
    return {name: own[1:] for name, own in seconds.items()}


def ratio(own: list[float], other: list[float]) -> float:
    """The median of the ratios within a turn: load that comes and goes falls on both."""
    return statistics.median(mine / theirs for mine, theirs in zip(own, other, strict=True))


def steps_table(options: argparse.Namespace, shape: Shape) -> list[dict[str, Any]]:
    """A row per kind of step, all on pictures of one shape."""
    benches = {name: Bench(name, options.student, shape, options.precision) for name in STEPS}
    seconds = in_turns(benches, options.steps)
    return [
        {
            "step": name,
            "seconds": statistics.median(own),
            "images_per_second": shape.number / statistics.median(own),
            "to_plain": ratio(own, seconds["plain"]),
            "to_supervised": ratio(own, seconds["supervised"]),
            "peak_mb": benches[name].close(),
            "imports_mb": benches[name].imports_mb,
            "turns": own,
        }
        for name, own in seconds.items()
    ]


# -- data -----------------------------------------------------------------------------------------------------------


def data_table(options: argparse.Namespace, scene: Scene) -> dict[str, list[dict[str, Any]]]:
    """Milliseconds to load a panorama, and how long a training waits for that with and without a worker."""
    with tempfile.TemporaryDirectory() as folder:
        run, inputs = synthetic_run(Path(folder), scene)
        levels = {
            "load": LevelOptions(patch_size=options.patch_size),
            "load, tilt 5": LevelOptions(patch_size=options.patch_size, tilt=5.0),
        }
        seen = {name: Panoramas(run, inputs, scene, level) for name, level in levels.items()}
        photos = itertools.cycle(inputs)
        work: dict[str, Step] = {"decode JPEG alone": lambda: read_photo(next(photos).path)}
        work |= {name: functools.partial(_load, panoramas, itertools.count()) for name, panoramas in seen.items()}
        seconds = in_turns({name: functools.partial(timed, do) for name, do in work.items()}, 2 * options.steps)
        with own_process() as pool:
            trainings = [pool.submit(_training, options, seen["load"], workers).result() for workers in (0, 1)]
    step = trainings[0]["step_seconds"]
    loads = [
        {"work": name, "milliseconds": 1000 * statistics.median(own), "of_a_step": statistics.median(own) / step}
        for name, own in seconds.items()
    ]
    return {"loads": loads, "trainings": trainings}


def _load(panoramas: Panoramas, numbers: "itertools.count[int]") -> None:
    number = next(numbers)
    panoramas[number % len(panoramas), number]


def synthetic_run(folder: Path, scene: Scene) -> tuple[Run, list[Input]]:
    """Panoramas of smooth random colours, with targets as the label stage leaves them."""
    run, inputs = Run(folder / "RUN"), []
    for number in range(PANORAMAS):
        stem = f"pano{number}"
        pixels = (255 * smooth(3, scene.size).sigmoid()).byte().permute(1, 2, 0).numpy()
        Image.fromarray(pixels).save(folder / f"{stem}.jpg", quality=90)
        for name in ("ensemble", "assistant_probs"):
            targets.write_probabilities(run.file(name, stem), (3 * smooth(len(CLASSES), scene.size)).softmax(0))
        features = {
            level: torch.randn(targets.FEATURE_CHANNELS, *targets.feature_size(scene.size, level))
            for level in targets.FEATURE_STRIDES
        }
        targets.write_features(run.file("features", stem), features)
        inputs.append(Input(stem, folder / f"{stem}.jpg", ""))
    return run, inputs


def smooth(channels: int, size: tuple[int, int]) -> Tensor:
    """Random values that change over 32 pixels: (channels, H, W)."""
    coarse = torch.randn(1, channels, -(-size[0] // 32), -(-size[1] // 32))
    return F.interpolate(coarse, size, mode="bicubic", align_corners=False)[0]


def _training(options: argparse.Namespace, panoramas: Panoramas, workers: int) -> dict[str, Any]:
    """A short training on the whole and patches, as `goodsam train` has them; the first step does not count."""
    keep_freed_memory()
    # More batches than are looked at, so that a worker has as much to do as amid a long training.
    training = TrainOptions(batch_size=options.batch_size, steps=options.steps + 4)
    order = Order(len(panoramas), training, 0, 0, 1)
    loader = DataLoader(panoramas, batch_sampler=order, num_workers=workers)
    step = distilling(options.student, options.precision)
    waiting = Waiting([sample] for sample in loader)
    batches = iter(waiting)
    step(next(batches)[0])
    waiting.seconds, start = 0.0, time.perf_counter()
    for (sample,) in itertools.islice(batches, options.steps):
        step(sample)
    seconds = time.perf_counter() - start
    return {
        "workers": workers,
        "seconds": seconds / options.steps,
        "step_seconds": (seconds - waiting.seconds) / options.steps / options.batch_size,
        "waiting": waiting.seconds / seconds,
    }


# -- sizes ----------------------------------------------------------------------------------------------------------


def sizes_row(options: argparse.Namespace, student: str, whole: Shape, patches: Shape) -> dict[str, Any]:
    """Parameters, operations and seconds of one size of student, beside transformers' own model."""
    own = new_student(student, CLASSES, "random").eval()
    images = torch.rand(1, 3, *whole.size)
    forwards: dict[str, Step] = {
        "plain": lambda: own.model(images),
        "ours": lambda: own(images, wrap=whole.wrap),
    }
    operations = {name: _operations(do) for name, do in forwards.items()}
    with torch.inference_mode(), arithmetic(options.precision):
        forward = in_turns({name: functools.partial(timed, do) for name, do in forwards.items()}, options.steps)
    benches = {name: Bench(name, student, patches, options.precision) for name in ("plain", "distillation")}
    step = in_turns(benches, options.steps)
    for bench in benches.values():
        bench.close()
    return {
        "student": student,
        "parameters": sum(item.numel() for item in own.parameters()),
        "plain_operations": operations["plain"],
        "operations": operations["ours"],
        "plain_forward": statistics.median(forward["plain"]),
        "forward": statistics.median(forward["ours"]),
        "forward_ratio": ratio(forward["ours"], forward["plain"]),
        "plain_step": statistics.median(step["plain"]),
        "step": statistics.median(step["distillation"]),
        "step_ratio": ratio(step["distillation"], step["plain"]),
    }


def _operations(do: Step) -> int:
    """Floating-point operations of products of matrices and convolutions, 2 per multiply-add."""
    # The counter does not know PyTorch's fused attention on CPUs; written out, it is two products of matrices.
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        do()
    return counter.get_total_flops()


# -- report ---------------------------------------------------------------------------------------------------------


def _table(title: str, *headers: str) -> Table:
    return Table(*(Column(header, no_wrap=True) for header in headers), title=title, title_justify="left")


def _show_steps(student: str, found: dict[str, Any]) -> Table:
    table = _table(
        f"Steps of student {student} on {found['shape']}",
        "step", "s", "images/s", "to plain", "to supervised", "peak MB", "imports MB",
    )  # fmt: skip
    for row in found["rows"]:
        ratios = (f"{row[name]:.2f}" for name in ("to_plain", "to_supervised"))
        memory = (f"{row[name]:.0f}" for name in ("peak_mb", "imports_mb"))
        table.add_row(row["step"], f"{row['seconds']:.3f}", f"{row['images_per_second']:.2f}", *ratios, *memory)
    return table


def _show_data(options: dict[str, Any], data: dict[str, Any]) -> list[Table]:
    loads = _table(f"Loading a panorama of {options['size']}", "work", "ms", "of its part of a step")
    for row in data["loads"]:
        loads.add_row(row["work"], f"{row['milliseconds']:.0f}", f"{100 * row['of_a_step']:.1f} %")
    title = f"Training, batches of {options['batch_size']}"
    trainings = _table(title, "workers", "s per step", "of it waiting for data")
    for row in data["trainings"]:
        trainings.add_row(str(row["workers"]), f"{row['seconds']:.3f}", f"{100 * row['waiting']:.1f} %")
    return [loads, trainings]


def _show_sizes(shapes: dict[str, Shape], rows: list[dict[str, Any]]) -> Table:
    table = _table(
        f"Sizes: forward pass on {shapes[WHOLE]}; step (plain, distillation) on {shapes[PATCHES]}",
        "student", "M parameters", "GFLOP plain", "ours", "forward s plain", "ours", "ratio", "step s plain", "ours",
        "ratio",
    )  # fmt: skip
    for row in rows:
        operations = (f"{row[name] / 1e9:.1f}" for name in ("plain_operations", "operations"))
        names = ("plain_forward", "forward", "forward_ratio", "plain_step", "step", "step_ratio")
        seconds = (f"{row[name]:.{2 if name.endswith('ratio') else 3}f}" for name in names)
        table.add_row(row["student"], f"{row['parameters'] / 1e6:.2f}", *operations, *seconds)
    return table


def cpu() -> str:
    """The processor's model."""
    path = Path("/proc/cpuinfo")
    text = path.read_text() if path.exists() else ""
    models = [line.partition(":")[2].strip() for line in text.splitlines() if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="small pictures, under a minute on a core")
    parser.add_argument("--json", type=Path, help="write the results here")
    parser.add_argument("--student", default="t", choices=SIZES, help="of the tables of steps and data")
    parser.add_argument("--students", default=",".join(SIZES), help="of the table of sizes")
    parser.add_argument("--size", default="400x2048", help="of panoramas, HxW")
    parser.add_argument("--patch-size", default=LevelOptions().patch_size, help="HxW, cut off at the panorama's")
    parser.add_argument("--steps", type=int, default=10, help="turns that are timed")
    parser.add_argument("--batch-size", type=int, default=1, help="panoramas in a step of the table of data")
    parser.add_argument("--precision", default="fp32", choices=("fp32", "bf16"))
    if parser.parse_known_args(arguments)[0].small:
        parser.set_defaults(**SMALL)
    return parser.parse_args(arguments)


def shapes_of(options: argparse.Namespace, scene: Scene) -> dict[str, Shape]:
    """The pictures of a step: patches as a training cuts them, and a whole panorama."""
    level = LevelOptions(patch_size=options.patch_size)
    return {
        PATCHES: Shape(level.patches, *patch_size(scene, level), wrap=False),
        WHOLE: Shape(1, *scene.size, wrap=True),
    }


def head_of(options: argparse.Namespace) -> dict[str, Any]:
    """What --json says before any figure."""
    packages = ("torch", "transformers", "accelerate", "numpy")
    return {
        "options": {key: value for key, value in vars(options).items() if key != "json"},
        "machine": {"cpu": cpu(), "cores": os.cpu_count(), "threads": torch.get_num_threads(), "device": "cpu"},
        "versions": {"goodsam": __version__, "python": platform.python_version()}
        | {name: metadata.version(name) for name in packages},
    }


def main() -> None:
    """Measure everything, and print each table as soon as it is there."""
    options = parse()
    result, console = head_of(options), Console(width=None if sys.stdout.isatty() else WIDTH)
    machine, torch_version = result["machine"], result["versions"]["torch"]
    console.print(
        f"{machine['cpu']}, {machine['threads']} thread(s) on {machine['cores']} cores, torch {torch_version}, "
        f"{options.precision}; medians of {options.steps} turns"
    )
    scene = Scene(geometry_of(parse_size(options.size, "--size")), CLASSES)
    shapes = shapes_of(options, scene)
    result["steps"] = {}
    for name, shape in shapes.items():
        result["steps"][name] = {"shape": str(shape), "rows": steps_table(options, shape)}
        console.print(_show_steps(options.student, result["steps"][name]))
    result["data"] = data_table(options, scene)
    console.print(*_show_data(result["options"], result["data"]))
    result["sizes"] = [sizes_row(options, name, shapes[WHOLE], shapes[PATCHES]) for name in options.students.split(",")]
    console.print(_show_sizes(shapes, result["sizes"]))
    if options.json:
        files.write_json(options.json, result)


if __name__ == "__main__":
    main()
