"""What an annotation tool exported, whichever: found in a file, zip or folder, and known by its content."""

import json
import logging
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from goodsam.errors import GoodSAMError

log = logging.getLogger(__name__)

SUFFIXES = (".json", ".xml", ".zip")
EXPECTED = (
    'a JSON file of COCO ("images" and "annotations"), an XML file of CVAT for images 1.1 (<annotations>), or Label '
    "Studio's JSON of tasks (not JSON-MIN)"
)


@dataclass(frozen=True)
class Document:
    """One file of an export."""

    name: str
    """For messages."""
    kind: str
    """coco, cvat or label-studio."""
    content: Any
    """JSON value or XML root."""


def read_documents(path: Path) -> Iterator[Document]:
    """Every export in a file, a zip, or a folder of both; what is of another kind there is passed over.

    Raises:
        GoodSAMError: nothing there, no export in it, or one that is damaged.
    """
    number = 0
    for name, data in _files(path):
        content = _parsed(name, data)
        kind = _kind(content)
        if kind is None:
            log.info("review: %s: no export of corrections; passed over.", name)
            continue
        number += 1
        yield Document(name, kind, content)
    if not number:
        raise GoodSAMError(f"{path}: holds no export that is known; expected {EXPECTED}.")


def _files(path: Path) -> Iterator[tuple[str, bytes]]:
    """Name and bytes of every file that may be an export, in order of the names."""
    try:
        if path.is_dir():
            below = sorted(file for file in path.rglob("*") if file.suffix.lower() in SUFFIXES and file.is_file())
        else:
            below = [path]
        for file in below:
            data = file.read_bytes()
            if data[:2] == b"PK":
                yield from _members(file, data)
            else:
                yield str(file), data
    except OSError as error:
        raise GoodSAMError(f"{error.filename or path}: cannot be read ({error.strerror or error}).") from error


def _members(file: Path, data: bytes) -> Iterator[tuple[str, bytes]]:
    try:
        with zipfile.ZipFile(BytesIO(data)) as archive:
            for name in sorted(archive.namelist()):
                if Path(name).suffix.lower() in SUFFIXES[:2]:
                    yield f"{file}/{name}", archive.read(name)
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError) as error:
        raise GoodSAMError(f"{file}: cannot be read as a zip ({error}); it is cut off, export it again.") from error


def _parsed(name: str, data: bytes) -> Any:
    """JSON value or XML root, by the first character."""
    begins = data.removeprefix(b"\xef\xbb\xbf").lstrip()[:1]
    kind = "XML" if begins == b"<" else "JSON"
    try:
        return ElementTree.fromstring(data) if kind == "XML" else json.loads(data)
    except (ElementTree.ParseError, ValueError, RecursionError) as error:
        if begins not in (b"<", b"{", b"["):
            raise GoodSAMError(f"{name}: is neither JSON, XML nor a zip; expected {EXPECTED}.") from error
        raise GoodSAMError(
            f"{name}: cannot be read as {kind} ({error}); the file is cut off or damaged, export it again."
        ) from error


def _kind(content: Any) -> str | None:
    """Which tool's export a value is; None for none of them."""
    if isinstance(content, Element):
        return "cvat" if content.tag == "annotations" else None
    if isinstance(content, dict):
        return "coco" if {"images", "annotations", "categories"} <= content.keys() else None
    if isinstance(content, list) and content and all(isinstance(item, dict) and "data" in item for item in content):
        return "label-studio"
    return None
