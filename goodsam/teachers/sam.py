"""The teacher: automatic mask generation with the SAM family (SAM, SAM-HQ, SAM 2 and 2.1, EdgeTAM).

A grid of point prompts, three masks a point, filters on predicted IoU and stability, suppression of duplicates: the
method of segment-anything's automatic mask generator. Only the networks are transformers'; its own pipeline needs
torchvision, and prompts SAM 2 on a part of the image only where that is not square.
"""

import importlib.util
import logging
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
import transformers

from goodsam import weights
from goodsam.errors import GoodSAMError
from goodsam.masks import Masks, masks_from_arrays
from goodsam.teachers import prompts

log = logging.getLogger(__name__)

# The hub's SAM 2 and EdgeTAM checkpoints are of the video model; the image model loads its share of the weights.
MODEL_CLASSES = {
    "sam": "SamModel",
    "sam_hq": "SamHQModel",
    "sam2": "Sam2Model",
    "sam2_video": "Sam2Model",
    "edgetam": "EdgeTamModel",
    "edgetam_video": "EdgeTamModel",
}
_PADDED = ("sam", "sam_hq")  # scale the longest edge and pad; the others squash the image into a square
_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_MASKS_AT_ONCE = 16  # float masks at full size; our choice: 64 MB for a view of 1024 x 1024


@dataclass(frozen=True)
class SamOptions:
    """What is prompted and which masks are kept. The defaults are segment-anything's."""

    points_per_side: int = 32
    """Point prompts along each side of the image; their square is the number of prompts."""
    points_per_batch: int = 0
    """Prompts decoded at once, prompts; 0 = 64, or 4 on a CPU. Halved by itself when memory runs out; masks stay."""
    iou_threshold: float = 0.88
    """Masks whose predicted intersection over union is not above this are dropped, 0..1."""
    stability_threshold: float = 0.95
    """Masks whose stability score is not above this are dropped, 0..1; 0 = off."""
    stability_offset: float = 1.0
    """How far the mask threshold is moved both ways for the stability score, logits."""
    nms_threshold: float = 0.7
    """Of two masks whose boxes overlap by more than this, the one of lower predicted IoU is dropped, box IoU 0..1."""
    min_area: int = 0
    """Holes smaller than this are filled, islands and masks smaller than this removed, pixels; 0 = off."""
    mask_threshold: float = 0.0
    """A pixel belongs to a mask where its logit is above this, logits."""

    def __post_init__(self) -> None:
        if self.points_per_side < 1:
            raise GoodSAMError(f"points_per_side is {self.points_per_side}; it must be at least 1.")
        for name in ("iou_threshold", "stability_threshold", "nms_threshold"):
            if not 0 <= getattr(self, name) <= 1:
                raise GoodSAMError(f"{name} is {getattr(self, name)}; it must lie in 0..1.")
        for name in ("points_per_batch", "stability_offset", "min_area"):
            if getattr(self, name) < 0:
                raise GoodSAMError(f"{name} is {getattr(self, name)}; it must not be negative.")


# Grids of 16 and 24 and the smallest area are our choice; the thresholds of "dense" are those of segment-anything's
# notebook for more masks.
PRESETS: dict[str, SamOptions] = {
    "fast": SamOptions(points_per_side=16, min_area=25),
    "balanced": SamOptions(points_per_side=24, min_area=25),
    "dense": SamOptions(points_per_side=32, iou_threshold=0.86, stability_threshold=0.92, min_area=25),
}


