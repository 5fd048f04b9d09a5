"""The assistant: a frozen semantic segmenter, as per-class probabilities of views.

SegFormer and other semantic segmenters, Mask2Former, OneFormer and EoMT through transformers, and ONNX files. Every
model's arg max is that of its own post-processing in transformers.
"""

import logging
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
import transformers
from torch import Tensor, nn
from torch.nn import functional as F
from transformers.models.auto.modeling_auto import MODEL_FOR_SEMANTIC_SEGMENTATION_MAPPING_NAMES

from goodsam import weights
from goodsam.errors import GoodSAMError
from goodsam.labels import LABEL_SETS, LabelSet, load_label_set, map_probabilities, mapping, own_label_set
from goodsam.panorama import Panorama
from goodsam.teachers.onnx import IMAGENET_MEAN, IMAGENET_STD, OnnxSegmenter, resized
from goodsam.views import Merger, View, cut
from goodsam.weights import WeightFile

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class AssistantOutput:
    """What the assistant says of a batch of images."""

    probabilities: Tensor
    """float32 (B, C, h, w) at the input's own size, sums to one over C, in the assistant's label set."""
    features: dict[int, Tensor] = field(default_factory=dict)
    """Level 1..4 (stride 4, 8, 16, 32 of what the model saw) -> (B, D_l, h_l, w_l); empty where there are none."""


class Assistant(Protocol):
    """Names with poor outlines: per-class probabilities of whatever is in an image."""

    name: str
    """The id, folder or file that was asked for."""
    label_set: LabelSet
    """The classes that it is asked for, in order."""
    weights: tuple[WeightFile, ...]
    trainable: bool
    """Whether it can be adapted: then it has `model`, an nn.Module, and `forward`, `predict` with gradients."""

    def predict(self, images: Tensor) -> AssistantOutput:
        """Probabilities and features of images, float32 (B, 3, h, w), RGB 0..1."""

    def options(self) -> dict[str, Any]:
        """Every resolved option that changes what it predicts, as JSON values; part of fingerprints."""


def load_assistant(name: str, label_set: str | None = None, device: torch.device | str = "cpu") -> Assistant:
    """The assistant by the name that `--assistant` takes.

    Args:
        name: an .onnx file, a folder in Hugging Face format, or a hub id.
        label_set: None for the model's own classes, a built-in label set's name, or a .yaml file.
        device: where it runs.
    Raises:
        GoodSAMError: not there, not a semantic segmenter, or a label set that does not fit it.
    """
    target = None if label_set is None else load_label_set(label_set)
    if name.lower().endswith(".onnx"):
        return OnnxAssistant(name, target, device)
    return TransformersAssistant(name, target, device)


def predict_views(
    assistant: Assistant, panorama: Panorama, views: Sequence[View], view_scale: float = 1.0
) -> Iterator[tuple[View, AssistantOutput]]:
    """What the assistant says of each view, one view at a time.

    Args:
        views: which views to cut.
        view_scale: views are enlarged by this factor before the model sees them; 1 leaves their pixels as they are.
    Yields:
        The view, and its output with B = 1 and probabilities at the view's own size (`views.size_of`).
    """
    for view in views:
        pixels = torch.from_numpy(cut(panorama, view)).permute(2, 0, 1)[None].float() / 255
        height, width = pixels.shape[2:]
        size = (max(1, round(height * view_scale)), max(1, round(width * view_scale)))
        output = assistant.predict(resized(pixels, size))
        yield view, AssistantOutput(resized(output.probabilities, (height, width)), output.features)


def merged_probabilities(
    assistant: Assistant, panorama: Panorama, views: Sequence[View], view_scale: float = 1.0
) -> Tensor:
    """The views' probabilities merged onto the panorama: P, float32 (C, H, W), sums to one over C."""
    merger = Merger(panorama.geometry, len(assistant.label_set))
    for view, output in predict_views(assistant, panorama, views, view_scale):
        merger.add(view, output.probabilities[0])
    return merger.result()


