"""Train the bundled segmenters: the assistant and the student's start, with labels, on `source` pinhole pictures only.

    goodsam streetworld --out world/source-train --split source-train --camera pinhole --scenes 1200 --workers 2
    python tools/train_street_segmenter.py assistant --data world/source-train --work work/assistant --out NEW_FOLDER
    python tools/train_street_segmenter.py start --data world/source-train --work work/start --out NEW_FOLDER

Neither ever sees a panorama or the `target` style. The last 40 pictures are held out; every choice was made on them.
A run that was stopped goes on from its last checkpoint in --work, with the same pictures in the same order.
"""

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageFilter
from street_training import Trained
from torch import Tensor
from torch.nn import functional as F
from transformers import SegformerConfig, SegformerForSemanticSegmentation

from goodsam import files
from goodsam.labels import IGNORE, LABEL_SETS
from goodsam.metrics import Scores
from goodsam.student import SIZES, Student
from goodsam.teachers.normalisation import IMAGENET_MEAN, IMAGENET_STD

LABELS = LABEL_SETS["densepass13"]
SHAPES: dict[str, dict[str, Any]] = {
    # Our choice: half as large again as the student, and with 11 MB small enough to come with the package.
    "assistant": {"hidden_sizes": [48, 96, 192, 288], "depths": [2, 2, 3, 2], "num_attention_heads": [1, 2, 4, 6]},
    "start": {**SIZES["t"], "num_attention_heads": [1, 2, 5, 8]},
}
CROPS = ((5, 224, 288), (4, 256, 320), (2, 352, 448))
"""Batch, height and width of a step, in turn: about equal in cost; several sizes, for views come in several."""
HELD_OUT = 40


def new_model(kind: str, seed: int) -> Student:
    """Random weights; no dropout, for the training is too short to overfit."""
    torch.manual_seed(seed)
    config = SegformerConfig(
        **SHAPES[kind],
        decoder_hidden_size=256,
        drop_path_rate=0.0,
        classifier_dropout_prob=0.0,
        id2label=dict(enumerate(LABELS.names)),
        label2id={name: index for index, name in enumerate(LABELS.names)},
    )
    config.goodsam = {"label_set": LABELS.name, "colors": [list(color) for color in LABELS.colors]}
    return Student(SegformerForSemanticSegmentation(config))


def read(data: Path, stem: str) -> tuple[Image.Image, Image.Image]:
    """A picture and its labels."""
    image = Image.open(data / "images" / f"{stem}.jpg").convert("RGB")
    return image, Image.open(data / "labels" / f"{stem}.png")


