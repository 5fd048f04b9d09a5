"""Options: one set of names for Python, the command line and YAML."""

import dataclasses
import re
from pathlib import Path

import pytest

from goodsam import config
from goodsam.config import RunOptions, parse_shard, parse_size, read_config, run_options
from goodsam.errors import GoodSAMError


def option_classes() -> list[type]:
    return [part.default_factory for part in dataclasses.fields(RunOptions)]  # type: ignore[misc]


def test_no_two_stages_share_an_option_name() -> None:
    names = [item.name for group in option_classes() for item in dataclasses.fields(group)]
    assert len(names) == len(set(names)) == len(config.option_names())


def test_every_option_has_a_sentence() -> None:
    text = Path(config.__file__).read_text()
    for group in option_classes():
        body = text[text.index(f"class {group.__name__}") :]
        for item in dataclasses.fields(group):
            assert re.search(rf'\n    {item.name}: [^\n]*\n    """[A-Z`HI][^\n]+[.;)]"""', body, re.I), item.name


def test_flat_names_reach_their_stage() -> None:
    options = run_options(steps=7, sam="regions", vfov=90.0)
    assert (options.train.steps, options.teacher.sam, options.input.vfov) == (7, "regions", 90.0)
    assert options.loss == config.LossOptions()
    assert run_options(**RunOptions().flat()) == RunOptions()


def test_an_unknown_name_is_refused_with_the_nearest() -> None:
    with pytest.raises(GoodSAMError, match="unknown option 'step'; did you mean 'steps'"):
        run_options(step=7)


def test_yaml_takes_dashes_and_the_options_of_a_run(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("batch-size: 2\nsam: regions\n")
    assert read_config(tmp_path / "a.yaml") == {"batch_size": 2, "sam": "regions"}
    (tmp_path / "run.yaml").write_text("options: {steps: 5}\nversions: {goodsam: 0.1.0}\n")
    assert read_config(tmp_path / "run.yaml") == {"steps": 5}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("stepz: 5", "unknown option 'stepz'; did you mean 'steps'"),
        ("- a", "must hold `option: value`"),
        ("a: [", "YAML"),
    ],
)
def test_wrong_yaml_is_one_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(GoodSAMError, match=r"a\.yaml") as caught:
        read_config(tmp_path / "a.yaml")
    assert sentence in str(caught.value)


@pytest.mark.parametrize("name", ["paper", "laptop"])
def test_the_configs_of_the_repository_are_options(name: str) -> None:
    given = read_config(Path(__file__).parents[1] / "configs" / f"{name}.yaml")
    flat, defaults = run_options(**given).flat(), RunOptions().flat()
    for key in given:
        assert defaults[key] is None or type(flat[key]) is type(defaults[key]), key  # YAML takes 6e-4 for a text


def test_sizes_and_shards() -> None:
    assert parse_size("200x1024", "--train-size") == (200, 1024)
    assert parse_shard(None) == (0, 1)
    assert parse_shard("2/4") == (1, 4)
    for wrong in ("0/4", "5/4", "1", "a/b", "-1/2"):
        with pytest.raises(GoodSAMError, match="must be I/N"):
            parse_shard(wrong)
    for wrong in ("200", "x200", "0x32", "axb"):
        with pytest.raises(GoodSAMError, match="must be HEIGHTxWIDTH"):
            parse_size(wrong, "--train-size")
