"""Adaptation: what learns and what stays, that nothing collapses, and the stage as a user runs it."""

import json
import logging
from pathlib import Path

import pytest
import tiny
import torch
import transformers

from goodsam import files, pipeline
from goodsam.config import AdaptOptions, run_options
from goodsam.dar.adapt import Adapter, Scene, adapt_loss, keep_loss, learning_parameters, look, neighbours
from goodsam.dar.boundary import outlines_of
from goodsam.errors import GoodSAMError
from goodsam.masks import PanoramaMasks
from goodsam.panorama import Panorama, geometry_of
from goodsam.teachers.regions import load_regions
from goodsam.teachers.segmenters import TransformersAssistant
from goodsam.views import View, cut, lay_views, size_of

NAMES = dict(enumerate(tiny.CLASSES))
SMALL = {"hidden_sizes": [8, 8, 16, 16], "depths": [1] * 4, "num_attention_heads": [1, 1, 2, 2]}


def decided(model):
    """Random weights give every class a quarter; larger ones of the last layer make opinions of that."""
    with torch.no_grad():
        model.decode_head.classifier.weight.mul_(300)
    return model


def write_segformer(folder: Path) -> Path:
    """A SegFormer of random weights."""
    torch.manual_seed(12)
    config = transformers.SegformerConfig(**SMALL, decoder_hidden_size=16, id2label=NAMES)
    decided(transformers.SegformerForSemanticSegmentation(config)).save_pretrained(folder)
    mean = {"image_mean": [0.4, 0.5, 0.6], "image_std": [0.2, 0.25, 0.3]}
    files.write_json(folder / "preprocessor_config.json", {"image_processor_type": "SegformerImageProcessor", **mean})
    return folder


def write_upernet(folder: Path) -> Path:
    """Another semantic segmenter of random weights."""
    torch.manual_seed(12)
    stages = ["stage1", "stage2", "stage3", "stage4"]
    swin = transformers.SwinConfig(
        image_size=64, embed_dim=8, depths=[1] * 4, num_heads=[1, 1, 2, 2], window_size=4, out_features=stages
    )
    config = transformers.UperNetConfig(
        id2label=NAMES, backbone_config=swin, hidden_size=16, use_auxiliary_head=False, pool_scales=[1, 2]
    )
    decided(transformers.UperNetForSemanticSegmentation(config)).save_pretrained(folder)
    files.write_json(folder / "preprocessor_config.json", {"image_processor_type": "SegformerImageProcessor"})
    return folder


@pytest.fixture(scope="module")
def seen() -> tuple[Panorama, PanoramaMasks]:
    """A panorama with the masks of its views."""
    pixels = tiny.panorama(0)
    panorama = Panorama(pixels, geometry_of(tiny.SIZE))
    regions = load_regions()
    views = tuple((view, regions.masks(cut(panorama, view))) for view in lay_views(panorama.geometry))
    return panorama, PanoramaMasks(tiny.SIZE, "regions", views)


def first_views(seen: tuple[Panorama, PanoramaMasks]) -> Scene:
    return look(*seen, neighbours([view for view, _ in seen[1].views], 0))