def sample(data: Path, stem: str, size: tuple[int, int], rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """One augmented crop: uint8 (h, w, 3) and uint8 (h, w) of `size`.

    The scale, 0.6 to 2, covers what pinhole pictures and views of panoramas differ by in pixels per degree.
    """
    image, labels = read(data, stem)
    height, width = size
    scale = float(np.exp(rng.uniform(np.log(0.6), np.log(2.0))))
    stretch = float(np.exp(rng.uniform(-0.15, 0.15)))
    w = min(image.width, width / scale * stretch)
    h = min(image.height, height / scale / stretch)
    left, top = rng.uniform(0, image.width - w), rng.uniform(0, image.height - h)
    box = (left, top, left + w, top + h)
    image = image.resize((width, height), Image.Resampling.BILINEAR, box)
    labels = labels.resize((width, height), Image.Resampling.NEAREST, box)
    if rng.random() < 0.2:
        image = image.filter(ImageFilter.GaussianBlur(rng.uniform(0.3, 1.2)))
    pixels, ids = jitter(np.asarray(image), rng), np.asarray(labels)
    if rng.random() < 0.5:
        pixels, ids = pixels[:, ::-1], ids[:, ::-1]
    return np.ascontiguousarray(pixels), np.ascontiguousarray(ids)


def jitter(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Exposure, contrast, white balance, saturation and noise: uint8 (h, w, 3)."""
    x = pixels.astype(np.float32) / 255
    x = x ** np.float32(np.exp(rng.uniform(-0.25, 0.25)))
    x = (x - 0.5) * np.float32(rng.uniform(0.75, 1.25)) + 0.5 + np.float32(rng.uniform(-0.1, 0.1))
    x = x * rng.uniform(0.9, 1.1, 3).astype(np.float32)
    grey = x.mean(-1, keepdims=True)
    x = grey + (x - grey) * np.float32(rng.uniform(0.5, 1.5))
    if rng.random() < 0.3:
        x = x + rng.normal(0, rng.uniform(0, 0.03), x.shape).astype(np.float32)
    return (x.clip(0, 1) * 255).astype(np.uint8)


def batch(data: Path, stems: list[str], step: int, seed: int) -> tuple[Tensor, Tensor]:
    """The pictures of a step: float (B, 3, H, W) 0..1 and int64 (B, H, W). They depend on seed and step alone."""
    count, height, width = CROPS[step % len(CROPS)]
    rng = np.random.default_rng([seed, step])
    chosen = rng.choice(len(stems), count, replace=False)
    pairs = [sample(data, stems[index], (height, width), rng) for index in chosen]
    images = torch.from_numpy(np.stack([pair[0] for pair in pairs])).permute(0, 3, 1, 2).float() / 255
    return images, torch.from_numpy(np.stack([pair[1] for pair in pairs])).long()


def class_weights(data: Path, stems: list[str]) -> Tensor:
    """One over the third root of a class's share of the pixels, mean 1, at most 4: rare classes count in mIoU."""
    counts = np.zeros(256)
    for stem in stems[:: max(1, len(stems) // 200)]:
        counts += np.bincount(np.asarray(read(data, stem)[1]).ravel(), minlength=256)
    share = counts[: len(LABELS)] / counts[: len(LABELS)].sum()
    weights = (share + 1e-4) ** (-1 / 3)
    return torch.from_numpy(np.minimum(weights / weights.mean(), 4)).float()


def loss_of(logits: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """Weighted cross-entropy at half the labels' size, where it costs a quarter."""
    small = F.interpolate(logits.float(), scale_factor=2, mode="bilinear", align_corners=False)
    return F.cross_entropy(small, labels[:, ::2, ::2], weights, ignore_index=IGNORE)


@torch.inference_mode()
def validate(student: Student, data: Path, stems: list[str]) -> Scores:
    """Scores on whole held-out pictures."""
    scores = Scores(LABELS)
    for stem in stems:
        image, labels = read(data, stem)
        pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float() / 255
        logits = F.interpolate(student(pixels).logits, labels.size[::-1], mode="bilinear", align_corners=False)
        scores.add(np.asarray(labels), logits.argmax(1)[0].numpy().astype(np.uint8))
    return scores


def train(options: argparse.Namespace) -> tuple[Student, Trained]:
    """The training from its last checkpoint, if there is one, to its end: the model with averaged weights."""
    torch.set_num_threads(options.threads)
    stems = sorted(path.stem for path in (options.data / "images").glob("*.jpg"))
    held, stems = stems[-HELD_OUT:], stems[:-HELD_OUT]
    student = new_model(options.kind, options.seed).train()
    if options.weights:
        given = SegformerForSemanticSegmentation.from_pretrained(options.weights, dtype=torch.float32)
        student.model.load_state_dict(given.state_dict())
    trained = Trained(student, options.steps, (2e-3, 8e-4), average=0.999)
    weights = class_weights(options.data, stems)
    checkpoint = options.work / "checkpoint.pt"
    trained.resume(checkpoint)
    since, total = time.perf_counter(), 0.0
    while trained.step < min(options.steps, options.until or options.steps):
        images, labels = batch(options.data, stems, trained.step, options.seed)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=options.bf16):
            logits = student(images).logits
        loss = loss_of(logits, labels, weights)
        trained.learn(loss)
        total += loss.item()
        if trained.step % 100 == 0:
            trained.seconds += time.perf_counter() - since
            since = time.perf_counter()
            pace = trained.seconds / trained.step
            print(f"step {trained.step}/{options.steps}: loss {total / 100:.3f}, {pace:.2f} s a step", flush=True)
            total = 0.0
        if trained.step % 500 == 0:
            trained.save(checkpoint)
        if trained.step % 1000 == 0:
            print(f"held out: {summary(validate(averaged(trained, options), options.data, held))}", flush=True)
    trained.save(checkpoint)
    return averaged(trained, options), trained


def averaged(trained: Trained, options: argparse.Namespace) -> Student:
    """A model with the averaged weights."""
    student = new_model(options.kind, options.seed)
    student.load_state_dict(trained.average)
    return student.eval()


def summary(scores: Scores) -> str:
    """mIoU and IoU by class, in percent."""
    found = scores.result("", "")
    classes = ", ".join(f"{name} {100 * (iou or 0):.0f}" for name, iou in found.per_class.items())
    return f"mIoU {100 * (found.miou or 0):.1f} ({classes})"


CARD = """---
library_name: transformers
pipeline_tag: image-segmentation
license: apache-2.0
tags: [goodsam, street-world, segformer]
---
# {title}

A SegFormer of {parameters:.1f} M parameters with the {classes} classes of densepass13, trained from scratch on
{pictures} rendered pinhole pictures (480x640) of GoodSAM's own street world, split `source-train`. It has never seen a
real photo, a panorama or the style `target`: use it for `goodsam demo` and `benchmarks/`, not on photos.

Made by

    python tools/train_street_segmenter.py {kind} --steps {steps}{until} --seed {seed}{weights}

{before}{hours:.1f} hours on one CPU core, {done} steps. On the {held} pictures held out of training: {summary}.
The figures on `source-test` and on panoramas are in docs/results.md. Stored in half precision.
"""
PREPROCESSOR = {
    "image_processor_type": "SegformerImageProcessor",
    "do_resize": False,
    "do_rescale": True,
    "rescale_factor": 1 / 255,
    "do_normalize": True,
    "image_mean": list(IMAGENET_MEAN),
    "image_std": list(IMAGENET_STD),
    "do_reduce_labels": False,
}
TITLES = {"assistant": "The street world's assistant", "start": "The street world's student start"}


def main() -> None:
    """Train, then write the model folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=list(SHAPES))
    parser.add_argument("--data", type=Path, required=True, help="folder that `goodsam streetworld` wrote")
    parser.add_argument("--work", type=Path, required=True, help="folder for checkpoints")
    parser.add_argument("--out", type=Path, required=True, help="folder for the model")
    parser.add_argument("--weights", type=Path, help="model folder to start from instead of random weights")
    parser.add_argument("--steps", type=int, default=16000)
    parser.add_argument("--until", type=int, help="stop at this step and write what there is; a later call goes on")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1, help="cores")
    parser.add_argument("--no-bf16", dest="bf16", action="store_false", help="on CPUs without bfloat16 instructions")
    options = parser.parse_args()
    student, trained = train(options)
    write(student, trained, options)


def write(student: Student, trained: Trained, options: argparse.Namespace) -> None:
    """The model folder: float16 safetensors, and a card with what it was made from."""
    stems = sorted(path.stem for path in (options.data / "images").glob("*.jpg"))
    student.model.half()  # before the validation, so that its figure is that of the file
    student.model.float()
    scores = validate(student, options.data, stems[-HELD_OUT:])
    card = CARD.format(
        title=TITLES[options.kind],
        kind=options.kind,
        classes=len(LABELS),
        parameters=sum(item.numel() for item in student.parameters()) / 1e6,
        pictures=len(stems) - HELD_OUT,
        held=HELD_OUT,
        steps=options.steps,
        done=trained.step,
        until=f" --until {trained.step}" if trained.step < options.steps else "",
        seed=options.seed,
        weights=f" --weights {options.weights.name}" if options.weights else "",
        before=f"where {options.weights.name} are the weights of an earlier run of this script (tools/README.md).\n"
        if options.weights
        else "",
        hours=trained.seconds / 3600,
        summary=summary(scores),
    )
    student.model.half()
    with files.whole_folder(options.out) as folder:
        student.model.save_pretrained(folder)
        files.write_json(folder / "preprocessor_config.json", PREPROCESSOR)
        files.write_text(folder / "README.md", card)


if __name__ == "__main__":
    main()
