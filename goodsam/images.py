"""Reading photographs: what can be used is read whole, what cannot is refused in one sentence."""

import logging
import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from goodsam.errors import UnreadableImageError

log = logging.getLogger(__name__)

_EXIF_ORIENTATION = 0x0112
_EXIF_TURNED = 5
"""Orientations from this on swap rows and columns."""
# A 16-bit or float image has no agreed white; ink colours depend on a press; a palette is the mark of a label map.
_REFUSED_MODES = {
    "CMYK": "ink colours (CMYK), not light",
    "P": "a palette image, which is what label maps are",
    "PA": "a palette image, which is what label maps are",
    "1": "one bit a pixel",
    "F": "floating-point pixels",
}


def read_photo(path: Path) -> np.ndarray:
    """Read a photograph as RGB, turned upright as its EXIF says.

    Args:
        path: a JPEG, PNG, WebP, TIFF or BMP file with 8 bits a channel; grey is repeated, alpha is dropped.
    Returns:
        uint8 (H, W, 3), RGB.
    Raises:
        UnreadableImageError: empty, not an image, cut off, or a kind of pixel that is not a photograph's.
    """
    try:
        if path.stat().st_size == 0:
            raise UnreadableImageError(f"{path}: the file is empty (0 bytes); copy it again from the camera.")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # a 16k panorama is no attack
            with Image.open(path) as image:
                _refuse_mode(path, image)
                image.load()
                upright = _upright(path, image)
                return np.array(upright.convert("RGB"))
    except UnidentifiedImageError as error:
        raise UnreadableImageError(
            f"{path}: not an image, whatever its name says; give a JPEG, PNG, WebP, TIFF or BMP file."
        ) from error
    except Image.DecompressionBombError as error:
        raise UnreadableImageError(f"{path}: too large ({error}); reduce it to at most 16384 x 8192 pixels.") from error
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UnreadableImageError(
            f"{path}: cannot be read to its end ({reason}); the file is cut off or damaged, copy it again."
        ) from error


def read_size(path: Path) -> tuple[int, int]:
    """Height and width of a photograph in pixels, upright as its EXIF says, without decoding it.

    Raises:
        UnreadableImageError: not an image, or one whose head is damaged.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                width, height = image.size
                # image.getexif() would decode a PNG, in case EXIF stands behind its pixels, where no camera writes it.
                turned = Image.Image.getexif(image).get(_EXIF_ORIENTATION, 1) >= _EXIF_TURNED
    except UnidentifiedImageError as error:
        raise UnreadableImageError(
            f"{path}: not an image, whatever its name says; give a JPEG, PNG, WebP, TIFF or BMP file."
        ) from error
    except (Image.DecompressionBombError, OSError, SyntaxError, ValueError) as error:
        raise UnreadableImageError(f"{path}: its size cannot be read ({error}).") from error
    return (width, height) if turned else (height, width)


def _refuse_mode(path: Path, image: Image.Image) -> None:
    reason = _REFUSED_MODES.get(image.mode)
    # Pillow cuts 16-bit RGB down to 8 bits without a word; only the decoder's raw mode ("RGB;16B") tells.
    if image.mode.startswith("I") or any(";16" in str(tile[3]) for tile in getattr(image, "tile", [])):
        reason = "more than 8 bits a channel"
    if reason is not None:
        raise UnreadableImageError(f"{path}: {reason}; save it as an 8-bit RGB JPEG or PNG.")


def _upright(path: Path, image: Image.Image) -> Image.Image:
    orientation = image.getexif().get(_EXIF_ORIENTATION, 1)
    if orientation == 1:
        return image
    log.info("%s: turned upright as its EXIF orientation %s says.", path, orientation)
    return ImageOps.exif_transpose(image) or image


def read_label_map(path: Path) -> np.ndarray:
    """Read a label map: class ids as they stand in the file, never resampled.

    Args:
        path: an 8-bit grey or palette PNG whose pixel values are class ids; 255 is ignored.
    Returns:
        uint8 (H, W).
    Raises:
        UnreadableImageError: not such a file.
    """
    try:
        with Image.open(path) as image:
            if image.mode not in ("L", "P"):
                raise UnreadableImageError(
                    f"{path}: a label map must have one 8-bit channel of class ids, this is {image.mode}; "
                    "save the ids, not their colours."
                )
            return np.array(image)
    except (OSError, SyntaxError, ValueError) as error:
        raise UnreadableImageError(f"{path}: cannot be read as a label map ({error}).") from error
