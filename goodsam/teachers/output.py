"""What an assistant says: probabilities of the classes of a label set, and features by level."""

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from goodsam.errors import GoodSAMError
from goodsam.labels import LABEL_SETS, LabelSet, mapping, own_label_set

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class AssistantOutput:
    """What the assistant, or a model inside it, says of a batch of images."""

    probabilities: Tensor
    """float32 (B, C, h, w) at the input's own size, sums to one over C.

    C are the classes of the assistant's label set; of a model inside an assistant, the model's own.
    """
    features: dict[int, Tensor] = field(default_factory=dict)
    """Level 1..4 (stride 4, 8, 16, 32 of what the model saw) -> (B, D_l, h_l, w_l); empty where there are none."""

    def image(self, number: int) -> "AssistantOutput":
        """What is said of one image of the batch, with B = 1."""
        features = {level: maps[number : number + 1] for level, maps in self.features.items()}
        return AssistantOutput(self.probabilities[number : number + 1], features)


def joined(outputs: Sequence[AssistantOutput]) -> AssistantOutput:
    """One output of several, along the batch."""
    features = {level: torch.cat([output.features[level] for output in outputs]) for level in outputs[0].features}
    return AssistantOutput(torch.cat([output.probabilities for output in outputs]), features)


def feature_levels(hidden: Sequence[Tensor] | None, width: int) -> dict[int, Tensor]:
    """Feature maps (B, D, h', w') among hidden states, by level: 1..4 for strides 4, 8, 16, 32; the last of each."""
    levels = {}
    for state in hidden or ():
        if state.ndim == 4:
            level = round(math.log2(width / state.shape[3])) - 1
            if 1 <= level <= 4:
                levels[level] = state
    return levels


def fit_label_set(
    name: str, classes: tuple[str, ...] | None, count: int, target: LabelSet | None
) -> tuple[LabelSet, Tensor]:
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


def label_set_to_json(label_set: LabelSet) -> dict[str, Any]:
    """What of a label set changes predictions: names and what they are made of, not colours."""
    sources = {name: list(made_of) for name, made_of in label_set.sources.items()}
    return {"names": list(label_set.names), "sources": sources}
