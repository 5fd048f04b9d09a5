"""Train the bundled teacher: a small SAM 2, class-agnostic, one point -> three masks, from scratch.

    python tools/train_street_teacher.py --data STREETS --work CHECKPOINTS --out MODEL

STREETS holds images/NNNNN.jpg and instances/NNNNN.png of `goodsam streetworld` (pinhole, style source): 0 is ignored,
1 is the sky. The same command goes on from the last checkpoint; the same seed gives the same model.
"""

import argparse
import itertools
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from street_teacher_data import Batch, make_batch, normalise, read_picture, side_of, squash, stems_of
from street_teacher_loss import losses_of, mask_ious
from street_teacher_model import SIZE, Likeness, build_model, prepare_for_training
from street_training import DECAY, Trained
from torch import nn
from transformers import Sam2Model

from goodsam import files
from goodsam.teachers.normalisation import IMAGENET_MEAN, IMAGENET_STD

BINS = (400, 1000, 4000, 16000, SIZE * SIZE + 1)
"""Object sizes of the validation, pixels at SIZE."""

# --- training ---


class Both(nn.Module):
    """What is trained: the network, and its companion of the training."""

    def __init__(self, model: Sam2Model) -> None:
        super().__init__()
        self.model, self.likeness = model, Likeness()


