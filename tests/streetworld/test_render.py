"""Labels are exact: against rays cast by hand, between cameras, and against instances."""

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("embreex", reason="the street world needs the `streetworld` extra")

from goodsam import sphere, views
from goodsam.errors import GoodSAMError
from goodsam.labels import IGNORE, LABEL_SETS
from goodsam.streetworld import STYLES, Scene, Style, build_scene, render
from goodsam.streetworld.cameras import CAMERAS, CameraKind, directions, geometry
from goodsam.streetworld.mesh import SKY, SKY_INSTANCE, Builder, Finish
from goodsam.streetworld.shapes import boxes, ground

CLASSES = LABEL_SETS["densepass13"].names
SOURCE, TARGET = STYLES["source"], STYLES["target"]
BOX = np.array([[-1.0, 0.0, 6.0], [2.0, 3.5, 9.0]])


@pytest.fixture(scope="module")
def street() -> Scene:
    return build_scene(3, 1, SOURCE)


@pytest.fixture(scope="module")
def simple(street: Scene) -> Scene:
    """A road of 80 x 80 m at height 0 and one car-labelled box on it."""
    builder = Builder()
    builder.add(ground(-40, 40, -40, 40, 0.0), "road", builder.new_instance(), Finish("asphalt", (90, 90, 90)))
    box = boxes(np.array([0.5, 0, 7.5]), BOX[1] - BOX[0])
    builder.add(box, "car", builder.new_instance(), Finish("carpaint", (200, 200, 200)))
    eye = replace(street.eye, x=0.3, height=1.6, yaw=12.0, pitch=-5.0, fov=80.0)
    return replace(street, mesh=builder.mesh(), eye=eye)


def _by_hand(rays: np.ndarray, origin: np.ndarray) -> np.ndarray:
    """Labels of rays by plane and slab intersection in float64, without any of the renderer."""
    rays = rays.astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        near, far = (BOX[0] - origin) / rays, (BOX[1] - origin) / rays
        enter, leave = np.minimum(near, far).max(-1), np.maximum(near, far).min(-1)
        floor = -origin[1] / rays[..., 1]
    box = np.where((enter <= leave) & (leave > 0), enter, np.inf)
    spot = origin + rays * np.where(rays[..., 1] < 0, floor, 0)[..., None]
    on_road = (rays[..., 1] < 0) & (np.abs(spot[..., [0, 2]]) <= 40).all(-1)
    road = np.where(on_road, floor, np.inf)
    labels = np.where(box < road, CLASSES.index("car"), CLASSES.index("road"))
    return np.where(np.isinf(np.minimum(box, road)), SKY, labels)


@pytest.mark.parametrize(("camera", "size"), [("pinhole", (90, 120)), ("panorama", (128, 256)), ("strip", (80, 411))])
def test_labels_are_those_of_rays_cast_by_hand(simple: Scene, camera: CameraKind, size: tuple[int, int]) -> None:
    picture = render(simple, camera, size)
    truth = _by_hand(directions(camera, size, simple.eye), np.array([0.3, 1.6, 0.0]))
    assert (picture.labels == truth).mean() > 0.9995  # float32 rays may differ on a corner
    assert {CLASSES[i] for i in np.unique(picture.labels)} == {"road", "car", "sky"}
    numbers = {"sky": SKY_INSTANCE, "road": SKY_INSTANCE + 1, "car": SKY_INSTANCE + 2}
    for name, number in numbers.items():
        assert (picture.instances[picture.labels == CLASSES.index(name)] == number).all()


def test_the_box_stands_right_of_the_middle_where_its_position_says(simple: Scene) -> None:
    """Guards the handedness: x grows to the right, rows fall with pitch."""
    picture = render(simple, "panorama", (128, 256))
    rows, columns = np.nonzero(picture.labels == CLASSES.index("car"))
    yaw = (columns + 0.5) / 256 * 360 - 180
    expected = np.rad2deg(np.arctan2(np.array([-1.0, 2.0]) - 0.3, 6.0))
    assert yaw.min() == pytest.approx(expected[0], abs=1.5)
    assert yaw.max() == pytest.approx(expected[1], abs=1.5)
    top = 90 - (rows.min() + 0.5) / 128 * 180
    assert top == pytest.approx(np.rad2deg(np.arctan2(3.5 - 1.6, 6.0)), abs=1.5)


