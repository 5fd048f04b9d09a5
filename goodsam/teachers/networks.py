"""The networks inside the experts as engines run them: one tensor in, a flat tuple of tensors out."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from goodsam.engines.frozen import FrozenNetwork
from goodsam.engines.likeness import same_features
from goodsam.teachers.preprocessing import Preprocessing
from goodsam.teachers.universal import ScoreFunction


class SegmenterNetwork(nn.Module):
    """Normalised pixels -> probabilities (B, C, h, w), then feature maps in rising level."""

    def __init__(self, model: nn.Module, scores: ScoreFunction) -> None:
        super().__init__()
        self.model, self._scores = model, scores

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """All that is known of the images."""
        output = self._scores(self.model, pixels)
        return (output.probabilities, *output.features.values())


class EncoderNetwork(nn.Module):
    """The image encoder of a SAM: normalised pixels -> all tensors of the image embedding."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """The tensors in the order in which they stand."""
        return tuple(_tensors(self.model.get_image_embeddings(pixels)))


class ImageEncoder:
    """The image encoder of a SAM through an engine.

    Args:
        model: a model of one of `sam.MODEL_CLASSES`.
        preprocessing: from an image to its input.
    """

    def __init__(self, model: Any, preprocessing: Preprocessing) -> None:
        self._model, self._preprocessing = model, preprocessing
        self.network = FrozenNetwork(EncoderNetwork(model), same_features)

    def show(self, image: np.ndarray) -> Tensor:
        """What the network is shown of an image, uint8 (h, w, 3)."""
        return self._preprocessing(image).to(self._model.device)

    def __call__(self, pixels: Tensor) -> Any:
        """The image embeddings as the model itself gives them: a tensor, a list of levels, or a pair of both."""
        if self.network.kind == "torch":
            return self._model.get_image_embeddings(pixels)
        tensors = self.network(pixels)
        if len(tensors) == 1:
            return tensors[0]
        if self._model.config.model_type == "sam_hq":
            return tensors[0], list(tensors[1:])
        return list(tensors)


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, torch.Tensor):
        yield value
        return
    for item in value:
        yield from _tensors(item)
