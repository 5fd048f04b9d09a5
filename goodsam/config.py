"""Every option of a run: one frozen dataclass per stage, a sentence and a unit under each field.

The same names serve in Python (`distill(..., points_per_side=16)`), on the command line (`--points-per-side 16`) and in
YAML (`points_per_side: 16`).
"""

import dataclasses
import difflib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from cyclopts import Parameter

from goodsam.errors import GoodSAMError

Device = Literal["auto", "cpu", "cuda", "mps"]
Engine = Literal["auto", "torch", "onnx", "openvino"]


@dataclass(frozen=True, kw_only=True)
class InputOptions:
    """Which panoramas, and what part of the sphere they show."""

    vfov: float | None = None
    """Vertical field of view, degrees; default 360 * H / W (square pixels: 180 for 2:1, 70.3 for 2048x400)."""
    horizon: float | None = None
    """Row of the horizon, pixels from the upper edge; default the middle."""
    limit: int | None = None
    """Use only the first so many panoramas in sorted order; default all."""
    ego: str = "auto"
    """Camera car, 255 in the labels: auto (found in many panoramas), off, or a PNG of their size, white where it is."""
    strict: bool = False
    """Exit with an error if any input cannot be read; by default it is left out, named and counted."""
    shard: str | None = None
    """I/N: this process does every N-th panorama, starting with the I-th (1..N), of masks and label; default all."""


@dataclass(frozen=True, kw_only=True)
class ViewOptions:
    """The windows through which teacher and assistant see a panorama."""

    views: Literal["auto", "crops", "tangent", "whole"] = "auto"
    """Kind of views: crops of full height, tangent (perspective) views, or auto: crops up to 100 degrees of vfov."""
    view_width: float = 90.0
    """Width of a view, degrees of yaw (crops) or of field of view (tangent)."""
    view_step: float = 45.0
    """Between the centres of neighbouring views, degrees; divides 360, at most half of view-width."""
    view_scale: str = "1"
    """Factor by which views are enlarged for the assistant; several (1,1.5) are averaged; auto takes the best two."""
    whole_view: bool = False
    """The assistant also sees the whole panorama, wrapped; it counts as much as all views together."""


@dataclass(frozen=True, kw_only=True)
class TeacherOptions:
    """Masks from the SAM family, or regions without any weights."""

    sam: str = "facebook/sam-vit-huge"
    """Hugging Face id or folder of a SAM, SAM-HQ, SAM 2 or 2.1 model, `street`, `regions`, or ID+regions for both."""
    preset: Literal["fast", "balanced", "dense"] = "balanced"
    """How many prompts and how strict the filters: up to 8, 16 or 24 points per side (4, 12, 16 for `street`)."""
    placing: Literal["areas", "grid"] | None = None
    """Prompts where the assistant sees areas and where masks are missing, or SAM's blind grid; default areas."""
    points_per_side: int | None = None
    """Cells along each side of a view, each prompted once at most (grid: always), count; default from the preset."""
    points_per_batch: int | None = None
    """Prompt points in one forward pass, count; halved by itself when memory runs out; default from the preset."""
    iou_threshold: float | None = None
    """Masks whose predicted intersection over union is at most this are dropped, 0..1; default from the preset."""
    stability_threshold: float | None = None
    """Masks whose stability score is at most this are dropped, 0..1; default from the preset."""
    nms_threshold: float | None = None
    """Of two masks whose boxes overlap by more than this (intersection over union, 0..1) the worse is dropped."""
    min_area: int | None = None
    """Smaller islands are removed and smaller holes filled, pixels of the view; default from the preset."""


@dataclass(frozen=True, kw_only=True)
class AssistantOptions:
    """The teacher assistant: a semantic segmenter trained on ordinary photos."""

    assistant: str = "nvidia/segformer-b5-finetuned-cityscapes-1024-1024"
    """Hugging Face id or folder of a semantic or universal segmenter, an .onnx file, or `street`."""
    label_set: str | None = None
    """Built-in name (cityscapes19, densepass13) or FILE.yaml; default the assistant's own classes."""


