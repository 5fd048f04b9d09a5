"""Masks of whatever is in an image, by one network of the SAM family.

Point prompts, three masks a point, filters on predicted IoU and stability, suppression of duplicates. With a hint of
what the image shows, prompts are asked in rounds where they matter (`rounds.py`); without one, or with the placing
"grid", as segment-anything's automatic mask generator does, mask by mask the same. Only the networks are transformers';
its own pipeline needs torchvision, and prompts SAM 2 on a part of the image only where that is not square.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from functools import partial
from typing import Any, TypeVar

import numpy as np
import torch

from goodsam import weights
from goodsam.errors import GoodSAMError
from goodsam.masks import Masks, join_masks, masks_from_arrays
from goodsam.profiling import timed
from goodsam.teachers import prompts, rounds
from goodsam.teachers.networks import ImageEncoder
from goodsam.teachers.placing import Hint
from goodsam.teachers.preprocessing import Preprocessing
from goodsam.teachers.sam_options import SamOptions

log = logging.getLogger(__name__)
T = TypeVar("T")

_PIXELS_AT_ONCE = 1 << 24
"""Float pixels of masks that are enlarged at once: 64 MB."""
_MASKS_AT_ONCE = 16  # float masks at full size; our choice: 64 MB for a view of 1024 x 1024


def _keywords(embeddings: Any, number: int) -> dict[str, Any]:
    """The embedding of one image of a batch: a tensor (SAM), a list of levels (SAM 2), or a pair of both (SAM-HQ)."""

    def part(value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            return value[number : number + 1]
        return type(value)(part(item) for item in value)

    if isinstance(embeddings, tuple):
        return {"image_embeddings": part(embeddings[0]), "intermediate_embeddings": part(embeddings[1])}
    return {"image_embeddings": part(embeddings)}


class SamTeacher:
    """Automatic mask generation with one SAM-family network; see `goodsam.teachers.Teacher`."""

    def __init__(
        self,
        name: str,
        model: torch.nn.Module,
        preprocessing: Preprocessing,
        options: SamOptions,
        weight_files: tuple[weights.WeightFile, ...] = (),
    ) -> None:
        """Args: a model of one of `sam.MODEL_CLASSES`, float32, in evaluation mode, on its device."""
        self.name = name
        self.weights = weight_files
        self._model: Any = model
        self._preprocessing = preprocessing
        self.encoder = ImageEncoder(model, preprocessing)
        self._options = options
        # Our choice: what a few prompts need stays in a CPU's cache, what 64 need does not.
        self._points_per_batch = options.points_per_batch or (4 if self._model.device.type == "cpu" else 64)
        self._views_per_batch = 1 if self._model.device.type == "cpu" else 8
        self.hinted = options.placing == "areas"
        """Whether it makes use of hints."""
        self.asked = 0
        """Points that the network was asked so far."""

    def options(self) -> dict[str, Any]:
        """Every option that changes the masks; `points_per_batch` and the device do not."""
        values = {key: value for key, value in asdict(self._options).items() if key != "points_per_batch"}
        return {"name": self.name, "model_type": self._model.config.model_type, **values}

    def masks(self, image: np.ndarray, hint: Hint | None = None) -> Masks:
        """Masks of one image, best predicted IoU first.

        Args:
            image: uint8 (h, w, 3), RGB.
            hint: what the assistant makes of it; None for a blind grid.
        Raises:
            ValueError: not such an array.
            GoodSAMError: the network does not fit into the device's memory.
        """
        return self.masks_of_views([image], [hint])[0]

    @torch.inference_mode()
    def masks_of_views(self, images: Sequence[np.ndarray], hints: Sequence[Hint | None]) -> list[Masks]:
        """`masks` of several images, of which the encoder sees as many at once as suit the device."""
        for image in images:
            if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
                raise ValueError(f"image must be uint8 (h, w, 3), not {image.dtype} {image.shape}.")
        found: list[Masks] = []
        while len(found) < len(images):
            chunk = images[len(found) : len(found) + self._views_per_batch]
            for image, embeddings in zip(chunk, self._embed_all(chunk), strict=True):
                size, hint = (image.shape[0], image.shape[1]), hints[len(found)]
                if hint is None or self._options.placing == "grid":
                    found.append(self._by_grid(embeddings, size))
                else:
                    found.append(self._by_hint(embeddings, size, hint))
        return found

    def _by_grid(self, embeddings: dict[str, Any], size: tuple[int, int]) -> Masks:
        candidates = self._candidates(embeddings, size)
        kept = prompts.suppress(candidates.boxes, candidates.ious, self._options.nms_threshold)
        bits = np.unpackbits(candidates.bits[kept.numpy()], axis=1, count=size[0] * size[1])
        arrays = bits.reshape(-1, *size).view(bool)  # of zeros and ones; there may be gigabytes
        if self._options.min_area > 0:
            arrays, left = self._tidy(arrays)
            kept = kept[left]
        ious = candidates.ious[kept].clamp(0, 1).tolist()  # an estimate, which may leave 0..1 by a little
        return masks_from_arrays(arrays, ious, candidates.stabilities[kept].tolist())

    def _by_hint(self, embeddings: dict[str, Any], size: tuple[int, int], hint: Hint) -> Masks:
        """In rounds of few prompts; only the masks that are left in the end are enlarged, some at a time."""
        height, width = self._preprocessing.scaled_size(size)
        full: list[tuple[int, int]] = []

        def decode(points: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            parts = self._in_batches(points * torch.tensor([width, height]), lambda batch: self._ask(embeddings, batch))
            logits, ious = (torch.cat(part) for part in zip(*parts, strict=True))
            full[:] = [(logits.shape[-2], logits.shape[-1])]
            return self._preprocessing.without_padding(logits, size), ious

        found, asked = rounds.find_masks(decode, hint, self._options)
        self.asked += asked
        with timed("filter"):
            return self._finished(found, full[0], size)

    def _finished(self, found: rounds.Found, full: tuple[int, int], size: tuple[int, int]) -> Masks:
        """Tidied and at the image's size (h, w); `full` is that of the decoder's logits with padding."""
        cells = found.logits.shape[-2] * found.logits.shape[-1]
        found = rounds.tidied(found, self._options.min_area * cells / (size[0] * size[1]), self._options.mask_threshold)
        found = found.select(found.ious.argsort(descending=True, stable=True))
        at_once = max(1, _PIXELS_AT_ONCE // (size[0] * size[1]))
        arrays = [masks_from_arrays(np.zeros((0, *size), dtype=bool))]
        for logits in found.logits.split(at_once):
            enlarged = self._preprocessing.enlarge(self._preprocessing.with_padding(logits, full), size)
            arrays.append(masks_from_arrays((enlarged > self._options.mask_threshold).cpu().numpy()))
        scores = (found.ious.clamp(0, 1).tolist(), found.stabilities.tolist())
        return replace(join_masks(arrays), ious=tuple(scores[0]), stabilities=tuple(scores[1])).non_empty()

    def _ask(self, embeddings: dict[str, Any], points: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Three masks of each of P points of the network's input: logits (P, 3, h, w) and predicted IoUs (P, 3)."""
        device = self._model.device
        places = points.to(device)[None, :, None]
        ask = partial(self._model, input_points=places, multimask_output=True, **embeddings)
        with (
            timed("decoder", self._model.mask_decoder, len(points), ask),
            torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"),
        ):
            outputs = ask()
        return outputs.pred_masks[0].float(), outputs.iou_scores[0].float()

    @torch.inference_mode()
    def prompt(self, image: np.ndarray, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The three masks of single points, unfiltered.

        Args:
            image: uint8 (h, w, 3), RGB.
            points: float (P, 2), x and y in pixels of the image, a pixel's centre at half-integers.
        Returns:
            bool (P, 3, h, w) and their predicted intersections over union, float32 (P, 3).
        """
        size = (image.shape[0], image.shape[1])
        height, width = self._preprocessing.scaled_size(size)
        # As transformers' processors scale points; the network itself adds the half pixel.
        scaled = torch.from_numpy(points).float() * torch.tensor([width / size[1], height / size[0]]) - 0.5
        embeddings = self._embed(image)
        masks, ious = [], []
        for batch in scaled.split(max(1, self._points_per_batch)):
            outputs = self._model(
                input_points=batch.to(self._model.device)[None, :, None], multimask_output=True, **embeddings
            )
            logits = self._preprocessing.enlarge(outputs.pred_masks.flatten(0, 2), size)
            masks.append((logits > self._options.mask_threshold).unflatten(0, (-1, 3)).cpu().numpy())
            ious.append(outputs.iou_scores[0].cpu().numpy())
        return np.concatenate(masks), np.concatenate(ious)

    def _embed(self, image: np.ndarray) -> dict[str, Any]:
        """The embedding of one image as keyword arguments of the network's forward."""
        return self._embed_all([image])[0]

    def _embed_all(self, images: Sequence[np.ndarray]) -> list[dict[str, Any]]:
        """The embedding of each image, of all in one pass of the encoder; one after the other if memory is short."""
        try:
            pixels = torch.cat([self._preprocessing(image) for image in images]).to(self._model.device)
            again = partial(self._model.get_image_embeddings, pixels)
            with timed("encoder", self._model.vision_encoder, tuple(pixels.shape), again):
                embeddings = self.encoder(pixels)
        except torch.OutOfMemoryError as error:
            if len(images) == 1:
                raise GoodSAMError(
                    f"{self.name}: the image encoder does not fit into the memory of {self._model.device}; "
                    "choose a smaller model or another --device."
                ) from error
            embeddings = None
        if embeddings is None:  # outside the handler, where the failed tensors are still referenced
            self._views_per_batch = max(1, len(images) // 2)
            log.warning("%s: out of memory; going on with %d views at once.", self.name, self._views_per_batch)
            half = len(images) // 2
            return self._embed_all(images[:half]) + self._embed_all(images[half:])
        return [_keywords(embeddings, number) for number in range(len(images))]

    def _candidates(self, embeddings: dict[str, Any], size: tuple[int, int]) -> prompts.Candidates:
        """Masks of all prompts of the grid that pass the filters, prompt batch by prompt batch."""
        points = self._points(size)
        self.asked += len(points)
        return prompts.join(self._in_batches(points, lambda batch: self._decode(embeddings, batch, size)))

    def _in_batches(self, points: torch.Tensor, ask: Callable[[torch.Tensor], T]) -> list[T]:
        """Ask about points (N, 2) batch by batch; a batch that does not fit into memory is halved."""
        found: list[T] = []
        start = 0
        while start < len(points) or not found:
            batch = points[start : start + self._points_per_batch]  # the last may be a part of a batch
            try:
                found.append(ask(batch))
                start += max(1, len(batch))
                continue
            except torch.OutOfMemoryError as error:
                if self._points_per_batch == 1:
                    raise GoodSAMError(
                        f"{self.name}: not one prompt fits into the memory of {self._model.device}; "
                        "choose a smaller model, smaller views or another --device."
                    ) from error
            self._halve_batch()  # outside the handler, where the failed tensors are still referenced
        return found

    def _points(self, size: tuple[int, int]) -> torch.Tensor:
        """Point prompts for an image of (h, w), in pixels of the network's input: float32 (N, 2), x and y."""
        height, width = self._preprocessing.scaled_size(size)
        return prompts.prompt_grid(self._options.points_per_side) * torch.tensor([width, height])

    def _halve_batch(self) -> None:
        self._points_per_batch //= 2  # kept for the images that follow
        log.warning("%s: out of memory; going on with %d prompts at once.", self.name, self._points_per_batch)
        if self._model.device.type == "cuda":
            torch.cuda.empty_cache()

    def _decode(self, embeddings: dict[str, Any], points: torch.Tensor, size: tuple[int, int]) -> prompts.Candidates:
        """Three masks for each of P prompts (P, 2); what passes the filters."""
        outputs = self._model(
            input_points=points.to(self._model.device)[None, :, None],
            multimask_output=True,
            **embeddings,
        )
        ious = outputs.iou_scores.flatten()
        sure = ious > self._options.iou_threshold  # before the masks are enlarged, which takes most of the memory
        logits, ious = outputs.pred_masks.flatten(0, 2)[sure], ious[sure]
        chunks = zip(logits.split(_MASKS_AT_ONCE), ious.split(_MASKS_AT_ONCE), strict=True)
        return prompts.join([self._stable(*chunk, size) for chunk in chunks])

    def _stable(self, logits: torch.Tensor, ious: torch.Tensor, size: tuple[int, int]) -> prompts.Candidates:
        """Those of N masks (N, h', w') that are stable and not empty at the image's size."""
        options = self._options
        logits = self._preprocessing.enlarge(logits, size)
        stabilities = prompts.stability_scores(logits, options.mask_threshold, options.stability_offset)
        masks = logits > options.mask_threshold
        keep = masks.flatten(1).any(dim=1)
        if options.stability_threshold > 0:
            keep &= stabilities > options.stability_threshold
        masks = masks[keep]
        return prompts.Candidates(
            np.packbits(masks.flatten(1).cpu().numpy(), axis=1),
            prompts.mask_boxes(masks).cpu(),
            ious[keep].cpu(),
            stabilities[keep].cpu(),
        )

    def _tidy(self, arrays: np.ndarray) -> tuple[np.ndarray, torch.Tensor]:
        """Small regions removed, small masks dropped, duplicates that arise dropped: masks and numbers of those left.

        As in segment-anything, an untouched mask wins over one that was changed.
        """
        masks = list(arrays)
        tidied = [prompts.remove_small_regions(mask, self._options.min_area) for mask in masks]
        large = [number for number, mask in enumerate(tidied) if mask.sum() >= self._options.min_area]
        if not large:
            return arrays[:0], torch.zeros(0, dtype=torch.int64)
        stack = torch.from_numpy(np.stack([tidied[number] for number in large]))
        untouched = torch.tensor([float(tidied[number] is masks[number]) for number in large])
        kept = prompts.suppress(prompts.mask_boxes(stack), untouched, self._options.nms_threshold).sort().values
        return stack[kept].numpy(), torch.tensor(large)[kept]
