"""The one training loop.

One process: `goodsam train PANORAMAS --out RUN` (or `distill`). Several GPUs: `accelerate launch -m goodsam train ...`
with the same arguments; `--batch-size` is over all processes. A killed training goes on from its last checkpoint when
the same command is given again, and its next step has the loss that it would have had: what a step draws at random
depends on the seed and the step alone.
"""

import io
import json
import logging
import math
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Sampler
from torch.utils.tensorboard import SummaryWriter

from goodsam import files, targets
from goodsam.augment import Turn, photometric
from goodsam.card import student_card
from goodsam.config import RunOptions, TrainOptions, parse_size
from goodsam.errors import GoodSAMError, first_line
from goodsam.images import read_photo
from goodsam.labels import LabelSet
from goodsam.mka.loss import Batch, Loss, MKALoss
from goodsam.panorama import geometry_of
from goodsam.progress import Progress, duration, pick_device
from goodsam.run import Input, Run
from goodsam.student import STRIDE, Student, new_student, save_student
from goodsam.targets import shrink

log = logging.getLogger(__name__)


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


class Distiller(nn.Module):
    """Student and loss in one module, so that both are trained and wrapped for several processes together."""

    def __init__(self, student: Student, loss: MKALoss) -> None:
        super().__init__()
        self.student, self.loss = student, loss

    def forward(self, sample: dict[str, Tensor]) -> Loss:
        """The loss of one batch of whole panoramas."""
        levels = {int(name[5:]): values for name, values in sample.items() if name.startswith("level")}
        batch = Batch(sample["images"], sample["ensemble"], sample["assistant"], sample["valid"], levels)
        return self.loss(self.student(batch.images, wrap=True), batch)


def train_student(
    run: Run, inputs: list[Input], options: RunOptions, fingerprint: str, progress: Progress
) -> dict[str, Any]:
    """Train the student on the targets of a run and write `RUN/student`.

    Args:
        run: with ensemble and assistant probabilities (and features, where the assistant has any) of all inputs.
        inputs: the panoramas.
        options: of student, loss and training.
        fingerprint: of this training; a checkpoint with another is not used.
        progress: shows steps and loss.
    Returns:
        facts for `train.json`.
    """
    training = options.train
    on_cpu = pick_device(options.machine.device).type == "cpu"
    accelerator = Accelerator(cpu=on_cpu, mixed_precision=_precision(training.precision))
    scene = look_at(inputs, options, run)
    student = new_student(options.student.student, scene.label_set, options.student.init, training.seed)
    module: nn.Module = Distiller(student, MKALoss(options.loss, student.channels, _levels(run, inputs)))
    optimizer = torch.optim.AdamW(_groups(module, training.weight_decay), lr=training.learning_rate)
    first = load_checkpoint(run.train, fingerprint, module, optimizer)
    log.info("train: %s", _outlook(student, len(inputs), scene, training, first, accelerator))
    if accelerator.num_processes > 1 and not on_cpu:
        module = nn.SyncBatchNorm.convert_sync_batchnorm(module)
    order = Order(len(inputs), training, first, accelerator.process_index, accelerator.num_processes)
    loader = DataLoader(Panoramas(run, inputs, scene), batch_sampler=order, num_workers=training.workers)
    start = time.perf_counter()
    fit(run, fingerprint, accelerator, module, optimizer, progress.track(loader, len(order), "train"), training, first)
    seconds = time.perf_counter() - start
    if accelerator.is_main_process:
        card = student_card(run, scene.label_set, scene.size, options)
        save_student(student.cpu(), run.student, scene.size, scene.vfov, card)
    done = training.steps - first
    rate = done * training.batch_size / max(seconds, 1e-9)
    log.info("train: %d steps in %s (%.2f images/s).", done, duration(seconds), rate)
    return {"steps": training.steps, "panoramas": len(inputs)}


def fit(
    run: Run,
    fingerprint: str,
    accelerator: Accelerator,
    module: nn.Module,
    optimizer: torch.optim.Optimizer,
    batches: Iterable[dict[str, Tensor]],
    options: TrainOptions,
    first: int,
) -> None:
    """The loop: one optimiser step per batch, from step `first`; checkpoints and journal by the main process."""
    distiller, optimizer = accelerator.prepare(module.to(accelerator.device).train(), optimizer)
    journal = Journal(run.train, first) if accelerator.is_main_process else None
    start = time.perf_counter()
    for step, sample in enumerate(batches, first):
        set_seed(options.seed * 65_537 + step + accelerator.process_index)  # dropout: a function of seed and step
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, options)
        loss: Loss = distiller({name: values.to(accelerator.device) for name, values in sample.items()})
        if not torch.isfinite(loss.total):
            raise GoodSAMError(f"train: the loss is {loss.total.item()} at step {step}; try a lower --learning-rate.")
        accelerator.backward(loss.total)
        accelerator.clip_grad_norm_(distiller.parameters(), options.clip)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if journal is not None:
            journal.write(step, loss, learning_rate(step, options), time.perf_counter() - start)
            if (step + 1) % options.checkpoint_every == 0 or step + 1 == options.steps:
                state = accelerator.unwrap_model(distiller).state_dict()
                save_checkpoint(run.train, fingerprint, state, optimizer.state_dict(), step + 1)
    accelerator.wait_for_everyone()


