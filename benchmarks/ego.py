"""How well the camera car is found: both bonnets of the street world, scenes without one, and folders of one's own.

    python benchmarks/ego.py [--small] [--json FILE] [--work DIR] [--fresh] [--panoramas FOLDER --sheet FILE.png]

Street world: strips of target-dev, where one of two bonnets drives, of source-train, without any, and of both together;
intersection over union of what is found with what is labelled 255; and how often anything is found in random parts of
the strips without a car. The rules were chosen on these: --fresh takes strips of target-unlabelled and source-test. For
real panoramas there are no labels: with --sheet the lower halves of some of each mount's are drawn, for looking at.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from goodsam import files
from goodsam.config import parse_size
from goodsam.drawing import borders
from goodsam.ego import Mount, find_mounts, mount_of
from goodsam.images import read_label_map, read_photo
from goodsam.streetworld import split_named, write_scenes


def street_world(root: Path, counts: dict[str, int], size: tuple[int, int], workers: int) -> dict[str, object]:
    """Some strips in one folder: per photo the split, the mount that it is given to, and the IoU."""
    paths = []
    for name, number in counts.items():
        if not (root / name / "scenes.json").exists():
            split = split_named(name)
            write_scenes(root / name, number, split.seed, "strip", split.style, size, 0, workers)
        paths += sorted((root / name / "images").glob("*.jpg"))
    start = time.perf_counter()
    mounts = find_mounts(paths)
    seconds = time.perf_counter() - start
    rows = []
    for path in paths:
        truth = read_label_map(path.parent.parent / "labels" / f"{path.stem}.png") == 255
        start = time.perf_counter()
        found = mount_of(read_photo(path), mounts)
        seconds += time.perf_counter() - start
        mask = np.zeros_like(truth) if found is None else found.mask
        union = int((mask | truth).sum())
        rows.append(
            {
                "photo": f"{path.parent.parent.name}/{path.stem}",
                "mount": number_of(found, mounts),
                "iou": float((mask & truth).sum() / union) if union else None,
            }
        )
    return {"mounts": len(mounts), "rows": rows, "seconds_per_panorama": seconds / len(paths)}


def false_finds(folder: Path, draws: int, seed: int = 0) -> dict[str, int]:
    """How often a car is found in a random two thirds of strips that have none."""
    paths = sorted(folder.glob("*.jpg"))
    random = np.random.default_rng(seed)
    parts = [random.permutation(len(paths))[: 2 * len(paths) // 3] for _ in range(draws)]
    found = sum(bool(find_mounts([paths[place] for place in sorted(part)])) for part in parts)
    return {"draws": draws, "strips": len(parts[0]), "found": found}


def number_of(found: Mount | None, mounts: list[Mount]) -> int | None:
    """Which of the mounts it is."""
    return next((number for number, mount in enumerate(mounts) if mount is found), None)


def say(name: str, rows: list[dict[str, object]]) -> None:
    """A line for each mount."""
    for mount in sorted({row["mount"] for row in rows}, key=str):
        own = [row for row in rows if row["mount"] == mount]
        ious = [float(row["iou"]) for row in own if row["iou"] is not None]  # type: ignore[arg-type]
        range_ = f", IoU {min(ious):.3f} to {max(ious):.3f} on {len(ious)} with a car" if ious else ", none has a car"
        print(f"{name}: {'no car found' if mount is None else f'car {mount}'} in {len(own)} strips{range_}")


def real(folder: Path, sheet: Path | None) -> dict[str, object]:
    """Mounts of a folder of real panoramas; pictures of four photos of each, and of four without."""
    paths = list(files.list_images(folder).values())
    mounts = find_mounts(paths)
    of_photo = {path: number_of(mount_of(read_photo(path), mounts), mounts) for path in paths}
    if sheet is not None:
        tiles = []
        for number in [*range(len(mounts)), None]:
            own = [path for path in paths if of_photo[path] == number]
            for path in own[:: max(1, len(own) // 4)][:4]:
                pixels = read_photo(path).copy()
                if number is not None:
                    mask = mounts[number].mask
                    pixels[mask] = (0.7 * pixels[mask] + 0.3 * np.array([255, 0, 0])).astype(np.uint8)
                    pixels[mask & borders(mask)] = (255, 230, 0)
                lower = Image.fromarray(pixels[len(pixels) // 2 :])
                tiles.append(np.asarray(lower.resize((1400, round(1400 * lower.height / lower.width)))))
        height = min(len(tile) for tile in tiles)
        files.write_image(sheet, np.concatenate([tile[:height] for tile in tiles]))
    counts = {str(number): list(of_photo.values()).count(number) for number in [*range(len(mounts)), None]}
    return {"panoramas": len(paths), "by_mount": counts, "share": [float(mount.mask.mean()) for mount in mounts]}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="smaller and fewer strips: under 5 minutes on 2 cores")
    parser.add_argument("--json", type=Path, help="write the results here")
    parser.add_argument("--work", type=Path, help="keeps the strips; default a temporary folder")
    parser.add_argument("--size", help="HxW of the strips; default 400x2048, with --small 200x1024")
    parser.add_argument("--workers", type=int, default=2, help="processes that render")
    parser.add_argument("--fresh", action="store_true", help="strips that nothing was chosen on")
    parser.add_argument("--draws", type=int, default=10, help="of parts of the strips without a car; --small 2")
    parser.add_argument("--panoramas", type=Path, help="folder of real panoramas")
    parser.add_argument("--sheet", type=Path, help="picture of what was found in them")
    options = parser.parse_args()
    driven, empty = ("target-unlabelled", "source-test") if options.fresh else ("target-dev", "source-train")
    counts = {driven: 16, empty: 16} if options.small else {driven: 24, empty: 48}
    size = parse_size(options.size or ("200x1024" if options.small else "400x2048"), "--size")
    result: dict[str, object] = {}
    with tempfile.TemporaryDirectory() as temporary:
        root = options.work or Path(temporary)
        for folder in ({driven: counts[driven]}, {empty: counts[empty]}, counts):
            found = street_world(root, folder, size, options.workers)
            result[" and ".join(folder)] = found
            say(" and ".join(folder), found["rows"])  # type: ignore[arg-type]
        result["false"] = false_finds(root / empty / "images", 2 if options.small else options.draws)
        print(f"random parts of {empty}: {result['false']}")
    if options.panoramas:
        result["real"] = real(options.panoramas, options.sheet)
        print(result["real"])
    if options.json:
        files.write_json(options.json, result)


if __name__ == "__main__":
    main()
