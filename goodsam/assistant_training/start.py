"""What an assistant's training begins with: random weights of a shape, or another model's as far as they fit."""

import copy
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForSemanticSegmentation
from transformers.models.auto.modeling_auto import MODEL_FOR_SEMANTIC_SEGMENTATION_MAPPING_NAMES

from goodsam import weights
from goodsam.assistant_training.model import Trainee
from goodsam.assistant_training.options import AssistantTrainOptions
from goodsam.assistant_training.shapes import config_of_classes, random_segformer
from goodsam.errors import GoodSAMError
from goodsam.labels import LabelSet
from goodsam.teachers.normalisation import IMAGENET_MEAN, IMAGENET_STD, Normalisation, read_normalisation
from goodsam.teachers.universal import SCORES
from goodsam.weights import WeightFile

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Start:
    """A model before training, and where its weights come from."""

    trainee: Trainee
    fresh: frozenset[str]
    """Names of the trainee's parameters that are random, wholly or for some classes."""
    folder: Path | None
    """Of the model that it starts from; None for random weights."""
    weights: tuple[WeightFile, ...]
    """The files in it."""


def new_start(options: AssistantTrainOptions, label_set: LabelSet) -> Start:
    """The model with an output for each class of a label set.

    Raises:
        GoodSAMError: an unknown shape, or a start that cannot be had or trained.
    """
    torch.manual_seed(options.seed)
    name = options.init
    if name == "random":
        trainee = Trainee(random_segformer(options.shape, label_set), Normalisation(1.0, IMAGENET_MEAN, IMAGENET_STD))
        return Start(trainee, frozenset(key for key, _ in trainee.named_parameters()), None, ())
    if options.shape is not None:
        raise GoodSAMError(
            f"--shape {options.shape}: is that of random weights, and --init {name} brings its own; leave out --shape, "
            "or give --init random."
        )
    folder = weights.resolve(name, "--assistant" if name == weights.STREET else "--init")  # the bundled assistant
    given, missing = _given(name, folder)
    kind, names = given.config.model_type, _names(given)
    model, fresh, known = _for_classes(given, names, missing, label_set)
    head = f"{len(missing)} parameters are not there and start random" if missing else "everything taken"
    log.info("assistant: %s from %s; %s, with %d of %d classes.", kind, name, head, known, len(label_set))
    trainee = Trainee(model, read_normalisation(folder, kind))
    return Start(trainee, frozenset(f"model.{key}" for key in fresh), folder, weights.weight_files(name, folder))


def _given(name: str, folder: Path) -> tuple[Any, frozenset[str]]:
    """The model as it is, and the names of what its weights lack.

    Raises:
        GoodSAMError: a kind of model that is not trained here, or one whose encoder is not there.
    """
    kind = weights.read_config(folder).get("model_type")
    allowed = ", ".join(sorted(MODEL_FOR_SEMANTIC_SEGMENTATION_MAPPING_NAMES))
    if kind in SCORES:
        raise GoodSAMError(
            f"--init {name}: model_type {kind!r} is a universal segmenter, which labels by queries and is not trained "
            f"here; give a semantic segmenter, one of {allowed}."
        )
    if kind not in MODEL_FOR_SEMANTIC_SEGMENTATION_MAPPING_NAMES:
        raise GoodSAMError(f"--init {name}: model_type {kind!r} is no semantic segmenter; it must be one of {allowed}.")
    loader = AutoModelForSemanticSegmentation.from_pretrained
    model, report = weights.load_model(loader, folder, "--init", output_loading_info=True)
    missing = frozenset(report["missing_keys"])
    encoder = ("backbone.", f"{model.base_model_prefix}.")
    lost = sorted(key for key, _ in model.named_parameters() if key in missing and key.startswith(encoder))
    if lost:
        raise GoodSAMError(
            f"--init {name}: its weights lack {len(lost)} parameters of the encoder ({lost[0]}, ...); give a whole "
            "segmenter, or an encoder that was trained on images."
        )
    return model, missing


def _for_classes(
    given: Any, names: tuple[str, ...], missing: frozenset[str], label_set: LabelSet
) -> tuple[Any, frozenset[str], int]:
    """The model for other classes: all that does not depend on them, and the rows of classes of the same name.

    Args:
        given: the model for the classes `names`.
        missing: names of what is random in it.
    Returns:
        the model, the names of what is random in it, wholly or in part, and how many classes are known to it.
    """
    config = copy.deepcopy(given.config)
    for key, value in config_of_classes(label_set).items():
        setattr(config, key, value)
    model = AutoModelForSemanticSegmentation.from_config(config)
    own, taken = model.state_dict(), given.state_dict()
    rows = [(row, names.index(name)) for row, name in enumerate(label_set.names) if name in names]
    of_classes = _class_dependent(config, own)
    with torch.no_grad():
        for key in of_classes - missing:
            for row, other in rows:
                own[key][row] = taken[key][other]
    model.load_state_dict({key: value for key, value in taken.items() if key not in of_classes | missing}, strict=False)
    known = len(rows) if of_classes - missing else 0
    return model, missing if known == len(label_set) else missing | of_classes, known


def _class_dependent(config: Any, own: dict[str, Tensor]) -> frozenset[str]:
    """Names of what has a row per class: what is of another shape in a model with one class more."""
    more = copy.deepcopy(config)
    more.id2label = {index: str(index) for index in range(config.num_labels + 1)}
    with torch.device("meta"):
        probe = AutoModelForSemanticSegmentation.from_config(more).state_dict()
    return frozenset(key for key, value in own.items() if probe[key].shape != value.shape)


def _names(model: Any) -> tuple[str, ...]:
    return tuple(str(model.config.id2label[index]) for index in sorted(model.config.id2label))