class OnnxAssistant:
    """An ONNX file as assistant: probabilities only."""

    trainable = False

    def __init__(self, name: str, target: LabelSet | None, device: torch.device | str = "cpu") -> None:
        self.name = name
        self._segmenter = OnnxSegmenter(Path(name), device)
        self.label_set, self._matrix = _fit(name, self._segmenter.classes, self._segmenter.class_count, target)
        self.weights = self._segmenter.weight_files(name)

    def predict(self, images: Tensor) -> AssistantOutput:
        """Probabilities of images, float32 (B, 3, h, w), RGB 0..1; no features."""
        return AssistantOutput(map_probabilities(self._segmenter.probabilities(images), self._matrix))

    def options(self) -> dict[str, Any]:
        """What changes its predictions, as JSON values."""
        return {"name": self.name, "label_set": _label_set_to_json(self.label_set), **self._segmenter.options()}


class TransformersAssistant:
    """A model in Hugging Face format as assistant.

    Views are fed at their own size, unless the model takes one size alone or multiples of a divisor.

    Args:
        name: a folder or hub id.
        target: the label set to map to; None for the model's own classes.
        device: where it runs.
    Raises:
        GoodSAMError: not there, not a semantic segmenter, weights that are missing or would run code.
    """

    trainable = True

    def __init__(self, name: str, target: LabelSet | None, device: torch.device | str = "cpu") -> None:
        self.name = name
        folder = weights.resolve(name, "--assistant")
        self.model_type = str(weights.read_config(folder).get("model_type"))
        self.model = _load(folder, self.model_type).to(device).eval()
        config: Any = self.model.config
        names = config.id2label
        classes = tuple(str(names[index]) for index in sorted(names))
        generic = all(name == f"LABEL_{index}" for index, name in enumerate(classes))
        self.label_set, self._matrix = _fit(name, None if generic and target else classes, len(classes), target)
        self.weights = weights.weight_files(name, folder)
        self._normalisation = _read_normalisation(folder, self.model_type)
        self._scores: Callable[[nn.Module, Tensor, tuple[int, int]], _Scores]
        self._scores = _SCORES.get(self.model_type, _semantic_scores)
        if self.model_type == "oneformer":
            self.model.register_buffer("_task_tokens", _task_tokens(folder).to(device), persistent=False)

    @property
    def device(self) -> torch.device:
        """Where the model is now."""
        return next(self.model.parameters()).device

    def predict(self, images: Tensor) -> AssistantOutput:
        """Probabilities and features of images, float32 (B, 3, h, w), RGB 0..1; without gradients.

        Where the GPU's memory does not hold the batch, its halves are done one after the other.
        """
        try:
            with torch.no_grad():
                return self.forward(images)
        except torch.OutOfMemoryError:
            if len(images) == 1:
                raise
            torch.cuda.empty_cache()
        log.info("%s: a batch of %d does not fit the GPU's memory; it is split.", self.name, len(images))
        return _joined([self.predict(half) for half in images.tensor_split(2)])

    def forward(self, images: Tensor) -> AssistantOutput:
        """`predict` with gradients, for adaptation."""
        size = (images.shape[2], images.shape[3])
        pixels = self._normalisation.apply(images.to(self.device).float())
        scores = self._scores(self.model, pixels, size)
        return AssistantOutput(map_probabilities(scores.probabilities, self._matrix), scores.features)

    def options(self) -> dict[str, Any]:
        """What changes its predictions, as JSON values."""
        return {
            "name": self.name,
            "model_type": self.model_type,
            "label_set": _label_set_to_json(self.label_set),
            "normalisation": asdict(self._normalisation),
        }


