"""How an assistant in training does on the photos that are held out, and the best it was."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from goodsam.assistant_training.model import Trainee
from goodsam.assistant_training.photos import Item, read_pair
from goodsam.datasets import Dataset
from goodsam.metrics import confusion_matrix, iou_of


@dataclass(frozen=True)
class HeldOut:
    """Scores against labels that training did not see."""

    photos: int
    miou: float
    """Mean over the classes in the labels of intersection over union, 0..1; 0 where nothing is labelled."""
    per_class: dict[str, float | None]
    """Intersection over union by class, 0..1; None where the labels do not have it."""

    def summary(self) -> str:
        """mIoU and IoU by class, in percent."""
        classes = ", ".join(
            f"{name} {'-' if iou is None else f'{100 * iou:.0f}'}" for name, iou in self.per_class.items()
        )
        return f"mIoU {100 * self.miou:.1f} ({classes})"


@torch.no_grad()
def score(trainee: Trainee, data: Dataset, items: Sequence[Item], device: torch.device) -> HeldOut:
    """Label whole photos at their own size, as an assistant would, and compare.

    Args:
        trainee: in evaluation mode, on `device`.
        data: whose label set it has.
        items: the photos, at least one.
        device: where to compute.
    """
    classes = len(data.label_set)
    confusion = np.zeros((classes, classes + 1), dtype=np.int64)
    for item in items:
        pixels, labels = read_pair(data, item)
        image = torch.from_numpy(pixels).to(device).permute(2, 0, 1)[None].float() / 255
        logits = F.interpolate(trainee(image), labels.shape, mode="bilinear", align_corners=False)
        confusion += confusion_matrix(labels, logits.argmax(1)[0].byte().cpu().numpy(), classes)
    ious = iou_of(confusion)
    miou = 0.0 if np.isnan(ious).all() else float(np.nanmean(ious))
    found = [None if np.isnan(iou) else float(iou) for iou in ious]
    return HeldOut(len(items), miou, dict(zip(data.label_set.names, found, strict=True)))


class Best:
    """The weights of the best look so far, on the CPU."""

    def __init__(self) -> None:
        self.found: HeldOut | None = None
        self._weights: dict[str, Tensor] = {}

    def look(self, trainee: Trainee, found: HeldOut) -> None:
        """Take the weights if none before were better."""
        if self.found is None or found.miou >= self.found.miou:
            self.found = found
            self._weights = {name: value.detach().cpu().clone() for name, value in trainee.state_dict().items()}

    def give(self, trainee: Trainee) -> None:
        """Put the best weights into a model; without a look it stays as it is."""
        if self.found is not None:
            trainee.load_state_dict(self._weights)

    def state_dict(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {"found": None if self.found is None else asdict(self.found), "weights": self._weights}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """From a checkpoint."""
        self.found = None if state["found"] is None else HeldOut(**state["found"])
        self._weights = state["weights"]