class Trainer:
    """Model, optimisers and data, and where they are kept."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        self.side = side_of(args, 0)
        self.both = Both(build_model(args.seed, self.side)).to(args.device).train()
        if args.weights:
            given = Sam2Model.from_pretrained(args.weights, dtype=torch.float32)
            self.both.model.load_state_dict(given.state_dict())
        prepare_for_training(self.both.model, args.compile)
        self.trained = Trained(self.both, args.steps, (args.muon_lr, args.lr), args.warmup, decay=args.decay)
        stems = stems_of(args.data)
        split = max(1, len(stems) - args.holdout)
        self.train_stems, self.held_out = stems[:split], stems[split:]

    def enlarge(self) -> None:
        """Go over to pictures of another side, if this step is the first of a phase; no weight depends on it."""
        side = side_of(self.args, self.trained.step)
        if side == self.side:
            return
        self.side, old = side, self.both.model
        self.both.model = build_model(self.args.seed, side).to(self.args.device).train()
        prepare_for_training(self.both.model, self.args.compile)
        buffers = dict(old.named_buffers())
        for name, buffer in self.both.model.named_buffers():
            buffer.copy_(buffers[name])
        for name, parameter in old.named_parameters():  # the optimisers keep theirs, which become the new network's
            module, _, last = name.rpartition(".")
            setattr(self.both.model.get_submodule(module), last, parameter)
        print(f"step {self.trained.step}: pictures of {side} pixels", flush=True)

    def learn(self, batch: Batch) -> dict[str, float]:
        """One step."""
        self.enlarge()
        share = self.trained.step / self.args.steps
        # From scratch SAM's losses empty all masks first and then learn little: they take over where masks are masks.
        balanced = 0.0 if self.args.weights else min(1.0, max(0.0, (0.5 - share) / 0.2))
        alike = max(0.0, min(1.0, 2 - 2 * share)) if self.args.more else 0.0
        weights = (20.0, 0.1 * balanced, balanced, alike)
        loss, figures = losses_of(self.both.model, self.both.likeness, batch, self.args.prompts, weights)
        return figures | {"norm": self.trained.learn(loss, self.args.clip)}

    def averaged(self) -> Sam2Model:
        """A model with the averaged weights, on the CPU, in evaluation mode."""
        model = build_model(self.args.seed)
        prefix = "model."
        average = {k.removeprefix(prefix): v.cpu() for k, v in self.trained.average.items() if k.startswith(prefix)}
        model.load_state_dict(average)
        return model.eval()

    def save(self) -> None:
        """A checkpoint."""
        self.trained.save(self.args.work / "checkpoint.pt", stems=(self.train_stems, self.held_out))

    def resume(self) -> None:
        """Go on from the last checkpoint, if there is one; with its list of pictures, as the folder may have grown."""
        state = self.trained.resume(self.args.work / "checkpoint.pt")
        if state is not None:
            self.train_stems, self.held_out = state["stems"]
            self.enlarge()


def train(trainer: Trainer) -> None:
    """Steps until `--steps` or `--until`; batches are made one ahead, beside the arithmetic."""
    args, seen, since = trainer.args, [], time.monotonic()
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(make_batch, args, trainer.train_stems, trainer.trained.step)
        while trainer.trained.step < min(args.steps, args.until or args.steps):
            batch = coming.result()
            coming = pool.submit(make_batch, args, trainer.train_stems, trainer.trained.step + 1)
            batch = Batch(*(getattr(batch, name).to(args.device) for name in Batch.__dataclass_fields__))
            seen.append(trainer.learn(batch))
            if trainer.trained.step % args.print_every == 0 or trainer.trained.step == args.steps:
                seconds = (time.monotonic() - since) / len(seen)
                trainer.trained.seconds += seconds * len(seen)
                means = " ".join(f"{key} {np.mean([row[key] for row in seen]):.3f}" for key in seen[0])
                print(
                    f"step {trainer.trained.step} {means} lr {trainer.trained.rate():.2f} s/step {seconds:.2f}",
                    flush=True,
                )
                seen, since = [], time.monotonic()
            if trainer.trained.step % 250 == 0:
                trainer.save()
            if trainer.trained.step % 1000 == 0:
                print(f"held out: {figures_of(validate(trainer))}", flush=True)
                since = time.monotonic()
    trainer.save()


# --- validation ---


@torch.inference_mode()
def validate(trainer: Trainer) -> np.ndarray:
    """One point in each object of at least 400 pixels of every fourth held-out picture.

    Returns:
        float (N, 7): area in pixels at SIZE, true IoU of three masks, predicted IoU of three masks.
    """
    model, rows = trainer.averaged(), []
    for number, stem in enumerate(trainer.held_out[::4]):
        image, instances = read_picture(trainer.args.data, stem)
        picture, ids = squash(image, instances, (0, 0, *image.size), SIZE)
        random = np.random.default_rng([trainer.args.seed, number])
        areas = np.bincount(ids.ravel())
        embeddings = model.get_image_embeddings(normalise(picture)[None])
        valid = torch.from_numpy(ids > 0)[None, None].float()
        for chosen in (np.flatnonzero(areas[1:] >= BINS[0]) + 1).tolist():
            places = np.flatnonzero(ids == chosen)
            place = places[random.integers(len(places))]
            point = torch.tensor([[[[place % SIZE, place // SIZE]]]], dtype=torch.float32)
            outputs = model(input_points=point, image_embeddings=embeddings, multimask_output=True)
            logits = F.interpolate(outputs.pred_masks[0], SIZE, mode="bilinear")
            target = torch.from_numpy(ids == chosen)[None, None].float()
            ious = mask_ious(logits, target, valid)[0].tolist()
            rows.append([areas[chosen], *ious, *outputs.iou_scores.flatten().tolist()])
    return np.array(rows).reshape(-1, 7)


def figures_of(rows: np.ndarray) -> str:
    """The figures of `validate` in words."""
    if not len(rows):
        return "no object of 400 pixels"
    areas, ious, predicted = rows[:, 0], rows[:, 1:4], rows[:, 4:7]
    best = ious.max(axis=1)
    own = ious[np.arange(len(ious)), predicted.argmax(axis=1)]
    parts = [f"mean IoU of the best of three masks {best.mean():.3f}, of the one it rates highest {own.mean():.3f}"]
    for low, high in itertools.pairwise(BINS):
        inside = (areas >= low) & (areas < high)
        if inside.any():
            parts.append(f"best from {low} pixels {best[inside].mean():.3f} ({inside.sum()} objects)")
    parts.append(f"correlation of predicted and true IoU {np.corrcoef(predicted.ravel(), ious.ravel())[0, 1]:.3f}")
    return "; ".join(parts)


CARD = """---
library_name: transformers
pipeline_tag: mask-generation
license: apache-2.0
tags: [goodsam, street-world, sam2]
---
# The street world's teacher

A SAM 2 of {parameters:.1f} M parameters, trained from scratch and class-agnostic: a point gives three masks. It
learned from {pictures} rendered pinhole pictures of GoodSAM's own street world, split `source-train`, and from generic
shapes. It has never seen a real photo, a panorama or the style `target`: use it for `goodsam demo` and `benchmarks/`;
for photos take one of the SAM family.

Made by

    python tools/train_street_teacher.py {options}

