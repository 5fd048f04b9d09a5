"""From images to label maps: one image in Python, files and folders on the command line."""

import csv
import io
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.nn import functional as F

from goodsam import files
from goodsam.errors import GoodSAMError, UnreadableImageError
from goodsam.images import read_photo
from goodsam.labels import LabelSet
from goodsam.panorama import Geometry, Panorama, geometry_of, read_panorama
from goodsam.progress import Pace, Progress, Silent, pick_device
from goodsam.student import STRIDE, Student, load_student, resize
from goodsam.weights import STREET, WeightFile, resolve, weight_files

log = logging.getLogger(__name__)

FORMATS = {"labels": ".png", "overlay": ".jpg", "color": ".png", "confidence": ".png"}
"""What `--format` takes, and how each is stored."""
ImageLike = Panorama | np.ndarray | Image.Image | str | Path


@dataclass(frozen=True)
class Prediction:
    """What the student says of one image, at the image's own size."""

    labels: np.ndarray
    """uint8 (H, W), class ids."""
    confidence: np.ndarray
    """float32 (H, W), largest probability, 0..1."""
    image: np.ndarray
    """uint8 (H, W, 3), what was labelled, upright."""
    geometry: Geometry | None
    """Of a panorama; None of a flat photograph."""
    label_set: LabelSet

    def overlay(self, strength: float = 0.5) -> np.ndarray:
        """The image under its class colours, uint8 (H, W, 3); `strength` 0..1 of the colours."""
        mixed = self.image * (1 - strength) + self.label_set.colorize(self.labels) * strength
        return mixed.round().astype(np.uint8)

    def shares(self) -> np.ndarray:
        """Share of each class, (C,), summing to one: of a panorama's solid angle, of a photograph's pixels."""
        rows = np.ones(len(self.labels)) if self.geometry is None else self.geometry.solid_angle_of_rows()
        weight = np.repeat(rows, self.labels.shape[1])
        counts = np.bincount(self.labels.ravel(), weights=weight, minlength=len(self.label_set))
        return counts / weight.sum()


class Predictor:
    """A student that labels images.

    Args:
        student: trained.
        device: where it runs.
        weights: the files that it was read from.
    """

    def __init__(self, student: Student, device: torch.device, weights: tuple[WeightFile, ...] = ()) -> None:
        self.student = student.to(device).eval()
        self.device = device
        self.weights = weights
        self.label_set = student.label_set
        self._trained = getattr(student.model.config, "goodsam", {})

    @property
    def parameters(self) -> int:
        """Number of weights."""
        return sum(item.numel() for item in self.student.parameters())

    def predict(
        self,
        image: ImageLike,
        *,
        wrap: bool = True,
        width: int | None = None,
        vfov: float | None = None,
        horizon: float | None = None,
    ) -> Prediction:
        """Label every pixel of one image.

        Args:
            image: a path, an array uint8 (H, W, 3) in RGB, a PIL image, or a `Panorama`.
            wrap: it is a panorama of 360 degrees; False for a flat photograph, which is padded with zeros and seen at
                its own size.
            width: pixels at which the student sees it; default the width it was trained at (panoramas).
            vfov, horizon: of a panorama, as for `goodsam distill`.
        Raises:
            UnreadableImageError: the file cannot be used.
            GoodSAMError: a width that cannot wrap.
        """
        pixels, geometry = _pixels_of(image, wrap, vfov, horizon)
        size = self._size(pixels.shape[:2], geometry, width)
        values = torch.from_numpy(np.array(pixels)).permute(2, 0, 1)[None].float().to(self.device) / 255
        with torch.inference_mode():
            if tuple(values.shape[-2:]) != size:
                values = F.interpolate(values, size, mode="bilinear", align_corners=False, antialias=True)
            logits = self.student(values, wrap=wrap).logits
            confidence, labels = resize(logits, pixels.shape[:2], wrap)[0].softmax(0).max(0)
        return Prediction(
            labels.byte().cpu().numpy(), confidence.float().cpu().numpy(), pixels, geometry, self.label_set
        )

    def _size(self, size: tuple[int, int], geometry: Geometry | None, width: int | None) -> tuple[int, int]:
        """The size (h, w) at which the student sees an image: pixels per degree as in training."""
        if geometry is None:
            return size if width is None else (max(STRIDE, round(size[0] * width / size[1])), width)
        height, trained_width = self._trained.get("train_size", size)
        vfov = self._trained.get("vfov", geometry.vfov)
        width = width or max(STRIDE, round(trained_width / STRIDE) * STRIDE)
        if width % STRIDE:
            right = max(STRIDE, round(width / STRIDE) * STRIDE)
            raise GoodSAMError(f"--width {width}: must be a multiple of {STRIDE} so that it can wrap, such as {right}.")
        return max(STRIDE, round(height * geometry.vfov / vfov * width / trained_width)), width


