"""Masks of other people's generators for `labels.py`, in the environment of `make peers`, which has no goodsam.

    .venv-peers/bin/python benchmarks/labels_peers.py JOB      # JOB: JSON, as labels.py writes it

Both are used as they come: grid of 32 x 32 points (but for --grid), suppression at 0.7, post-processing untouched. Only
the two filters' thresholds are given, and the network. segment-anything has no class for a SAM 2, which the bundled
teacher is, so its generator asks transformers' network there, through `Sam2Predictor`; a SAM is brought into its own.
"""

import gzip
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from labels_shared import Watch, middle, network, peak_mb, peer_masks, read_views, say, use_threads
from PIL import Image
from pycocotools import mask as coco

Found = list[tuple[np.ndarray, float, float | None]]
"""Masks, bool (h, w), with predicted IoU and, where it is told, stability."""


class Sam2Predictor:
    """What segment-anything's generator asks of its SamPredictor, answered by transformers' SAM 2."""

    def __init__(self, model: Any, processor: Any) -> None:
        self.model, self.device, self.transform = SimpleNamespace(mask_threshold=0.0), torch.device("cpu"), self
        self._network, self._processor = model, processor
        self._embeddings: Any = None
        self._size = (0, 0)

    def set_image(self, image: np.ndarray) -> None:
        """The image, uint8 (h, w, 3), through the encoder."""
        self._size = image.shape[:2]
        pixels = self._processor(Image.fromarray(image), return_tensors="pt")["pixel_values"]
        with torch.no_grad():
            self._embeddings = self._network.get_image_embeddings(pixels)

    def reset_image(self) -> None:
        """Forget the image."""
        self._embeddings = None

    def apply_coords(self, points: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        """Points of an image of (h, w) in the network's input, into which SAM 2 squashes the image."""
        height, width = self._processor.size["height"], self._processor.size["width"]
        return points * np.array([width / size[1], height / size[0]])

    @torch.no_grad()
    def predict_torch(
        self, points: torch.Tensor, labels: torch.Tensor, multimask_output: bool = True, return_logits: bool = True
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Logits of P prompts at the image's size, (P, 3, h, w), predicted IoUs, (P, 3), and logits as they come."""
        outputs = self._network(
            input_points=points[None].float(),
            input_labels=labels[None].long(),
            image_embeddings=self._embeddings,
            multimask_output=multimask_output,
        )
        low = outputs.pred_masks[0]
        logits = torch.nn.functional.interpolate(low, self._size, mode="bilinear", align_corners=False)
        return logits if return_logits else logits > 0, outputs.iou_scores[0], low


def processor_of(model: Any) -> Any:
    """The image processor that belongs to a model."""
    import transformers

    side = model.config.prompt_encoder_config.image_size
    square = {"height": side, "width": side}
    if model.config.model_type.startswith("sam2"):
        return transformers.Sam2ImageProcessor(size=square)
    return transformers.SamImageProcessor(size={"longest_edge": side}, pad_size=square)


class Pipeline:
    """transformers' mask-generation pipeline."""

    def __init__(self, model: Any, job: dict[str, Any]) -> None:
        import transformers

        self.watch, self._job, self._network = Watch(model), job, model
        self._processor = processor_of(model)
        self._generate = transformers.pipeline("mask-generation", model=model, image_processor=self._processor)

    def masks(self, image: np.ndarray) -> Callable[[], Found]:
        """Masks of an image; they are unpacked by the call of what comes back, which is not timed."""
        job = self._job
        found = self._generate(
            Image.fromarray(image),
            points_per_crop=job["grid"],
            pred_iou_thresh=job["iou_threshold"],
            stability_score_thresh=job["stability_threshold"],
            **({"crops_nms_thresh": job["nms_threshold"]} if job["nms_threshold"] is not None else {}),
        )
        return lambda: [
            (np.asarray(mask), float(score), None) for mask, score in zip(found["masks"], found["scores"], strict=True)
        ]

    @torch.no_grad()
    def logits(self, image: np.ndarray) -> np.ndarray:
        """The raw logits of one prompt, float32 (3, h', w')."""
        given = self._processor(Image.fromarray(image), return_tensors="pt")
        side = self._network.config.prompt_encoder_config.image_size
        squashed = self._network.config.model_type.startswith("sam2")
        scale = np.array([side / (size if squashed else max(image.shape[:2])) for size in image.shape[1::-1]])
        points = torch.from_numpy(middle(image) * scale).float()
        return self._network(given["pixel_values"], input_points=points[None, None]).pred_masks[0, 0].numpy()


class SegmentAnything:
    """segment-anything's automatic mask generator."""

    def __init__(self, model: Any, job: dict[str, Any]) -> None:
        from segment_anything import SamAutomaticMaskGenerator

        sam2 = model.config.model_type.startswith("sam2")
        own: Any = (
            SimpleNamespace(image_encoder=SimpleNamespace(img_size=0)) if sam2 else segment_anything(job["network"])
        )
        self._generator = SamAutomaticMaskGenerator(
            own,
            points_per_side=job["grid"],
            pred_iou_thresh=job["iou_threshold"],
            stability_score_thresh=job["stability_threshold"],
            **({"box_nms_thresh": job["nms_threshold"]} if job["nms_threshold"] is not None else {}),
        )
        if sam2:
            self._generator.predictor = Sam2Predictor(model, processor_of(model))
        self.watch, self._own, self._processor = Watch(model if sam2 else own), own, processor_of(model)

    def masks(self, image: np.ndarray) -> Callable[[], Found]:
        """Masks of an image, as those of `Pipeline`."""
        found = self._generator.generate(image)
        return lambda: [(item["segmentation"], item["predicted_iou"], item["stability_score"]) for item in found]

    @torch.no_grad()
    def logits(self, image: np.ndarray) -> np.ndarray:
        """The raw logits of one prompt, float32 (3, h', w')."""
        predictor = self._generator.predictor
        predictor.set_image(image)
        if not isinstance(predictor, Sam2Predictor):
            # Its own scaling rounds some grey levels otherwise, by which a random network's logits move: weights alone
            # are compared.
            pixels = self._processor(Image.fromarray(image), return_tensors="pt")["pixel_values"]
            predictor.features = self._own.image_encoder(pixels)
        points = torch.from_numpy(predictor.transform.apply_coords(middle(image), image.shape[:2])).float()
        low = predictor.predict_torch(points[:, None], torch.ones(1, 1, dtype=torch.int), multimask_output=True)[2]
        return low[0].numpy()


def segment_anything(name: str) -> Any:
    """segment-anything's own model with the weights of a SAM of `network`."""
    from segment_anything import sam_model_registry

    peer = peer_masks()
    if name == "tiny":
        return peer.segment_anything_model()
    model = sam_model_registry["vit_b"]()
    model.load_state_dict(peer.segment_anything_weights(network(name)))
    return model.eval()


def to_json(view: dict[str, Any], size: tuple[int, int], found: Found) -> dict[str, Any]:
    """Masks of one view as goodsam's masks file has them."""
    masks = []
    for mask, iou, stability in found:
        encoded = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
        # Predicted IoUs are estimates, which may leave 0..1 by a little; ours are clamped as well.
        scores = {
            "iou": round(min(max(iou, 0.0), 1.0), 4),
            "stability": None if stability is None else round(stability, 4),
        }
        masks.append({"rle": encoded["counts"].decode("ascii"), "area": int(mask.sum()), **scores})
    return {"view": view, "size": list(size), "masks": masks}


def main() -> None:
    """Do one job and say what it took."""
    job = json.loads(sys.argv[1])
    threads = use_threads(job["threads"])
    images = read_views(job["images"])
    peer_class = Pipeline if job["peer"] == "pipeline" else SegmentAnything
    peer = peer_class(network(job["network"]), job)
    np.save(job["logits"], peer.logits(images[0]))  # this is the first use of the network as well, which takes longer
    peer.watch.reset()
    seconds, views, kept = 0.0, [], 0
    for view, image in zip(job["views"], images, strict=False):  # the full-size part asks for the first view alone
        start = time.perf_counter()
        unpack = peer.masks(image)
        seconds += time.perf_counter() - start
        found = unpack()
        kept += len(found)
        views.append(to_json(view, image.shape[:2], found))
    if job["masks"]:
        value = {"size": job["size"], "teacher": job["peer"], "views": views}
        Path(job["masks"]).write_bytes(gzip.compress(json.dumps(value).encode()))
    facts = {"seconds": seconds, **peer.watch.seconds(), "prompts": job["grid"] ** 2 * len(views), "kept": kept}
    say({**facts, "peak_mb": peak_mb(), "threads": threads, "torch": torch.__version__})


if __name__ == "__main__":
    main()