def sure_prediction(scene: Scene) -> torch.Tensor:
    """A different class on the left and right of every view, 0.96 sure: (K, C, h, w) on the grid of the losses."""
    height, width = scene.images.shape[2] // 2, scene.images.shape[3] // 2
    said = torch.full((len(scene.views), 4, height, width), 0.04 / 3)
    said[:, 1, :, : width // 2] = 0.96
    said[:, 2, :, width // 2 :] = 0.96
    return said


def gradient_at_a_constant(scene: Scene, options: AdaptOptions) -> float:
    frozen = sure_prediction(scene)
    logits = torch.tensor([0.0, 9.0, 0.0, 0.0])[None, :, None, None].expand_as(frozen).clone().requires_grad_()
    adapt_loss(logits.softmax(1), frozen, scene, options).total.backward()
    assert logits.grad is not None
    return float(logits.grad.abs().max())


def test_a_constant_prediction_is_no_minimum(seen: tuple[Panorama, PanoramaMasks]) -> None:
    scene = first_views(seen)
    assert gradient_at_a_constant(scene, AdaptOptions()) > 1e-4
    without = gradient_at_a_constant(scene, AdaptOptions(keep_weight=0.0))
    assert without < 1e-6  # consistency and boundaries alone are content with it: the pull is what holds
    frozen = sure_prediction(scene)
    constant = torch.full_like(frozen, 1e-4)
    constant[:, 1] = 1 - 3e-4
    kept, collapsed = (float(adapt_loss(p, frozen, scene, AdaptOptions()).total) for p in (frozen, constant))
    assert kept < collapsed


def test_keeping_costs_nothing_at_first_and_only_where_it_was_sure() -> None:
    frozen = torch.tensor([[0.95, 0.6], [0.05, 0.4]]).reshape(1, 2, 1, 2)
    assert float(keep_loss(frozen, frozen, 0.9)) == pytest.approx(0, abs=1e-6)
    moved = torch.tensor([[0.95, 0.1], [0.05, 0.9]]).reshape(1, 2, 1, 2)
    assert float(keep_loss(moved, frozen, 0.9)) == pytest.approx(0, abs=1e-6)
    moved = torch.tensor([[0.5, 0.6], [0.5, 0.4]]).reshape(1, 2, 1, 2)
    expected = 0.95 * torch.tensor(0.95 / 0.5).log() + 0.05 * torch.tensor(0.05 / 0.5).log()
    assert float(keep_loss(moved, frozen, 0.9)) == pytest.approx(float(expected), rel=1e-5)


def test_the_loss_is_the_weighted_sum_of_its_terms(seen: tuple[Panorama, PanoramaMasks]) -> None:
    scene = first_views(seen)
    frozen, said = sure_prediction(scene), sure_prediction(scene).roll(20, dims=3)
    loss = adapt_loss(said, frozen, scene, AdaptOptions(consistency_weight=2.0, boundary_weight=3.0, keep_weight=5.0))
    terms = {name: float(value) for name, value in loss.terms.items()}
    assert min(terms.values()) > 1e-3
    assert float(loss.total) == pytest.approx(2 * terms["con"] + 3 * terms["bnd"] + 5 * terms["keep"], rel=1e-5)
    without = adapt_loss(said, frozen, scene, AdaptOptions(consistency_weight=0.0, boundary_weight=0.0))
    assert float(without.total) == pytest.approx(terms["keep"], rel=1e-5)


@torch.no_grad()
def losses_of(adapter: Adapter, seen: tuple[Panorama, PanoramaMasks]) -> dict[str, float]:
    """Mean terms over all views of a panorama."""
    views = [view for view, _ in seen[1].views]
    scenes = [look(*seen, neighbours(views, first)) for first in range(len(views))]
    frozen = [adapter.said(adapter.frozen, scene) for scene in scenes]
    said = [adapter.said(adapter.assistant, scene) for scene in scenes]
    terms = [adapt_loss(p, p0, s, adapter.options).terms for p, p0, s in zip(said, frozen, scenes, strict=True)]
    return {name: float(sum(item[name] for item in terms)) / len(terms) for name in terms[0]}


@pytest.mark.parametrize("write", [write_segformer, write_upernet])
def test_steps_lower_the_loss_and_leave_the_first_layers_alone(
    write, seen: tuple[Panorama, PanoramaMasks], tmp_path: Path
) -> None:
    assistant = TransformersAssistant(str(write(tmp_path / "model")), None)
    before = {name: value.detach().clone() for name, value in assistant.model.named_parameters()}
    adapter = Adapter(assistant, AdaptOptions(adapt_steps=200, adapt_rate=1e-3), seed=1)
    first = losses_of(adapter, seen)
    for number in range(30):
        adapter.step(number, 1, lambda _: seen)
    last = losses_of(adapter, seen)
    assert sum(first.values()) > 0.01
    assert sum(last.values()) < 0.8 * sum(first.values())
    learning = {id(value) for value in learning_parameters(assistant.model, assistant.model_type)}
    changed = {name for name, value in assistant.model.named_parameters() if not torch.equal(value, before[name])}
    assert changed
    assert all((id(value) in learning) or (name not in changed) for name, value in assistant.model.named_parameters())
    assert next(iter(before)) not in changed


def test_what_does_not_learn_is_shared_and_changes_nothing(
    seen: tuple[Panorama, PanoramaMasks], tmp_path: Path
) -> None:
    assistant = TransformersAssistant(str(write_segformer(tmp_path / "model")), None)
    scene = first_views(seen)
    trunk = assistant.trunk(scene.images)
    assert [tuple(level.shape[1:2]) for level in trunk] == [(8,), (8,), (16,)]
    shared, whole = assistant.forward(scene.images, trunk), assistant.forward(scene.images)
    torch.testing.assert_close(shared.probabilities, whole.probabilities)
    assert (
        assistant.forward(scene.images, tuple(level + 1 for level in trunk)).probabilities.ne(whole.probabilities).any()
    )
    for name, value in assistant.model.named_parameters():
        learns = any(value is item for item in learning_parameters(assistant.model, "segformer"))
        assert learns == name.startswith(("decode_head.", "segformer.stages.3."))
    assert TransformersAssistant(str(write_upernet(tmp_path / "other")), None).trunk(scene.images) == ()


def test_neighbours_are_the_views_beside() -> None:
    strip = lay_views(geometry_of((96, 512)))
    assert {view.yaw for view in neighbours(strip, 0)} == {-180.0, -135.0, 135.0}
    sphere: list[View] = list(lay_views(geometry_of((256, 512))))
    axis = [(view.yaw, view.pitch) for view in neighbours(sphere, len(sphere) - 1)]  # the lower pole
    assert axis[0] == (0.0, -90.0)
    assert {pitch for _, pitch in axis[1:]} == {-45.0}


def test_outlines_lie_on_the_grid_of_the_losses(seen: tuple[Panorama, PanoramaMasks]) -> None:
    scene = first_views(seen)
    height, width = size_of(scene.views[0], seen[0].geometry)
    assert tuple(scene.images.shape) == (3, 3, height, width)
    masks = dict(seen[1].views)[scene.views[1]]
    assert torch.equal(scene.outlines[1].band, outlines_of(masks, (height // 2, width // 2)).band)


# -- the stage ------------------------------------------------------------------------------------------------------


def options_of(assistant: Path, **changed: object) -> dict[str, object]:
    return {
        "sam": "regions",
        "assistant": str(assistant),
        "device": "cpu",
        "adapt_steps": 4,
        "adapt_rate": 1e-3,
    } | changed


def test_the_run_holds_the_adapted_assistant_and_labels_with_it(tmp_path: Path, caplog) -> None:
    photos, model = tiny.write_panoramas(tmp_path / "photos", 2), write_segformer(tmp_path / "model")
    stages = ("masks", "adapt", "label")
    run = pipeline.distill(photos, tmp_path / "RUN", run_options(**options_of(model)), stages)
    adapted = files.sha256_of(run.assistant / "model.safetensors")
    assert adapted != files.sha256_of(model / "model.safetensors")
    assert [item["sha256"] for item in run.record("label")["weights"]] == [adapted]
    assert (run.assistant / "preprocessor_config.json").read_bytes() == (
        model / "preprocessor_config.json"
    ).read_bytes()
    assert "adapted to panoramas" in (run.assistant / "README.md").read_text()
    lines = (run.adapt / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [0, 1, 2, 3]
    with caplog.at_level(logging.INFO, "goodsam"):
        pipeline.distill(photos, tmp_path / "RUN", run_options(**options_of(model)), stages)
    assert "adapt: already done" in caplog.text
    assert files.sha256_of(run.assistant / "model.safetensors") == adapted


def test_an_interrupted_adaptation_goes_on_as_if_it_had_not_been(tmp_path: Path, monkeypatch) -> None:
    photos, model = tiny.write_panoramas(tmp_path / "photos", 2), write_segformer(tmp_path / "model")
    monkeypatch.setattr("goodsam.dar.adapt.CHECKPOINT_EVERY", 2)
    given = run_options(**options_of(model))
    whole = pipeline.distill(photos, tmp_path / "WHOLE", given, ("masks", "adapt"))
    step, calls = Adapter.step, []

    def stops(self, number, *rest):
        calls.append(number)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return step(self, number, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(Adapter, "step", stops)
        with pytest.raises(KeyboardInterrupt):
            pipeline.distill(photos, tmp_path / "RUN", given, ("masks", "adapt"))
    run = pipeline.distill(photos, tmp_path / "RUN", given, ("masks", "adapt"))
    assert calls == [0, 1, 2, 3]
    assert [json.loads(line)["step"] for line in (run.adapt / "metrics.jsonl").read_text().splitlines()] == [0, 1, 2, 3]
    mine, other = (
        transformers.SegformerForSemanticSegmentation.from_pretrained(r.assistant).state_dict() for r in (run, whole)
    )
    assert all(torch.allclose(mine[name], other[name], atol=1e-6) for name in mine)


def test_a_file_that_cannot_learn_passes_through(tmp_path: Path, caplog) -> None:
    photos, model = tiny.write_panoramas(tmp_path / "photos", 1), tiny.write_assistant(tmp_path / "assistant.onnx")
    with caplog.at_level(logging.INFO, "goodsam"):
        run = pipeline.distill(photos, tmp_path / "RUN", run_options(**options_of(model)), ("masks", "adapt", "label"))
    assert "assistant.onnx cannot be trained; it is used as it is" in caplog.text
    assert run.record("label")["finished"]
    assert not run.assistant.exists()


def test_labels_wait_for_the_adaptation(tmp_path: Path) -> None:
    photos, model = tiny.write_panoramas(tmp_path / "photos", 1), write_segformer(tmp_path / "model")
    given = run_options(**options_of(model))
    with pytest.raises(GoodSAMError, match="has no masks yet; run `goodsam masks` first"):
        pipeline.distill(photos, tmp_path / "RUN", given, ("adapt",))
    pipeline.distill(photos, tmp_path / "RUN", given, ("masks",))
    with pytest.raises(GoodSAMError, match="not adapted yet; run `goodsam adapt` first"):
        pipeline.distill(photos, tmp_path / "RUN", given, ("label",))
