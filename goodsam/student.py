"""The student: SegFormer whose convolutions wrap in yaw where the input spans 360 degrees.

Weights, names and config are those of transformers' `SegformerForSemanticSegmentation`, which loads them as they are.
Only the forward pass is ours, in `segformer.py`, for two reasons: wrapping is a property of the input, passed per call,
and equal results can be had with fewer operations.
"""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import SegformerConfig, SegformerForSemanticSegmentation

from goodsam import files, weights
from goodsam.errors import GoodSAMError
from goodsam.labels import LabelSet, own_label_set
from goodsam.segformer import all_mlp_head, encode, resize
from goodsam.teachers.normalisation import IMAGENET_MEAN, IMAGENET_STD

__all__ = [
    "IMAGENET_STARTS", "SIZES", "STRIDE", "Student", "StudentOutput", "all_mlp_head", "load_student", "new_student",
    "resize", "resolve_start", "save_student",
]  # fmt: skip

log = logging.getLogger(__name__)

STRIDE = 32
"""With wrapping, widths are multiples of this, and rolling the input by it rolls the logits."""

SIZES: dict[str, dict[str, Any]] = {
    "t": {"hidden_sizes": [32, 64, 160, 256], "depths": [2, 2, 2, 2]},  # MiT-B0, 3.7 M parameters
    "s": {"hidden_sizes": [64, 128, 320, 512], "depths": [2, 2, 2, 2]},  # MiT-B1, 13.7 M
    "m": {"hidden_sizes": [64, 128, 320, 512], "depths": [3, 4, 6, 3]},  # MiT-B2, 24.7 M
}
IMAGENET_STARTS = {"t": "nvidia/mit-b0", "s": "nvidia/mit-b1", "m": "nvidia/mit-b2"}


@dataclass(frozen=True)
class StudentOutput:
    """What one forward pass gives."""

    logits: Tensor
    """(B, C, ceil(H/4), ceil(W/4))."""
    features: tuple[Tensor, ...]
    """Four levels at strides 4, 8, 16 and 32: (B, D_l, h_l, w_l)."""


class Student(nn.Module):
    """A SegFormer and the normalisation that it expects.

    Args:
        model: transformers' own, whose weights are used in place.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, model: SegformerForSemanticSegmentation) -> None:
        super().__init__()
        self.model = model
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD)[:, None, None], persistent=False)

    def forward(self, images: Tensor, wrap: bool = False) -> StudentOutput:
        """Logits and features.

        Args:
            images: float (B, 3, H, W), RGB, 0..1.
            wrap: the width spans 360 degrees: convolutions and upsampling wrap in yaw. False pads with zeros.
        Raises:
            ValueError: `wrap` with a width that is not a multiple of 32.
        """
        if wrap and images.shape[-1] % STRIDE:
            right = max(STRIDE, round(images.shape[-1] / STRIDE) * STRIDE)
            raise ValueError(f"width {images.shape[-1]} does not wrap: give a multiple of {STRIDE}, such as {right}")
        features = encode(self.model.segformer, (images - self.mean) / self.std, wrap)
        return StudentOutput(all_mlp_head(self.model.decode_head, features, wrap), features)

    @property
    def channels(self) -> list[int]:
        """D_l of the four levels."""
        return list(self.model.config.hidden_sizes)

    @property
    def label_set(self) -> LabelSet:
        """Names and colours, from the config."""
        config = self.model.config
        names = tuple(config.id2label[index] for index in range(config.num_labels))
        own = getattr(config, "goodsam", {})
        if "colors" in own:
            return LabelSet(own.get("label_set", "own"), names, tuple(tuple(color) for color in own["colors"]))
        return own_label_set(names)


def new_student(size: str, label_set: LabelSet, init: str | None = None, seed: int = 0, drop: float = 0.0) -> Student:
    """A student before training.

    Args:
        size: "t", "s" or "m".
        label_set: its classes.
        init: "random", or a SegFormer or MiT checkpoint (hub id or folder); None for the size's ImageNet weights.
        seed: of the random weights.
        drop: share of residual branches that training leaves out at random in the last block, 0..1; fewer before.
    Raises:
        GoodSAMError: the checkpoint cannot be had or is of another size.
    """
    if size not in SIZES:
        raise GoodSAMError(f"--student {size}: must be one of {', '.join(SIZES)}.")
    torch.manual_seed(seed)
    config = SegformerConfig(
        **SIZES[size],
        num_attention_heads=[1, 2, 5, 8],
        decoder_hidden_size=256,
        drop_path_rate=drop,
        classifier_dropout_prob=0.0,
        id2label=dict(enumerate(label_set.names)),
        label2id={name: index for index, name in enumerate(label_set.names)},
    )
    config.goodsam = {"label_set": label_set.name, "colors": [list(color) for color in label_set.colors]}
    model = SegformerForSemanticSegmentation(config)
    name = IMAGENET_STARTS[size] if init is None else init
    if name != "random":
        _start_from(model, name, size)
    return Student(model)


def resolve_start(size: str, init: str | None) -> tuple[str, Path | None]:
    """The name of a start and its folder, fetched if need be; ("random", None) for random weights.

    Raises:
        GoodSAMError: it cannot be had, with what else could be chosen.
    """
    name = IMAGENET_STARTS[size] if init is None else init
    if name == "random":
        return name, None
    try:
        return name, weights.resolve(name, "--init")
    except GoodSAMError as error:
        raise GoodSAMError(
            f"{error} Other choices: --init DIR (a SegFormer or MiT folder, such as another run's student) or "
            "--init random (needs many more steps)."
        ) from error


def _start_from(model: SegformerForSemanticSegmentation, name: str, size: str) -> None:
    """Copy a checkpoint's encoder, and its head and classifier as far as they fit; say what was taken."""
    _, folder = resolve_start(size, name)
    assert folder is not None
    given = weights.read_config(folder)
    wanted = SIZES[size]
    found = {key: given.get(key) for key in wanted}
    if given.get("model_type") != "segformer" or found != wanted:
        raise GoodSAMError(
            f"--init {name}: its config.json has model_type {given.get('model_type')!r}, {found}; "
            f"student {size} needs a segformer with {wanted}."
        )
    start = weights.load_model(SegformerForSemanticSegmentation.from_pretrained, folder, "--init")
    taken, own = start.state_dict(), model.state_dict()
    has_head = "SegformerForSemanticSegmentation" in (given.get("architectures") or [])
    body = [key for key in own if _is_head(key) and "classifier" not in key]
    head_fits = has_head and all(taken[key].shape == own[key].shape for key in body)
    keep = {key: value for key, value in taken.items() if not _is_head(key)}
    known = 0
    if head_fits:
        keep |= {key: taken[key] for key in body}
        known = _take_classes(start, model)
    model.load_state_dict(keep, strict=False)
    head = "no head there" if not has_head else "head taken" if head_fits else "head of another width left out"
    log.info("student: encoder from %s; %s, with %d of %d classes.", name, head, known, model.config.num_labels)