def _fit(name: str, classes: tuple[str, ...] | None, count: int, target: LabelSet | None) -> tuple[LabelSet, Tensor]:
    """The label set of an assistant with `count` outputs, and the matrix (C, count) that leads there.

    Outputs without names are taken in the order of a label set with as many classes, else as Cityscapes' 19.
    """
    if classes is None and target is not None and count == len(target):
        log.info("%s: has no class names; its %d outputs are taken in the order of %s.", name, count, target.name)
        return target, torch.eye(count)
    if classes is None:
        classes = LABEL_SETS["cityscapes19"].names
        if count != len(classes):
            raise GoodSAMError(
                f"--assistant {name}: has {count} classes and no names for them; give --label-set FILE.yaml with "
                f"{count} classes in the order of its outputs, or a model that names them (`classes`, a JSON list, in "
                "the metadata of an ONNX file; `id2label` in a config.json)."
            )
        log.info("%s: has no class names; its 19 outputs are taken as cityscapes19.", name)
    target = target or own_label_set(classes)
    return target, mapping(classes, target)


def _label_set_to_json(label_set: LabelSet) -> dict[str, Any]:
    """What of a label set changes predictions: names and what they are made of, not colours."""
    sources = {name: list(made_of) for name, made_of in label_set.sources.items()}
    return {"names": list(label_set.names), "sources": sources}


def _joined(outputs: Sequence[AssistantOutput]) -> AssistantOutput:
    """One output of several, along the batch."""
    features = {level: torch.cat([output.features[level] for output in outputs]) for level in outputs[0].features}
    return AssistantOutput(torch.cat([output.probabilities for output in outputs]), features)


def _load(folder: Path, model_type: str) -> nn.Module:
    """The model, with every parameter read from its weights.

    Raises:
        GoodSAMError: not a semantic segmenter, or one without its head, which would name classes at random.
    """
    if model_type in _SCORES:
        loader = transformers.AutoModelForUniversalSegmentation.from_pretrained
    elif model_type in MODEL_FOR_SEMANTIC_SEGMENTATION_MAPPING_NAMES:
        loader = transformers.AutoModelForSemanticSegmentation.from_pretrained
    else:
        allowed = ", ".join(sorted({*_SCORES, *MODEL_FOR_SEMANTIC_SEGMENTATION_MAPPING_NAMES}))
        raise GoodSAMError(
            f"--assistant {folder}: model_type {model_type!r} is not a semantic segmenter; it must be one of {allowed}."
        )
    model, report = weights.load_model(loader, folder, "--assistant", output_loading_info=True)
    parameters = {key for key, _ in model.named_parameters()}
    missing = sorted(parameters.intersection(report["missing_keys"]))
    if missing:
        raise GoodSAMError(
            f"--assistant {folder}: its weights lack {len(missing)} parameters ({missing[0]}, ...); an encoder without "
            "its segmentation head knows no classes, give a model trained for semantic segmentation."
        )
    return model


@dataclass(frozen=True)
class _Normalisation:
    """What a model wants of the pixels: (rgb * white - mean) / std, rgb in 0..1."""

    white: float
    mean: tuple[float, ...]
    std: tuple[float, ...]
    bgr: bool

    def apply(self, images: Tensor) -> Tensor:
        """float32 (B, 3, h, w), RGB 0..1 -> the same shape, as the model takes it."""
        mean, std = (images.new_tensor(value)[:, None, None] for value in (self.mean, self.std))
        pixels = (images * self.white - mean) / std
        return pixels.flip(1) if self.bgr else pixels


