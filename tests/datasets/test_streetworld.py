"""`--data streetworld:...`: what scenes.json says is used, and a folder that does not fit it is refused."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from goodsam.datasets import parse_data
from goodsam.errors import GoodSAMError
from goodsam.evaluation import evaluate

SIZE = (40, 208)


def write_world(root: Path, camera: str = "strip", stems: tuple[str, ...] = ("00000", "00001"), **table: Any) -> str:
    """A folder of the street world's form without rendering; returns the `--data` string."""
    for number, stem in enumerate(stems):
        for name, suffix in (("images", "jpg"), ("labels", "png")):
            (root / name).mkdir(parents=True, exist_ok=True)
            shape = (*SIZE, 3) if name == "images" else SIZE
            pixels = np.random.default_rng(number).integers(0, 13, shape, dtype=np.uint8)
            Image.fromarray(pixels).save(root / name / f"{stem}.{suffix}")
    entries = [{"stem": stem} for stem in stems]
    (root / "scenes.json").write_text(
        json.dumps({"label_set": "densepass13", "camera": camera, "scenes": entries} | table)
    )
    return f"streetworld:{root}"


@pytest.mark.parametrize(
    ("camera", "vfov", "projection"),
    [("strip", 70, "panorama"), ("panorama", 180, "panorama"), ("pinhole", None, "photo")],
)
def test_the_camera_gives_field_of_view_and_projection(
    tmp_path: Path, camera: str, vfov: float | None, projection: str
) -> None:
    data = parse_data(write_world(tmp_path, camera))
    assert (data.vfov, data.projection) == (vfov, projection)
    assert data.label_set.name == data.label_set_source == "densepass13"
    assert len(data) == 2
    assert next(iter(data)) == ("00000", tmp_path / "images/00000.jpg", tmp_path / "labels/00000.png")
    assert data.read_labels(tmp_path / "labels/00000.png").shape == SIZE


def test_evaluation_uses_them_unless_told_otherwise(tmp_path: Path) -> None:
    strip = write_world(tmp_path / "strip")
    subject = f"labels:{tmp_path / 'strip/labels'}"
    assert evaluate(subject, strip).miou_sphere == 1
    assert evaluate(subject, strip, projection="photo").miou_sphere is None
    with pytest.raises(GoodSAMError, match="field of view of 200 degrees"):
        evaluate(subject, strip, vfov=200)
    photo = write_world(tmp_path / "pinhole", "pinhole")
    found = evaluate(f"labels:{tmp_path / 'pinhole/labels'}", photo)
    assert found.miou == 1
    assert found.miou_sphere is None


def test_solid_angles_are_those_of_the_cameras_field_of_view(tmp_path: Path) -> None:
    """Square pixels would give 360 x 40 / 208 = 69 degrees, on which the wrong upper rows count far more."""
    data = write_world(tmp_path, "panorama", ("00000",))
    labels = np.array(Image.open(tmp_path / "labels/00000.png"))
    labels[:] = 0
    Image.fromarray(labels).save(tmp_path / "labels/00000.png")
    labels[:10] = 1
    (tmp_path / "found").mkdir()
    Image.fromarray(labels).save(tmp_path / "found/00000.png")
    found = evaluate(f"labels:{tmp_path / 'found'}", data)
    assert found.miou == pytest.approx(0.75)
    assert found.miou_sphere == pytest.approx(1 - (1 - np.sin(np.pi / 4)) / 2)  # a polar cap of 45 degrees


def test_a_folder_without_scenes_json_is_refused(tmp_path: Path) -> None:
    data = write_world(tmp_path)
    (tmp_path / "scenes.json").unlink()
    with pytest.raises(GoodSAMError, match=r"scenes\.json: missing; .*goodsam streetworld --out"):
        parse_data(data)
    with pytest.raises(GoodSAMError, match="missing"):
        parse_data("streetworld:")


@pytest.mark.parametrize(("gone", "what"), [("labels/00001.png", "label map"), ("images/00001.jpg", "image")])
def test_unpaired_stem_is_named(tmp_path: Path, gone: str, what: str) -> None:
    data = write_world(tmp_path)
    (tmp_path / gone).unlink()
    with pytest.raises(GoodSAMError, match=f"no {what} of the stem '00001'"):
        parse_data(data)


def test_pictures_that_scenes_json_does_not_list_are_refused(tmp_path: Path) -> None:
    write_world(tmp_path, "panorama", ("00000", "00007"))
    with pytest.raises(GoodSAMError, match=r"does not list '00007' \(1 such\)"):
        parse_data(write_world(tmp_path, "strip", ("00000",)))


def test_pictures_that_are_gone_are_named(tmp_path: Path) -> None:
    data = write_world(tmp_path)
    for path in ("images/00001.jpg", "labels/00001.png"):
        (tmp_path / path).unlink()
    with pytest.raises(GoodSAMError, match=r"'00001' of scenes\.json is not there"):
        parse_data(data)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"label_set": "cityscapes19"}, "label set 'cityscapes19'; must be densepass13"),
        ({"camera": "fisheye"}, "camera 'fisheye'; must be one of pinhole, panorama, strip"),
        ({"scenes": None}, "not as `goodsam streetworld` writes it"),
    ],
)
def test_other_tables_are_refused(tmp_path: Path, table: dict[str, Any], message: str) -> None:
    with pytest.raises(GoodSAMError, match=message):
        parse_data(write_world(tmp_path, **table))


def test_what_the_verb_writes_is_taken(tmp_path: Path) -> None:
    pytest.importorskip("embreex", reason="the street world needs the `streetworld` extra")
    from goodsam.streetworld import write_scenes

    write_scenes(tmp_path, 1, 202, "strip", "target", SIZE)
    assert json.loads((tmp_path / "scenes.json").read_text())["split"] == "target-dev"
    found = evaluate(f"labels:{tmp_path / 'labels'}", f"streetworld:{tmp_path}")
    assert found.miou == found.coverage == 1
    assert found.ignored > 0  # the camera's own car