def _take_classes(start: SegformerForSemanticSegmentation, model: SegformerForSemanticSegmentation) -> int:
    """Copy the classifier's rows of classes that have the same name in both; returns how many."""
    rows = {str(name): row for row, name in start.config.id2label.items()}
    pairs = [(row, rows[name]) for row, name in model.config.id2label.items() if name in rows]
    source, target = start.decode_head.classifier, model.decode_head.classifier
    with torch.no_grad():
        for row, other in pairs:
            target.weight[row], target.bias[row] = source.weight[other], source.bias[other]
    return len(pairs)


def _is_head(key: str) -> bool:
    return key.startswith("decode_head.")


def save_student(student: Student, folder: Path, size: tuple[int, int], vfov: float, card: str) -> None:
    """Write `RUN/student/` in Hugging Face format: whole, or not at all.

    Args:
        size: (H, W) at which it was trained, pixels.
        vfov: vertical field of view that H spans, degrees.
        card: text of its README.md.
    """
    model = student.model
    model.config.goodsam = {**model.config.goodsam, "train_size": list(size), "vfov": vfov}
    processor = {
        "image_processor_type": "SegformerImageProcessor",
        "do_resize": True,
        "size": {"height": size[0], "width": size[1]},
        "resample": 2,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": list(IMAGENET_MEAN),
        "image_std": list(IMAGENET_STD),
        "do_reduce_labels": False,
    }
    with files.whole_folder(folder) as temporary:
        model.save_pretrained(temporary)
        files.write_json(temporary / "preprocessor_config.json", processor)
        files.write_text(temporary / "README.md", card)


def load_student(folder: Path) -> Student:
    """Read what `save_student` wrote, or any SegFormer folder.

    Raises:
        GoodSAMError: not such a folder.
    """
    given = weights.read_config(folder)
    if given.get("model_type") != "segformer":
        raise GoodSAMError(
            f"{folder}: not a student (config.json is missing or not a segformer's); give the RUN/student folder."
        )
    return Student(weights.load_model(SegformerForSemanticSegmentation.from_pretrained, folder, "student")).eval()
