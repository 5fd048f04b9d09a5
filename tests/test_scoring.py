"""The pass over a data set: order, threads, what is read and what is not."""

import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from goodsam.datasets import Dataset, parse_data
from goodsam.errors import GoodSAMError
from goodsam.panorama import Panorama
from goodsam.scoring import Sight, score
from goodsam.subjects import Subject, SubjectOptions, load_subject

SIZE, NUMBER = (20, 80), 9
PANORAMA = Sight("panorama", None, None)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for folder in ("images", "labels", "found"):
        (tmp_path / folder).mkdir()
    for seed in range(NUMBER):
        labels = np.random.default_rng(seed).integers(0, 13, SIZE).astype(np.uint8)
        Image.fromarray(labels).save(tmp_path / f"labels/{seed}.png")
        Image.fromarray(np.roll(labels, 1, axis=0)).save(tmp_path / f"found/{seed}.png")
        Image.fromarray(labels[..., None].repeat(3, axis=2)).save(tmp_path / f"images/{seed}.png")
    return tmp_path


@pytest.fixture
def data(root: Path) -> Dataset:
    return parse_data(f"folder:{root / 'images'},{root / 'labels'},densepass13")


def on_disk(root: Path, data: Dataset) -> Subject:
    return load_subject(f"labels:{root / 'found'}", data, SubjectOptions())


class Network:
    """Sees the labels in the image; remembers the threads that asked it."""

    def __init__(self) -> None:
        self.threads: set[str] = set()

    def predict(self, stem: str, image: Panorama) -> np.ndarray:
        self.threads.add(threading.current_thread().name)
        return image.pixels[..., 0]

    def subject(self) -> Subject:
        return Subject("network", self.predict, True)


def test_the_order_of_the_data_whatever_the_threads(root: Path, data: Dataset) -> None:
    one, four = (list(score([on_disk(root, data)], data, PANORAMA, workers=workers)) for workers in (1, 4))
    assert [scored.case.stem for scored in one] == [str(index) for index in range(NUMBER)]
    assert [scored.case.stem for scored in four] == [scored.case.stem for scored in one]
    for first, second in zip(one, four, strict=True):
        assert np.array_equal(first.counts[0].confusion, second.counts[0].confusion)


def test_networks_are_asked_in_the_callers_thread_and_beside_label_maps(root: Path, data: Dataset) -> None:
    network = Network()
    found = list(score([network.subject(), on_disk(root, data)], data, PANORAMA, workers=3))
    assert network.threads == {threading.current_thread().name}
    assert all(np.array_equal(scored.predictions[0], scored.case.labels) for scored in found)
    assert all(np.array_equal(scored.predictions[1], np.roll(scored.case.labels, 1, axis=0)) for scored in found)


def test_first_and_limit_are_places_in_the_data(root: Path, data: Dataset) -> None:
    found = score([on_disk(root, data)], data, PANORAMA, first=2, limit=5, workers=2)
    assert [scored.case.stem for scored in found] == ["2", "3", "4"]


def test_images_are_not_decoded_for_label_maps(root: Path, data: Dataset) -> None:
    path = root / "images/3.png"
    path.write_bytes(path.read_bytes()[:100])  # its head, with the size, is whole
    assert len(list(score([on_disk(root, data)], data, PANORAMA, workers=2))) == NUMBER
    with pytest.raises(GoodSAMError, match=r"3\.png: cannot be read to its end"):
        list(score([Network().subject()], data, PANORAMA, workers=2))


def test_few_images_are_in_memory_at_once(root: Path, data: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever takes the results slowly is not overrun: what is read ahead is bounded by the threads."""
    read: list[Path] = []
    original = type(data).read_labels

    def counting(self: Dataset, path: Path) -> np.ndarray:
        read.append(path)
        return original(self, path)

    monkeypatch.setattr(type(data), "read_labels", counting)
    running = score([on_disk(root, data)], data, PANORAMA, workers=1)
    next(running)
    assert len(read) <= 5
    running.close()
    assert len(read) < NUMBER


def test_an_error_in_a_thread_names_the_file(root: Path, data: Dataset) -> None:
    Image.fromarray(np.full(SIZE, 77, dtype=np.uint8)).save(root / "found/6.png")
    with pytest.raises(GoodSAMError, match=r"found/6\.png: value 77 "):
        list(score([on_disk(root, data)], data, PANORAMA, workers=4))
