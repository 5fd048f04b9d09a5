"""`goodsam inspect`: a picture of every step, and sentences for what cannot be shown."""

from pathlib import Path

import numpy as np
import pytest
import tiny
from PIL import Image

from goodsam import inspection, pipeline
from goodsam.config import run_options
from goodsam.errors import GoodSAMError
from goodsam.run import Run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("inspected")
    photos = tiny.write_panoramas(folder / "photos", 2)
    given = run_options(sam="regions", assistant=str(tiny.write_assistant(folder / "assistant.onnx")), device="cpu")
    pipeline.distill(photos, folder / "RUN", given, ("masks", "label"))
    return folder / "RUN"


def test_the_picture_holds_every_step(run: Path) -> None:
    strips = inspection.steps_of(Run(run), "pano00", run.parent / "photos" / "pano00.png")
    captions = [caption for caption, _ in strips]
    for word in ("views", "masks of regions", "borders", "assistant", "masks say", "ensemble", "confidence", "classes"):
        assert any(word in caption for caption in captions), word
    pictures = dict(strips)
    ensemble = next(picture for caption, picture in strips if caption.startswith("ensemble"))
    labels = np.array(Image.open(run / "labels" / "pano00.png"))
    label_set = Run(run).record("label")["made_with"]
    np.testing.assert_array_equal(ensemble, np.array(label_set["colors"], dtype=np.uint8)[labels])
    assert {picture.shape[1] for picture in pictures.values()} == {512}
    (path,) = inspection.inspect_run(run, ["pano00"])
    assert path == run / "inspect" / "pano00.jpg"
    assert Image.open(path).size == (512, sum(len(picture) + 26 for _, picture in strips))


def test_what_fusion_says_again_is_what_the_run_holds(run: Path) -> None:
    """The picture starts from the stored probabilities, half as large; still nearly every pixel gets the same class."""
    strips = dict(inspection.steps_of(Run(run), "pano01", run.parent / "photos" / "pano01.png"))
    changed = next(picture for caption, picture in strips.items() if caption.startswith("what fusion changed"))
    ensemble = next(picture for caption, picture in strips.items() if caption.startswith("ensemble"))
    before = strips["assistant, merged over the views"]
    differs = (before != ensemble).any(2)
    np.testing.assert_array_equal(changed[differs], ensemble[differs])
    assert differs.mean() < 0.1


def test_wrong_names_are_sentences(run: Path, tmp_path: Path) -> None:
    with pytest.raises(GoodSAMError, match=r"no panorama named 'pano0'; there is 'pano0[01]'"):
        inspection.inspect_run(run, ["pano0"])
    with pytest.raises(GoodSAMError, match="not a run folder"):
        inspection.inspect_run(tmp_path, ["pano00"])
