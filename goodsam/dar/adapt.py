"""The loop that adapts the assistant to panoramas without labels.

L = kappa L_con + lambda L_bnd + mu L_keep: overlapping views agree, outlines follow the teacher's masks, and what the
frozen assistant was sure of stays; without the last term a constant prediction would minimise the other two. Only the
decoder and the last stage of the encoder learn, slowly: what the assistant knows of the world is not in question here.
"""

import copy
import logging
import math
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from goodsam import files, weights
from goodsam.checkpoint import Journal, load_checkpoint, save_checkpoint
from goodsam.config import AdaptOptions
from goodsam.dar.boundary import Outlines, boundary_loss, outlines_of
from goodsam.dar.consistency import consistency_loss
from goodsam.errors import GoodSAMError
from goodsam.masks import PanoramaMasks
from goodsam.mka.loss import Loss
from goodsam.panorama import Panorama
from goodsam.progress import Progress, duration
from goodsam.teachers.segmenters import TransformersAssistant
from goodsam.views import Crop, View, cut, footprint, sample, size_of

log = logging.getLogger(__name__)

VIEWS = 3
"""Views in one step: one, and the two that overlap it most."""
REDUCTION = 2
"""The losses are taken at one over this of a view's size: assistants say something at a quarter of it at best."""
LEARNING_SHARE = 0.4
"""Share of the tensors, from the end, that learn in an assistant that is no SegFormer."""
CHECKPOINT_EVERY = 50
"""Steps."""
CARD = """---
license: other
license_name: "{licence}"
tags: [goodsam, adapted]
---
# {name}, adapted to panoramas

The weights of {name}, adapted without labels to the panoramas of one run by GoodSAM's consistency and boundary losses;
licence as of the weights that it started from.
"""


@dataclass(frozen=True)
class Scene:
    """What one step looks at."""

    images: Tensor
    """float (K, 3, h, w), 0..1."""
    views: tuple[View, ...]
    outlines: tuple[Outlines, ...]
    """Of the teacher's masks of each view, on the grid of the losses."""
    panorama: Panorama


