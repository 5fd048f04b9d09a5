"""Files: whole or not at all, the same bytes for the same content, and one writer at a time."""

import errno
import fcntl
import gzip
import hashlib
import io
import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from goodsam import files
from goodsam.errors import GoodSAMError


def no_space(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


class FullDisk(io.FileIO):
    def write(self, data: object) -> int:
        super().write(bytes(data)[:3])
        raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("moment", ["rename", "write", "create"])
def test_a_full_disk_leaves_the_old_content_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    path = tmp_path / "a.bin"
    files.write_bytes(path, b"old")
    with monkeypatch.context() as patch:
        if moment == "rename":
            patch.setattr(files.os, "replace", no_space)
        elif moment == "write":
            patch.setattr(files.os, "fdopen", FullDisk)
        else:
            patch.setattr(files.tempfile, "mkstemp", no_space)
        with pytest.raises(GoodSAMError, match=r"a\.bin: cannot be written \(No space left on device\).*--out"):
            files.write_bytes(path, b"new content")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_write_bytes_makes_folders_and_obeys_the_umask(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "er" / "a.bin"
    before = os.umask(0o027)
    try:
        files.write_bytes(path, b"1")
    finally:
        assert os.umask(before) == 0o027
    assert path.stat().st_mode & 0o777 == 0o640
    files.write_bytes(path, b"2")
    assert path.read_bytes() == b"2"


def test_a_file_in_the_way_of_a_folder_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(GoodSAMError, match=r"file/a\.bin: cannot be written"):
        files.write_bytes(tmp_path / "file" / "a.bin", b"1")


def test_json_survives_plain_and_compressed(tmp_path: Path) -> None:
    value = {"name": "Zürich", "numbers": [1, 2.5, None]}
    files.write_json(tmp_path / "a.json", value)
    files.write_json_gz(tmp_path / "a.json.gz", value)
    assert files.read_json(tmp_path / "a.json") == files.read_json(tmp_path / "a.json.gz") == value
    assert (tmp_path / "a.json").read_text().endswith("}\n")
    assert "Zürich" in (tmp_path / "a.json").read_text()


def test_compressed_json_has_neither_time_nor_name(tmp_path: Path) -> None:
    files.write_json_gz(tmp_path / "a.json.gz", [1] * 50)
    data = (tmp_path / "a.json.gz").read_bytes()
    assert data[:4] == b"\x1f\x8b\x08\x00"
    assert data[4:8] == bytes(4)


def damaged(data: bytes) -> dict[str, bytes]:
    """Cut off at several places, a byte flipped at each, and something else altogether."""
    variants = {"empty": b"", "other": b"hello"}
    for place in range(0, len(data), max(1, len(data) // 40)):
        variants[f"cut {place}"] = data[:place]
    return variants


def test_damaged_json_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.json.gz"
    text = json.dumps(list(range(300)))
    data = gzip.compress(text.encode(), mtime=0)
    for content in damaged(data).values():
        path.write_bytes(content)
        with pytest.raises(GoodSAMError, match=r"a\.json\.gz: cannot be read as JSON .*Delete it"):
            files.read_json(path)
    for place in range(12, len(data), 7):  # behind the header, whose flags and time carry no content
        path.write_bytes(data[:place] + bytes([data[place] ^ 0x5A]) + data[place + 1 :])
        with pytest.raises(GoodSAMError, match=r"a\.json\.gz: cannot be read as JSON"):
            files.read_json(path)
    with pytest.raises(GoodSAMError, match=r"b\.json: cannot be read as JSON"):
        files.read_json(tmp_path / "b.json")


def test_npz_survives_and_equal_arrays_give_equal_bytes(tmp_path: Path) -> None:
    arrays = {"probs": np.arange(24, dtype=np.uint8).reshape(2, 3, 4), "half": np.linspace(0, 1, 5, dtype=np.float16)}
    files.write_npz(tmp_path / "a.npz", **arrays)
    os.utime(tmp_path / "a.npz", (0, 0))
    files.write_npz(tmp_path / "b.npz", **{name: value.copy() for name, value in arrays.items()})
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    again = files.read_npz(tmp_path / "a.npz")
    assert set(again) == {"probs", "half"}
    for name, value in arrays.items():
        assert again[name].dtype == value.dtype
        assert (again[name] == value).all()


def test_npz_entries_carry_no_time_of_writing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files.write_npz(tmp_path / "a.npz", x=np.zeros(3))
    monkeypatch.setattr("time.time", lambda: 2e9)
    files.write_npz(tmp_path / "b.npz", x=np.zeros(3))
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_damaged_npz_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    files.write_npz(path, x=np.random.default_rng(0).random(300))
    for content in damaged(path.read_bytes()).values():
        path.write_bytes(content)
        with pytest.raises(GoodSAMError, match=r"a\.npz: cannot be read as a numpy archive .*Delete it"):
            files.read_npz(path)


def test_npz_with_a_damaged_entry_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    files.write_npz(path, x=np.random.default_rng(0).random(300))
    data = path.read_bytes()
    for place in range(100, 1500, 99):
        path.write_bytes(data[:place] + bytes([data[place] ^ 0x5A]) + data[place + 1 :])
        with pytest.raises(GoodSAMError, match=r"a\.npz: cannot be read as a numpy archive"):
            files.read_npz(path)


def test_pickles_are_not_read(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.array([{}], dtype=object))
    with pytest.raises(GoodSAMError, match=r"a\.npz: cannot be read"):
        files.read_npz(tmp_path / "a.npz")


@pytest.mark.parametrize("suffix", [".png", ".PNG", ".jpg", ".bmp"])
def test_images_are_written_in_the_format_of_their_suffix(tmp_path: Path, suffix: str) -> None:
    pixels = np.full((4, 6, 3), 77, dtype=np.uint8)
    path = tmp_path / f"a.b{suffix}"
    files.write_image(path, pixels)
    with Image.open(path) as image:
        assert image.format == {".png": "PNG", ".jpg": "JPEG", ".bmp": "BMP"}[suffix.lower()]
        assert np.abs(np.array(image).astype(int) - 77).max() <= 1


def test_hashes_are_sha256(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    assert files.sha256_of(tmp_path / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert files.fingerprint_of({"a": 1}) == hashlib.sha256(b'{"a": 1}').hexdigest()


def test_fingerprint_looks_at_values_not_at_their_order() -> None:
    assert files.fingerprint_of({"a": 1, "b": [1, 2]}) == files.fingerprint_of({"b": [1, 2], "a": 1})
    assert files.fingerprint_of({"a": 1, "b": [1, 2]}) != files.fingerprint_of({"b": [2, 1], "a": 1})
    assert files.fingerprint_of(None) != files.fingerprint_of("null")


def can_lock(path: Path) -> bool:
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def test_a_lock_excludes_others_until_the_block_ends(tmp_path: Path) -> None:
    path = tmp_path / "run" / "lock"
    with files.locked(path):
        assert not can_lock(path)
    assert can_lock(path)

    def fail() -> None:
        with files.locked(path):
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert can_lock(path)


def fill(folder: Path, text: str, error: Exception | None = None) -> None:
    with files.whole_folder(folder) as temporary:
        (temporary / "a.txt").write_text(text)
        if error:
            raise error


def test_a_folder_is_replaced_whole(tmp_path: Path) -> None:
    folder = tmp_path / "student"
    fill(folder, "old")
    (folder / "more.txt").touch()
    fill(folder, "new")
    assert [path.name for path in tmp_path.iterdir()] == ["student"]
    assert [path.name for path in folder.iterdir()] == ["a.txt"]
    assert (folder / "a.txt").read_text() == "new"


@pytest.mark.parametrize(
    ("error", "raised"), [(OSError(errno.ENOSPC, "No space left on device"), GoodSAMError), (KeyError("x"), KeyError)]
)
def test_an_error_leaves_the_old_folder(tmp_path: Path, error: Exception, raised: type[Exception]) -> None:
    folder = tmp_path / "student"
    fill(folder, "old")
    with pytest.raises(raised, match="student: cannot be written .No space left" if raised is GoodSAMError else "x"):
        fill(folder, "new", error)
    assert [path.name for path in tmp_path.iterdir()] == ["student"]
    assert (folder / "a.txt").read_text() == "old"


def test_a_failed_rename_leaves_the_old_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "student"
    fill(folder, "old")
    rename = Path.rename

    def refuse_the_new(self: Path, target: Path) -> Path:
        if self.name.endswith(".tmp"):
            no_space()
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", refuse_the_new)
    with pytest.raises(GoodSAMError, match="student: cannot be written"):
        fill(folder, "new")
    assert [path.name for path in tmp_path.iterdir()] == ["student"]
    assert (folder / "a.txt").read_text() == "old"
