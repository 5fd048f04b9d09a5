"""The sum that the student minimises: L = L_ens + alpha L_ta + beta sum_l L_feat,l."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from goodsam.config import LossOptions
from goodsam.mka.features import FeatureLoss
from goodsam.mka.logits import assistant_loss, ensemble_loss
from goodsam.student import StudentOutput, resize


@dataclass(frozen=True)
class Batch:
    """What one step sees. All on one device."""

    images: Tensor
    """float (B, 3, H, W), 0..1."""
    ensemble: Tensor
    """float (B, C, h, w)."""
    assistant: Tensor
    """float (B, C, h, w)."""
    valid: Tensor
    """float (B, h, w): 0 where there is no scene (camera car)."""
    features: dict[int, Tensor]
    """level -> float (B, D, h_l, w_l); empty without."""


@dataclass(frozen=True)
class Loss:
    """The sum and its terms, before weighting."""

    total: Tensor
    terms: dict[str, Tensor]


def mean_loss(losses: Sequence[Loss]) -> Loss:
    """The mean of several losses with the same terms: of whole panoramas and patches, say."""
    terms = {name: torch.stack([loss.terms[name] for loss in losses]).mean() for name in losses[0].terms}
    return Loss(torch.stack([loss.total for loss in losses]).mean(), terms)


class MKALoss(nn.Module):
    """L = L_ens + alpha L_ta + beta sum_l L_feat,l (section "Multi-level knowledge adaptation" of the paper).

    Args:
        options: weights of the terms.
        student_channels: of the student's four levels.
        target_channels: of the assistant's features by level; empty where it has none.
        class_weights: float (C,), weight of each class in L_ens; None for equal ones.
    """

    class_weights: Tensor | None

    def __init__(
        self,
        options: LossOptions,
        student_channels: Sequence[int],
        target_channels: Mapping[int, int],
        class_weights: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.options = options
        self.register_buffer("class_weights", class_weights, persistent=False)
        self.features = FeatureLoss(student_channels, target_channels if options.beta else {})

    def forward(self, output: StudentOutput, batch: Batch, wrap: bool = True) -> Loss:
        """The loss of one batch of whole panoramas (`wrap`) or of patches."""
        logits = resize(output.logits, batch.ensemble.shape[-2:], wrap).float()
        terms = {"ens": ensemble_loss(logits, batch.ensemble, self.confidence_weight(batch))}
        total = terms["ens"]
        if self.options.alpha:
            terms["ta"] = assistant_loss(logits, batch.assistant, batch.valid, self.options.temperature)
            total = total + self.options.alpha * terms["ta"]
        if self.options.beta and batch.features:
            levels = self.features(output.features, batch.features, batch.valid, wrap)
            terms |= {f"feat{level}": value for level, value in levels.items()}
            total = total + self.options.beta * torch.stack(list(levels.values())).sum()
        return Loss(total, terms)

    def confidence_weight(self, batch: Batch) -> Tensor:
        """w(x), float (B, h, w): the ensemble's largest probability where it reaches the threshold, else 0.

        With class weights times the expected weight of the pixel's class, sum_c E_c(x) w_c.
        """
        confidence = batch.ensemble.amax(1)
        weight = confidence * (confidence >= self.options.confidence) * batch.valid
        if self.class_weights is None:
            return weight
        return weight * torch.einsum("bchw,c->bhw", batch.ensemble, self.class_weights)
