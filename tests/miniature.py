"""Published data sets in miniature: their folders, file names and label ids, with a few tiny images.

An image is drawn in the colours of its classes, so that what knows the colours can label it.
"""

import json
from pathlib import Path

import numpy as np
from PIL import Image

from goodsam.label_colors import CITYSCAPES, STANFORD13, SYNPASS23

SIZE = (64, 320)
SPHERE = (64, 128)
PHOTO = (48, 96)

# What stands in the files: sky or ceiling, road or floor, what is between, what is not labelled.
TRAIN_IDS = (10, 0, (2, 8, 13, 11, 1), 255)
LABEL_IDS = (23, 7, (11, 21, 26, 24, 8), 3)
WILDPASS_IDS = (255, 11, (4, 5, 8, 12, 17, 13, 24), 255)
SYNPASS_IDS = (13, 7, (1, 9, 10, 4, 6, 22, 18), 0)
STANFORD_IDS = (4, 9, (5, 8, 10, 11, 12, 13, 2), 0)
"""With 0 for unknown."""

STANFORD_INDEX = ["<UNK>_0_<UNK>_0_0", *(f"{name}_{number}_office_1_1" for name in STANFORD13 for number in range(60))]
"""As assets/semantic_labels.json: so many instances that indices need two bytes."""


def scene(seed: int, size: tuple[int, int], ids: tuple[int, int, tuple[int, ...], int]) -> np.ndarray:
    """Something above, something below, boxes of all the rest between, a corner without labels: uint8 (H, W)."""
    height, width = size
    above, below, between, none = ids
    random = np.random.default_rng(seed)
    labels = np.full(size, below, dtype=np.uint8)
    labels[: height // 2] = above
    step = width // len(between)
    for number, value in enumerate(between):
        top = random.integers(height // 5, height // 2)
        labels[top : height * 7 // 10, number * step : (number + 1) * step - 2] = value
    labels[-height // 10 :, : width // 8] = none
    return labels


def paint(labels: np.ndarray, colors: dict[str, tuple[int, int, int]], seed: int, first: int = 0) -> np.ndarray:
    """The image of a label map whose ids start at `first`, with noise: uint8 (H, W, 3), nowhere black."""
    table = np.full((256, 3), 90)
    table[first : first + len(colors)] = list(colors.values())
    noise = np.random.default_rng(seed).normal(0, 5, (*labels.shape, 3))
    return (table[labels] + noise).clip(1, 255).astype(np.uint8)


def save(path: Path, pixels: np.ndarray) -> Path:
    """Write an image, and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def _unlabelled(root: Path, number: int) -> None:
    for seed in range(number):
        pixels = paint(scene(100 + seed, SIZE, TRAIN_IDS), CITYSCAPES, seed)
        save(root / "leftImg8bit/train" / ("Amsterdam", "Athens")[seed % 2] / f"{seed + 1}.png", pixels)


def write_densepass(
    root: Path,
    labelled: int = 2,
    unlabelled: int = 3,
    image_ending: str = "_.png",
    label_ending: str = "_labelTrainIds.png",
) -> str:
    """DensePASS: cs/100_.png, cs/101_.png, ... of 64x320 pixels; returns the string that names it."""
    for number in range(labelled):
        labels = scene(number, SIZE, TRAIN_IDS)
        save(root / f"leftImg8bit/val/cs/{100 + number}{image_ending}", paint(labels, CITYSCAPES, number))
        save(root / f"gtFine/val/cs/{100 + number}{label_ending}", labels)
    _unlabelled(root, unlabelled)
    return f"densepass:{root}"


def write_wildpass(root: Path, labelled: int = 2, unlabelled: int = 3, image_suffix: str = ".png") -> str:
    """WildPASS: images and label maps of one name, ids among 25 classes, and WildPASS2K."""
    for number in range(labelled):
        labels = scene(number, SIZE, WILDPASS_IDS)
        pixels = paint(scene(number, SIZE, TRAIN_IDS), CITYSCAPES, number)
        save(root / f"leftImg8bit/val/cs/{number + 1}{image_suffix}", pixels)
        save(root / f"gtFine/val/cs/{number + 1}.png", labels)
    _unlabelled(root, unlabelled)
    return f"wildpass:{root}"


def write_cityscapes(
    root: Path, split: str = "val", photos: int = 2, train_ids: bool = True, label_ids: bool = True
) -> str:
    """Cityscapes: photos of 48x96 pixels with label ids, train ids, or both of the same scenes."""
    for number in range(photos):
        name = f"{split}/bochum/bochum_{number:06d}_000019"
        labels = scene(number, PHOTO, TRAIN_IDS)
        save(root / f"leftImg8bit/{name}_leftImg8bit.png", paint(labels, CITYSCAPES, number))
        if train_ids:
            save(root / f"gtFine/{name}_gtFine_labelTrainIds.png", labels)
        if label_ids:
            save(root / f"gtFine/{name}_gtFine_labelIds.png", scene(number, PHOTO, LABEL_IDS))
    return f"cityscapes:{root}"


def write_synpass(root: Path, splits: tuple[str, ...] = ("train", "val", "test")) -> str:
    """SynPASS: full spheres of 64x128 pixels; of every split one under each of the four weathers."""
    for split in splits:
        for seed, weather in enumerate(("cloud", "fog", "rain", "sun")):
            labels = scene(seed, SPHERE, SYNPASS_IDS)
            place = f"{weather}/{split}/MAP_1_point{seed}"
            save(root / f"img/{place}/000000.jpg", paint(labels, SYNPASS23, seed))
            save(root / f"semantic/{place}/000000_trainID.png", labels)
    return f"synpass:{root}"


def write_stanford2d3d(
    root: Path,
    areas: tuple[str, ...] = ("area_1", "area_2", "area_3", "area_4", "area_5a", "area_5b", "area_6"),
    camera: str = "pano",
    colored: bool = True,
) -> str:
    """Stanford2D3D: one full sphere of 64x128 pixels of each area, black at both poles.

    Args:
        root: the folder.
        areas: those to write.
        camera: "pano"; "data" for photos; "" for copies that leave it out.
        colored: label maps whose colours are indices, as distributed; else one channel with 0 for unknown.
    """
    for seed, area in enumerate(areas):
        labels = scene(seed, SPHERE if camera != "data" else PHOTO, STANFORD_IDS)
        pixels = paint(labels, STANFORD13, seed, first=1)
        pixels[:6] = pixels[-6:] = 0
        name = f"camera_{seed:04d}_office_1_frame_equirectangular_domain"
        save(root / area / camera / f"rgb/{name}_rgb.png", pixels)
        save(root / area / camera / f"semantic/{name}_semantic.png", stanford_colors(labels) if colored else labels)
    (root / "assets").mkdir(exist_ok=True)
    (root / "assets/semantic_labels.json").write_text(json.dumps(STANFORD_INDEX))
    return f"stanford2d3d:{root}"


def stanford_colors(labels: np.ndarray) -> np.ndarray:
    """0 for unknown and 13 classes, uint8 (H, W) -> indices into `STANFORD_INDEX` as colours, uint8 (H, W, 3)."""
    indices = (labels.astype(int) - 1) * 60 + 1 + np.arange(labels.shape[1]) % 60  # neighbours are other instances
    indices[labels == 0] = 0x0D0D0D
    return np.stack([indices >> 16, indices >> 8 & 255, indices & 255], axis=2).astype(np.uint8)
