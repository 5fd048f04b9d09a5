"""Hints: the assistant's glance at the panorama, view by view, and a run that uses them."""

from pathlib import Path

import numpy as np
import pytest
import tiny

from goodsam import hints
from goodsam.panorama import Panorama, geometry_of
from goodsam.teachers.assistant import load_assistant
from goodsam.views import lay_views


@pytest.mark.parametrize(("size", "kind"), [((96, 512), "crops"), ((128, 256), "tangent")])
def test_a_hint_is_what_the_assistant_says_of_the_view(tmp_path: Path, size: tuple[int, int], kind: str) -> None:
    assistant = load_assistant(str(tiny.write_assistant(tmp_path / "a.onnx")))
    geometry = geometry_of(size)
    panorama = Panorama(tiny.panorama(0, size), geometry)
    views = lay_views(geometry, kind)
    found = hints.hints_of(assistant, panorama, views)
    assert len(found) == len(views)
    for hint in found:
        assert hint.labels.dtype == np.uint8
        assert hint.labels.shape == hint.confidence.shape
        assert 0 <= hint.confidence.min() <= hint.confidence.max() <= 1
    if kind == "crops":
        middle = found[[view.yaw for view in views].index(0.0)].labels  # type: ignore[union-attr]
        assert (middle[2:10] == 1).mean() > 0.9  # sky above
        assert (middle[-10:] == 0).mean() > 0.9  # road below


def test_a_large_panorama_is_looked_at_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hints, "WIDTH", 256)
    assistant = load_assistant(str(tiny.write_assistant(tmp_path / "a.onnx")))
    panorama = Panorama(tiny.panorama(0, (192, 1024)), geometry_of((192, 1024)))
    (first, *_) = hints.hints_of(assistant, panorama, lay_views(panorama.geometry, "crops"))
    assert first.labels.shape == (48, 64)
