"""The ladder's pictures: rendered once, kept, and read by stem; and a clock that survives interruptions."""

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image

from goodsam import files
from goodsam.images import read_label_map
from goodsam.panorama import Panorama, read_panorama
from goodsam.streetworld import split_named, write_scenes
from goodsam.streetworld.cameras import VFOV, CameraKind

T = TypeVar("T")


class Clock:
    """Seconds by name, added up over interrupted calls in one JSON file; a `goodsam.progress.Progress` as well.

    Args:
        path: of the file.
        names: what a stage is called in the file; by default as it calls itself.
    """

    def __init__(self, path: Path, names: dict[str, str] | None = None) -> None:
        self.path, self._names = path, names or {}

    def add(self, name: str, seconds: float) -> None:
        """Add to a name's seconds and write the file."""
        value = self.seconds()
        files.write_json(self.path, value | {name: value.get(name, 0.0) + seconds})

    def seconds(self) -> dict[str, float]:
        """All names with their seconds."""
        return files.read_json(self.path) if self.path.exists() else {}

    def track(self, items: Iterable[T], total: int, what: str) -> Iterator[T]:
        """Yield the items, adding what each took as soon as it is done."""
        start = time.perf_counter()
        for item in items:
            yield item
            self.add(self._names.get(what, what), time.perf_counter() - start)
            start = time.perf_counter()

    def note(self, text: str) -> None:
        """Shows nothing."""


@dataclass(frozen=True)
class Pictures:
    """Rendered panoramas of one split and camera."""

    name: str
    """What they are called in the table: strips or spheres."""
    root: Path
    """Holds images/, labels/, instances/."""
    camera: CameraKind
    size: tuple[int, int]
    """(H, W), pixels."""
    stems: tuple[str, ...]

    @property
    def vfov(self) -> float:
        """Vertical field of view, degrees."""
        return VFOV[self.camera]

    def first(self, number: int) -> "Pictures":
        """The first so many of them."""
        return replace(self, stems=self.stems[:number])

    def panorama(self, stem: str) -> Panorama:
        """The panorama."""
        return read_panorama(self.root / "images" / f"{stem}.jpg", self.vfov)

    def labels(self, stem: str) -> np.ndarray:
        """True label map, uint8 (H, W), 255 ignored."""
        return read_label_map(self.root / "labels" / f"{stem}.png")

    def instances(self, stem: str) -> np.ndarray:
        """True instances, uint16 (H, W), 0 where the label is 255."""
        with Image.open(self.root / "instances" / f"{stem}.png") as image:
            return np.array(image).astype(np.uint16)


def rendered(
    work: Path, split: str, camera: CameraKind, size: tuple[int, int], first: int, count: int, workers: int
) -> Pictures:
    """`count` scenes of a split, from index `first` on; those that are there already are kept.

    Args:
        work: renders into `work/data/SPLIT-CAMERA-HxW`.
        workers: processes.
    """
    which = split_named(split)
    root = work / "data" / f"{split}-{camera}-{size[0]}x{size[1]}"
    wanted = range(first, first + count)
    # The instances are a scene's last file.
    missing = [index for index in wanted if not (root / "instances" / f"{index:05d}.png").exists()]
    clock = Clock(work / "seconds.json")
    for group in np.split(np.array(missing), np.flatnonzero(np.diff(missing) != 1) + 1) if missing else ():
        start = time.perf_counter()
        write_scenes(
            root,
            len(group),
            which.seed,
            camera,
            which.style,
            size,
            first=int(group[0]),
            workers=min(workers, len(group)),
        )
        clock.add(f"render {root.name}", time.perf_counter() - start)
        if len(group) < count:
            (root / "scenes.json").unlink()  # it lists the scenes of one call alone
    name = {"strip": "strips", "panorama": "spheres"}[camera]
    return Pictures(name, root, camera, size, tuple(f"{index:05d}" for index in wanted))
