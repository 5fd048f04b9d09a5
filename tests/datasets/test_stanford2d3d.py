"""`--data stanford2d3d:...`: folds, both codings of labels, black pixels, photos, and what is refused."""

import json
from pathlib import Path

import miniature
import numpy as np
import pytest

from goodsam.datasets import parse_data, training_images
from goodsam.datasets.stanford2d3d import PANORAMAS, PHOTOS
from goodsam.errors import GoodSAMError

TO_8 = [255, 255, 255, 0, 1, 255, 255, 2, 3, 4, 5, 6, 7]


def areas(text: str) -> list[str]:
    return [stem.split("/")[0] for stem, _, _ in parse_data(text)]


def labels_of(root: Path, area: str, camera: str = "pano") -> Path:
    return next((root / area / camera / "semantic").iterdir())


def test_the_published_layout(tmp_path: Path) -> None:
    data = parse_data(miniature.write_stanford2d3d(tmp_path))
    assert data.label_set.name == data.label_set_source == "stanford13"
    assert (data.vfov, data.projection, len(data)) == (180, "panorama", 2)
    stem, image, labels = next(iter(data))
    assert stem == "area_5a/camera_0004_office_1_frame_equirectangular_domain_rgb"
    assert image == tmp_path / f"area_5a/pano/rgb/{stem.split('/')[1]}.png"
    assert labels == labels_of(tmp_path, "area_5a")


@pytest.mark.parametrize(
    ("fold", "held", "seen"),
    [
        ("fold1", ["area_5a", "area_5b"], ["area_1", "area_2", "area_3", "area_4", "area_6"]),
        ("fold2", ["area_2", "area_4"], ["area_1", "area_3", "area_5a", "area_5b", "area_6"]),
        ("fold3", ["area_1", "area_3", "area_6"], ["area_2", "area_4", "area_5a", "area_5b"]),
    ],
)
def test_folds_are_the_published_areas(tmp_path: Path, fold: str, held: list[str], seen: list[str]) -> None:
    text = miniature.write_stanford2d3d(tmp_path)
    assert areas(f"{text},{fold}") == held
    assert areas(f"{text},{fold},train,stanford8") == seen
    assert [stem.split("/")[0] for stem in training_images(f"{text},stanford8,{fold}")] == seen


def test_counts_are_the_published_ones() -> None:
    assert sum(PANORAMAS.values()) == 1413
    assert PANORAMAS["area_5a"] + PANORAMAS["area_5b"] == 373
    assert sum(PHOTOS.values()) == 70496


@pytest.mark.parametrize(("camera", "colored"), [("pano", True), ("pano", False), ("", True), ("", False)])
def test_both_codings_and_both_layouts(tmp_path: Path, camera: str, colored: bool) -> None:
    data = parse_data(miniature.write_stanford2d3d(tmp_path, camera=camera, colored=colored))
    expected = miniature.scene(4, miniature.SPHERE, miniature.STANFORD_IDS) - 1  # 0 becomes 255
    expected[:6] = expected[-6:] = 255  # the image is black there
    found = data.read_labels(next(iter(data))[2])
    assert (found == expected).all()
    assert set(np.unique(found)) == {1, 3, 4, 7, 8, 9, 10, 11, 12, 255}


def test_the_8_classes_by_the_published_table(tmp_path: Path) -> None:
    data = parse_data(f"{miniature.write_stanford2d3d(tmp_path, colored=False)},stanford8")
    assert data.label_set.names == ("ceiling", "chair", "door", "floor", "sofa", "table", "wall", "window")
    path = miniature.save(tmp_path / "labels.png", np.arange(14, dtype=np.uint8)[None])
    assert data.read_labels(path).tolist() == [[255, *TO_8]]


def test_photos_train_by_default(tmp_path: Path) -> None:
    text = f"{miniature.write_stanford2d3d(tmp_path, camera='data')},pinhole"
    assert areas(text) == ["area_1", "area_2", "area_3", "area_4", "area_6"]
    assert areas(f"{text},val") == ["area_5a", "area_5b"]
    data = parse_data(text)
    assert (data.vfov, data.projection) == (None, "photo")
    assert data.read_labels(next(iter(data))[2]).shape == miniature.PHOTO
    with pytest.raises(
        GoodSAMError, match=r"area_1/pano/rgb: no such folder, nor those of area_2, .*area_6, which stan"
    ):
        training_images(text)


def test_a_beautiful_label_map_is_refused(tmp_path: Path) -> None:
    data = parse_data(miniature.write_stanford2d3d(tmp_path))
    path = miniature.save(labels_of(tmp_path, "area_5a"), np.full((64, 128, 3), (0, 143, 255), dtype=np.uint8))
    with pytest.raises(GoodSAMError, match=r"_semantic\.png: colour #008FFF is index 36863 of 781 entries .*_pretty"):
        data.read_labels(path)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([0, 14], r"value 14 is no class of Stanford2D3D with 0 for unknown, whose ids are 0\.\.13; 255 is none\.$"),
        (
            [0, 12, 255],
            "value 255 .* These look like ids of stanford13, mapped already; .*folder:IMAGES,LABELS,stanford13",
        ),
        ([9, 90], "value 90 .* These look like colours or grey levels"),
    ],
)
def test_wrong_and_swapped_values(tmp_path: Path, values: list[int], message: str) -> None:
    data = parse_data(miniature.write_stanford2d3d(tmp_path, colored=False))
    path = miniature.save(labels_of(tmp_path, "area_5b"), np.array([values], dtype=np.uint8))
    with pytest.raises(GoodSAMError, match=rf"_semantic\.png: {message}"):
        data.read_labels(path)


def test_the_index_is_needed_for_colours(tmp_path: Path) -> None:
    data = parse_data(miniature.write_stanford2d3d(tmp_path))
    index = tmp_path / "assets/semantic_labels.json"
    index.rename(tmp_path / "elsewhere.json")
    with pytest.raises(GoodSAMError, match=r"assets/semantic_labels\.json: missing; label maps in colours are indices"):
        data.read_labels(labels_of(tmp_path, "area_5a"))
    (tmp_path / "semantic_labels.json").write_text(json.dumps(["<UNK>_0_<UNK>_0_0", "lamp_1_office_1_1"]))
    with pytest.raises(GoodSAMError, match=r"semantic_labels\.json: class 'lamp' is none of <UNK>, beam"):
        data.read_labels(labels_of(tmp_path, "area_5a"))
    (tmp_path / "elsewhere.json").rename(tmp_path / "semantic_labels.json")
    assert data.read_labels(labels_of(tmp_path, "area_5a")).shape == miniature.SPHERE


def test_missing_files_and_roots(tmp_path: Path) -> None:
    text = miniature.write_stanford2d3d(tmp_path)
    labels_of(tmp_path, "area_5b").unlink()
    miniature.save(tmp_path / "area_5b/pano/semantic/other.png", np.zeros((2, 2), dtype=np.uint8))
    with pytest.raises(
        GoodSAMError, match=r"area_5b/pano/rgb/camera_0005.*_rgb\.png: has no label map \*_semantic\.png"
    ):
        parse_data(text)
    with pytest.raises(
        GoodSAMError, match=r"'fold4' is no option of stanford2d3d; it has stanford13, .*pinhole, train, v"
    ):
        parse_data(f"{text},fold4")
    with pytest.raises(GoodSAMError, match="fold1 and fold2 exclude each other; give one fold"):
        parse_data(f"{text},fold1,fold2")
    with pytest.raises(GoodSAMError, match="give the folder above them all as ROOT"):
        parse_data(f"stanford2d3d:{tmp_path / 'area_1'}")
