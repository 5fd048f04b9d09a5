"""The assistant: a frozen semantic segmenter, as per-class probabilities of views.

SegFormer and other semantic segmenters, Mask2Former, OneFormer and EoMT through transformers, and ONNX files. Every
model's arg max is that of its own post-processing in transformers.
"""

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from goodsam.labels import LabelSet, load_label_set, map_probabilities
from goodsam.panorama import Panorama, wrap_pad
from goodsam.profiling import timed
from goodsam.teachers.normalisation import resized
from goodsam.teachers.onnx import OnnxSegmenter
from goodsam.teachers.output import AssistantOutput, fit_label_set, label_set_to_json
from goodsam.teachers.segmenters import TransformersAssistant
from goodsam.views import Merger, View, cut, size_of
from goodsam.weights import WeightFile

__all__ = [
    "Assistant",
    "AssistantOutput",
    "OnnxAssistant",
    "TransformersAssistant",
    "load_assistant",
    "merged_probabilities",
    "predict_views",
    "whole_probabilities",
]

VIEWS_AT_ONCE = {"cuda": 8}
"""Views of one size that the assistant sees together, by device; elsewhere one after the other is as fast."""
WRAP_DEGREES = 45.0
"""Yaw by which the assistant sees past the left and the right edge of a whole panorama."""


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


class OnnxAssistant:
    """An ONNX file as assistant: probabilities only."""

    trainable = False

    def __init__(self, name: str, target: LabelSet | None, device: torch.device | str = "cpu") -> None:
        self.name = name
        self._segmenter = OnnxSegmenter(Path(name), device)
        self.label_set, self._matrix = fit_label_set(name, self._segmenter.classes, self._segmenter.class_count, target)
        self.weights = self._segmenter.weight_files(name)

    def predict(self, images: Tensor) -> AssistantOutput:
        """Probabilities of images, float32 (B, 3, h, w), RGB 0..1; no features."""
        return AssistantOutput(map_probabilities(self._segmenter.probabilities(images), self._matrix))

    @property
    def segmenter(self) -> OnnxSegmenter:
        """The file itself."""
        return self._segmenter

    def options(self) -> dict[str, Any]:
        """What changes its predictions, as JSON values."""
        return {"name": self.name, "label_set": label_set_to_json(self.label_set), **self._segmenter.options()}


def predict_views(
    assistant: Assistant, panorama: Panorama, views: Sequence[View], scales: Sequence[float] = (1.0,)
) -> Iterator[tuple[View, AssistantOutput]]:
    """What the assistant says of each view, one view at a time.

    Args:
        views: which views to cut.
        scales: views are enlarged by each of these factors before the model sees them; 1 leaves their pixels as they
            are. Probabilities are averaged; features are those of the first.
    Yields:
        The view, and its output with B = 1 and probabilities at the view's own size (`views.size_of`).
    """
    device = getattr(assistant, "device", None)
    at_once = 1 if device is None else VIEWS_AT_ONCE.get(device.type, 1)
    for size, alike in itertools.groupby(views, lambda view: size_of(view, panorama.geometry)):
        left = list(alike)
        while left:
            batch, left = left[:at_once], left[at_once:]
            with timed("views"):
                images = np.stack([cut(panorama, view) for view in batch])
            output = predict_images(assistant, images, scales)
            assert output.probabilities.shape[2:] == size
            for number, view in enumerate(batch):
                yield view, output.image(number)
            del output  # before the assistant sees the next views


def predict_image(assistant: Assistant, pixels: np.ndarray, scales: Sequence[float]) -> AssistantOutput:
    """`predict_images` of one image, uint8 (h, w, 3), with B = 1."""
    return predict_images(assistant, pixels[None], scales)


def predict_images(assistant: Assistant, pixels: np.ndarray, scales: Sequence[float]) -> AssistantOutput:
    """Mean over scales of what the assistant says of images, uint8 (B, h, w, 3); features of the first scale."""
    images = torch.from_numpy(np.ascontiguousarray(pixels)).permute(0, 3, 1, 2).float() / 255
    height, width = images.shape[2:]
    outputs = [
        assistant.predict(resized(images, (max(1, round(height * scale)), max(1, round(width * scale)))))
        for scale in scales
    ]
    said = [resized(output.probabilities, (height, width)) for output in outputs]
    return AssistantOutput(said[0] if len(said) == 1 else torch.stack(said).mean(0), outputs[0].features)


def merged_probabilities(
    assistant: Assistant, panorama: Panorama, views: Sequence[View], scales: Sequence[float] = (1.0,)
) -> Tensor:
    """The views' probabilities merged onto the panorama: P, float32 (C, H, W), sums to one over C."""
    merger = Merger(panorama.geometry, len(assistant.label_set))
    for view, output in predict_views(assistant, panorama, views, scales):
        merger.add(view, output.probabilities[0])
        del output  # before the assistant sees the next view
    return merger.result()


def whole_probabilities(assistant: Assistant, panorama: Panorama, scales: Sequence[float] = (1.0,)) -> Tensor:
    """What the assistant says of the whole panorama, wrapped on both sides: float32 (C, H, W)."""
    columns = round(WRAP_DEGREES / 360 * panorama.geometry.width)
    output = predict_image(assistant, wrap_pad(panorama.pixels, columns), scales)
    return output.probabilities[0, :, :, columns:-columns].cpu()
