"""A label map goes through every format and comes back as it was; readers that share no code agree on the way."""

import json
import re
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from review.shapes import CLASSES, MAPS, blobs

from goodsam.errors import GoodSAMError
from goodsam.review import brush, coco, cvat, label_studio
from goodsam.review.page import Page


def page(labels: np.ndarray, stem: str = "left/0001") -> Page:
    return Page(stem, f"{stem}.png", labels, 0.5)


# -- COCO -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MAPS)
def test_coco_round_trip_and_pycocotools(name: str, tmp_path: Path) -> None:
    labels = MAPS[name]
    text = coco.files_of([page(blobs(1), "a"), page(labels)], CLASSES)[coco.FILE]
    (stem, first), (second_stem, found) = coco.read(json.loads(text), CLASSES, "file")
    assert (stem, second_stem) == ("a", "left/0001")
    np.testing.assert_array_equal(first, blobs(1))
    np.testing.assert_array_equal(found, labels)

    (tmp_path / "instances.json").write_text(text)
    reader = COCO(tmp_path / "instances.json")
    painted = np.full(labels.shape, 255, dtype=np.uint8)
    (image,) = reader.loadImgs([2])
    assert (image["file_name"], image["height"], image["width"]) == ("left/0001.png", *labels.shape)
    for item in reader.loadAnns(reader.getAnnIds(imgIds=[2])):
        mask = reader.annToMask(item).astype(bool)
        assert item["area"] == mask.sum()
        rows, columns = np.nonzero(mask)
        left, top = columns.min(), rows.min()
        assert item["bbox"] == [left, top, columns.max() - left + 1, rows.max() - top + 1]
        painted[mask] = item["category_id"] - 1
    np.testing.assert_array_equal(painted, labels)
    assert [entry["name"] for entry in reader.loadCats(range(1, 6))] == list(CLASSES.names)
    assert {"info", "licenses"} <= reader.dataset.keys()


def test_coco_takes_polygons_and_run_lengths_and_the_later_one_holds() -> None:
    square = {"category_id": 7, "segmentation": [[2, 1, 6, 1, 6, 4, 2, 4]]}
    below = np.zeros((6, 8), dtype=np.uint8)
    below[2:, :5] = 1
    counts = [0, *np.diff(np.flatnonzero(np.diff(below.ravel(order="F"), prepend=1 - below[0, 0], append=2)))]
    lengths = {"category_id": 9, "segmentation": {"size": [6, 8], "counts": [int(n) for n in counts[1:]]}}
    assert coco_mask.area(coco_mask.frPyObjects(lengths["segmentation"], 6, 8)) == below.sum()
    names = {7: "sky", 9: "road"}
    found = coco.label_map_of([lengths, square], (6, 8), names, CLASSES)
    assert (found[1:4, 2:6] == 1).all()
    assert (found[2:, :2] == 0).all()
    assert (coco.label_map_of([square, lengths], (6, 8), names, CLASSES)[below > 0] == 0).all()
    assert found[0, 0] == 255


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"category_id": 3}, "category_id 3 is none of the file's categories"),
        ({"category_id": 2}, "class 'skye' is not one of the run's. Did you mean 'sky'?"),
        ({"segmentation": []}, "has no segmentation; draw a mask or polygon"),
        ({"segmentation": {"size": [4, 4], "counts": "0"}}, "a mask is of 4x4 pixels, not 8x6"),
        ({"segmentation": {"size": [6, 8], "counts": [3, 4]}}, "run-lengths of 7 pixels in an image of 8x6"),
        ({"segmentation": {"size": [6, 8], "counts": "`"}}, "do not fit 8x6 pixels; it is damaged"),
        ({"segmentation": {"size": [6, 8], "counts": "0``2"}}, "do not fit 8x6 pixels; it is damaged"),
        ({"segmentation": {"counts": "0"}}, "not as the annotation tool writes it ('size' is missing)"),
    ],
)
def test_coco_says_what_is_wrong(changed: dict[str, object], sentence: str) -> None:
    item = {"image_id": 1, "category_id": 1, "segmentation": {"size": [6, 8], "counts": [48]}} | changed
    value = {
        "images": [{"id": 1, "file_name": "a.png", "width": 8, "height": 6}],
        "annotations": [item],
        "categories": [{"id": 1, "name": "road"}, {"id": 2, "name": "skye"}],
    }
    with pytest.raises(GoodSAMError) as caught:
        list(coco.read(value, CLASSES, "file"))
    assert str(caught.value).startswith("file: a.png: ")
    assert sentence in str(caught.value)


