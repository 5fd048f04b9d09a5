"""The one training loop.

One process: `goodsam train PANORAMAS --out RUN` (or `distill`). Several GPUs: `accelerate launch -m goodsam train ...`
or `torchrun --nproc_per_node N -m goodsam train ...` with the same arguments; `--batch-size` is over all processes. A
killed training goes on from its last checkpoint when the same command is given again, and its next step has the loss
that it would have had: what a step draws at random depends on the seed and the step alone.
"""

import logging
import math
import time
from collections.abc import Iterable
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from torch import Tensor, nn
from torch.utils.data import DataLoader

from goodsam import targets
from goodsam.card import student_card
from goodsam.checkpoint import Journal, load_checkpoint, save_checkpoint
from goodsam.config import RunOptions, TrainOptions, parse_size
from goodsam.errors import GoodSAMError
from goodsam.images import read_photo
from goodsam.labels import LabelSet
from goodsam.loader import Order, Panoramas, Scene
from goodsam.mka.loss import Batch, Loss, MKALoss
from goodsam.panorama import geometry_of
from goodsam.progress import Progress, disk, duration, pick_device
from goodsam.run import Input, Run
from goodsam.student import STRIDE, Student, new_student, save_student

log = logging.getLogger(__name__)

MEASURED_STEPS = 5
"""Steps after which the expected time is said."""


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
    run: Run, inputs: list[Input], scene: Scene, options: RunOptions, fingerprint: str, progress: Progress
) -> dict[str, Any]:
    """Train the student on the targets of a run and write `RUN/student`.

    Args:
        run: with ensemble and assistant probabilities (and features, where the assistant has any) of all inputs.
        inputs: the panoramas.
        scene: their size and classes, from `look_at`.
        options: of student, loss and training.
        fingerprint: of this training; a checkpoint with another is not used.
        progress: shows steps and loss.
    Returns:
        facts for `train.json`.
    """
    training = options.train
    on_cpu = pick_device(options.machine.device).type == "cpu"
    precision = resolve_precision(options)
    accelerator = Accelerator(cpu=on_cpu, mixed_precision="no" if precision == "fp32" else precision)
    student = new_student(options.student.student, scene.label_set, options.student.init, training.seed)
    module: nn.Module = Distiller(student, MKALoss(options.loss, student.channels, _levels(run, inputs)))
    if accelerator.num_processes > 1 and not on_cpu:
        module = nn.SyncBatchNorm.convert_sync_batchnorm(module)
    module.to(accelerator.device)  # before the optimiser, so that a checkpoint's moments land beside their parameters
    optimizer = torch.optim.AdamW(parameter_groups(module, training.weight_decay), lr=training.learning_rate)
    first = load_checkpoint(run.train, fingerprint, module, optimizer)
    log.info("train: %s", _outlook(student, len(inputs), scene, training, first, accelerator))
    order = Order(len(inputs), training, first, accelerator.process_index, accelerator.num_processes)
    loader = DataLoader(Panoramas(run, inputs, scene), batch_sampler=order, num_workers=training.workers)
    start = time.perf_counter()
    fit(run, fingerprint, accelerator, module, optimizer, progress.track(loader, len(order), "train"), training, first)
    seconds = time.perf_counter() - start
    if accelerator.is_main_process:
        card = student_card(run, scene.label_set, scene.size)
        save_student(student.cpu(), run.student, scene.size, scene.vfov, card)
    accelerator.wait_for_everyone()
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
    distiller, optimizer = accelerator.prepare(module.train(), optimizer)
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
            seconds = time.perf_counter() - start
            journal.write(step, loss, learning_rate(step, options), seconds)
            if step - first + 1 == MEASURED_STEPS:
                left, each = options.steps - step - 1, seconds / MEASURED_STEPS
                log.info("train: about %s for the other %d steps (%.2f s each).", duration(left * each), left, each)
            if (step + 1) % options.checkpoint_every == 0 or step + 1 == options.steps:
                state = accelerator.unwrap_model(distiller).state_dict()
                save_checkpoint(run.train, fingerprint, state, optimizer.state_dict(), step + 1)
                log.info("train: step %d of %d, loss %.3f.", step + 1, options.steps, loss.total.item())
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


def resolve_precision(options: RunOptions) -> str:
    """ "fp32", "bf16" or "fp16": what `--precision auto` comes to on the device."""
    asked = options.train.precision
    if asked != "auto":
        return asked
    on_cuda = pick_device(options.machine.device).type == "cuda"
    has_bf16 = torch.cuda.is_bf16_supported() if on_cuda else _cpu_has_bf16(options)
    return "bf16" if has_bf16 else "fp32"


def _cpu_has_bf16(options: RunOptions) -> bool:
    """Whether this is a CPU with instructions for bfloat16, on which a step takes less time."""
    known = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)  # private: may go
    return pick_device(options.machine.device).type == "cpu" and bool(known())


def parameter_groups(module: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
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
    parameters = sum(item.numel() for item in student.parameters())
    where = (
        f"{accelerator.device}, {accelerator.num_processes} process(es), {accelerator.mixed_precision} mixed precision"
    )
    text = (
        f"student of {parameters / 1e6:.1f} M parameters, {number} panoramas at {scene.size[0]}x{scene.size[1]}, "
        f"{options.steps} steps of {options.batch_size} on {where}, about {disk(16 * parameters)} of disk"
    )  # float32 student, and a checkpoint with two moments of each parameter
    return f"{text}; goes on from step {step}." if step else f"{text}."
