"""What one step computes: levels together, features stored or asked for, and the choice of weights."""

from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from transformers import SegformerConfig, SegformerForSemanticSegmentation

from goodsam import files, pipeline
from goodsam.config import RunOptions, run_options
from goodsam.distiller import Distiller, new_distiller
from goodsam.errors import GoodSAMError
from goodsam.loader import Panoramas, Sample, look_at
from goodsam.mka.balance import class_frequencies, class_weights
from goodsam.mka.loss import Batch
from goodsam.run import Input, Run
from goodsam.student import new_student


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose assistant is a tiny SegFormer with features."""
    folder = tmp_path_factory.mktemp("distiller")
    tiny.write_panoramas(folder / "photos", 2)
    torch.manual_seed(0)
    config = SegformerConfig(
        hidden_sizes=[8, 12, 16, 24], depths=[1, 1, 1, 1], num_attention_heads=[1, 1, 1, 1], decoder_hidden_size=16,
        id2label=dict(enumerate(tiny.CLASSES)), label2id={name: index for index, name in enumerate(tiny.CLASSES)},
    )  # fmt: skip
    SegformerForSemanticSegmentation(config).save_pretrained(folder / "assistant")
    pipeline.distill(folder / "photos", folder / "RUN", given(folder), ("masks", "label"))
    return folder


def given(folder: Path, **changed: Any) -> RunOptions:
    values = {"sam": "regions", "assistant": str(folder / "assistant"), "init": "random", "device": "cpu"}
    return run_options(**values | {"patch_size": "64x96", "whole_scale": 0.5, "confidence": 0.0} | changed)


def made(folder: Path, **changed: Any) -> tuple[Distiller, Sample, Run, list[Input]]:
    options, run = given(folder, **changed), Run(folder / "RUN")
    inputs = run.take_inputs(files.list_images(folder / "photos"))
    scene = look_at(inputs, options, run)
    student = new_student("t", scene.label_set, "random")
    data = Panoramas(run, inputs, scene, options.level)
    sample = torch.utils.data.default_collate([data[0, 1], data[1, 2]])
    distiller = new_distiller(student, run, inputs, scene, options, options.assistant.assistant, torch.device("cpu"))
    return distiller.eval(), sample, run, inputs


def test_the_loss_is_the_mean_over_levels_each_as_its_input_is(labelled: Path) -> None:
    distiller, sample, _, _ = made(labelled)
    assert sample["whole"]["images"].shape == (2, 3, 48, 256)
    assert sample["patches"]["images"].shape == (2, 2, 3, 64, 96)
    found = distiller(sample)
    assert set(found.terms) == {"ens", "ta", "feat3", "feat4"}

    def loss(maps: dict[str, torch.Tensor], wrap: bool) -> torch.Tensor:
        features = {3: maps["level3"], 4: maps["level4"]}
        batch = Batch(maps["images"], maps["ensemble"], maps["assistant"], maps["valid"], features)
        return distiller.loss(distiller.student(maps["images"], wrap=wrap), batch, wrap).total

    patches = {name: torch.cat([values[0], values[1]]) for name, values in sample["patches"].items()}
    expected = (loss(sample["whole"], True) + loss(patches, False)) / 2
    torch.testing.assert_close(found.total, expected)
    assert loss(sample["whole"], False) != loss(sample["whole"], True)


def test_features_online_are_the_assistants_own_at_every_level(labelled: Path) -> None:
    distiller, sample, _, _ = made(labelled, features="online")
    found = distiller(sample)
    assert set(found.terms) == {"ens", "ta", "feat1", "feat2", "feat3", "feat4"}
    widths = [module.out_channels for module in distiller.loss.features.projections.values()]
    assert widths == [8, 12, 16, 24]
    found.total.backward()
    assert all(value.grad is not None for value in distiller.parameters())
    assert not any("assistant" in name for name in distiller.state_dict())  # neither trained nor kept in checkpoints
    assistant = distiller._assistant
    assert assistant is not None
    assert all(value.grad is None for value in assistant.model.parameters())


def test_features_online_need_an_assistant_that_has_any(labelled: Path, tmp_path: Path) -> None:
    tiny.write_assistant(tmp_path / "assistant.onnx")
    with pytest.raises(GoodSAMError, match=r"--features online: .*assistant\.onnx gives no features"):
        made(labelled, features="online", assistant=str(tmp_path / "assistant.onnx"))


def test_without_weight_features_are_left_out_and_no_assistant_is_loaded(labelled: Path) -> None:
    distiller, sample, _, _ = made(labelled, features="online", beta=0.0, assistant="no/such-model")
    assert set(distiller(sample).terms) == {"ens", "ta"}


def test_class_weights_are_those_of_the_runs_frequencies(labelled: Path) -> None:
    distiller, sample, run, inputs = made(labelled, class_weights=0.5)
    expected = class_weights(class_frequencies(run, inputs, 4), 0.5)
    assert distiller.loss.class_weights is not None
    assert torch.equal(distiller.loss.class_weights, expected)
    plain, _, _, _ = made(labelled)
    assert plain.loss.class_weights is None
    assert distiller(sample).terms["ens"] != plain(sample).terms["ens"]