def _read_normalisation(folder: Path, model_type: str) -> _Normalisation:
    """From preprocessor_config.json, or the image part of processor_config.json; ImageNet's where neither says."""
    config = weights.read_config(folder, "preprocessor_config.json")
    config = config or weights.read_config(folder, "processor_config.json").get("image_processor", {})
    # Models of Apple's MobileViT family take BGR pixels as they are, and their files do not always say so.
    mobilevit = model_type.startswith("mobilevit")
    white = 255 * config.get("rescale_factor", 1 / 255) if config.get("do_rescale", True) else 255.0
    bgr = bool(config.get("do_flip_channel_order", mobilevit))
    if not config.get("do_normalize", not mobilevit):
        return _Normalisation(white, (0.0,) * 3, (1.0,) * 3, bgr)
    if "image_mean" not in config or "image_std" not in config:
        log.info("%s: no image_mean and image_std in preprocessor_config.json; ImageNet's are taken.", folder)
    mean, std = config.get("image_mean", IMAGENET_MEAN), config.get("image_std", IMAGENET_STD)
    return _Normalisation(white, tuple(map(float, mean)), tuple(map(float, std)), bgr)


@dataclass(frozen=True)
class _Scores:
    """A model's own classes: probabilities (B, C, h, w) and features by level."""

    probabilities: Tensor
    features: dict[int, Tensor]


def _semantic_scores(model: nn.Module, pixels: Tensor, size: tuple[int, int]) -> _Scores:
    """SegFormer and its like: logits, upsampled, then softmax."""
    seen = resized(pixels, _accepted_size(model.config, (pixels.shape[2], pixels.shape[3])))
    output = model(pixel_values=seen, output_hidden_states=True)
    logits = F.interpolate(output.logits, size=size, mode="bilinear", align_corners=False)
    return _Scores(logits.softmax(1), _levels(output.hidden_states, seen.shape[3]))


def _accepted_size(config: Any, size: tuple[int, int]) -> tuple[int, int]:
    """The size (h, w) that a semantic segmenter is shown instead of `size`: most take any."""
    if config.model_type in ("beit", "data2vec-vision", "dpt"):  # position embeddings of one (square) size
        side = config.image_size
        return (side, side) if isinstance(side, int) else (side[0], side[1])
    if config.model_type.startswith("mobilevit"):
        return max(1, round(size[0] / 32)) * 32, max(1, round(size[1] / 32)) * 32
    return size


def _mask2former_scores(model: nn.Module, pixels: Tensor, size: tuple[int, int]) -> _Scores:
    """Mask2Former: class softmax x mask sigmoid; masks go through 384 x 384, as in its post-processing."""
    seen = resized(pixels, _divisible(pixels, 32))
    output = model(pixel_values=seen, output_hidden_states=True)
    scores = _query_scores(output, (384, 384))
    return _Scores(_renormalised(scores, size), _levels(output.encoder_hidden_states, seen.shape[3]))


def _maskformer_scores(model: nn.Module, pixels: Tensor, size: tuple[int, int]) -> _Scores:
    """MaskFormer: class softmax x mask sigmoid at the masks' own size."""
    seen = resized(pixels, _divisible(pixels, 32))
    output = model(pixel_values=seen, output_hidden_states=True)
    return _Scores(_renormalised(_query_scores(output), size), _levels(output.encoder_hidden_states, seen.shape[3]))


def _oneformer_scores(model: nn.Module, pixels: Tensor, size: tuple[int, int]) -> _Scores:
    """OneFormer, told that the task is semantic: class softmax x mask sigmoid at the masks' own size."""
    tasks = model.get_buffer("_task_tokens").expand(len(pixels), -1)
    output = model(pixel_values=pixels, task_inputs=tasks, output_hidden_states=True)
    return _Scores(_renormalised(_query_scores(output), size), _levels(output.encoder_hidden_states, pixels.shape[3]))