def test_a_pinhole_picture_agrees_with_the_panorama_of_its_scene(street: Scene) -> None:
    """Away from outlines (3 pixels of the panorama) labels agree, save 0.3 % for slivers thinner than a pixel."""
    panorama = geometry("panorama", (512, 1024))
    whole = render(street, "panorama", (512, 1024)).labels
    view = views.Tangent(yaw=24.0, pitch=3.0, fov=80.0)
    size = views.size_of(view, panorama)
    scene = replace(street, eye=replace(street.eye, yaw=24.0, pitch=3.0, fov=80.0))
    seen, expected = render(scene, "pinhole", size).labels, views.cut_labels(whole, panorama, view)
    assert (seen == expected).mean() > 0.93
    inner = np.ones(size, bool)
    for axis in (0, 1):
        for step in (-3, -2, -1, 1, 2, 3):
            inner &= (np.roll(expected, step, axis) == expected) & (np.roll(seen, step, axis) == seen)
    assert inner.mean() > 0.5
    assert (seen == expected)[inner].mean() > 0.997
    mirrored = expected[:, ::-1]
    assert (seen == mirrored).mean() < 0.85  # the test would notice a flip


def test_pinhole_rays_are_those_of_a_tangent_view(street: Scene) -> None:
    eye = replace(street.eye, yaw=-31.0, pitch=7.0, fov=75.0)
    expected = sphere.tangent_directions(-31.0, 7.0, 75.0, 32).numpy()
    expected /= np.linalg.norm(expected, axis=-1, keepdims=True)
    np.testing.assert_allclose(directions("pinhole", (32, 32), eye), expected, atol=1e-6)


def test_an_unknown_camera_is_refused(street: Scene) -> None:
    with pytest.raises(GoodSAMError, match="pinhole, panorama, strip"):
        directions("fisheye", (8, 8), street.eye)  # type: ignore[arg-type]


@pytest.mark.parametrize("camera", CAMERAS)
@pytest.mark.parametrize("style", [SOURCE, TARGET], ids=["source", "target"])
def test_instances_go_with_labels(camera: CameraKind, style: Style) -> None:
    scene = build_scene(8, 0, style, own_car=camera != "pinhole")
    picture = render(scene, camera, (80, 410) if camera == "strip" else (96, 192))
    assert picture.pixels.shape == (*picture.labels.shape, 3)
    assert ((picture.instances == 0) == (picture.labels == IGNORE)).all()
    assert ((picture.instances == SKY_INSTANCE) == (picture.labels == SKY)).all()
    for instance in np.unique(picture.instances):
        assert len(np.unique(picture.labels[picture.instances == instance])) == 1
    assert len(np.unique(picture.instances[picture.labels == CLASSES.index("building")])) > 1


def test_the_bonnet_is_on_panoramic_target_pictures_alone() -> None:
    shapes = set()
    for index in range(4):
        scene = build_scene(2, index, TARGET, own_car=True)
        labels = render(scene, "strip", (80, 410)).labels
        own = labels == IGNORE
        assert 0.005 < own.mean() < 0.2
        assert own[-1].any()
        assert not own[: 80 // 2].any()
        assert own[:, 195:215].any()  # ahead
        shapes.add(scene.eye.own_car)
    assert shapes == {"long", "short"}
    bare = render(build_scene(2, 3, TARGET), "strip", (80, 410)).labels
    assert (bare[~own] == labels[~own]).all()
    assert (bare != IGNORE).all()
    assert (build_scene(2, 0, SOURCE, own_car=True).mesh.labels != IGNORE).all()