# -- CVAT -----------------------------------------------------------------------------------------------------------


def slow_cvat(shape: ElementTree.Element, labels: np.ndarray, number: int) -> None:
    """CVAT's documented form, pixel by pixel: alternating lengths of off and on, row by row in the bounding box."""
    left, top, width, height = (int(shape.get(name, "")) for name in ("left", "top", "width", "height"))
    place, on = 0, False
    for count in shape.get("rle", "").split(","):
        for _ in range(int(count)):
            if on:
                labels[top + place // width, left + place % width] = number
            place += 1
        on = not on
    assert place == width * height


@pytest.mark.parametrize("name", MAPS)
def test_cvat_round_trip_and_a_slow_reader(name: str) -> None:
    labels = MAPS[name]
    text = cvat.files_of([page(blobs(1), "a"), page(labels)], CLASSES)[cvat.FILE]
    (_, first), (stem, found) = cvat.read(ElementTree.fromstring(text), CLASSES, "file")
    assert stem == "left/0001"
    np.testing.assert_array_equal(first, blobs(1))
    np.testing.assert_array_equal(found, labels)

    painted = np.full(labels.shape, 255, dtype=np.uint8)
    for shape in ElementTree.fromstring(text).findall("image")[1]:
        number = CLASSES.names.index(shape.get("label", ""))
        slow_cvat(shape, painted, number)
        mask = labels == number
        assert int(shape.get("left", "")) == np.flatnonzero(mask.any(0))[0]  # tight
        assert int(shape.get("height", "")) == np.ptp(np.flatnonzero(mask.any(1))) + 1
    np.testing.assert_array_equal(painted, labels)


def test_cvat_has_the_published_structure() -> None:
    written = cvat.files_of([page(blobs(0)), page(blobs(1), "b")], CLASSES)
    assert written[cvat.FILE].startswith('<?xml version="1.0" encoding="utf-8"?>\n<annotations>')
    root = ElementTree.fromstring(written[cvat.FILE])
    assert [child.tag for child in root] == ["version", "meta", "image", "image"]
    assert root.findtext("version") == "1.1"
    task = root.find("meta/task")
    assert task is not None
    assert (task.findtext("size"), task.findtext("mode"), task.findtext("stop_frame")) == ("2", "annotation", "1")
    labels = task.findall("labels/label")
    assert [label.findtext("name") for label in labels] == list(CLASSES.names)
    assert labels[0].findtext("color") == "#804080"
    for number, (image, name) in enumerate(zip(root.findall("image"), ("left/0001.png", "b.png"), strict=True)):
        assert image.attrib == {"id": str(number), "name": name, "width": "90", "height": "37"}
        for mask in image:
            assert mask.tag == "mask"
            assert list(mask.attrib) == [
                "label", "source", "occluded", "rle", "left", "top", "width", "height", "z_order",
            ]  # fmt: skip
            assert re.fullmatch(r"\d+(, \d+)*", mask.attrib["rle"])
    described = json.loads(written[cvat.LABELS])
    assert described[0] == {"name": "road", "color": "#804080", "type": "mask", "attributes": []}


def shapes(*texts: str) -> ElementTree.Element:
    return ElementTree.fromstring(
        f'<annotations><image id="0" name="a.png" width="8" height="6">{"".join(texts)}</image></annotations>'
    )


SQUARE = '<mask label="road" rle="0, 16" left="0" top="0" width="4" height="4" z_order="{}"/>'
POLYGON = '<polygon label="sky" points="2,1;6,1;6,4;2,4" z_order="{}"/>'


@pytest.mark.parametrize(
    ("texts", "winner"),
    [
        ((SQUARE.format(0), POLYGON.format(0)), 1),
        ((POLYGON.format(0), SQUARE.format(0)), 0),
        ((POLYGON.format(2), SQUARE.format(1)), 1),
    ],
)
def test_cvat_paints_by_z_order_then_by_place(texts: tuple[str, str], winner: int) -> None:
    ((_, labels),) = cvat.read(shapes(*texts), CLASSES, "file")
    assert (labels[1:4, 2:4] == winner).all()
    assert labels[0, 0] == 0
    assert labels[2, 5] == 1
    assert labels[5, 7] == 255


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (SQUARE.replace("road", "raod").format(0), "class 'raod' is not one of the run's. Did you mean 'road'?"),
        (SQUARE.replace("16", "15").format(0), "its run-lengths are of 15 pixels, not of 16; it is cut off"),
        (SQUARE.replace('left="0"', 'left="5"').format(0), "a mask of 4x4 pixels at 5, 0 leaves the 8x6 image"),
        (SQUARE.replace(' top="0"', "").format(0), "not as the annotation tool writes it ('top' is missing)"),
        ('<box label="road" xtl="0" ytl="0" xbr="2" ybr="2"/>', "a box is drawn on it, which has no pixels"),
    ],
)
def test_cvat_says_what_is_wrong(text: str, sentence: str) -> None:
    with pytest.raises(GoodSAMError) as caught:
        list(cvat.read(shapes(text), CLASSES, "file"))
    assert str(caught.value).startswith("file: a.png: ")
    assert sentence in str(caught.value)


