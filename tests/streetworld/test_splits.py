"""The splits: no two share a scene, and a name that does not exist is met with those that do."""

import pytest

from goodsam.errors import GoodSAMError
from goodsam.streetworld import SPLITS, STYLES, split_named, split_of


def test_splits_share_no_scene() -> None:
    assert len({split.seed for split in SPLITS.values()}) == len(SPLITS)
    for name, split in SPLITS.items():
        assert split.name == name
        assert split.style in STYLES
        assert split_named(name) is split
        assert split_of(split.style, split.seed) is split
    assert split_of("source", 202) is None
    assert split_of("target", 0) is None


def test_an_unknown_split_is_refused() -> None:
    with pytest.raises(GoodSAMError, match=r"--split dev: must be one of source-train, .*target-test"):
        split_named("dev")