def _pixels_of(
    image: ImageLike, panorama: bool, vfov: float | None, horizon: float | None
) -> tuple[np.ndarray, Geometry | None]:
    if isinstance(image, Panorama):
        return image.pixels, image.geometry if panorama else None
    if isinstance(image, str | Path):
        if panorama:
            read = read_panorama(Path(image), vfov, horizon)
            return read.pixels, read.geometry
        return read_photo(Path(image)), None
    pixels = np.asarray(image.convert("RGB") if isinstance(image, Image.Image) else image)
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:
        raise GoodSAMError(f"an image must be uint8 (H, W, 3), RGB; this is {pixels.dtype} {pixels.shape}.")
    try:
        return pixels, geometry_of((pixels.shape[0], pixels.shape[1]), vfov, horizon) if panorama else None
    except ValueError as error:
        raise UnreadableImageError(f"the image: {error}.") from error


def load(folder: str | Path, device: str = "auto") -> Predictor:
    """A predictor from a `RUN/student` folder or any SegFormer in Hugging Face format.

    Args:
        folder: on disk, OWNER/NAME on the Hugging Face hub (fetched on first use; nothing in it is run), or "street",
            the street world's student start, which has seen rendered pinhole pictures alone.
        device: "auto", "cpu", "cuda" or "mps".
    Raises:
        GoodSAMError: no such folder, nothing of that name on the hub, or not a SegFormer.
    """
    path = Path(folder) if folder != STREET and Path(folder).is_dir() else resolve(str(folder), "student")
    return Predictor(load_student(path), pick_device(device), weight_files(str(folder), path))


def predict_files(
    predictor: Predictor,
    inputs: Sequence[Path],
    out: Path,
    *,
    formats: Sequence[str] = ("labels", "overlay"),
    wrap: bool = True,
    width: int | None = None,
    vfov: float | None = None,
    horizon: float | None = None,
    strict: bool = False,
    progress: Progress | None = None,
) -> int:
    """Label images and folders of images into `out/<format>/<stem>.*` and `out/shares.csv`.

    Args:
        inputs: images and folders.
        formats: which of `FORMATS` to write.
        strict: stop at the first image that cannot be read, instead of leaving it out.
    Returns:
        how many images were labelled.
    Raises:
        GoodSAMError: two inputs with one stem, an unknown format, or nothing that could be read.
    """
    for name in formats:
        if name not in FORMATS:
            raise GoodSAMError(f"--format {name}: must be one or more of {', '.join(FORMATS)}, separated by commas.")
    found = _gather(inputs)
    rows: list[tuple[str, np.ndarray]] = []
    pace = Pace("predict", len(found), [out])
    for stem, path in (progress or Silent()).track(found.items(), len(found), "predict"):
        try:
            prediction = predictor.predict(path, wrap=wrap, width=width, vfov=vfov, horizon=horizon)
        except UnreadableImageError as error:
            if strict:
                raise
            log.warning("left out: %s", error)
            continue
        for name in formats:
            write_format(out / name / f"{stem}{FORMATS[name]}", name, prediction)
        rows.append((stem, prediction.shares()))
        pace.tick()
    if not rows:
        raise GoodSAMError(f"none of the {len(found)} inputs could be read.")
    write_shares(out / "shares.csv", predictor.label_set, rows)
    log.info("predict: %s.", pace.summary())
    return len(rows)


def _gather(inputs: Sequence[Path]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for source in inputs:
        for stem, path in files.list_images(source).items():
            if found.get(stem, path).resolve() != path.resolve():
                raise GoodSAMError(
                    f"{found[stem]} and {path}: two inputs with one stem would write the same files; "
                    "label them into different folders."
                )
            found[stem] = path
    return found


def write_format(path: Path, name: str, prediction: Prediction) -> None:
    """Write one of `FORMATS` of a prediction."""
    if name == "overlay":
        files.write_image(path, prediction.overlay(), quality=92)
        return
    pixels = {
        "labels": lambda: prediction.labels,
        "color": lambda: prediction.label_set.colorize(prediction.labels),
        "confidence": lambda: (prediction.confidence * 255).round().astype(np.uint8),
    }[name]()
    files.write_image(path, pixels)


def write_shares(path: Path, label_set: LabelSet, rows: Iterable[tuple[str, np.ndarray]]) -> None:
    """CSV: one line an image, one column a class, shares 0..1 (of the solid angle, for panoramas)."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["image", *label_set.names])
    for stem, shares in rows:
        writer.writerow([stem, *(f"{value:.6f}" for value in shares)])
    files.write_text(path, buffer.getvalue())
