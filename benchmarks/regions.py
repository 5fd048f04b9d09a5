"""What regions of even colour can reach at best: each region is given the label that most of its pixels have.

    python benchmarks/regions.py --images FOLDER --labels FOLDER [--small] [--json FILE]

Photos and label maps (uint8 ids, 255 ignored) share their stems. Accuracy and mIoU are upper bounds for any assistant
that names whole regions; boundary recall is the share of label borders within 2 pixels of a region's border.
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from scipy import ndimage
from skimage.segmentation import felzenszwalb, find_boundaries, slic

from goodsam.files import list_images
from goodsam.images import read_label_map, read_photo
from goodsam.teachers.regions import RegionOptions, cut_regions, load_regions

Cut = Callable[[np.ndarray], np.ndarray]
SCALES = (128, 64, 32, 16)


def ours(scale: int) -> Cut:
    """Region numbers at one scale of the teacher, 0 for the finest."""

    def cut(image: np.ndarray) -> np.ndarray:
        finest, scales = cut_regions(image, RegionOptions(numbers=SCALES))
        return scales[min(scale, len(scales) - 1)][finest]

    return cut


def graph(scale: float, smallest: float) -> Cut:
    """Felzenszwalb's regions at another k, `smallest` a share of the area."""
    return lambda image: felzenszwalb(image, scale, 0.8, int(smallest * image.shape[0] * image.shape[1]))


METHODS: dict[str, Cut] = {
    "regions, finest": ours(0),
    **{f"regions, {number}": ours(place) for place, number in enumerate(SCALES, start=1)},
    "felzenszwalb 100": graph(100, 0.0005),
    "felzenszwalb 200": graph(200, 0.001),
    "felzenszwalb 400": graph(400, 0.002),
    "felzenszwalb 800": graph(800, 0.004),
    "slic 400": lambda image: slic(image, 400, start_label=0, max_num_iter=5),
    "slic 128": lambda image: slic(image, 128, start_label=0, max_num_iter=5),
}


def measure(cut: Cut, pairs: list[tuple[np.ndarray, np.ndarray]]) -> dict[str, float]:
    """Accuracy, mIoU, boundary recall (0..1), regions and seconds per image."""
    confusion = np.zeros((256, 256), dtype=np.int64)
    recalls, regions, seconds = [], 0, 0.0
    for image, labels in pairs:
        start = time.perf_counter()
        cells = cut(image)
        seconds += time.perf_counter() - start
        cells = np.unique(cells, return_inverse=True)[1].reshape(cells.shape)
        regions += cells.max() + 1
        valid = labels != 255
        votes = np.bincount(cells[valid] * 256 + labels[valid], minlength=(cells.max() + 1) * 256).reshape(-1, 256)
        named = votes.argmax(1)[cells]
        confusion += np.bincount(labels[valid] * 256 + named[valid], minlength=256**2).reshape(256, 256)
        border = find_boundaries(labels, mode="inner") & ~ndimage.binary_dilation(~valid, iterations=2)
        near = ndimage.binary_dilation(find_boundaries(cells, mode="thick"), iterations=2)
        recalls.append((border & near).sum() / max(border.sum(), 1))
    hit = np.diag(confusion)
    present = confusion.sum(1) > 0
    iou = hit[present] / (confusion.sum(0) + confusion.sum(1) - hit)[present]
    return {
        "pixel_accuracy": float(hit.sum() / confusion.sum()),
        "miou": float(iou.mean()),
        "boundary_recall": float(np.mean(recalls)),
        "regions": regions / len(pairs),
        "seconds": seconds / len(pairs),
    }


def main() -> None:
    """Print one row per way of cutting, then what the teacher's masks cost all in all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--labels", type=Path, required=True)
    parser.add_argument("--json", type=Path, help="write the figures here as well")
    parser.add_argument("--small", action="store_true", help="every tenth photo")
    options = parser.parse_args()
    labels = list_images(options.labels)
    images = list(list_images(options.images).items())[:: 10 if options.small else 1]
    pairs = [(read_photo(path), read_label_map(labels[stem]).astype(np.int64)) for stem, path in images]
    rows = {name: measure(cut, pairs) for name, cut in METHODS.items()}
    for name, row in rows.items():
        print(
            f"{name:18} accuracy {row['pixel_accuracy']:.3f}  mIoU {row['miou']:.3f}  boundary recall "
            f"{row['boundary_recall']:.3f}  regions {row['regions']:5.0f}  {row['seconds']:.3f} s"
        )
    teacher = load_regions()
    start = time.perf_counter()
    masks = sum(len(teacher.masks(image)) for image, _ in pairs) / len(pairs)
    seconds = (time.perf_counter() - start) / len(pairs)
    print(f"teacher, default options: {masks:.0f} masks, {seconds:.3f} s an image, {len(pairs)} images")
    if options.json:
        result = {"images": len(pairs), "teacher": {"masks": masks, "seconds": seconds}, "methods": rows}
        options.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