def _eomt_scores(model: nn.Module, pixels: Tensor, size: tuple[int, int]) -> _Scores:
    """EoMT: the shorter side resized to the model's, overlapping square windows along the longer, averaged.

    So too for panoptic checkpoints, whose processor pads to a square that its semantic post-processing then forgets.
    """
    config: Any = model.config
    side = config.image_size if isinstance(config.image_size, int) else config.image_size[0]
    height, width = size
    seen_size = (int(side * height / width), side) if width < height else (side, int(side * width / height))
    seen = resized(pixels, seen_size)
    axis, length = (2, seen_size[0]) if height > width else (3, seen_size[1])
    count = -(-length // side)
    step = side - (count * side - length) / (count - 1) if count > 1 else 0
    total = seen.new_zeros(len(seen), config.num_labels, *seen_size)
    seen_by = seen.new_zeros(1, 1, *seen_size)
    for index in range(count):
        start = int(index * step)
        scores = _query_scores(model(pixel_values=seen.narrow(axis, start, side)), (side, side))
        total.narrow(axis, start, side).add_(scores)
        seen_by.narrow(axis, start, side).add_(1)
    return _Scores(_renormalised(total / seen_by, size), {})


def _divisible(pixels: Tensor, divisor: int) -> tuple[int, int]:
    """The size of pixels (B, 3, h, w), each side raised to a multiple, as the models' processors do."""
    return -(-pixels.shape[2] // divisor) * divisor, -(-pixels.shape[3] // divisor) * divisor


def _query_scores(output: Any, mask_size: tuple[int, int] | None = None) -> Tensor:
    """Scores of classes (B, C, h', w'): sum over queries of class probability, the null class left out, and mask."""
    masks = output.masks_queries_logits
    if mask_size is not None:
        masks = F.interpolate(masks, size=mask_size, mode="bilinear", align_corners=False)
    classes = output.class_queries_logits.softmax(-1)[..., :-1]
    return torch.einsum("bqc,bqhw->bchw", classes, masks.sigmoid())


def _renormalised(scores: Tensor, size: tuple[int, int]) -> Tensor:
    """Scores at `size`, divided by their sum over classes, their arg max left as it is; uniform where all are 0."""
    scores = F.interpolate(scores, size=size, mode="bilinear", align_corners=False)
    total = scores.sum(1, keepdim=True)
    return torch.where(total > 1e-30, scores / total.clamp_min(1e-30), 1 / scores.shape[1])


def _levels(hidden: Sequence[Tensor] | None, width: int) -> dict[int, Tensor]:
    """Feature maps (B, D, h', w') among hidden states, by level: 1..4 for strides 4, 8, 16, 32; the last of each."""
    levels = {}
    for state in hidden or ():
        if state.ndim == 4:
            level = round(math.log2(width / state.shape[3])) - 1
            if 1 <= level <= 4:
                levels[level] = state
    return levels


def _task_tokens(folder: Path) -> Tensor:
    """OneFormer's task, "the task is semantic", as its tokenizer writes it: int64 (1, length), zeros after the end."""
    # Without them transformers makes an empty tokenizer and says nothing.
    complete = (folder / "tokenizer.json").is_file() or all(
        (folder / n).is_file() for n in ("vocab.json", "merges.txt")
    )
    if not complete:
        raise GoodSAMError(
            f"--assistant {folder}: OneFormer needs its tokenizer beside config.json (vocab.json and merges.txt, or "
            "tokenizer.json); copy these files from where the model came from."
        )
    tokenizer = weights.load_model(transformers.AutoTokenizer.from_pretrained, folder, "--assistant")
    length = int(weights.read_config(folder).get("task_seq_len", 77))
    encoded = tokenizer("the task is semantic", padding="max_length", max_length=length, truncation=True)
    return torch.tensor(encoded["input_ids"])[None] * torch.tensor(encoded["attention_mask"])[None]


_SCORES: dict[str, Callable[[nn.Module, Tensor, tuple[int, int]], _Scores]] = {
    "mask2former": _mask2former_scores,
    "maskformer": _maskformer_scores,
    "oneformer": _oneformer_scores,
    "eomt": _eomt_scores,
    "eomt_dinov3": _eomt_scores,
}
"""Segmenters whose queries each give a class and a mask; every other type gives logits per pixel."""
