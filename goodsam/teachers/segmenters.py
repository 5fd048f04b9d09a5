"""Segmenters of transformers as assistants: semantic ones here, universal ones by the functions of `universal`."""

import logging
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor, nn
from torch.nn import functional as F
from transformers.models.auto.modeling_auto import MODEL_FOR_SEMANTIC_SEGMENTATION_MAPPING_NAMES

from goodsam import weights
from goodsam.engines.frozen import FrozenNetwork
from goodsam.engines.likeness import same_classes
from goodsam.errors import GoodSAMError
from goodsam.labels import LabelSet, map_probabilities
from goodsam.profiling import timed
from goodsam.student import all_mlp_head
from goodsam.teachers.networks import SegmenterNetwork
from goodsam.teachers.normalisation import read_normalisation, resized
from goodsam.teachers.output import AssistantOutput, feature_levels, fit_label_set, joined, label_set_to_json
from goodsam.teachers.universal import SCORES, ScoreFunction, task_tokens
from goodsam.views import BAND, bands

log = logging.getLogger(__name__)


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
        self.model = _load_model(folder, self.model_type).to(device).eval()
        config: Any = self.model.config
        names = config.id2label
        classes = tuple(str(names[index]) for index in sorted(names))
        generic = all(name == f"LABEL_{index}" for index, name in enumerate(classes))
        self.label_set, self._matrix = fit_label_set(
            name, None if generic and target else classes, len(classes), target
        )
        self.weights = weights.weight_files(name, folder)
        self._normalisation = read_normalisation(folder, self.model_type)
        plain = self.model_type != "segformer" or not config.reshape_last_stage  # an old head takes tokens
        semantic = _semantic_scores if plain else _segformer_scores
        self._scores: ScoreFunction = SCORES.get(self.model_type, semantic)
        # Universal ones choose by what they see, which the constants of an engine might not follow.
        network = None if self.model_type in SCORES else SegmenterNetwork(self.model, self._scores)
        self.network = None if network is None else FrozenNetwork(network, same_classes)
        """What engines can run; None where PyTorch alone does."""
        if self.model_type == "oneformer":
            self.model.register_buffer("_task_tokens", task_tokens(folder).to(device), persistent=False)

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
                plain = self.network is None or self.network.kind == "torch"
                with timed("assistant", self.model, tuple(images.shape), partial(self.forward, images)):
                    return self.forward(images) if plain else self._through_engine(images)
        except torch.OutOfMemoryError:
            if len(images) == 1:
                raise
            torch.cuda.empty_cache()
        log.info("%s: a batch of %d does not fit the GPU's memory; it is split.", self.name, len(images))
        return joined([self.predict(half) for half in images.tensor_split(2)])

    def _through_engine(self, images: Tensor) -> AssistantOutput:
        assert self.network is not None
        pixels = self.pixels(images)
        probabilities, *features = self.network(pixels)
        seen = accepted_size(self.model.config, (pixels.shape[2], pixels.shape[3]))
        return AssistantOutput(map_probabilities(probabilities, self._matrix), feature_levels(features, seen[1]))

    def trunk(self, images: Tensor) -> tuple[Tensor, ...]:
        """What the first three stages of a SegFormer see in images, (B, D_l, h_l, w_l) each, without gradients.

        Adaptation leaves them as they are, so that the assistant before, the one after and any in between share them.
        Empty for other models.
        """
        if self._scores is not _segformer_scores:
            return ()
        with torch.no_grad():
            return tuple(_stages(self.model, self.pixels(images), [], last=-1))

    def forward(self, images: Tensor, trunk: tuple[Tensor, ...] = ()) -> AssistantOutput:
        """`predict` with gradients, for adaptation; `trunk` of the same images spares the first stages."""
        pixels = self.pixels(images)
        scores = _segformer_scores(self.model, pixels, trunk) if trunk else self._scores(self.model, pixels)
        return AssistantOutput(map_probabilities(scores.probabilities, self._matrix), scores.features)

    def pixels(self, images: Tensor) -> Tensor:
        """What the network is shown of images, float32 (B, 3, h, w), RGB 0..1: normalised, on its device."""
        return self._normalisation.apply(images.to(self.device).float())

    def options(self) -> dict[str, Any]:
        """What changes its predictions, as JSON values."""
        return {
            "name": self.name,
            "model_type": self.model_type,
            "label_set": label_set_to_json(self.label_set),
            "normalisation": asdict(self._normalisation),
        }


def _load_model(folder: Path, model_type: str) -> nn.Module:
    """The model, with every parameter read from its weights.

    Raises:
        GoodSAMError: not a semantic segmenter, or one without its head, which would name classes at random.
    """
    if model_type in SCORES:
        loader = transformers.AutoModelForUniversalSegmentation.from_pretrained
    elif model_type in MODEL_FOR_SEMANTIC_SEGMENTATION_MAPPING_NAMES:
        loader = transformers.AutoModelForSemanticSegmentation.from_pretrained
    else:
        allowed = ", ".join(sorted({*SCORES, *MODEL_FOR_SEMANTIC_SEGMENTATION_MAPPING_NAMES}))
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


def _segformer_scores(model: nn.Module, pixels: Tensor, trunk: tuple[Tensor, ...] = ()) -> AssistantOutput:
    """SegFormer: the logits of its own head, computed with fewer operations; upsampled, then softmax."""
    segformer: Any = model
    hidden = _stages(model, pixels, list(trunk))
    logits = all_mlp_head(segformer.decode_head, hidden)
    logits = F.interpolate(logits, size=pixels.shape[2:], mode="bilinear", align_corners=False)
    return AssistantOutput(_softmax(logits), feature_levels(hidden, pixels.shape[3]))


def _softmax(logits: Tensor) -> Tensor:
    """Over classes, (B, C, h, w); of large images, where nothing learns, in place and in bands of rows."""
    if torch.is_grad_enabled() or logits.shape[2] * logits.shape[3] <= BAND:
        return logits.softmax(1)
    for top, bottom in bands((logits.shape[2], logits.shape[3])):
        logits[:, :, top:bottom] = logits[:, :, top:bottom].softmax(1)
    return logits


def _stages(model: nn.Module, pixels: Tensor, hidden: list[Tensor], last: int | None = None) -> list[Tensor]:
    """The feature maps of a SegFormer's stages, from those that are there already on."""
    segformer: Any = model
    for stage in segformer.segformer.stages[len(hidden) : last]:
        hidden.append(stage(hidden[-1] if hidden else pixels))
    return hidden


def _semantic_scores(model: nn.Module, pixels: Tensor) -> AssistantOutput:
    """UperNet, BEiT, DPT and their like: logits, upsampled, then softmax."""
    seen = resized(pixels, accepted_size(model.config, (pixels.shape[2], pixels.shape[3])))
    output = model(pixel_values=seen, output_hidden_states=True)
    logits = F.interpolate(output.logits, size=pixels.shape[2:], mode="bilinear", align_corners=False)
    return AssistantOutput(logits.softmax(1), feature_levels(output.hidden_states, seen.shape[3]))


def accepted_size(config: Any, size: tuple[int, int]) -> tuple[int, int]:
    """The size (h, w) that a semantic segmenter is shown instead of `size`: most take any."""
    if config.model_type in ("beit", "data2vec-vision", "dpt"):  # position embeddings of one (square) size
        side = config.image_size
        return (side, side) if isinstance(side, int) else (side[0], side[1])
    if config.model_type.startswith("mobilevit"):
        return max(1, round(size[0] / 32)) * 32, max(1, round(size[1] / 32)) * 32
    return size