@dataclass(frozen=True)
class Preprocessing:
    """From an image to what the network takes, as its preprocessor_config.json says."""

    input_size: tuple[int, int]
    """(h, w) that the network takes, pixels."""
    longest_edge: int | None
    """The longer side after scaling, pixels, the rest being padded; None squashes the image to `input_size`."""
    mean: tuple[float, ...]
    """Per channel, in units of rescaled pixels."""
    std: tuple[float, ...]
    """Per channel, in units of rescaled pixels."""
    rescale_factor: float = 1 / 255
    """What a pixel value 0..255 is multiplied with."""

    def scaled_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """(h, w) of an image after scaling and before padding, pixels."""
        if self.longest_edge is None:
            return self.input_size
        scale = self.longest_edge / max(size)
        return int(size[0] * scale + 0.5), int(size[1] * scale + 0.5)

    def __call__(self, image: np.ndarray) -> torch.Tensor:
        """uint8 (h, w, 3), RGB -> float32 (1, 3, *input_size), normalised, then padded with zeros below and right."""
        pixels = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None]
        # On uint8 and on the CPU: the very kernel behind torchvision's resize, rounding to whole grey levels included.
        scaled = F.interpolate(pixels, self.scaled_size(image.shape[:2]), mode="bilinear", antialias=True)
        mean = torch.tensor(self.mean).view(3, 1, 1) / self.rescale_factor
        std = torch.tensor(self.std).view(3, 1, 1) / self.rescale_factor
        normalised = (scaled.float() - mean) / std
        height, width = normalised.shape[-2:]
        return F.pad(normalised, (0, self.input_size[1] - width, 0, self.input_size[0] - height))


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
        """Args: a model of one of `MODEL_CLASSES`, float32, in evaluation mode, on its device."""
        self.name = name
        self.weights = weight_files
        self._model: Any = model
        self._preprocessing = preprocessing
        self._options = options
        # Our choice: what a few prompts need stays in a CPU's cache, measured 1.4 to 1.9 times as fast as 64 at once.
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
        logits = self._enlarge(logits, size)
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

    def _enlarge(self, logits: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
        """Mask logits (N, h', w') at the image's size: padding undone, bilinear, as each model's processor does.

        As two small matrices, since what it does to rows and to columns is linear and independent: a third of the time
        of resizing to the network's input and then to the image, and the large one in between is never held.
        """
        scaled, padded = self._preprocessing.scaled_size(size), self._preprocessing.input_size
        if self._preprocessing.longest_edge is None:
            padded = scaled = size  # a squashed image has no padding, and one step does
        rows, columns = (
            prompts.resize_matrix(logits.shape[axis + 1], padded[axis], scaled[axis], size[axis]).to(logits)
            for axis in (0, 1)
        )
        return rows @ logits @ columns.T

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


def load_sam(name: str, options: SamOptions, device: torch.device | str = "cpu") -> SamTeacher:
    """Load a SAM-family model as the teacher.

    Args:
        name: Hugging Face id, or a folder in Hugging Face format.
        options: one of `PRESETS` or your own.
    Raises:
        GoodSAMError: nothing by that name, another kind of model, weights that are missing, damaged or a pickle with
            code in it, a preprocessor that does not fit the model, or EdgeTAM without timm.
    """
    folder = weights.resolve(name, "--sam")
    model_type = _model_type(folder)
    model_class = getattr(transformers, MODEL_CLASSES[model_type])
    model, report = weights.load_model(
        model_class.from_pretrained,
        folder,
        "--sam",
        config=_model_config(model_class, folder),
        dtype=torch.float32,
        output_loading_info=True,
    )
    if report["missing_keys"]:
        missing = sorted(report["missing_keys"])
        raise GoodSAMError(
            f"--sam {folder}: its weights lack {len(missing)} of the model's tensors ({missing[0]}, ...); "
            "download the model again."
        )
    preprocessing = _read_preprocessing(folder, model_type, _image_size(model.config))
    return SamTeacher(name, model.eval().to(device), preprocessing, options, weights.weight_files(name, folder))


def _model_type(folder: Path) -> str:
    model_type = weights.read_config(folder).get("model_type")
    if model_type not in MODEL_CLASSES:
        raise GoodSAMError(
            f"{folder / 'config.json'}: model_type is {model_type!r}; --sam takes {', '.join(MODEL_CLASSES)}."
        )
    if model_type.startswith("edgetam") and importlib.util.find_spec("timm") is None:
        raise GoodSAMError(
            f"{folder / 'config.json'}: model_type {model_type!r} needs the package timm; install it with "
            "`pip install timm`, or give a SAM, SAM-HQ or SAM 2 model."
        )
    return model_type


def _model_config(model_class: Any, folder: Path) -> Any:
    """The model's configuration, under the image model's own type: transformers warns of a video checkpoint's."""
    values = {**weights.read_config(folder), "model_type": model_class.config_class.model_type}
    try:
        return model_class.config_class.from_dict(values)
    except Exception as error:  # transformers checks fields with classes of error of its own
        raise GoodSAMError(f"{folder / 'config.json'}: not a configuration of this model ({error}).") from error


def _image_size(config: Any) -> int:
    """Side of the square that the network takes, pixels; the prompt encoder of every SAM names it."""
    return int(config.prompt_encoder_config.image_size)


def _read_preprocessing(folder: Path, model_type: str, image_size: int) -> Preprocessing:
    """The image processor's file, or the model type's own defaults for what it leaves out.

    Raises:
        GoodSAMError: it makes another size than the model takes.
    """
    path = folder / "preprocessor_config.json"
    if not path.is_file():
        path = folder / "processor_config.json"  # newer checkpoints: one file for image and prompts
    config = weights.read_config(folder, path.name)
    config = config.get("image_processor", config)
    padded = model_type in _PADDED
    square = {"height": image_size, "width": image_size}
    wanted = config.get("pad_size" if padded else "size") or square
    longest_edge = (config.get("size") or {}).get("longest_edge", image_size) if padded else None
    if wanted != square or (longest_edge or 0) > image_size:
        raise GoodSAMError(
            f"{path}: it makes images of {wanted} (longest edge {longest_edge}), but the model takes "
            f"{image_size} x {image_size} pixels; use the file that came with the model, or delete it."
        )
    return Preprocessing(
        (image_size, image_size),
        longest_edge,
        tuple(config.get("image_mean") or _IMAGENET_MEAN),
        tuple(config.get("image_std") or _IMAGENET_STD),
        config.get("rescale_factor") or 1 / 255,
    )
