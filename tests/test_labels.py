"""Label sets: the DensePASS table, YAML files, and probabilities mapped from one set to another."""

from pathlib import Path

import numpy as np
import pytest
import torch

from goodsam.errors import GoodSAMError
from goodsam.labels import (
    LABEL_SETS,
    LabelSet,
    load_label_set,
    map_probabilities,
    mapping,
    own_label_set,
    palette,
)

CITYSCAPES, DENSEPASS = LABEL_SETS["cityscapes19"], LABEL_SETS["densepass13"]


def test_cityscapes_to_densepass_is_the_published_table() -> None:
    matrix = mapping(CITYSCAPES.names, DENSEPASS)
    assert matrix.shape == (13, 19)
    table = [int(column.argmax()) if column.any() else 255 for column in matrix.T]
    assert table == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 11, 12, 12, 12, 255, 12, 12]
    assert set(matrix.flatten().tolist()) == {0.0, 1.0}


def test_classes_of_the_label_set_itself_stay_as_they_are() -> None:
    # Its own sources (rider, truck, ...) are not asked for again.
    assert torch.equal(mapping(DENSEPASS.names, DENSEPASS), torch.eye(13))


def test_colorize_looks_up_each_pixel() -> None:
    labels = np.array([[0, 18], [255, 10]], dtype=np.uint8)
    expected = [[(128, 64, 128), (119, 11, 32)], [(0, 0, 0), (70, 130, 180)]]
    assert (CITYSCAPES.colorize(labels) == np.array(expected)).all()


def test_palette_colours_differ() -> None:
    colors = palette(254)
    assert len(set(colors)) == 254
    assert (0, 0, 0) not in colors
    assert colors[:3] == ((128, 0, 0), (0, 128, 0), (128, 128, 0))


def test_own_label_set_knows_the_built_in_ones() -> None:
    assert own_label_set(CITYSCAPES.names) == CITYSCAPES
    own = own_label_set(("road", "lamp"))
    assert own.names == ("road", "lamp")
    assert own.colors == ((128, 64, 128), palette(2)[1])


def write(tmp_path: Path, text: str) -> str:
    path = tmp_path / "parking.yaml"
    path.write_text(text)
    return str(path)


def test_a_label_set_from_yaml(tmp_path: Path) -> None:
    name = write(
        tmp_path,
        "name: lot\nclasses:\n"
        "  ground: {color: [1, 2, 3], from: [road, sidewalk]}\n  car: {from: [car, bus]}\n  sky:\n",
    )
    found = load_label_set(name)
    assert found.name == "lot"
    assert found.names == ("ground", "car", "sky")
    assert found.colors == ((1, 2, 3), (0, 0, 142), (70, 130, 180))
    assert found.sources == {"ground": ("road", "sidewalk"), "car": ("car", "bus")}
    rows = [row.nonzero()[:, 0].tolist() for row in mapping(CITYSCAPES.names, found)]
    assert rows == [[0, 1], [13, 15], [10]]


def test_a_yaml_file_without_a_name_has_its_own(tmp_path: Path) -> None:
    assert load_label_set(write(tmp_path, "classes: {a: , b: }")).name == "parking"


def test_built_in_sets_by_name() -> None:
    assert load_label_set("densepass13") is DENSEPASS


def test_an_unknown_set_lists_the_known() -> None:
    with pytest.raises(GoodSAMError, match=r"'citiscapes'.*cityscapes19, densepass13, .* or a \.yaml file"):
        load_label_set("citiscapes")


@pytest.mark.parametrize(
    "text",
    [
        "name: x",
        "- a\n- b",
        "classes: [a, b]",
        "classes: {a: {color: [1, 2]}}",
        "classes: {a: {color: [0, 0, 256]}}",
        "classes: {a: 5}",
        "classes: {a: {from: road}}",
        "classes: {a: {from: 5}}",
        "{",
        "",
    ],
)
def test_a_yaml_file_of_another_form_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(GoodSAMError, match=r"(?s)parking\.yaml: cannot be read as a label set .*`name` and `classes`"):
        load_label_set(write(tmp_path, text))


def test_a_missing_yaml_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(GoodSAMError, match=r"nowhere\.yaml: cannot be read"):
        load_label_set(str(tmp_path / "nowhere.yaml"))


def test_too_many_classes_are_refused(tmp_path: Path) -> None:
    text = "classes:\n" + "".join(f"  c{number}:\n" for number in range(255))
    with pytest.raises(GoodSAMError, match="255 classes; a label set has 1 to 254"):
        load_label_set(write(tmp_path, text))
    with pytest.raises(GoodSAMError, match="0 classes"):
        load_label_set(write(tmp_path, "classes: {}"))


def test_a_misfit_names_class_and_label_set() -> None:
    target = LabelSet("lot", ("ground",), ((0, 0, 0),), {"ground": ("roads",)})
    with pytest.raises(GoodSAMError, match=r"label set lot: class 'ground' is made of 'roads'.*Did you mean 'road'\?"):
        mapping(("road", "sky"), target)
    with pytest.raises(GoodSAMError, match=r"'wall'.*Its classes: road, sky\..*FILE\.yaml"):
        mapping(("road", "sky"), LabelSet("lot", ("wall",), ((0, 0, 0),)))


def test_mapped_probabilities_sum_to_one_again() -> None:
    generator = torch.Generator().manual_seed(0)
    probabilities = torch.rand(2, 19, 3, 4, generator=generator).softmax(1)
    mapped = map_probabilities(probabilities, mapping(CITYSCAPES.names, DENSEPASS))
    assert mapped.shape == (2, 13, 3, 4)
    table = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 11, 12, 12, 12, None, 12, 12]
    for batch in range(2):
        for row in range(3):
            for column in range(4):
                sums = [0.0] * 13
                for source, target in enumerate(table):
                    if target is not None:
                        sums[target] += float(probabilities[batch, source, row, column])
                expected = [value / sum(sums) for value in sums]
                np.testing.assert_allclose(mapped[batch, :, row, column], expected, rtol=1e-5)


def test_probabilities_are_uniform_where_nothing_is_left() -> None:
    probabilities = torch.zeros(1, 19, 1, 2)
    probabilities[0, 16, 0, 0] = 1  # train has no place among the 13
    probabilities[0, 15, 0, 1] = 1
    mapped = map_probabilities(probabilities, mapping(CITYSCAPES.names, DENSEPASS))
    np.testing.assert_allclose(mapped[0, :, 0, 0], 1 / 13, rtol=1e-6)
    assert mapped[0, 12, 0, 1] == 1


def test_the_same_set_leaves_probabilities_as_they_are() -> None:
    probabilities = torch.rand(1, 19, 2, 2)
    assert map_probabilities(probabilities, mapping(CITYSCAPES.names, CITYSCAPES)) is probabilities
