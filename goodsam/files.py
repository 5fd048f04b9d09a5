"""Files on disk: whole or not at all, the same bytes for the same content, found in a stated order."""

import contextlib
import fcntl
import gzip
import hashlib
import io
import json
import os
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from goodsam.errors import GoodSAMError

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp")
_DAMAGED = (OSError, EOFError, ValueError, zlib.error, zipfile.BadZipFile)
"""What reading a file that is cut off, damaged or of another kind raises."""


def write_bytes(path: Path, data: bytes) -> None:
    """Write `data` to a temporary name in the same folder, then rename: a file that exists is whole.

    Raises:
        GoodSAMError: the disk is full or the folder cannot be written; nothing is left behind.
    """
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        Path(temporary).chmod(0o666 & ~_umask())
        os.replace(temporary, path)  # noqa: PTH105 (atomic on every platform, Path.rename is not)
    except OSError as error:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
        raise GoodSAMError(
            f"{path}: cannot be written ({error.strerror or error}). What was finished before is kept; "
            "make room or choose another --out, then run the same command again to go on."
        ) from error


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def write_text(path: Path, text: str) -> None:
    """`write_bytes` for UTF-8 text."""
    write_bytes(path, text.encode())


def write_json(path: Path, value: Any) -> None:
    """Indented JSON with a final newline."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def write_json_gz(path: Path, value: Any) -> None:
    """Compact JSON, gzip with mtime 0 and no name, so that equal values give equal bytes."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    write_bytes(path, gzip.compress(text.encode(), compresslevel=6, mtime=0))


def read_json(path: Path) -> Any:
    """JSON, gzip or plain by the file's name.

    Raises:
        GoodSAMError: the file is missing or not what its name says.
    """
    try:
        data = path.read_bytes()
        return json.loads(gzip.decompress(data) if path.suffix == ".gz" else data)
    except _DAMAGED as error:
        raise GoodSAMError(f"{path}: cannot be read as JSON ({error}). Delete it to have it made again.") from error


def write_npz(path: Path, **arrays: np.ndarray) -> None:
    """Compressed numpy archive; its zip entries carry no time, so equal arrays give equal bytes."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    write_bytes(path, buffer.getvalue())


def read_npz(path: Path) -> dict[str, np.ndarray]:
    """Arrays of an archive by name; no pickles.

    Raises:
        GoodSAMError: the file is missing or not a numpy archive.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except _DAMAGED as error:
        raise GoodSAMError(
            f"{path}: cannot be read as a numpy archive ({error}). Delete it to have it made again."
        ) from error


def write_image(path: Path, pixels: np.ndarray, **options: Any) -> None:
    """uint8 (H, W) or (H, W, 3) in the format that the path's suffix names."""
    buffer = io.BytesIO()
    image_format = Image.registered_extensions()[path.suffix.lower()]
    Image.fromarray(pixels).save(buffer, format=image_format, **options)
    write_bytes(path, buffer.getvalue())


def png_bytes(pixels: np.ndarray) -> bytes:
    """uint8 (H, W) or (H, W, 3) as the bytes that `write_image` writes to a PNG file."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG")
    return buffer.getvalue()


def sha256_of(path: Path) -> str:
    """Hexadecimal sha256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fingerprint_of(value: Any) -> str:
    """Hexadecimal sha256 of a JSON value, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock between processes of one machine while the block runs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(file, fcntl.LOCK_UN)


def list_images(source: Path) -> dict[str, Path]:
    """Images of a folder and its sub-folders, or one file, by stem: the path below `source` without its suffix.

    Returns:
        stem -> path, sorted by stem; sub-folders are kept in the stem ("left/0001").
    Raises:
        GoodSAMError: nothing there, no images, no permission, or two images with one stem.
    """
    if source.is_file():
        return {source.stem: source}
    if not source.exists():
        raise GoodSAMError(f"{source}: no such file or folder; give an image or a folder of images.")
    found: dict[str, Path] = {}
    for path in sorted(_walk(source)):
        stem = path.relative_to(source).with_suffix("").as_posix()
        if stem in found:
            raise GoodSAMError(
                f"{found[stem]} and {path}: two images with one stem would write the same files; rename one of them."
            )
        found[stem] = path
    if not found:
        raise GoodSAMError(f"{source}: no images in this folder; expected files ending in {', '.join(IMAGE_SUFFIXES)}.")
    return dict(sorted(found.items()))


def _walk(folder: Path) -> Iterator[Path]:
    try:
        with os.scandir(folder) as entries:
            names = sorted(entry.name for entry in entries)
    except OSError as error:
        raise GoodSAMError(
            f"{folder}: cannot be listed ({error.strerror or error}); give a folder that you may read."
        ) from error
    for name in names:
        path = folder / name
        if name.startswith("."):
            continue
        if path.is_dir():
            yield from _walk(path)
        elif path.suffix.lower() in IMAGE_SUFFIXES:
            yield path


@contextlib.contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """A temporary folder to fill, put in the place of `folder` when the block ends without an error.

    Raises:
        GoodSAMError: the disk is full or the folder cannot be written; what was there before stays.
    """
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        yield temporary
        replaced = folder.with_name(f".{folder.name}.{os.getpid()}.old")
        if folder.exists():
            folder.rename(replaced)
        try:
            temporary.rename(folder)
        except OSError:
            if replaced.exists():
                replaced.rename(folder)
            raise
        shutil.rmtree(replaced, ignore_errors=True)
    except OSError as error:
        raise GoodSAMError(
            f"{folder}: cannot be written ({error.strerror or error}); make room and run again."
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
