"""Scales of views chosen without labels."""

import json
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from PIL import Image

from goodsam import pipeline
from goodsam.config import parse_scales, run_options
from goodsam.dar.scales import SCALES, Seconded, seconded
from goodsam.errors import GoodSAMError
from goodsam.panorama import Panorama, geometry_of
from goodsam.teachers.assistant import load_assistant, merged_probabilities, predict_image, whole_probabilities
from goodsam.views import lay_views


def test_support_is_the_mean_probability_of_what_all_decide() -> None:
    said = torch.tensor([[[0.9, 0.2], [0.1, 0.8]], [[0.8, 0.3], [0.2, 0.7]], [[0.1, 0.9], [0.9, 0.1]]])[
        ..., None
    ]  # three scales, two classes, two pixels; together 0.6 and 0.53 for class 0 and 1
    found = seconded([said, said], (1.0, 1.5, 2.0))
    assert found.support == pytest.approx(((0.9 + 0.8) / 2, (0.8 + 0.7) / 2, (0.1 + 0.1) / 2))
    assert found.chosen() == (1.0, 1.5)


def test_the_two_best_are_taken_in_rising_order() -> None:
    assert Seconded((0.5, 1.0, 2.0), (0.7, 0.2, 0.9)).chosen() == (0.5, 2.0)
    assert Seconded((1.0,), (0.5,)).chosen() == (1.0,)


@pytest.mark.parametrize(("text", "scales"), [("1", (1.0,)), ("1,1.5", (1.0, 1.5)), (2.0, (2.0,)), ("auto", None)])
def test_scales_are_read(text: str | float, scales: tuple[float, ...] | None) -> None:
    assert parse_scales(text) == scales


@pytest.mark.parametrize("text", ["", "one", "1,", "-1", "1,0"])
def test_what_is_no_scale_is_refused(text: str) -> None:
    with pytest.raises(GoodSAMError, match="must be auto, or factors above 0 such as 1"):
        parse_scales(text)


def test_several_scales_are_averaged(tmp_path: Path) -> None:
    assistant = load_assistant(str(tiny.write_assistant(tmp_path / "assistant.onnx")))
    pixels = tiny.panorama(0)
    one, two, both = (predict_image(assistant, pixels, scales).probabilities for scales in ((1.0,), (2.0,), (1.0, 2.0)))
    torch.testing.assert_close(both, (one + two) / 2)
    assert not torch.allclose(one, two)


def test_the_whole_panorama_is_seen_past_its_edges(tmp_path: Path) -> None:
    assistant = load_assistant(str(tiny.write_assistant(tmp_path / "assistant.onnx")))
    pixels = tiny.panorama(0)
    panorama = Panorama(pixels, geometry_of(tiny.SIZE))
    found = whole_probabilities(assistant, panorama)
    rolled = whole_probabilities(assistant, panorama.rolled(200))
    torch.testing.assert_close(found.roll(200, dims=2), rolled)


def test_a_run_takes_scales_and_the_whole(tmp_path: Path) -> None:
    photos, model = tiny.write_panoramas(tmp_path / "photos", 1), tiny.write_assistant(tmp_path / "assistant.onnx")
    given = {"sam": "regions", "assistant": str(model), "device": "cpu", "mask_weight": 0.0}
    stages = ("masks", "label")
    options = run_options(**given, view_scale="1,1.5", whole_view=True)
    run = pipeline.distill(photos, tmp_path / "RUN", options, stages)
    assistant = load_assistant(str(model))
    panorama = Panorama(tiny.panorama(0), geometry_of(tiny.SIZE))
    views = lay_views(panorama.geometry)
    expected = merged_probabilities(assistant, panorama, views, (1.0, 1.5)) + whole_probabilities(
        assistant, panorama, (1.0, 1.5)
    )
    np.testing.assert_array_equal(np.array(Image.open(run.file("labels", "pano00"))), expected.argmax(0).numpy())
    assert run.record("label")["options"]["view_scale"] == "1,1.5"


def test_auto_decides_once_and_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    photos, model = tiny.write_panoramas(tmp_path / "photos", 2), tiny.write_assistant(tmp_path / "assistant.onnx")
    given = run_options(sam="regions", assistant=str(model), device="cpu", view_scale="auto")
    with caplog.at_level("INFO", "goodsam"):
        run = pipeline.distill(photos, tmp_path / "RUN", given, ("masks", "label"))
    kept = json.loads((run.root / "scales.json").read_text())
    assert kept["scales"] == list(SCALES)
    assert len(run.record("label")["options"]["view_scale"].split(",")) == 2
    assert "label: views are seen at scales" in caplog.text
    before = (run.root / "scales.json").stat().st_mtime_ns
    pipeline.distill(photos, tmp_path / "RUN", given, ("masks", "label"))
    assert (run.root / "scales.json").stat().st_mtime_ns == before
