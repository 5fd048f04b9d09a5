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
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageFilter
from street_shapes import shapes_picture
from street_training import Trained
from torch import nn
from transformers import Sam2Config, Sam2Model, Sam2VisionConfig
from transformers.models.sam2.configuration_sam2 import Sam2HieraDetConfig

from goodsam import files

SIZE = 512  # side of what the finished network takes, pixels
SMALL = 256  # side of the pictures of the first phase, where a step costs a quarter: what it learns holds at SIZE too
WIDTH = 128  # channels of neck, prompts and decoder
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
MIN_AREA = 200  # pixels at SIZE: smaller objects are a few cells of the mask, and few prompts of a grid hit them
BINS = (400, 1000, 4000, 16000, SIZE * SIZE + 1)  # object sizes of the validation table, pixels at SIZE

# --- model ---


def model_config(side: int) -> Sam2Config:
    """A SAM 2 of 3.3 million parameters for pictures of `side` pixels: at 512, embedding 32 x 32, masks 128 x 128."""
    dims = [32, 64, 128, 256]
    backbone = Sam2HieraDetConfig(
        hidden_size=dims[0],
        num_attention_heads=1,
        image_size=[side, side],
        blocks_per_stage=[1, 2, 5, 2],
        embed_dim_per_stage=dims,
        num_attention_heads_per_stage=[1, 2, 4, 8],
        window_size_per_stage=[8, 8, 8, 8],
        global_attention_blocks=[5, 7],  # in the third stage, 32 x 32
    )
    vision = Sam2VisionConfig(
        backbone_config=backbone,
        backbone_channel_list=dims[::-1],
        backbone_feature_sizes=[[side // stride] * 2 for stride in (4, 8, 16)],
        fpn_hidden_size=WIDTH,
    )
    prompts = {"hidden_size": WIDTH, "image_size": side, "patch_size": 16}
    decoder = {"hidden_size": WIDTH, "mlp_dim": 256, "iou_head_hidden_dim": WIDTH, "num_attention_heads": 4}
    return Sam2Config(vision_config=vision, prompt_encoder_config=prompts, mask_decoder_config=decoder)


def build_model(seed: int, side: int = SIZE) -> Sam2Model:
    """The model with fresh weights; transformers' own start (deviation 0.02) is too small for layers this narrow."""
    torch.manual_seed(seed)
    model = Sam2Model(model_config(side))
    for module in model.modules():
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="linear")
            nn.init.zeros_(module.bias)
        elif isinstance(module, nn.ConvTranspose2d):  # kernel = stride: one tap a pixel and channel
            nn.init.normal_(module.weight, std=module.in_channels**-0.5)
            nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight)  # as in SAM: tokens that differ, so that the three masks do
    nn.init.normal_(model.prompt_encoder.no_mask_embed.weight, std=0.02)  # added to every cell of the image
    for network in model.mask_decoder.output_hypernetworks_mlps:
        network.proj_out.weight.data.mul_(0.5)  # first logits near 0: no mask starts saturated
    # Points and cells must be encoded alike to be compared; transformers draws two matrices. fp16 as in the file.
    matrix = model.shared_image_embedding.positional_embedding
    matrix.copy_((2 * matrix).half())
    model.prompt_encoder.shared_embedding.positional_embedding.copy_(matrix)
    look_at_the_point(model)
    return model


@torch.no_grad()
def look_at_the_point(model: Sam2Model) -> None:
    """Let the decoder's tokens attend to the point from the first step on.

    Learning where to look is what makes decoders with queries slow to train (DETR); with tokens drawn at random, what
    the image holds at the point reaches the mask tokens as a few hundredths of their size, and nothing was learned in a
    thousand steps. Here every token first takes over the point's position, and then what the image holds there. All of
    it can be unlearned: these are ordinary weights.
    """
    decoder = model.mask_decoder
    layers = decoder.transformer.layers
    for table in (decoder.mask_tokens, decoder.iou_token, decoder.obj_score_token):
        table.weight.mul_(0.3)  # what a token takes over must not drown in what it is
    prompts = model.prompt_encoder
    prompts.not_a_point_embed.weight.mul_(0.3)
    prompts.point_embed.weight.mul_(0.2)
    mark = F.normalize(torch.randn(WIDTH), dim=0) * 4  # half as long as an encoded position
    prompts.point_embed.weight[1] = mark
    for layer in layers:  # tokens attend to what bears the mark: weight about 0.9
        attention = layer.self_attn
        rows = torch.arange(attention.num_attention_heads) * attention.head_dim
        attention.q_proj.weight[rows] = 0
        attention.q_proj.bias[rows] = 4 * attention.head_dim**0.5 / 16
        attention.k_proj.weight[rows] = mark
    for projection in (layers[0].self_attn.v_proj, layers[0].self_attn.o_proj):
        projection.weight.copy_(torch.eye(WIDTH))
    # Each head compares its own frequencies, sin with sin and cos with cos: q.k is a sum of cos(2 pi f (a - b)), which
    # is largest where a = b.
    for attention in [layer.cross_attn_token_to_image for layer in layers] + [
        decoder.transformer.final_attn_token_to_image
    ]:
        half = attention.head_dim // 2
        for head in range(attention.num_attention_heads):
            for part in range(2):  # the encoding is all sines, then all cosines
                rows = torch.arange(half) + head * attention.head_dim + part * half
                columns = torch.arange(half) + head * half + part * WIDTH // 2
                for projection in (attention.q_proj, attention.k_proj):
                    projection.weight[rows] *= 0.2
                    projection.weight[rows, columns] += 2.0