def test_cvat_for_video_is_refused() -> None:
    with pytest.raises(GoodSAMError, match=r'file: is of a video; export the task as "CVAT for images 1\.1"'):
        list(cvat.read(ElementTree.fromstring("<annotations><track/></annotations>"), CLASSES, "file"))


# -- Label Studio ---------------------------------------------------------------------------------------------------


def slow_brush(data: list[int]) -> list[int]:
    """The published algorithm, bit by bit, on a string of zeros and ones."""
    bits, place = "".join(f"{byte:08b}" for byte in data), 0

    def take(width: int) -> int:
        nonlocal place
        place += width
        return int(bits[place - width : place], 2)

    number, word = take(32), take(5) + 1
    widths = [take(4) + 1 for _ in range(4)]
    values: list[int] = []
    while len(values) < number:
        repeated, width = take(1), widths[take(2)]
        length = take(width) + 1
        values += [take(word)] * length if repeated else [take(word) for _ in range(length)]
    assert len(values) == number
    assert len(bits) - place < 8  # nothing is left but what fills the last byte
    return values


def packed(groups: list[tuple[int, int]]) -> list[int]:
    """Numbers in so many bits, filled up to bytes."""
    bits = "".join(f"{value:0{width}b}" for value, width in groups)
    bits += "0" * (-len(bits) % 8)
    return [int("".join(part), 2) for part in zip(*[iter(bits)] * 8, strict=True)]


@pytest.mark.parametrize("name", MAPS)
def test_label_studio_round_trip_and_a_slow_reader(name: str) -> None:
    labels = MAPS[name]
    (task,) = json.loads(label_studio.files_of([page(labels)], CLASSES)[label_studio.FILE])
    assert task["data"] == {"image": "/data/local-files/?d=images/left/0001.png", "stem": "left/0001"}
    (prediction,) = task["predictions"]
    submitted = [{"data": task["data"], "annotations": [{"result": prediction["result"]}]}]
    ((stem, found),) = label_studio.read(submitted, CLASSES, "file")
    assert stem == "left/0001"
    np.testing.assert_array_equal(found, labels)

    painted = np.full(labels.shape, 255, dtype=np.uint8)
    for item in prediction["result"]:
        assert (item["type"], item["from_name"], item["to_name"]) == ("brushlabels", "label", "image")
        assert (item["original_height"], item["original_width"], item["value"]["format"]) == (*labels.shape, "rle")
        values = np.array(slow_brush(item["value"]["rle"])).reshape(*labels.shape, 4)
        assert (np.ptp(values, axis=2) == 0).all()
        assert set(np.unique(values)) <= {0, 255}
        (name,) = item["value"]["brushlabels"]
        painted[values[..., 3] > 0] = CLASSES.names.index(name)
    np.testing.assert_array_equal(painted, labels)


