"""SAM's losses, and what the training from scratch takes beside them."""

import torch
import torch.nn.functional as F
from street_teacher_data import Batch
from street_teacher_model import Likeness, embed
from transformers import Sam2Model


def mask_losses(logits: torch.Tensor, target: torch.Tensor, valid: torch.Tensor, focal_weight: float) -> torch.Tensor:
    """SAM's focal (gamma 2, alpha 0.25) + dice of each mask.

    Args:
        logits: float32 (N, K, h, w).
        target: float32 (N, 1, h, w), 0..1.
        valid: float32 (N, 1, h, w), the weight of each pixel.
    Returns:
        float32 (N, K).
    """
    probability = logits.sigmoid()
    entropy = F.softplus(logits) - logits * target
    miss = probability + target - 2 * probability * target  # 1 - p_t
    focal = (0.75 - 0.5 * target) * miss.square() * entropy
    focal = (focal * valid).sum(dim=(-2, -1)) / valid.sum(dim=(-2, -1)).clamp(min=1)
    weighted = target * valid
    overlap = (probability * weighted).sum(dim=(-2, -1))
    total = (probability * valid).sum(dim=(-2, -1)) + weighted.sum(dim=(-2, -1))
    return focal_weight * focal + 1 - (2 * overlap + 1) / (total + 1)


def balanced_loss(logits: torch.Tensor, target: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of each mask, half of it from the object's pixels and half from the others: as `mask_losses`.

    Small objects fill a hundredth of a picture; under focal and dice loss a network that knows nothing yet learns to
    leave their masks empty, and from there little gradient leads away. This loss has no such resting place.
    """
    inside, outside = target * valid, (1 - target) * valid
    missed = (F.softplus(-logits) * inside).sum(dim=(-2, -1)) / inside.sum(dim=(-2, -1)).clamp(min=1)
    false = (F.softplus(logits) * outside).sum(dim=(-2, -1)) / outside.sum(dim=(-2, -1)).clamp(min=1)
    return 0.5 * (missed + false)


def mask_ious(logits: torch.Tensor, target: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """Intersection over union of each thresholded mask with the object, arguments as above: float32 (N, K)."""
    masks, truth = logits > 0, (target >= 0.5) & (valid > 0)
    masks = masks & (valid > 0)
    overlap = (masks & truth).sum(dim=(-2, -1))
    return overlap / (masks.sum(dim=(-2, -1)) + truth.sum(dim=(-2, -1)) - overlap).clamp(min=1)


def losses_of(
    model: Sam2Model, likeness: Likeness, batch: Batch, prompts: int, weights: tuple[float, float, float, float]
) -> tuple[torch.Tensor, dict[str, float]]:
    """The loss of one batch, and figures to print.

    The best mask is trained on logits enlarged to half the network's input, not on the 128 x 128 that come out: a pole
    two pixels wide covers half a cell, so averaged to cells its target is never above 0.5 and its mask stays empty,
    while enlarged logits can place both its sides within a cell, as inference enlarges them too.

    Args:
        prompts: how many of the points are given to the decoder.
        weights: of focal loss, SAM's being 20; of the two masks that are not the best, so that none dies before it was
            ever the best; of the balanced loss that starts the training; of `likeness`.
    """
    focal, others, balanced, alike = weights
    with torch.autocast(batch.pixels.device.type, dtype=torch.bfloat16):
        embeddings = embed(model, batch.pixels)
        points = batch.points[:, :prompts, None]
        outputs = model(image_embeddings=embeddings, input_points=points, multimask_output=True)
        similar = likeness(model, embeddings, batch.points) if alike > 0 else None
    logits, scores = outputs.pred_masks.flatten(0, 1).float(), outputs.iou_scores.flatten(0, 1).float()
    coarse_targets, coarse_valid = F.avg_pool2d(batch.targets, 2), F.avg_pool2d(batch.valid, 2)
    each = batch.valid.expand(-1, prompts, -1, -1).flatten(0, 1)[:, None]
    targets, coarse_each = batch.targets[:, :prompts].flatten(0, 1)[:, None], F.avg_pool2d(each, 2)
    coarse_target = coarse_targets[:, :prompts].flatten(0, 1)[:, None]
    with torch.set_grad_enabled(others > 0 or balanced > 0):
        coarse = (1 - balanced) * mask_losses(logits, coarse_target, coarse_each, focal)
        if balanced > 0:
            coarse = coarse + balanced * balanced_loss(logits, coarse_target, coarse_each)
    best = coarse.argmin(dim=1)
    rows = torch.arange(len(best), device=best.device)
    side = batch.targets.shape[-1]
    enlarged = F.interpolate(logits[rows, best][:, None], side, mode="bilinear")
    mask_loss = mask_losses(enlarged, targets, each, focal).mean()
    with torch.no_grad():
        ious = mask_ious(F.interpolate(logits, side, mode="bilinear"), targets, each)
    iou_loss = F.mse_loss(scores, ious)
    loss = (1 - balanced) * mask_loss + iou_loss + balanced * coarse[rows, best].mean()
    figures = {"mask": mask_loss.item(), "iou": iou_loss.item(), "best_iou": ious.amax(dim=1).mean().item()}
    figures |= {"coarse": coarse[rows, best].mean().item()}
    if others > 0:
        loss = loss + others * coarse.mean()
    if similar is not None:
        similar = similar.float()
        alike_loss = balanced_loss(similar, coarse_targets, coarse_valid).mean()
        loss = loss + alike * alike_loss
        figures |= {"alike": alike_loss.item()}
        figures |= {"alike_iou": mask_ious(similar, coarse_targets, coarse_valid).mean().item()}
    figures["iou_error"] = (scores - ious).abs().mean().item()
    figures |= {f"use{head}": (best == head).float().mean().item() for head in range(3)}
    return loss, figures