class Likeness(nn.Module):
    """Which pixels belong with a point's, from the encoder and the decoder's upscaling alone: used in training only.

    A decoder from scratch at first tells the encoder nothing. This shorter way to the same masks, where a point's own
    pixel says what to look for, costs next to nothing a point and teaches encoder and upscaling many points at a time.
    """

    def __init__(self) -> None:
        super().__init__()
        channels = WIDTH // 8
        self.question = nn.Sequential(nn.Linear(channels + WIDTH, WIDTH), nn.GELU(), nn.Linear(WIDTH, channels + 1))

    def forward(self, model: Sam2Model, embeddings: list[torch.Tensor], points: torch.Tensor) -> torch.Tensor:
        """Logits of the masks at points (B, Q, 2) in pixels of the input: (B, Q, h, w) at a quarter of its side."""
        fine, middle, coarse = embeddings
        decoder = model.mask_decoder
        coarse = coarse + model.prompt_encoder.no_mask_embed.weight.view(1, -1, 1, 1)
        coarse = decoder.transformer.layers[-1].layer_norm4(coarse.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        up = decoder.activation(decoder.upscale_layer_norm(decoder.upscale_conv1(coarse) + middle))
        up = decoder.activation(decoder.upscale_conv2(up) + fine)
        batch = torch.arange(len(up), device=up.device)[:, None]
        cells = (points / 4).long(), (points / 16).long()
        own = up[batch, :, cells[0][..., 1], cells[0][..., 0]]
        around = coarse[batch, :, cells[1][..., 1], cells[1][..., 0]]
        asked = self.question(torch.cat([own, around], dim=-1))
        return torch.einsum("bqd,bdhw->bqhw", asked[..., :-1], up) + asked[..., -1, None, None]


def embed(model: Sam2Model, pixels: torch.Tensor) -> list[torch.Tensor]:
    """`get_image_embeddings` with gradients."""
    features = model.get_image_features(pixels, return_dict=True).fpn_hidden_states
    features[-1] = features[-1] + model.no_memory_embedding
    sizes = zip(features, model.backbone_feature_sizes, strict=True)
    return [feature.permute(1, 2, 0).view(len(pixels), -1, *size) for feature, size in sizes]


def prepare_for_training(model: Sam2Model) -> None:
    """Keep the position encodings in float32 under autocast: bfloat16 places a point to 2 pixels at best."""
    for module in (model.shared_image_embedding, model.prompt_encoder.shared_embedding):
        module.forward = torch.autocast(model.device.type, enabled=False)(module.forward)
    # On a CPU the fused attention takes longer than plain products where there are 8 tokens or windows of 64 cells.
    if model.device.type == "cpu":
        model.mask_decoder.config._attn_implementation = "eager"
        model.vision_encoder.backbone.config._attn_implementation = "eager"
    # The neck's sines feed SAM 2's video memory only, yet cost as much as a stage; nothing here reads them.
    model.vision_encoder.neck.position_encoding.forward = lambda *_: torch.zeros(1, 1, 1, 1)


# --- data ---


@dataclass(frozen=True)
class Batch:
    """B pictures with P prompts each."""

    pixels: torch.Tensor
    """float32 (B, 3, S, S), normalised, S the side of the phase."""
    points: torch.Tensor
    """float32 (B, Q, 2), x and y in pixels; the first P of them are the prompts, the others for `Likeness` alone."""
    targets: torch.Tensor
    """float32 (B, Q,  S / 2, S / 2): share of each 2 x 2 pixels that the object covers."""
    valid: torch.Tensor
    """float32 (B, 1,  S / 2, S / 2): share that is labelled."""


def stems_of(data: Path) -> list[str]:
    """Names of the pictures that have both files, in order."""
    labelled = {path.stem for path in (data / "instances").glob("*.png")}
    return sorted(path.stem for path in (data / "images").glob("*.jpg") if path.stem in labelled)


def read_picture(data: Path, stem: str) -> tuple[Image.Image, Image.Image]:
    """Image and instance map of one scene."""
    return Image.open(data / "images" / f"{stem}.jpg").convert("RGB"), Image.open(data / "instances" / f"{stem}.png")


def squash(
    image: Image.Image, instances: Image.Image, box: tuple[int, ...], side: int
) -> tuple[np.ndarray, np.ndarray]:
    """A box (left, top, right, bottom) of a picture at side x side: uint8 RGB and integer ids."""
    resized = image.resize((side, side), Image.Resampling.BILINEAR, box=box)  # Pillow's averages where it reduces
    rows = (box[1] + (np.arange(side) + 0.5) * (box[3] - box[1]) / side).astype(int)
    columns = (box[0] + (np.arange(side) + 0.5) * (box[2] - box[0]) / side).astype(int)
    return np.array(resized), np.asarray(instances)[rows][:, columns].astype(np.int32)


def street_picture(random: np.random.Generator, data: Path, stem: str, side: int) -> tuple[np.ndarray, np.ndarray]:
    """A random crop of a scene, at 0.8 to 2.5 times its own size in each phase."""
    image, instances = read_picture(data, stem)
    least, most = round(side * 0.4), round(side * 1.25)
    while True:
        width = random.integers(least, min(most, image.width) + 1)
        height = random.integers(least, min(most, image.height) + 1)
        if 0.6 <= width / height <= 1.7:
            break
    left, top = random.integers(0, image.width - width + 1), random.integers(0, image.height - height + 1)
    return squash(image, instances, tuple(int(value) for value in (left, top, left + width, top + height)), side)


def jitter(random: np.random.Generator, picture: np.ndarray) -> np.ndarray:
    """Another exposure, contrast, colour, focus and noise: uint8 (h, w, 3) -> the same."""
    if random.random() < 0.15:
        blurred = Image.fromarray(picture).filter(ImageFilter.GaussianBlur(random.uniform(0.5, 1.8)))
        picture = np.asarray(blurred)
    tables = np.empty((3, 256), np.uint8)  # one curve a channel: what a table does costs one look-up a pixel
    gamma, contrast, shift = random.uniform(0.7, 1.4), random.uniform(0.6, 1.35), random.uniform(-25, 25)
    for channel in range(3):
        curve = 255 * (np.arange(256) / 255) ** (gamma * random.uniform(0.9, 1.1))
        curve = (curve - 128) * contrast + 128 + shift + random.uniform(-12, 12)
        tables[channel] = np.clip(curve, 0, 255)
    picture = np.stack([tables[channel][picture[..., channel]] for channel in range(3)], axis=-1)
    if random.random() < 0.1:
        picture = np.repeat(picture.mean(axis=2, keepdims=True), 3, axis=2).astype(np.uint8)
    if random.random() < 0.2:
        noise = random.standard_normal(picture.shape, dtype=np.float32) * random.uniform(1, 8)
        picture = np.clip(picture + noise, 0, 255).astype(np.uint8)
    return picture


def normalise(picture: np.ndarray) -> torch.Tensor:
    """uint8 (h, w, 3) -> float32 (3, h, w), as `goodsam.teachers.preprocessing` does."""
    pixels = torch.from_numpy(np.ascontiguousarray(picture)).permute(2, 0, 1).float() / 255
    return (pixels - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)


def halve(masks: np.ndarray) -> np.ndarray:
    """bool (N, h, w) -> float32 (N, h / 2, w / 2): averages of 2 x 2."""
    bits = masks.view(np.uint8)
    rows = bits[:, 0::2] + bits[:, 1::2]
    return (rows[..., 0::2] + rows[..., 1::2]) * np.float32(0.25)


def choose_prompts(random: np.random.Generator, ids: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Points in objects, an object by the fourth root of its area: (count, 2) x, y and (count,) ids of objects.

    By area nearly every prompt would lie on road, walls and sky; every object counts alike where the teacher is judged.
    """
    areas = np.bincount(ids.ravel())
    areas[0] = 0
    least = min(MIN_AREA * (len(ids) / SIZE) ** 2, areas.max())
    weights = np.where(areas >= least, areas, 0) ** 0.25
    chosen = random.choice(len(areas), count, p=weights / weights.sum())
    order = np.argsort(ids, axis=None, kind="stable")
    ends = np.cumsum(np.bincount(ids.ravel()))
    places = order[(ends[chosen] - areas[chosen]) + (random.random(count) * areas[chosen]).astype(int)]
    return np.stack([places % ids.shape[1], places // ids.shape[1]], axis=1), chosen


def side_of(args: argparse.Namespace, step: int) -> int:
    """Side of the pictures of a step, pixels."""
    return SMALL if step < args.small * args.steps else SIZE


def make_batch(args: argparse.Namespace, stems: list[str], step: int) -> Batch:
    """The batch of one step, which depends on the seed and the step only, so that a resumed run sees the same."""
    pixels, points, targets, valid = [], [], [], []
    side = side_of(args, step)
    for number in range(args.batch if side == SMALL else max(1, args.batch // 2)):
        random = np.random.default_rng([args.seed, step, number])
        while True:
            if random.random() < args.shapes:
                picture, ids = shapes_picture(random, side)
            else:
                picture, ids = street_picture(random, args.data, stems[random.integers(len(stems))], side)
            if (ids > 0).any():
                break
        if random.random() < 0.5:
            picture, ids = picture[:, ::-1], ids[:, ::-1]
        places, chosen = choose_prompts(random, ids, args.prompts + args.more)
        pixels.append(normalise(jitter(random, picture)))
        points.append(torch.from_numpy(places).float())
        targets.append(torch.from_numpy(halve(ids == chosen[:, None, None])))
        valid.append(torch.from_numpy(halve(ids[None] > 0)))
    return Batch(*(torch.stack(values) for values in (pixels, points, targets, valid)))


# --- losses ---


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
        prepare_for_training(self.both.model)
        self.trained = Trained(self.both, args.steps, (args.muon_lr, args.lr), args.warmup)
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
        prepare_for_training(self.both.model)
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
        balanced = min(1.0, max(0.0, (0.5 - share) / 0.2))
        weights = (20.0, 0.1 * balanced, balanced, max(0.0, min(1.0, 2 - 2 * share)))
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

    python tools/train_street_teacher.py --steps {steps} --small {small:g} --seed {seed}

{hours:.1f} hours on one CPU core, {done} steps. On every fourth of the {held} pictures held out of training, one random
point in each object of at least 400 pixels of the picture at 512x512: {figures}.
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
        "image_mean": MEAN,
        "image_std": STD,
        "mask_size": {"height": SIZE // 4, "width": SIZE // 4},
        "resample": 2,
        "rescale_factor": 1 / 255,
        "size": {"height": SIZE, "width": SIZE},
    }
    card = CARD.format(
        parameters=sum(p.numel() for p in model.parameters()) / 1e6,
        pictures=len(trainer.train_stems),
        held=len(trainer.held_out),
        steps=args.steps,
        small=args.small,
        seed=args.seed,
        hours=trainer.trained.seconds / 3600,
        done=trainer.trained.step,
        figures=figures,
    )
    with files.whole_folder(args.out) as folder:
        model.half().save_pretrained(folder)
        files.write_json(folder / "preprocessor_config.json", preprocessor)
        files.write_text(folder / "README.md", card)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of source scenes")
    parser.add_argument("--work", type=Path, required=True, help="folder for checkpoints")
    parser.add_argument("--out", type=Path, required=True, help="folder for the model")
    parser.add_argument("--steps", type=int, default=6000, help="length of the whole training")
    parser.add_argument("--until", type=int, help="stop at this step and write what there is; a later call goes on")
    parser.add_argument("--batch", type=int, default=4, help="pictures a step; half as many in the second phase")
    parser.add_argument("--small", type=float, default=0.8, help="share of the steps that use pictures of 256 pixels")
    parser.add_argument("--prompts", type=int, default=12, help="points a picture")
    parser.add_argument("--more", type=int, default=36, help="points a picture for the encoder alone")
    parser.add_argument("--shapes", type=float, default=0.3, help="share of pictures of generic shapes")
    parser.add_argument("--holdout", type=int, default=40, help="last pictures, kept for validation")
    parser.add_argument("--lr", type=float, default=6e-4, help="peak learning rate of AdamW")
    parser.add_argument("--muon-lr", type=float, default=1.5e-3, help="peak learning rate of Muon")
    parser.add_argument("--warmup", type=int, default=100, help="steps of rising learning rate")
    parser.add_argument("--clip", type=float, default=1.0, help="largest norm of the gradient")
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
