"""Tables between vocabularies, number by number, and how `labels.mapping` picks one by the assistant's names."""

import numpy as np
import pytest
import torch

from goodsam.errors import GoodSAMError
from goodsam.label_tables import (
    ADE150_TO_STANFORD8,
    CITYSCAPES19_TO_13,
    CITYSCAPES34_TO_19,
    MAPILLARY65_TO_WILDPASS8,
    STANFORD13_TO_8,
    STANFORD14_TO_13,
    SYNPASS23_TO_13,
    TABLES,
    WILDPASS26_TO_8,
    LabelTable,
)
from goodsam.labels import LABEL_SETS, LabelSet, mapping, table_for
from goodsam.subjects import label_table
from goodsam.vocabularies import ADE150_NAMES, MAPILLARY65_NAMES


def columns(matrix: torch.Tensor) -> list[int]:
    """What each source class becomes, 255 for nothing; no class may become two."""
    assert matrix.sum(0).max() <= 1
    return [int(column.argmax()) if column.any() else 255 for column in matrix.T]


@pytest.mark.parametrize(
    ("table", "numbers"),
    [
        (
            CITYSCAPES34_TO_19,
            [255, 255, 255, 255, 255, 255, 255, 0, 1, 255, 255, 2, 3, 4, 255, 255, 255, 5, 255, 6, 7, 8, 9, 10, 11, 12,
             13, 14, 15, 255, 255, 16, 17, 18],
        ),
        (CITYSCAPES19_TO_13, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 11, 12, 12, 12, 255, 12, 12]),
        (SYNPASS23_TO_13, [255, 2, 4, 255, 11, 5, 0, 0, 1, 8, 12, 3, 7, 10, 255, 255, 255, 255, 6, 255, 255, 255, 9]),
        (STANFORD13_TO_8, [255, 255, 255, 0, 1, 255, 255, 2, 3, 4, 5, 6, 7]),
        (STANFORD14_TO_13, [255, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]),
        (
            WILDPASS26_TO_8,
            [255, 255, 255, 255, 0, 1, 255, 255, 2, 255, 255, 3, 4, 6, 255, 255, 255, 5, 255, 255, 255, 255, 255, 255,
             7, 255],
        ),
        (
            MAPILLARY65_TO_WILDPASS8,
            [255, 255, 6, 255, 255, 255, 255, 3, 7, 6, 3, 4, 255, 3, 3, 4, 255, 255, 255, 5, 255, 255, 255, 7, 3, 255,
             255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 3, 255, 255, 255, 255, 3, 255, 3, 255, 255, 255, 255,
             255, 255, 255, 255, 255, 255, 2, 0, 255, 255, 255, 255, 255, 1, 255, 255, 255],
        ),
    ],
)  # fmt: skip
def test_number_by_number(table: LabelTable, numbers: list[int]) -> None:
    assert list(table.ids) == numbers
    assert table.lookup().tolist() == numbers + [255] * (256 - len(numbers))
    if table not in (CITYSCAPES34_TO_19, STANFORD14_TO_13, WILDPASS26_TO_8):  # of files alone
        assert columns(mapping(table.source, LABEL_SETS[table.target])) == numbers


def test_ade_names_of_the_eight_indoor_classes() -> None:
    found = {ADE150_NAMES[place]: own for place, own in enumerate(ADE150_TO_STANFORD8.ids) if own != 255}
    assert found == {
        "ceiling": 0, "chair": 1, "armchair": 1, "swivel chair": 1, "seat": 1, "stool": 1, "door": 2, "screen door": 2,
        "floor": 3, "rug": 3, "sofa": 4, "table": 5, "desk": 5, "coffee table": 5, "wall": 6, "windowpane": 7,
        "blind": 7,
    }  # fmt: skip
    assert [ADE150_NAMES.index(name) for name in ("wall", "bed", "door", "flag")] == [0, 7, 14, 149]


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_every_table_is_whole(table: LabelTable) -> None:
    assert len(table.source) == len(set(table.source)) == len(table.ids)
    assert set(table.ids) - {255} == set(range(len(LABEL_SETS[table.target])))  # every class is made of something
    assert table.origin