def adapt_loss(said: Tensor, frozen: Tensor, scene: Scene, options: AdaptOptions) -> Loss:
    """The sum and its terms for the views of one panorama.

    Args:
        said: p_k of the assistant that learns, float (K, C, h', w') on the grid of the losses.
        frozen: p_k of the assistant as it was, alike.
        scene: the views and the masks' outlines.
        options: weights of the terms.
    """
    geometry = scene.panorama.geometry
    grid = (max(1, geometry.height // REDUCTION), max(1, geometry.width // REDUCTION))
    feet = [footprint(view, geometry, grid) for view in scene.views]
    seen = [sample(p, foot) for p, foot in zip(said, feet, strict=True)]
    terms = {"con": consistency_loss(seen, feet, grid[0] * grid[1]), "keep": keep_loss(said, frozen, options.sure)}
    total = options.consistency_weight * terms["con"] + options.keep_weight * terms["keep"]
    if options.boundary_weight:
        each = [boundary_loss(p, outlines) for p, outlines in zip(said, scene.outlines, strict=True)]
        terms["bnd"] = torch.stack(each).mean()
        total = total + options.boundary_weight * terms["bnd"]
    return Loss(total, terms)


def keep_loss(said: Tensor, frozen: Tensor, sure: float) -> Tensor:
    """L_keep = mean over pixels x where the frozen assistant is sure of KL( p_0(x) || p(x) ).

    Args:
        said, frozen: p and p_0, float (K, C, h, w), summing to one over C.
        sure: largest probability of p_0 from which it is.
    """
    kept = (frozen.max(1).values >= sure).to(said)
    divergence = -(frozen * said.clamp_min(1e-7).log()).sum(1) - torch.special.entr(frozen).sum(1)
    return (kept * divergence).sum() / kept.sum().clamp_min(1)


def look(panorama: Panorama, masks: PanoramaMasks, chosen: Sequence[View]) -> Scene:
    """Cut some of a panorama's views and lay their masks' outlines on the grid of the losses."""
    geometry, of_view = panorama.geometry, dict(masks.views)
    images = [torch.from_numpy(cut(panorama, view)).permute(2, 0, 1).float() / 255 for view in chosen]
    outlines = []
    for view in chosen:
        height, width = size_of(view, geometry)
        size = (max(1, height // REDUCTION), max(1, width // REDUCTION))
        outlines.append(outlines_of(of_view[view], size, width=2))
    return Scene(torch.stack(images), tuple(chosen), tuple(outlines), panorama)


def neighbours(views: Sequence[View], first: int) -> list[View]:
    """A view and those nearest to it, `VIEWS` in all: nearest by the angle between their axes."""

    def angle(view: View, other: View) -> float:
        yaw = math.radians(view.yaw - other.yaw)
        if isinstance(view, Crop) or isinstance(other, Crop):
            return -math.cos(yaw)
        up, other_up = math.radians(view.pitch), math.radians(other.pitch)
        return -(math.sin(up) * math.sin(other_up) + math.cos(up) * math.cos(other_up) * math.cos(yaw))

    order = sorted(range(len(views)), key=lambda k: (round(angle(views[k], views[first]), 6), k))
    return [views[first], *[views[k] for k in order if k != first][: VIEWS - 1]]


class Adapter:
    """The assistant that learns, beside the one that it was.

    Args:
        assistant: of transformers; its model is changed.
        options: of the adaptation.
        seed: of the order.
    """

    def __init__(self, assistant: TransformersAssistant, options: AdaptOptions, seed: int = 0) -> None:
        self.assistant, self.options, self.seed = assistant, options, seed
        self.frozen = copy.copy(assistant)
        self.frozen.model = copy.deepcopy(assistant.model)
        learning = learning_parameters(assistant.model, assistant.model_type)
        for parameter in assistant.model.parameters():
            parameter.requires_grad_(False)
        for parameter in learning:
            parameter.requires_grad_(True)
        self.optimizer = torch.optim.AdamW(learning, lr=options.adapt_rate, weight_decay=0.0)

    def step(self, number: int, panoramas: int, read: Callable[[int], tuple[Panorama, PanoramaMasks]]) -> Loss:
        """One step; which panorama and views it sees depends on the seed and its number alone."""
        random = np.random.default_rng([self.seed, number // panoramas])
        which = int(random.permutation(panoramas)[number % panoramas])
        panorama, masks = read(which)
        views = [view for view, _ in masks.views]
        first = int(np.random.default_rng([self.seed, number, 1]).integers(len(views)))
        scene = look(panorama, masks, neighbours(views, first))
        for group in self.optimizer.param_groups:
            group["lr"] = self.options.adapt_rate * self.rate(number)
        trunk = self.assistant.trunk(scene.images)  # what does not learn is computed once for both
        said, frozen = (self.said(assistant, scene, trunk) for assistant in (self.assistant, self.frozen))
        loss = adapt_loss(said, frozen, scene, self.options)
        self.optimizer.zero_grad(set_to_none=True)
        loss.total.backward()
        nn.utils.clip_grad_norm_([p for group in self.optimizer.param_groups for p in group["params"]], 1.0)
        self.optimizer.step()
        return loss

    def rate(self, number: int) -> float:
        """Share of the learning rate at a step: rises over a twentieth of all steps, then a cosine to 0."""
        warmup = max(1, self.options.adapt_steps // 20)
        if number < warmup:
            return (number + 1) / warmup
        return 0.5 + 0.5 * math.cos(math.pi * (number - warmup) / max(1, self.options.adapt_steps - warmup))

    def said(self, assistant: TransformersAssistant, scene: Scene, trunk: tuple[Tensor, ...] = ()) -> Tensor:
        """p_k on the grid of the losses."""
        with torch.set_grad_enabled(assistant is self.assistant):
            said = assistant.forward(scene.images, trunk).probabilities
            size = (max(1, said.shape[2] // REDUCTION), max(1, said.shape[3] // REDUCTION))
            return F.adaptive_avg_pool2d(said, size).cpu()


def learning_parameters(model: nn.Module, model_type: str) -> list[nn.Parameter]:
    """What learns: of a SegFormer the decoder and the last stage, of others the last tensors, which decode too.

    Normalisations keep their statistics, since the model stays in evaluation mode.
    """
    named = list(model.named_parameters())
    if model_type == "segformer":
        return [value for name, value in named if name.startswith(("decode_head.", "segformer.stages.3."))]
    return [value for _, value in named[-max(1, round(LEARNING_SHARE * len(named))) :]]


def adapt_assistant(
    adapter: Adapter,
    folder: Path,
    fingerprint: str,
    panoramas: int,
    read: Callable[[int], tuple[Panorama, PanoramaMasks]],
    progress: Progress,
) -> None:
    """All steps, going on from a checkpoint of the same adaptation.

    Args:
        adapter: whose assistant learns.
        folder: for checkpoint and journal.
        fingerprint: of this adaptation.
        panoramas: how many there are.
        read: number of a panorama -> itself and its masks; one is held at a time.
        progress: shows steps.
    """
    model, steps = adapter.assistant.model, adapter.options.adapt_steps
    first = load_checkpoint(folder, fingerprint, model=model, optimizer=adapter.optimizer)
    journal, start = Journal(folder, first), time.perf_counter()
    for number in progress.track(range(first, steps), steps - first, "adapt"):
        loss = adapter.step(number, panoramas, read)
        if not torch.isfinite(loss.total):
            raise GoodSAMError(f"adapt: the loss is {loss.total.item()} at step {number}; try a lower --adapt-rate.")
        rate = adapter.options.adapt_rate * adapter.rate(number)
        values = {"loss": loss.total.item(), **{name: value.item() for name, value in loss.terms.items()}}
        journal.write(number, values | {"learning_rate": rate}, time.perf_counter() - start)
        if (number + 1) % CHECKPOINT_EVERY == 0:
            save_checkpoint(folder, fingerprint, number + 1, model=model, optimizer=adapter.optimizer)
    log.info("adapt: %d steps in %s.", steps - first, duration(time.perf_counter() - start))


def save_adapted(assistant: TransformersAssistant, folder: Path) -> None:
    """The adapted assistant in Hugging Face format, with everything but the weights of the one that it was."""
    source = weights.resolve(assistant.name, "--assistant")
    licence = weights.licence_of(assistant.name, source)
    with files.whole_folder(folder) as new:
        for path in source.iterdir():
            if path.is_file() and path.suffix in (".json", ".txt") and "index" not in path.name:
                shutil.copyfile(path, new / path.name)
        model: Any = assistant.model
        model.save_pretrained(new)
        files.write_text(new / "README.md", CARD.format(licence=licence, name=assistant.name))