@dataclass(frozen=True, kw_only=True)
class AdaptOptions:
    """Adaptation of the assistant to the panoramas, without labels."""

    adapt_steps: int = 0
    """Steps of adaptation, count; 0 leaves the assistant as it is, and an ONNX file always stays so."""
    adapt_rate: float = 1e-4
    """Peak learning rate of the adaptation."""
    consistency_weight: float = 1.0
    """Weight of the consistency term; 0 leaves it out."""
    boundary_weight: float = 1.0
    """Weight of the boundary term; 0 leaves it out."""
    keep_weight: float = 1.0
    """Weight of the pull towards what the assistant was sure of."""
    sure: float = 0.9
    """Largest probability (0..1) from which the frozen assistant was sure of a pixel."""


@dataclass(frozen=True, kw_only=True)
class FusionOptions:
    """How much a mask has to say about its pixels."""

    mask_weight: float = 2.0
    """Weight of a pixel's masks beside the pixel's own probabilities, which count 1; 0 leaves masks out."""


@dataclass(frozen=True, kw_only=True)
class StudentOptions:
    """The model that a run makes."""

    student: Literal["t", "s", "m"] = "t"
    """Size: t = MiT-B0 (3.7 M parameters), s = MiT-B1 (13.7 M), m = MiT-B2 (24.7 M)."""
    init: str | None = None
    """`random`, `street`, or a SegFormer or MiT checkpoint (hub id or folder); default nvidia/mit-b*, from ImageNet."""


@dataclass(frozen=True, kw_only=True)
class LossOptions:
    """Weights of the loss terms."""

    alpha: float = 0.5
    """Weight of L_ta, the assistant's merged probabilities; 0 leaves the term out."""
    beta: float = 0.1
    """Weight of the feature terms; 0 leaves them out."""
    features: Literal["stored", "online"] = "stored"
    """The assistant's features: levels 3 and 4 as the run stores them, or all four, made anew in each step (slower)."""
    temperature: float = 1.0
    """Temperature of L_ta, above 0; larger weighs unlikely classes more, of which the run keeps only the sum."""
    confidence: float = 0.5
    """Largest ensemble probability (0..1) below which a pixel has no weight in L_ens; above, that is its weight."""
    class_weights: float = 0.0
    """Exponent e of class weights frequency^-e in L_ens, for rare classes: 0 weighs all pixels alike, 0.5 is strong."""


@dataclass(frozen=True, kw_only=True)
class LevelOptions:
    """What the student sees of a panorama in one step: the whole, and patches at native resolution."""

    train_size: str | None = None
    """HxW in pixels at which panoramas are labelled and patches cut, W a multiple of 32; default the first's own."""
    whole_scale: float = 0.5
    """Factor by which the whole panorama is shrunk in training, up to 1; 0 leaves it out."""
    patches: int = 2
    """Patches cut from each panorama in one step, count; 0 leaves them out."""
    patch_size: str = "512x512"
    """HxW of a patch in pixels, multiples of 32; cut off at the panorama's height."""
    rare_patches: float = 0.5
    """Share of the patches (0..1) that are laid on a class drawn with probability frequency^-0.5; others anywhere."""
    tilt: float = 0.0
    """Largest random pitch and roll of the camera in training, degrees; turns about the vertical are always whole."""


@dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """The training loop."""

    steps: int = 20_000
    """Optimiser steps, count, of each round."""
    rounds: int = 1
    """Trainings, count: the student of one is the assistant of the next, and goes on learning from what that gives."""
    batch_size: int = 4
    """Panoramas in one step, over all processes, count."""
    accumulate: int = 1
    """Parts, count, into which a process splits its share of a batch, one after the other, to need less memory."""
    learning_rate: float = 3e-4
    """Peak learning rate of AdamW."""
    warmup: int = 200
    """Steps over which the learning rate rises to its peak (at most a tenth of all steps); a cosine takes it to 0."""
    weight_decay: float = 0.01
    """Weight decay of AdamW; none on biases and normalisation."""
    clip: float = 1.0
    """Largest norm of the gradient."""
    drop: float = 0.0
    """Share of residual branches (0..1) that a step leaves out at random, in the last block; fewer in those before."""
    frozen_norm: bool = False
    """Keep the statistics of the start's batch normalisation; makes a step independent of how its batch is split."""
    average: float = 0.99
    """Decay of the average of the weights over the steps, which becomes the student; 0 takes the last weights."""
    held_back: float = 0.05
    """Share of the panoramas (0..1, 16 at most) that training does not see and the best student is chosen by."""
    validate_every: int | None = None
    """Steps between looks at those that are held back, count; default a tenth of all steps."""
    patience: int = 0
    """Looks without a better student after which training stops, count; 0 never stops early."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """Arithmetic of the forward pass; auto is bf16 on GPUs and CPUs that have it, else fp32."""
    compile: bool = False
    """Compile the step with torch.compile: minutes at the start, faster steps (needs a C++ compiler)."""
    checkpoint_every: int = 100
    """Steps between checkpoints, count."""
    workers: int = 1
    """Processes that read and augment panoramas beside the training, count; 0 does it in the training process."""
    seed: int = 0
    """Seed of weights, order and augmentation."""


@dataclass(frozen=True, kw_only=True)
class MachineOptions:
    """Where to compute."""

    device: Device = "auto"
    """auto takes CUDA, then Apple's GPU, then the CPU."""
    engine: Engine = "auto"
    """What runs the teacher's encoder and the assistant; auto takes the fastest one here with the same results."""
    profile: bool = False
    """Say where the time of masks and label goes, part by part, and how far each is from what the machine could do."""


@dataclass(frozen=True, kw_only=True)
class ScoringOptions:
    """How `goodsam evaluate` and `goodsam compare` look at images; see `evaluation.evaluate`."""

    views: Literal["whole", "crops", "tangent"] = "crops"
    """How assistants see panoramas, where they do not say."""
    view_scale: str = "1"
    """Factor by which a view is enlarged before an assistant; 1,1.5 averages two."""
    projection: Literal["panorama", "photo"] | None = None
    """photo: ordinary photographs, nothing wraps; default what the data says, else panorama."""
    vfov: float | None = None
    """Vertical field of view, degrees; default what the data says, else 360 * H / W."""
    horizon: float | None = None
    """Row of the horizon, pixels from the upper edge; default H / 2."""
    width: int | None = None
    """Pixels at which students see images; default as trained."""
    limit: int | None = None
    """Use only the first so many images, count; default all."""
    workers: int | None = None
    """Threads that read and count beside the networks, count; default one a core, up to 4."""
    device: Device = "auto"
    """auto takes CUDA, then Apple's GPU, then the CPU."""


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """All options of a run, stage by stage."""

    input: Annotated[InputOptions, Parameter(name="*", group="Panoramas")] = field(default_factory=InputOptions)
    view: Annotated[ViewOptions, Parameter(name="*", group="Views")] = field(default_factory=ViewOptions)
    teacher: Annotated[TeacherOptions, Parameter(name="*", group="Teacher")] = field(default_factory=TeacherOptions)
    assistant: Annotated[AssistantOptions, Parameter(name="*", group="Assistant")] = field(
        default_factory=AssistantOptions
    )
    adapt: Annotated[AdaptOptions, Parameter(name="*", group="Adaptation")] = field(default_factory=AdaptOptions)
    fusion: Annotated[FusionOptions, Parameter(name="*", group="Fusion")] = field(default_factory=FusionOptions)
    student: Annotated[StudentOptions, Parameter(name="*", group="Student")] = field(default_factory=StudentOptions)
    loss: Annotated[LossOptions, Parameter(name="*", group="Loss")] = field(default_factory=LossOptions)
    level: Annotated[LevelOptions, Parameter(name="*", group="Levels")] = field(default_factory=LevelOptions)
    train: Annotated[TrainOptions, Parameter(name="*", group="Training")] = field(default_factory=TrainOptions)
    machine: Annotated[MachineOptions, Parameter(name="*", group="Machine")] = field(default_factory=MachineOptions)

    def flat(self) -> dict[str, Any]:
        """Option name -> value, paths as text."""
        values: dict[str, Any] = {}
        for part in dataclasses.fields(self):
            values |= dataclasses.asdict(getattr(self, part.name))
        return {name: str(value) if isinstance(value, Path) else value for name, value in values.items()}