@pytest.mark.parametrize("seed", range(3))
def test_a_brush_region_as_the_browser_writes_it(seed: int) -> None:
    """Values one by one where the colour's channels differ, repeated where they do not, and other widths."""
    random = np.random.default_rng(seed)
    image = np.zeros((12, 21, 4), dtype=np.uint8)
    image[blobs(seed, (12, 21)) == 1] = (200, 30, 30, 255)
    image[3, 4] = (9, 9, 9, 1)  # the soft edge of a brush
    widths, flat, place = (2, 3, 7, 15), image.ravel().tolist(), 0
    groups = [(len(flat), 32), (7, 5), *((width - 1, 4) for width in widths)]
    while place < len(flat):
        choice = int(random.integers(4))
        length = min(int(random.integers(1, 1 + (1 << widths[choice]))), len(flat) - place)
        part = flat[place : place + length]
        same = next((n for n, (one, other) in enumerate(pairwise(part), 1) if one != other), length)
        repeated = same > 3
        part = part[:same] if repeated else part
        groups += [(int(repeated), 1), (choice, 2), (len(part) - 1, widths[choice])]
        groups += [(value, 8) for value in (part[:1] if repeated else part)]
        place += len(part)
    data = packed(groups)
    assert slow_brush(data) == flat
    np.testing.assert_array_equal(brush.decode(data, (12, 21)), image[..., 3] > 0)


def regions(*names: str, **changed: object) -> list[dict[str, object]]:
    rle = brush.encode(np.ones((3, 5), dtype=bool))
    shared = {"original_width": 5, "original_height": 3, "type": "brushlabels"} | changed
    return [{**shared, "value": {"format": "rle", "rle": rle, "brushlabels": [name]}} for name in names]


def task(*results: list[dict[str, object]], **changed: object) -> dict[str, object]:
    annotations = [{"result": result, "updated_at": f"2024-01-0{9 - n}"} for n, result in enumerate(results)]
    return {"id": 8, "data": {"stem": "a"}, "annotations": annotations} | changed


def test_label_studio_takes_what_was_changed_last_and_paints_in_order() -> None:
    ((_, labels),) = label_studio.read([task(regions("sky", "road"), regions("sky"))], CLASSES, "file")
    assert (labels == 0).all()
    cancelled = task(regions("sky"))
    cancelled["annotations"][0]["was_cancelled"] = True  # type: ignore[index]
    nothing = [cancelled, task([]), task(), task([{"type": "textarea", "value": {"text": ["dark"]}}])]
    predicted = [{"data": {"stem": "a"}, "predictions": [{"result": regions("sky")}]}]
    assert not list(label_studio.read(nothing + predicted, CLASSES, "file"))


@pytest.mark.parametrize(
    ("result", "sentence"),
    [
        (regions("sky", "skye"), "class 'skye' is not one of the run's. Did you mean 'sky'?"),
        (regions("sky", original_width=6), "a region of 60 values of 8 bits; an image of 6x3 pixels has 72"),
        (regions("sky", image_rotation=90), "turned by 90 degrees"),
        ([{**regions("sky")[0], "value": {"x": 1, "rectanglelabels": ["sky"]}}], "use the brush, as labels.xml offers"),
    ],
)
def test_label_studio_says_what_is_wrong(result: list[dict[str, object]], sentence: str) -> None:
    with pytest.raises(GoodSAMError) as caught:
        list(label_studio.read([task(result)], CLASSES, "file"))
    assert str(caught.value).startswith("file: a: ")
    assert sentence in str(caught.value)


def test_label_studio_wants_the_stem() -> None:
    with pytest.raises(
        GoodSAMError, match=r"file: task 8: its data has no stem; make the project from the tasks\.json"
    ):
        list(label_studio.read([task(regions("sky"), data={"image": "upload/a.png"})], CLASSES, "file"))


@pytest.mark.parametrize("keep", [3, 8, 20, -1])
def test_a_brush_region_that_is_cut_off_is_refused(keep: int) -> None:
    data = brush.encode(blobs(3) == 1)
    with pytest.raises(GoodSAMError, match="cut off"):
        brush.decode(data[:keep], (37, 90))


def test_the_labelling_configuration_offers_every_class() -> None:
    root = ElementTree.fromstring(label_studio.files_of([], CLASSES)[label_studio.CONFIG])
    assert root.tag == "View"
    brushes = root.find("BrushLabels")
    assert brushes is not None
    assert [label.get("value") for label in brushes] == list(CLASSES.names)
    assert brushes[0].get("background") == "#804080"
    image = root.find("Image")
    assert image is not None
    assert (image.get("value"), image.get("name"), brushes.get("toName")) == ("$image", "image", "image")
