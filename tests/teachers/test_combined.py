"""Two teachers together."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tiny

from goodsam import pipeline
from goodsam.config import run_options
from goodsam.masks import Masks, masks_from_arrays, read_masks
from goodsam.panorama import Panorama, geometry_of
from goodsam.teachers.combined import CombinedTeacher
from goodsam.teachers.placing import Hint
from goodsam.teachers.regions import load_regions
from goodsam.views import cut, lay_views


class Halves:
    """A teacher of one mask, the left half."""

    name = "halves"
    weights = ()
    hinted, asked = False, 5

    def options(self) -> dict[str, object]:
        return {"name": "halves", "points_per_side": 3}

    def masks_of_views(self, images: Sequence[np.ndarray], hints: Sequence[Hint | None]) -> list[Masks]:
        return [self.masks(image) for image in images]

    def masks(self, image: np.ndarray, hint: Hint | None = None) -> Masks:
        mask = np.zeros((1, *image.shape[:2]), dtype=bool)
        mask[:, :, : image.shape[1] // 2] = True
        return masks_from_arrays(mask, [0.9], [0.8])


def test_masks_of_both_with_their_scores() -> None:
    image, regions = tiny.panorama(0)[:, :128], load_regions()
    both = CombinedTeacher(Halves(), regions)
    found, alone = both.masks(image), regions.masks(image)
    assert both.name == "halves+regions"
    assert (both.hinted, both.asked) == (False, 5)
    assert len(found) == 1 + len(alone)
    np.testing.assert_array_equal(found.to_arrays()[0], Halves().masks(image).to_arrays()[0])
    assert found.select(range(1, len(found))) == alone
    assert found.ious[:2] == (0.9, None)
    assert both.options() == {"name": "halves", "points_per_side": 3, "regions": regions.options()}


def test_the_run_holds_masks_of_both(tmp_path: Path, monkeypatch) -> None:
    photos = tiny.write_panoramas(tmp_path / "photos", 1)
    monkeypatch.setattr(pipeline, "load_sam", lambda *_: Halves())
    run = pipeline.distill(photos, tmp_path / "RUN", run_options(sam="halves+regions"), ("masks",))
    written = read_masks(run.file("masks", "pano00"))
    panorama = Panorama(tiny.panorama(0), geometry_of(tiny.SIZE))
    view = lay_views(panorama.geometry)[2]
    expected = CombinedTeacher(Halves(), load_regions()).masks(cut(panorama, view))
    assert dict(written.views)[view].counts == expected.counts
    assert run.record("masks")["options"]["points_per_side"] == 3
