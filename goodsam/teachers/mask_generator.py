"""The automatic mask generator of segment-anything, around one network of the SAM family.

A grid of point prompts, three masks a point, filters on predicted IoU and stability, suppression of duplicates. Only
the networks are transformers'; its own pipeline needs torchvision, and prompts SAM 2 on a part of the image only where
that is not square.
"""

import logging
from dataclasses import asdict
from typing import Any

import numpy as np
import torch

from goodsam import weights
from goodsam.errors import GoodSAMError
from goodsam.masks import Masks, masks_from_arrays
from goodsam.teachers import prompts
from goodsam.teachers.preprocessing import Preprocessing
from goodsam.teachers.sam_options import SamOptions

log = logging.getLogger(__name__)

_MASKS_AT_ONCE = 16  # float masks at full size; our choice: 64 MB for a view of 1024 x 1024


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
        self._options = options
        # Our choice: what a few prompts need stays in a CPU's cache, what 64 need does not.
        self._points_per_batch = options.points_per_batch or (4 if self._model.device.type == "cpu" else 64)

    def options(self) -> dict[str, Any]:
        """Every option that changes the masks; `points_per_batch` and the device do not."""
        values = {key: value for key, value in asdict(self._options).items() if key != "points_per_batch"}
        return {"name": self.name, "model_type": self._model.config.model_type, **values}

    @torch.inference_mode()
    def masks(self, image: np.ndarray) -> Masks:
        """Masks of one image, best predicted IoU first.

        Args:
            image: uint8 (h, w, 3), RGB.
        Raises:
            ValueError: not such an array.
            GoodSAMError: the network does not fit into the device's memory.
        """
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            raise ValueError(f"image must be uint8 (h, w, 3), not {image.dtype} {image.shape}.")
        size = (image.shape[0], image.shape[1])
        candidates = self._candidates(self._embed(image), size)
        kept = prompts.suppress(candidates.boxes, candidates.ious, self._options.nms_threshold)
        bits = np.unpackbits(candidates.bits[kept.numpy()], axis=1, count=size[0] * size[1])
        arrays = bits.reshape(-1, *size).astype(bool)
        if self._options.min_area > 0:
            arrays, left = self._tidy(arrays)
            kept = kept[left]
        ious = candidates.ious[kept].clamp(0, 1).tolist()  # an estimate, which may leave 0..1 by a little
        return masks_from_arrays(arrays, ious, candidates.stabilities[kept].tolist())

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
        """The image embedding, computed once an image, as keyword arguments of the network's forward."""
        try:
            embeddings = self._model.get_image_embeddings(self._preprocessing(image).to(self._model.device))
        except torch.OutOfMemoryError as error:
            raise GoodSAMError(
                f"{self.name}: the image encoder does not fit into the memory of {self._model.device}; "
                "choose a smaller model or another --device."
            ) from error
        if isinstance(embeddings, tuple):  # SAM-HQ
            return {"image_embeddings": embeddings[0], "intermediate_embeddings": embeddings[1]}
        return {"image_embeddings": embeddings}

    def _candidates(self, embeddings: dict[str, Any], size: tuple[int, int]) -> prompts.Candidates:
        """Masks of all prompts that pass the filters, prompt batch by prompt batch."""
        points = self._points(size)
        found: list[prompts.Candidates] = []
        start = 0
        while start < len(points):
            batch = points[start : start + self._points_per_batch]  # the last may be a part of a batch
            try:
                found.append(self._decode(embeddings, batch, size))
                start += len(batch)
                continue
            except torch.OutOfMemoryError as error:
                if self._points_per_batch == 1:
                    raise GoodSAMError(
                        f"{self.name}: not one prompt fits into the memory of {self._model.device}; "
                        "choose a smaller model, smaller views or another --device."
                    ) from error
            self._halve_batch()  # outside the handler, where the failed tensors are still referenced
        return prompts.join(found)

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