def look_at(inputs: list[Input], options: RunOptions, run: Run) -> Scene:
    """Size, field of view and classes of a training.

    Raises:
        GoodSAMError: a `--train-size` that cannot wrap.
    """
    pixels = read_photo(inputs[0].path)
    geometry = geometry_of((pixels.shape[0], pixels.shape[1]), options.input.vfov, options.input.horizon)
    given = options.train.train_size
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
    return Scene(size, geometry.vfov, LabelSet(made_with["label_set"], tuple(made_with["classes"]), colors))


def _near(width: int) -> int:
    return max(STRIDE, round(width / STRIDE) * STRIDE)


def _levels(run: Run, inputs: list[Input]) -> dict[int, int]:
    """Stored feature levels and their channels; {} where the run has none."""
    path = run.file("features", inputs[0].stem)
    return {level: len(values) for level, values in targets.read_features(path).items()} if path.exists() else {}


def _precision(asked: str) -> str:
    if asked == "auto":
        return "bf16" if torch.cuda.is_available() and torch.cuda.is_bf16_supported() else "no"
    return {"fp32": "no"}.get(asked, asked)


def _groups(module: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Matrices and kernels decay, biases and normalisation do not."""
    parameters = [item for item in module.parameters() if item.requires_grad]
    return [
        {"params": [item for item in parameters if item.ndim > 1], "weight_decay": weight_decay},
        {"params": [item for item in parameters if item.ndim <= 1], "weight_decay": 0.0},
    ]


def learning_rate(step: int, options: TrainOptions) -> float:
    """Linear warm-up to the peak, then a cosine to 0 at the last step."""
    warmup = min(options.warmup, max(1, options.steps // 10))
    if step < warmup:
        return options.learning_rate * (step + 1) / warmup
    part = (step - warmup) / max(1, options.steps - warmup)
    return options.learning_rate * 0.5 * (1 + math.cos(math.pi * part))


def _outlook(
    student: Student, number: int, scene: Scene, options: TrainOptions, step: int, accelerator: Accelerator
) -> str:
    parameters = sum(item.numel() for item in student.parameters()) / 1e6
    where = (
        f"{accelerator.device} ({accelerator.num_processes} processes, {accelerator.mixed_precision} mixed precision)"
    )
    text = (
        f"student of {parameters:.1f} M parameters, {number} panoramas at {scene.size[0]}x{scene.size[1]}, "
        f"{options.steps} steps of {options.batch_size} on {where}"
    )
    return f"{text}; goes on from step {step}." if step else f"{text}."


# -- checkpoints and journal ----------------------------------------------------------------------------------------


def save_checkpoint(
    folder: Path, fingerprint: str, model: dict[str, Any], optimizer: dict[str, Any], step: int
) -> None:
    """Write `train/checkpoint.pt`: everything that the next step depends on."""
    buffer = io.BytesIO()
    torch.save({"fingerprint": fingerprint, "step": step, "model": model, "optimizer": optimizer}, buffer)
    files.write_bytes(folder / "checkpoint.pt", buffer.getvalue())


def load_checkpoint(folder: Path, fingerprint: str, module: nn.Module, optimizer: torch.optim.Optimizer) -> int:
    """Take up a checkpoint of the same training; returns the next step, 0 without one.

    Raises:
        GoodSAMError: the file is damaged.
    """
    path = folder / "checkpoint.pt"
    if not path.exists():
        return 0
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises pickle, zip and runtime errors for a damaged file
        raise GoodSAMError(
            f"{path}: cannot be read ({first_line(error)}). Delete it to train from the start."
        ) from error
    if state["fingerprint"] != fingerprint:
        return 0
    module.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    return int(state["step"])


class Journal:
    """`train/metrics.jsonl` and TensorBoard events: one entry a step.

    Args:
        folder: `RUN/train`.
        step: the first step to come; later entries, of steps after the last checkpoint, are dropped.
    """

    def __init__(self, folder: Path, step: int) -> None:
        self._path = folder / "metrics.jsonl"
        lines = self._path.read_text().splitlines() if self._path.exists() else []
        kept = [line for line in lines if line.endswith("}") and json.loads(line)["step"] < step]
        files.write_text(self._path, "".join(f"{line}\n" for line in kept))
        self._events = SummaryWriter(str(folder / "tensorboard"), purge_step=step, flush_secs=30)

    def write(self, step: int, loss: Loss, rate: float, seconds: float) -> None:
        """One step: its loss, its terms, the learning rate, and seconds since this process began to train."""
        values = {"loss": loss.total.item()} | {name: value.item() for name, value in loss.terms.items()}
        values["learning_rate"] = rate
        entry = {"step": step} | values | {"seconds": round(seconds, 2)}
        with self._path.open("a") as file:
            file.write(json.dumps(entry) + "\n")
        for name, value in values.items():
            self._events.add_scalar(name, value, step)