def test_numbers_of_classes() -> None:
    assert (len(MAPILLARY65_NAMES), len(ADE150_NAMES)) == (65, 150)
    assert {name: len(label_set) for name, label_set in LABEL_SETS.items()} == {
        "cityscapes19": 19, "densepass13": 13, "wildpass8": 8, "stanford13": 13, "stanford8": 8, "synpass23": 23,
    }  # fmt: skip
    for label_set in LABEL_SETS.values():
        assert len(set(label_set.colors)) == len(label_set)
    assert LABEL_SETS["wildpass8"].names == ("car", "truck", "bus", "road", "sidewalk", "person", "curb", "crosswalk")


def test_what_is_our_reading_says_so() -> None:
    ours = {table.name for table in TABLES if table.origin.startswith("our reading")}
    assert ours == {"mapillary65 -> wildpass8", "ade150 -> stanford8"}


def test_spelling_and_order_of_names_do_not_count() -> None:
    odd = [f"{name} " if name == "bed" else name.upper() for name in ADE150_NAMES]
    assert columns(mapping(odd, LABEL_SETS["stanford8"])) == list(ADE150_TO_STANFORD8.ids)
    backwards = columns(mapping(MAPILLARY65_NAMES[::-1], LABEL_SETS["wildpass8"]))
    assert backwards[::-1] == list(MAPILLARY65_TO_WILDPASS8.ids)
    assert columns(mapping(("Sky ", " road", "car"), LabelSet("own", ("road", "sky"), ((0, 0, 0),) * 2))) == [1, 0, 255]
    assert torch.equal(
        mapping([name.title() for name in LABEL_SETS["stanford8"].names], LABEL_SETS["stanford8"]), torch.eye(8)
    )


def test_the_table_is_picked_by_the_sources_names() -> None:
    thirteen, nineteen = LABEL_SETS["densepass13"], LABEL_SETS["cityscapes19"]
    assert table_for(nineteen.names, thirteen) is CITYSCAPES19_TO_13
    assert table_for(LABEL_SETS["synpass23"].names, thirteen) is SYNPASS23_TO_13
    assert table_for((*nineteen.names, "lamp"), thirteen) is CITYSCAPES19_TO_13
    assert table_for(nineteen.names[:-1], thirteen) is None
    # Without a train, equal names and the label set's own `from` lists do it.
    without = [name for name in nineteen.names if name != "train"]
    assert table_for(without, thirteen) is None
    assert columns(mapping(without, thirteen)) == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 11, 12, 12, 12, 12, 12]
    # A label set of one's own that has `from` lists is left to them.
    own = LabelSet("own", thirteen.names, thirteen.colors, {"car": ("car",), "person": ("person",)})
    assert table_for(nineteen.names, own) is None
    assert columns(mapping(nineteen.names, own))[12:15] == [255, 12, 255]


def test_what_cannot_be_mapped_names_the_missing_classes() -> None:
    with pytest.raises(
        GoodSAMError, match="label set wildpass8: classes 'curb', 'crosswalk' are not among those of the"
    ):
        mapping(LABEL_SETS["cityscapes19"].names, LABEL_SETS["wildpass8"])
    with pytest.raises(GoodSAMError, match="class 'crosswalk' is not among those of the assistant"):
        mapping((*LABEL_SETS["cityscapes19"].names, "curb"), LABEL_SETS["wildpass8"])


def test_label_maps_are_mapped_by_the_same_tables() -> None:
    for table in (CITYSCAPES19_TO_13, SYNPASS23_TO_13, STANFORD13_TO_8):
        source = next(value for value in LABEL_SETS.values() if value.names == table.source)
        assert np.array_equal(label_table("labels:x", source, LABEL_SETS[table.target]), table.lookup())
    with pytest.raises(
        GoodSAMError, match=r"student:x: its label set cityscapes19 cannot be mapped to wildpass8.*'curb'"
    ):
        label_table("student:x", LABEL_SETS["cityscapes19"], LABEL_SETS["wildpass8"])
