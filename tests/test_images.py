"""Photographs: what can be used is read, what cannot is refused in one sentence that says what would be right."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from goodsam.errors import GoodSAMError, UnreadableImageError
from goodsam.files import list_images
from goodsam.images import read_label_map, read_photo, read_size


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def cut_off(kind: str) -> bytes:
    data = encoded(Image.fromarray(noise(64, 128, 3)), kind)
    return data[: len(data) // 2]


REFUSED = {
    "cut.jpg": (cut_off("JPEG"), "cut off or damaged, copy it again"),
    "cut.png": (cut_off("PNG"), "cut off or damaged, copy it again"),
    "cut.webp": (cut_off("WEBP"), "give a JPEG, PNG|copy it again"),
    "text.jpg": (b"This is not an image at all.\n" * 40, "not an image.*give a JPEG, PNG, WebP, TIFF or BMP file"),
    "ink.jpg": (encoded(Image.fromarray(noise(8, 8, 4), mode="CMYK"), "JPEG"), r"CMYK.*8-bit RGB JPEG or PNG"),
    "deep.png": (encoded(Image.fromarray(noise(8, 8).astype(np.uint16) * 256), "PNG"), "8 bits a channel.*8-bit RGB"),
    "deep.tif": (encoded(Image.fromarray(noise(8, 8).astype(np.int32)), "TIFF"), "8 bits a channel.*8-bit RGB"),
    "float.tif": (encoded(Image.fromarray(noise(8, 8).astype(np.float32)), "TIFF"), "floating-point.*8-bit RGB"),
    "bits.png": (encoded(Image.fromarray(noise(8, 8) > 99), "PNG"), "one bit a pixel.*8-bit RGB"),
    "palette.png": (encoded(Image.fromarray(noise(8, 8)).convert("P"), "PNG"), "palette.*label maps.*8-bit RGB"),
    "empty.jpg": (b"", r"empty \(0 bytes\).*copy it again"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_file_that_cannot_be_used_is_refused_in_one_sentence(tmp_path: Path, name: str) -> None:
    data, message = REFUSED[name]
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(UnreadableImageError, match=message) as caught:
        read_photo(path)
    text = str(caught.value)
    assert text.startswith(f"{path}: ")
    assert text.endswith(".")
    assert "\n" not in text
    assert ". " not in text.replace("JPEG. ", "")  # one sentence


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnreadableImageError, match=r"gone\.jpg"):
        read_photo(tmp_path / "gone.jpg")


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "WEBP"])
def test_rgb_is_read_as_it_is(tmp_path: Path, kind: str) -> None:
    pixels = noise(6, 9, 3)
    path = tmp_path / f"a.{kind.lower()}"
    path.write_bytes(encoded(Image.fromarray(pixels), kind, **({"lossless": True} if kind == "WEBP" else {})))
    found = read_photo(path)
    assert found.dtype == np.uint8
    assert (found == pixels).all()


def test_grey_is_repeated(tmp_path: Path) -> None:
    grey = noise(6, 9)
    Image.fromarray(grey).save(tmp_path / "grey.png")
    found = read_photo(tmp_path / "grey.png")
    assert found.shape == (6, 9, 3)
    assert (found == grey[..., None]).all()


def test_alpha_is_dropped(tmp_path: Path) -> None:
    pixels = noise(6, 9, 4)
    Image.fromarray(pixels).save(tmp_path / "alpha.png")
    assert (read_photo(tmp_path / "alpha.png") == pixels[..., :3]).all()


# Orientation: how the stored rows and columns become upright ones (EXIF 2.3, table 6).
TURNED = {
    1: lambda stored: stored,
    2: lambda stored: stored[:, ::-1],
    3: lambda stored: stored[::-1, ::-1],
    4: lambda stored: stored[::-1],
    5: lambda stored: stored.transpose(1, 0, 2),
    6: lambda stored: stored.transpose(1, 0, 2)[:, ::-1],
    7: lambda stored: stored.transpose(1, 0, 2)[::-1, ::-1],
    8: lambda stored: stored.transpose(1, 0, 2)[::-1],
}


@pytest.mark.parametrize("orientation", TURNED)
def test_a_rotated_jpeg_is_turned_upright(tmp_path: Path, orientation: int) -> None:
    image = Image.fromarray(noise(8, 24, 3))
    exif = Image.Exif()
    exif[0x0112] = orientation
    (tmp_path / "plain.jpg").write_bytes(encoded(image, "JPEG"))
    (tmp_path / "turned.jpg").write_bytes(encoded(image, "JPEG", exif=exif))
    stored = read_photo(tmp_path / "plain.jpg")
    assert (read_photo(tmp_path / "turned.jpg") == TURNED[orientation](stored)).all()


def test_label_maps_keep_their_ids(tmp_path: Path) -> None:
    labels = noise(5, 7)
    grey, palette = Image.fromarray(labels), Image.fromarray(labels)
    palette.putpalette(list(range(256)) * 3)
    assert palette.mode == "P"
    grey.save(tmp_path / "grey.png")
    palette.save(tmp_path / "palette.png")
    assert (read_label_map(tmp_path / "grey.png") == labels).all()
    assert (read_label_map(tmp_path / "palette.png") == labels).all()


def test_colours_are_no_label_map(tmp_path: Path) -> None:
    Image.fromarray(noise(4, 4, 3)).save(tmp_path / "rgb.png")
    with pytest.raises(UnreadableImageError, match=r"rgb\.png: .*one 8-bit channel.*RGB.*not their colours"):
        read_label_map(tmp_path / "rgb.png")
    (tmp_path / "text.png").write_text("no image")
    with pytest.raises(UnreadableImageError, match=r"text\.png: cannot be read as a label map"):
        read_label_map(tmp_path / "text.png")


# --- folders ------------------------------------------------------------------------------------------------------


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def test_sub_folders_are_kept_in_the_stems(tmp_path: Path) -> None:
    touch(tmp_path, "b.JPG", "left/0001.png", "left/deep/0001.webp", "a.b.tiff", "notes.txt", ".hidden.png", ".d/x.png")
    found = list_images(tmp_path)
    assert list(found) == ["a.b", "b", "left/0001", "left/deep/0001"]
    assert found["left/deep/0001"] == tmp_path / "left/deep/0001.webp"


def test_one_file_is_its_own_list(tmp_path: Path) -> None:
    touch(tmp_path, "one.jpg")
    assert list_images(tmp_path / "one.jpg") == {"one": tmp_path / "one.jpg"}


def test_two_images_with_one_stem_are_refused_with_both_names(tmp_path: Path) -> None:
    touch(tmp_path, "x/a.jpg", "x/a.png", "a.png")
    with pytest.raises(GoodSAMError, match=r"x/a\.jpg and .*x/a\.png: two images with one stem.*rename"):
        list_images(tmp_path)


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    touch(tmp_path, "notes.txt")
    with pytest.raises(GoodSAMError, match=r"no images in this folder; expected files ending in \.jpg, \.jpeg, \.png"):
        list_images(tmp_path)


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(GoodSAMError, match="nowhere: no such file or folder; give an image or a folder"):
        list_images(tmp_path / "nowhere")


def test_a_folder_without_permission_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(folder: Path) -> None:
        raise PermissionError(13, "Permission denied", str(folder))

    monkeypatch.setattr("goodsam.files.os.scandir", refuse)
    with pytest.raises(GoodSAMError) as caught:
        list_images(tmp_path)
    assert str(caught.value) == f"{tmp_path}: cannot be listed (Permission denied); give a folder that you may read."


def test_16_bit_rgb_png_is_refused(tmp_path: Path) -> None:
    """Pillow opens one as 8-bit RGB; it is written by hand here, since Pillow cannot."""
    width, height = 8, 4
    rows = b"".join(b"\0" + bytes(width * 6) for _ in range(height))

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    (tmp_path / "deep.png").write_bytes(data)
    with pytest.raises(UnreadableImageError, match=r"deep\.png: more than 8 bits a channel; save it as an 8-bit RGB"):
        read_photo(tmp_path / "deep.png")


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_the_size_without_decoding_is_that_of_the_photo(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "a.jpg"
    noise = np.random.default_rng(0).integers(0, 255, (20, 30, 3)).astype(np.uint8)
    Image.fromarray(noise).save(path, exif=exif)
    assert read_size(path) == read_photo(path).shape[:2]
    path.write_bytes(path.read_bytes()[:-100])
    assert read_size(path) == ((30, 20) if orientation > 4 else (20, 30))  # pixels are cut off, the head is not
    path.write_bytes(b"no image")
    with pytest.raises(UnreadableImageError, match=r"a\.jpg: not an image"):
        read_size(path)