def run_options(**given: Any) -> RunOptions:
    """Options by their flat names, the others at their defaults.

    Raises:
        GoodSAMError: a name that no option has.
    """
    parts = {}
    left = dict(given)
    for part in dataclasses.fields(RunOptions):
        group = part.default_factory
        names = [item.name for item in dataclasses.fields(group)]  # type: ignore[arg-type]
        parts[part.name] = group(**{name: left.pop(name) for name in names if name in left})  # type: ignore[operator]
    if left:
        raise GoodSAMError(unknown_option(next(iter(left)), option_names(), "distill"))
    return RunOptions(**parts)


def option_names() -> list[str]:
    """The flat names of all options of a run."""
    return list(RunOptions().flat())


def unknown_option(name: str, known: list[str], where: str) -> str:
    """A sentence about a misspelt option."""
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"the options are {', '.join(sorted(known))}."
    return f"{where}: unknown option {name!r}; {hint}"


def read_config(path: Path, known: list[str] | None = None) -> dict[str, Any]:
    """Options from a YAML file, or from the `options` of a `run.yaml`; dashes and underscores are the same.

    Args:
        path: the file.
        known: the keys that it may have, with underscores; default those of a run.
    Raises:
        GoodSAMError: not such a file, or an unknown key.
    """
    try:
        value = yaml.safe_load(path.read_text())
    except (OSError, yaml.YAMLError) as error:
        raise GoodSAMError(f"--config {path}: cannot be read as YAML ({error}).") from error
    if isinstance(value, dict) and isinstance(value.get("options"), dict):
        value = value["options"]
    if not isinstance(value, dict):
        raise GoodSAMError(f"--config {path}: must hold `option: value` lines, such as `steps: 2000`.")
    options = {str(key).replace("-", "_"): item for key, item in value.items()}
    known = known or [*option_names(), "panoramas", "out"]
    for name in options:
        if name not in known:
            raise GoodSAMError(unknown_option(name, known, f"--config {path}"))
    return options


def parse_size(text: str, option: str) -> tuple[int, int]:
    """ "200x1024" -> (200, 1024), height and width in pixels.

    Raises:
        GoodSAMError: not of that form.
    """
    height, separator, width = text.lower().partition("x")
    if not (separator and height.isdigit() and width.isdigit() and int(height) and int(width)):
        raise GoodSAMError(f"{option} {text}: must be HEIGHTxWIDTH in pixels, such as 200x1024.")
    return int(height), int(width)


def parse_scales(text: str | float, option: str = "--view-scale") -> tuple[float, ...] | None:
    """ "1,1.5" -> (1.0, 1.5); None for "auto".

    Raises:
        GoodSAMError: not numbers above 0.
    """
    if text == "auto":
        return None
    try:
        scales = tuple(float(part) for part in str(text).split(","))
    except ValueError:
        scales = ()
    if not scales or min(scales) <= 0:
        raise GoodSAMError(f"{option} {text}: must be auto, or factors above 0 such as 1 or 1,1.5.")
    return scales


def parse_shard(text: str | None) -> tuple[int, int]:
    """ "2/4" -> (1, 4): index from 0 and number of shards; None is (0, 1).

    Raises:
        GoodSAMError: not I/N with 1 <= I <= N.
    """
    if text is None:
        return 0, 1
    index, _, number = text.partition("/")
    if not (index.isdigit() and number.isdigit() and 1 <= int(index) <= int(number)):
        raise GoodSAMError(f"--shard {text}: must be I/N with I from 1 to N, such as 2/4.")
    return int(index) - 1, int(number)