{before}{hours:.1f} hours on one CPU core, {done} steps. On every fourth of the {held} pictures held out of training,
one random point in each object of at least 400 pixels of the picture at 512x512: {figures}.
The figures on panoramas of the other style are in docs/results.md. Stored in half precision.
"""


def write_model(trainer: Trainer, figures: str) -> None:
    """fp16 weights, configurations and card in Hugging Face format: whole, or not at all."""
    args, model = trainer.args, trainer.averaged()
    preprocessor = {
        "image_processor_type": "Sam2ImageProcessor",
        "processor_class": "Sam2Processor",
        "do_convert_rgb": True,
        "do_normalize": True,
        "do_rescale": True,
        "do_resize": True,
        "image_mean": list(IMAGENET_MEAN),
        "image_std": list(IMAGENET_STD),
        "mask_size": {"height": SIZE // 4, "width": SIZE // 4},
        "resample": 2,
        "rescale_factor": 1 / 255,
        "size": {"height": SIZE, "width": SIZE},
    }
    until = f" --until {trainer.trained.step}" if trainer.trained.step < args.steps else ""
    card = CARD.format(
        parameters=sum(p.numel() for p in model.parameters()) / 1e6,
        pictures=len(trainer.train_stems),
        held=len(trainer.held_out),
        options=" ".join(chosen(args)) + until,
        before=f"where {args.weights.name} are the weights of an earlier run of this script (tools/README.md).\n"
        if args.weights
        else "",
        hours=trainer.trained.seconds / 3600,
        done=trainer.trained.step,
        figures=figures,
    )
    with files.whole_folder(args.out) as folder:
        model.half().save_pretrained(folder)
        files.write_json(folder / "preprocessor_config.json", preprocessor)
        files.write_text(folder / "README.md", card)


def chosen(args: argparse.Namespace) -> list[str]:
    """The options that decide the weights, as given or not: `--steps 12000` and so on."""
    names = ("steps", "batch", "small", "prompts", "more", "shapes", "lr", "muon_lr", "decay", "warmup", "seed")
    shown = [f"--{name.replace('_', '-')} {getattr(args, name):g}" for name in names]
    return [*shown, f"--weights {args.weights.name}"] if args.weights else shown


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of source scenes")
    parser.add_argument("--work", type=Path, required=True, help="folder for checkpoints")
    parser.add_argument("--out", type=Path, required=True, help="folder for the model")
    parser.add_argument("--weights", type=Path, help="model folder to start from, whose masks are masks already")
    parser.add_argument("--steps", type=int, default=12000, help="length of the whole training")
    parser.add_argument("--until", type=int, help="stop at this step and write what there is; a later call goes on")
    parser.add_argument("--batch", type=int, default=4, help="pictures a step; half as many in the second phase")
    parser.add_argument("--small", type=float, default=0.4, help="share of the steps that use pictures of 256 pixels")
    parser.add_argument("--prompts", type=int, default=12, help="points a picture")
    parser.add_argument("--more", type=int, default=36, help="points a picture for the encoder alone; 0 = none")
    parser.add_argument("--shapes", type=float, default=0.3, help="share of pictures of generic shapes")
    parser.add_argument("--holdout", type=int, default=40, help="last pictures, kept for validation")
    parser.add_argument("--lr", type=float, default=6e-4, help="peak learning rate of AdamW")
    parser.add_argument("--muon-lr", type=float, default=1.5e-3, help="peak learning rate of Muon")
    parser.add_argument("--decay", type=float, default=DECAY, help="last share of the steps, where the rate falls to 0")
    parser.add_argument("--warmup", type=int, default=100, help="steps of rising learning rate")
    parser.add_argument("--clip", type=float, default=1.0, help="largest norm of the gradient")
    parser.add_argument("--compile", action="store_true", help="a third faster after minutes of gcc; same arithmetic")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--print-every", type=int, default=50, help="steps")
    parser.add_argument("--device", default="cpu")
    return parser.parse_args()


def main() -> None:
    args = parse()
    args.work.mkdir(parents=True, exist_ok=True)
    trainer = Trainer(args)
    trainer.resume()
    count = sum(p.numel() for p in trainer.both.model.parameters())
    scenes = f"{len(trainer.train_stems)} scenes, {len(trainer.held_out)} held out"
    print(f"{count / 1e6:.2f} M parameters, {scenes}, {os.cpu_count()} cores, {torch.get_num_threads()} threads")
    train(trainer)
    figures = figures_of(validate(trainer))
    print(f"held out: {figures}", flush=True)
    write_model(trainer, figures)


if __name__ == "__main__":
    main()
