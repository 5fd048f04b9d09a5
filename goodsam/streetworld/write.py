"""Scenes to files: images, label maps, instances, and what each scene was made from."""

from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from goodsam.errors import GoodSAMError
from goodsam.files import write_image, write_json
from goodsam.streetworld.cameras import CAMERAS, DEFAULT_SIZE, CameraKind, geometry
from goodsam.streetworld.render import render
from goodsam.streetworld.scene import Scene, build_scene
from goodsam.streetworld.splits import split_of
from goodsam.streetworld.styles import style_named


def write_scenes(
    out: Path,
    scenes: int,
    seed: int,
    camera: CameraKind,
    style: str,
    size: tuple[int, int] | None = None,
    first: int = 0,
    workers: int = 1,
    done: Callable[[int], None] | None = None,
) -> None:
    """Render scenes `first` to `first + scenes` of a seed into `out`.

    Writes images/NNNNN.jpg, labels/NNNNN.png (uint8 ids of densepass13, 255 on the camera's own car),
    instances/NNNNN.png (uint16, 0 where the label is 255) and scenes.json, whose `split` is the one that style and seed
    belong to, or null. Same arguments, same bytes, whatever the number of workers.

    Args:
        out: folder, made if need be.
        scenes: how many.
        seed: of the world; a scene depends on seed, index and style alone, not on the camera.
        camera: pinhole, panorama (full sphere) or strip (360 x 70 degrees).
        style: source or target.
        size: (H, W), pixels; by default 480x640, 512x1024, 400x2048.
        first: index of the first scene.
        workers: processes.
        done: called with the number of finished scenes.
    Raises:
        GoodSAMError: a value that is not allowed, or a disk that cannot be written.
    """
    _check(scenes, seed, camera, first, workers)
    style_named(style)
    if size is None:
        size = DEFAULT_SIZE[camera]
    _check_size(camera, size)
    job = partial(_write_one, out, seed, camera, style, size)
    entries = []
    for entry in _in_order(job, range(first, first + scenes), workers):
        entries.append(entry)
        if done:
            done(len(entries))
    split = split_of(style, seed)
    write_json(
        out / "scenes.json",
        {
            "label_set": "densepass13",
            "split": split.name if split else None,
            "seed": seed,
            "style": style,
            "camera": camera,
            "size": list(size),
            "scenes": entries,
        },
    )


def _in_order(job: Callable[[int], dict[str, Any]], indices: range, workers: int) -> Iterator[dict[str, Any]]:
    if workers == 1:
        yield from map(job, indices)
        return
    # Not forked: Embree's threads would not survive that.
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        yield from pool.map(job, indices)


def _check(scenes: int, seed: int, camera: str, first: int, workers: int) -> None:
    for name, value, least in (
        ("--scenes", scenes, 1),
        ("--seed", seed, 0),
        ("--first", first, 0),
        ("--workers", workers, 1),
    ):
        if value < least:
            raise GoodSAMError(f"{name} {value}: must be at least {least}.")
    if camera not in CAMERAS:
        raise GoodSAMError(f"--camera {camera}: must be one of {', '.join(CAMERAS)}.")


def _check_size(camera: CameraKind, size: tuple[int, int]) -> None:
    if min(size) < 8:
        raise GoodSAMError(f"--size {size[0]}x{size[1]}: must be at least 8x8 pixels.")
    try:
        if camera != "pinhole":
            geometry(camera, size)
    except ValueError as error:
        raise GoodSAMError(f"--size {size[0]}x{size[1]}: {error}.") from error


def _write_one(
    out: Path, seed: int, camera: CameraKind, style: str, size: tuple[int, int], index: int
) -> dict[str, Any]:
    scene = build_scene(seed, index, style_named(style), own_car=camera != "pinhole")
    picture = render(scene, camera, size)
    stem = f"{index:05d}"
    write_image(out / "images" / f"{stem}.jpg", picture.pixels, quality=scene.eye.jpeg, subsampling=2)
    write_image(out / "labels" / f"{stem}.png", picture.labels)
    write_image(out / "instances" / f"{stem}.png", picture.instances)
    return described(scene, stem, camera)


def described(scene: Scene, stem: str, camera: CameraKind) -> dict[str, Any]:
    """What `scenes.json` says of a scene."""
    eye = asdict(scene.eye)
    if camera != "pinhole":
        for name in ("yaw", "pitch", "fov"):
            del eye[name]
    return {
        "stem": stem,
        "index": scene.index,
        "eye": eye,
        "weather": asdict(scene.weather),
        "layout": asdict(scene.layout),
    }
