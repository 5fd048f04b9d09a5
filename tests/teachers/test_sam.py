"""The SAM teacher: the masks of transformers' pipeline and of segment-anything, and every step on its own.

The masks of others lie in tests/data/peer_masks; tools/peer_masks.py made them and builds the same tiny models here.
"""

import importlib.util
import json
import logging
import os
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from pycocotools import mask as coco
from torch.nn import functional

from goodsam.errors import GoodSAMError
from goodsam.masks import Masks
from goodsam.teachers import prompts
from goodsam.teachers.placing import Hint
from goodsam.teachers.sam import PRESETS, SamOptions, SamTeacher, load_sam

ROOT = Path(__file__).resolve().parents[2]
PEER_MASKS = ROOT / "tests" / "data" / "peer_masks"
# Two versions of torch, and two kinds of CPU, add up in different orders: noise of 1e-6 on every weight flips up to 4
# pixels in a mask of 12800 whose logits lie on the threshold (measured), and moves scores by up to 4e-5. Between the
# environments of `make install` and `make peers` on one machine it was 1 pixel in all.
PIXELS_APART = 8
SCORES_APART = 1e-4


def _peer() -> ModuleType:
    spec = importlib.util.spec_from_file_location("peer_masks", ROOT / "tools" / "peer_masks.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


peer = _peer()
CASES = tuple(peer.SIZES)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A model folder without preprocessor_config.json for each case."""
    root = tmp_path_factory.mktemp("sam")
    for case in CASES:
        peer.tiny_model(case).save_pretrained(root / case)
    return {case: root / case for case in CASES}


def options_of(case: str, **changes: Any) -> SamOptions:
    """The options that tools/peer_masks.py gave the other generators."""
    values = {
        "points_per_side": peer.POINTS_PER_SIDE,
        "points_per_batch": peer.POINTS_PER_BATCH,
        "nms_threshold": peer.NMS_THRESHOLD,
        **peer.OPTIONS[case],
        **changes,
    }
    return SamOptions(**values)


def image_of(case: str) -> np.ndarray:
    return peer.test_image(peer.SIZES[case])


def peer_masks(file: str, case: str) -> tuple[np.ndarray, list[float]]:
    """bool (N, h, w) and N scores."""
    found = json.loads((PEER_MASKS / file).read_text())["masks"][case]
    size = list(peer.SIZES[case])
    arrays = [coco.decode({"size": size, "counts": item["counts"].encode()}).astype(bool) for item in found]
    return np.stack(arrays), [item["score"] for item in found]


def assert_same_masks(ours: Masks, theirs: tuple[np.ndarray, list[float]]) -> None:
    arrays, scores = theirs
    assert len(ours) == len(arrays)
    assert list(ours.ious) == pytest.approx(scores, abs=SCORES_APART)
    apart = (ours.to_arrays() != arrays).sum(axis=(1, 2))
    assert apart.max() <= PIXELS_APART, apart


# -- Against other generators ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", ["sam", "sam_hq", "sam2_square"])
def test_same_masks_as_transformers_pipeline(case: str, folders: dict[str, Path]) -> None:
    """One layer of crops, no small regions removed. Nothing of the pipeline's is left out for that: its filter of masks
    near the border of a crop spares the border of the image, which is the border of its one crop."""
    ours = load_sam(str(folders[case]), options_of(case)).masks(image_of(case))
    assert_same_masks(ours, peer_masks("pipeline.json", case))


def test_sam2_differs_from_pipeline_in_its_prompts_alone(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pipeline squashes the image into SAM 2's square but scales the prompts as if it had kept the proportions: of
    100 x 128 pixels the lowest 22 are never prompted. Ours are prompted; with the pipeline's prompts masks agree."""
    teacher = load_sam(str(folders["sam2"]), options_of("sam2"))
    height, width = peer.SIZES["sam2"]
    ours = teacher._points((height, width))
    assert ours[:, 1].max() == pytest.approx(peer.IMAGE_SIZE * (1 - 0.5 / peer.POINTS_PER_SIDE))
    kept_proportions = torch.tensor([peer.IMAGE_SIZE, round(peer.IMAGE_SIZE * height / width)])
    theirs = prompts.prompt_grid(peer.POINTS_PER_SIDE) * kept_proportions
    monkeypatch.setattr(teacher, "_points", lambda size: theirs)
    assert_same_masks(teacher.masks(image_of("sam2")), peer_masks("pipeline.json", "sam2"))


def test_same_masks_as_segment_anything(folders: dict[str, Path]) -> None:
    """The same weights in the original code, which resizes with Pillow and has another epsilon in its decoder."""
    ours = load_sam(str(folders["sam"]), options_of("sam")).masks(image_of("sam"))
    assert_same_masks(ours, peer_masks("segment_anything.json", "sam"))


@pytest.mark.parametrize("case", CASES)
def test_same_pixels_as_image_processor(case: str, folders: dict[str, Path]) -> None:
    """One grey level is 0.017; what is left is the rounding of the normalisation in float32."""
    pixels = load_sam(str(folders[case]), options_of(case))._preprocessing(image_of(case))
    with np.load(PEER_MASKS / "pixels.npz") as theirs:
        np.testing.assert_allclose(pixels.numpy(), theirs[case], atol=2e-6)


def test_every_filter_removes_some(folders: dict[str, Path]) -> None:
    """Or the comparisons above would prove nothing about the filters."""
    strict, off = options_of("sam"), {"iou_threshold": 0.0, "stability_threshold": 0.0, "nms_threshold": 1.0}
    image = image_of("sam")
    for name, value in off.items():
        more = load_sam(str(folders["sam"]), options_of("sam", **{name: value})).masks(image)
        assert len(more) > len(load_sam(str(folders["sam"]), strict).masks(image)), name


# -- Prompts -----------------------------------------------------------------------------------------------------------


def test_prompt_grid_is_cell_centres_row_by_row() -> None:
    assert prompts.prompt_grid(2).tolist() == [[0.25, 0.25], [0.75, 0.25], [0.25, 0.75], [0.75, 0.75]]
    assert prompts.prompt_grid(1).tolist() == [[0.5, 0.5]]
    assert prompts.prompt_grid(24).shape == (576, 2)


def test_prompts_stay_off_the_padding(folders: dict[str, Path]) -> None:
    points = load_sam(str(folders["sam"]), options_of("sam"))._points((100, 128))
    assert points[:, 0].max() < 64
    assert points[:, 1].max() < 50


@pytest.mark.parametrize("batch", [0, 1, 7, 64, 81, 1000])
def test_last_part_of_a_batch_is_kept(batch: int, folders: dict[str, Path]) -> None:
    teacher = load_sam(str(folders["sam"]), options_of("sam", points_per_batch=batch))
    seen: list[torch.Tensor] = []
    teacher._model.register_forward_pre_hook(
        lambda module, args, kwargs: seen.append(kwargs["input_points"][0, :, 0].clone()), with_kwargs=True
    )
    found = teacher.masks(image_of("sam"))
    assert torch.equal(torch.cat(seen), teacher._points((100, 128)))
    assert_same_masks(found, peer_masks("pipeline.json", "sam"))


def test_one_embedding_an_image(folders: dict[str, Path]) -> None:
    teacher = load_sam(str(folders["sam2"]), options_of("sam2", points_per_batch=5))
    calls: list[int] = []
    teacher._model.vision_encoder.register_forward_hook(lambda *_: calls.append(1))
    teacher.masks(image_of("sam2"))
    assert len(calls) == 1


# -- Filters -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", ["sam", "sam2"])
def test_masks_are_enlarged_as_by_resizing_twice(case: str, folders: dict[str, Path]) -> None:
    logits = torch.from_numpy(np.random.default_rng(3).normal(size=(4, 32, 32))).float()
    enlarged = load_sam(str(folders[case]), options_of(case))._preprocessing.enlarge(logits, (100, 128))
    expected = logits[:, None]
    if case == "sam":
        expected = functional.interpolate(expected, (64, 64), mode="bilinear")[:, :, :50]
    expected = functional.interpolate(expected, (100, 128), mode="bilinear")[:, 0]
    torch.testing.assert_close(enlarged, expected, atol=1e-5, rtol=0)


def test_stability_score_is_iou_of_two_thresholds() -> None:
    logits = torch.from_numpy(np.random.default_rng(1).normal(size=(5, 20, 30))).float()
    found = prompts.stability_scores(logits, 0.2, 0.5)
    for number in range(5):
        inner, outer = logits[number] > 0.7, logits[number] > -0.3
        assert found[number] == pytest.approx(float((inner & outer).sum() / (inner | outer).sum()))


def test_mask_boxes() -> None:
    masks = torch.zeros(4, 10, 12, dtype=torch.bool)
    masks[0, 2:5, 3:9] = True
    masks[1, 9, 11] = True
    masks[2] = True
    assert prompts.mask_boxes(masks).tolist() == [[3, 2, 8, 4], [11, 9, 11, 9], [0, 0, 11, 9], [0, 0, 0, 0]]
    assert prompts.mask_boxes(masks[:0]).shape == (0, 4)


def slow_suppress(boxes: np.ndarray, scores: np.ndarray, threshold: float) -> list[int]:
    """Every pair in turn, in float64."""
    kept: list[int] = []
    for number in np.argsort(-scores, kind="stable"):
        left, top, right, bottom = boxes[number]
        for other in kept:
            width = min(right, boxes[other][2]) - max(left, boxes[other][0])
            height = min(bottom, boxes[other][3]) - max(top, boxes[other][1])
            both = max(width, 0) * max(height, 0)
            area = (right - left) * (bottom - top)
            union = area + (boxes[other][2] - boxes[other][0]) * (boxes[other][3] - boxes[other][1]) - both
            if union > 0 and both / union > threshold:
                break
        else:
            kept.append(int(number))
    return kept


@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.71, 1.0])
def test_suppress_equals_slow_reference(threshold: float) -> None:
    random = np.random.default_rng(2)
    corners = random.integers(0, 40, (300, 2, 2))
    boxes = np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1).astype(float)
    scores = random.integers(0, 50, 300) / 50  # many ties
    found = prompts.suppress(torch.from_numpy(boxes), torch.from_numpy(scores), threshold).tolist()
    assert found == slow_suppress(boxes, scores, threshold)


def test_suppress_nothing() -> None:
    assert prompts.suppress(torch.zeros(0, 4), torch.zeros(0), 0.7).tolist() == []


def test_no_masks_at_all(folders: dict[str, Path]) -> None:
    found = load_sam(str(folders["sam"]), options_of("sam", iou_threshold=1.0, min_area=5)).masks(image_of("sam"))
    assert len(found) == 0
    assert found.size == (100, 128)


# -- Small regions -----------------------------------------------------------------------------------------------------


def test_remove_small_regions() -> None:
    mask = np.zeros((20, 20), dtype=bool)
    mask[2:12, 2:12] = True
    mask[5:7, 5:7] = False  # a hole of 4
    mask[8, 8] = mask[9, 9] = False  # two that touch at a corner are one hole of 2
    mask[15:17, 15:17] = True  # an island of 4
    mask[18, 1] = True  # an island of 1
    assert prompts.remove_small_regions(mask, 1) is mask
    assert not prompts.remove_small_regions(mask, 2)[8, 8]
    tidied = prompts.remove_small_regions(mask, 4)
    assert tidied[8, 8]
    assert not tidied[5, 5]
    assert tidied[15, 15]
    assert not tidied[18, 1]
    tidied = prompts.remove_small_regions(mask, 5)
    expected = np.zeros_like(mask)
    expected[2:12, 2:12] = True
    assert np.array_equal(tidied, expected)
    assert not prompts.remove_small_regions(mask, 101).any()


def test_min_area_leaves_no_small_region_and_no_duplicate(folders: dict[str, Path]) -> None:
    image = image_of("sam")
    before = load_sam(str(folders["sam"]), options_of("sam")).masks(image)
    after = load_sam(str(folders["sam"]), options_of("sam", min_area=150)).masks(image)
    assert min(before.areas) < 150 <= min(after.areas)
    assert 0 < len(after) < len(before)
    assert list(after.ious) == sorted(after.ious, reverse=True)
    arrays = after.to_arrays()
    assert all(prompts.remove_small_regions(mask, 150) is mask for mask in arrays)
    boxes = prompts.mask_boxes(torch.from_numpy(arrays))
    assert len(prompts.suppress(boxes, torch.ones(len(boxes)), peer.NMS_THRESHOLD)) == len(boxes)


def test_untouched_mask_wins_over_one_that_became_its_double(folders: dict[str, Path]) -> None:
    whole = np.zeros((30, 30), dtype=bool)
    whole[5:20, 5:20] = True
    with_island = whole.copy()
    with_island[28, 28] = True
    teacher = load_sam(str(folders["sam"]), options_of("sam", min_area=10))
    arrays, left = teacher._tidy(np.stack([with_island, whole]))
    assert left.tolist() == [1]
    assert np.array_equal(arrays[0], whole)


# -- Memory ------------------------------------------------------------------------------------------------------------


def out_of_memory_above(teacher: SamTeacher, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the network run out of memory for more than `most` prompts."""
    forward = teacher._model.forward

    def limited(*args: Any, **kwargs: Any) -> Any:
        if kwargs["input_points"].shape[1] > most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(*args, **kwargs)

    monkeypatch.setattr(teacher._model, "forward", limited)


def test_halves_the_batch_when_out_of_memory(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    teacher = load_sam(str(folders["sam"]), options_of("sam"))
    out_of_memory_above(teacher, 8, monkeypatch)
    with caplog.at_level(logging.WARNING, logger="goodsam"):
        found = [teacher.masks(image_of("sam")) for _ in range(2)]
    assert_same_masks(found[0], peer_masks("pipeline.json", "sam"))
    assert found[0] == found[1]
    assert [record.getMessage().split(";")[1] for record in caplog.records] == [" going on with 8 prompts at once."]


def test_not_one_prompt_fits(folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    teacher = load_sam(str(folders["sam"]), options_of("sam"))
    out_of_memory_above(teacher, 0, monkeypatch)
    with pytest.raises(GoodSAMError, match="not one prompt fits"):
        teacher.masks(image_of("sam"))


# -- Options -----------------------------------------------------------------------------------------------------------


def test_options_are_json_and_leave_out_what_changes_no_mask(folders: dict[str, Path]) -> None:
    name = str(folders["sam_hq"])
    values = load_sam(name, PRESETS["balanced"]).options()
    assert json.loads(json.dumps(values)) == values
    assert (values["name"], values["model_type"], values["points_per_side"]) == (name, "sam_hq", 16)
    assert "points_per_batch" not in values


def test_presets_grow() -> None:
    assert [preset.points_per_side for preset in PRESETS.values()] == [8, 16, 24]
    assert list(PRESETS) == ["fast", "balanced", "dense"]


@pytest.mark.parametrize("change", [{"points_per_side": 0}, {"iou_threshold": 1.5}, {"min_area": -1}])
def test_options_out_of_range(change: dict[str, Any]) -> None:
    with pytest.raises(GoodSAMError, match=next(iter(change))):
        SamOptions(**change)


@pytest.mark.parametrize("image", [np.zeros((8, 8, 3)), np.zeros((8, 8), np.uint8), np.zeros((8, 8, 4), np.uint8)])
def test_wrong_image(image: np.ndarray, folders: dict[str, Path]) -> None:
    with pytest.raises(ValueError, match="must be uint8"):
        load_sam(str(folders["sam"]), options_of("sam")).masks(image)


# -- Loading -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["preprocessor_config.json", "processor_config.json"])
def test_preprocessor_config_is_read(name: str, tmp_path: Path) -> None:
    peer.tiny_model("sam").save_pretrained(tmp_path)
    image_processor = {
        "size": {"longest_edge": 48},
        "pad_size": {"height": 64, "width": 64},
        "image_mean": [0.5, 0.4, 0.3],
        "image_std": [0.2, 0.3, 0.4],
        "rescale_factor": 0.01,
    }
    nested = {"image_processor": image_processor, "processor_class": "SamProcessor"}
    (tmp_path / name).write_text(json.dumps(nested if name.startswith("processor") else image_processor))
    pixels = load_sam(str(tmp_path), SamOptions())._preprocessing(np.full((20, 40, 3), 100, np.uint8))
    assert pixels.shape == (1, 3, 64, 64)
    torch.testing.assert_close(pixels[0, :, 23, 47], torch.tensor([2.5, 2.0, 1.75]))
    assert pixels[0, :, 24:].abs().max() == 0
    assert pixels[0, :, :, 48:].abs().max() == 0


def test_preprocessor_of_another_size(tmp_path: Path) -> None:
    peer.tiny_model("sam2").save_pretrained(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({"size": {"height": 1024, "width": 1024}}))
    with pytest.raises(GoodSAMError, match=r"preprocessor_config\.json.*1024.*64 x 64"):
        load_sam(str(tmp_path), SamOptions())


def test_video_checkpoint_loads_without_a_warning(tmp_path: Path, folders: dict[str, Path]) -> None:
    """The hub's SAM 2 checkpoints are of this type; the tensors of tracking are left out."""
    model = transformers.Sam2VideoModel(transformers.Sam2VideoConfig(**peer.tiny_sam2_video_config()))
    peer.fill(model, peer.SEEDS["sam2"])
    model.save_pretrained(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["model_type"] == "sam2_video"
    video, image = (load_sam(str(folder), options_of("sam2")) for folder in (tmp_path, folders["sam2"]))
    assert video.masks(image_of("sam2")) == image.masks(image_of("sam2"))


def test_missing_tensors(tmp_path: Path) -> None:
    """transformers fills them with random numbers and goes on."""
    model = peer.tiny_model("sam")
    tensors = {key: value for key, value in model.state_dict().items() if "mask_tokens" not in key}
    model.save_pretrained(tmp_path, state_dict=tensors)
    with pytest.raises(GoodSAMError, match=r"lack 1 of the model's tensors \(mask_decoder\.mask_tokens\.weight"):
        load_sam(str(tmp_path), SamOptions())


def test_other_model_type(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "segformer"}')
    with pytest.raises(GoodSAMError, match=r"config\.json: model_type is 'segformer'; --sam takes sam, sam_hq, sam2"):
        load_sam(str(tmp_path), SamOptions())


def test_edgetam_without_timm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    (tmp_path / "config.json").write_text('{"model_type": "edgetam_video"}')
    with pytest.raises(GoodSAMError, match="pip install timm"):
        load_sam(str(tmp_path), SamOptions())


def test_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(GoodSAMError, match=r"--sam .*no such folder"):
        load_sam(str(tmp_path / "nothing"), SamOptions())


class Malice:
    """Unpickles to a call of os.mkdir."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.folder),)


def test_pickle_with_code_is_refused(tmp_path: Path, folders: dict[str, Path]) -> None:
    model, proof = tmp_path / "model", tmp_path / "code_ran"
    model.mkdir()
    (model / "config.json").write_bytes((folders["sam"] / "config.json").read_bytes())
    torch.save({"iou_token.weight": torch.zeros(1), "malice": Malice(proof)}, model / "pytorch_model.bin")
    with pytest.raises(GoodSAMError, match="pickle that would run code"):
        load_sam(str(model), SamOptions())
    assert not proof.exists()
    torch.load(model / "pytorch_model.bin", weights_only=False)
    assert proof.exists()  # so the file was harmful indeed


def test_bin_of_tensors_loads(tmp_path: Path, folders: dict[str, Path]) -> None:
    (tmp_path / "config.json").write_bytes((folders["sam"] / "config.json").read_bytes())
    torch.save(peer.tiny_model("sam").state_dict(), tmp_path / "pytorch_model.bin")
    teacher = load_sam(str(tmp_path), options_of("sam"))
    assert [file.file for file in teacher.weights] == ["pytorch_model.bin"]
    assert_same_masks(teacher.masks(image_of("sam")), peer_masks("pipeline.json", "sam"))


@pytest.mark.parametrize("case", CASES)
def test_prompting_the_grid_gives_the_automatic_masks(folders: dict[str, Path], case: str) -> None:
    everything = {"iou_threshold": 0.0, "stability_threshold": 0.0, "nms_threshold": 1.0, "points_per_side": 3}
    teacher = load_sam(str(folders[case]), options_of(case, **everything))
    image = image_of(case)
    found = teacher.masks(image)
    height, width = teacher._preprocessing.scaled_size(image.shape[:2])
    scaled = prompts.prompt_grid(3).numpy() * [width, height]
    points = (scaled + 0.5) * [image.shape[1] / width, image.shape[0] / height]
    masks, ious = teacher.prompt(image, points)
    assert masks.shape == (9, 3, *image.shape[:2])
    kept = masks.reshape(27, -1).any(1) & (ious.ravel() > 0)
    order = np.argsort(-ious.ravel()[kept], kind="stable")
    assert np.array_equal(masks.reshape(27, *image.shape[:2])[kept][order], found.to_arrays())


def test_a_point_is_where_it_is_said_to_be(folders: dict[str, Path]) -> None:
    teacher = load_sam(str(folders["sam"]), options_of("sam"))
    image = image_of("sam")
    left, right = (teacher.prompt(image, np.array([[x, 50.5]]))[1] for x in (10.5, 110.5))
    model = teacher._model
    embedding = teacher._embed(image)
    height, width = teacher._preprocessing.scaled_size(image.shape[:2])
    for x, ious in ((10, left), (110, right)):  # transformers takes pixels of the network's input and adds half a one
        point = torch.tensor([[[[(x + 0.5) * width / 128 - 0.5, 50.5 * height / 100 - 0.5]]]])
        expected = model(input_points=point, multimask_output=True, **embedding).iou_scores
        assert ious[0] == pytest.approx(expected[0, 0].detach().numpy(), abs=1e-6)
    assert not np.allclose(left, right)


# -- With a hint -------------------------------------------------------------------------------------------------------


def hint_for(image: np.ndarray) -> Hint:
    """Four areas, unsure in one of them, on a grid of cells a quarter as dense as the pixels."""
    height, width = image.shape[0] // 4, image.shape[1] // 4
    labels = np.zeros((height, width), dtype=np.uint8)
    labels[height // 2 :] += 1
    labels[:, width // 2 :] += 2
    return Hint(labels, np.where(labels == 3, 0.4, 1.0).astype(np.float32))


OPEN = {"iou_threshold": 0.0, "stability_threshold": 0.0, "nms_threshold": 1.0, "min_area": 0}
"""Every mask passes."""


@pytest.mark.parametrize("case", CASES)
def test_what_is_kept_is_enlarged_as_every_mask_of_a_blind_grid_is(case: str, folders: dict[str, Path]) -> None:
    """With all filters open, the hinted masks are the enlarged masks of the points that were asked."""
    teacher, image = load_sam(str(folders[case]), options_of(case, **OPEN)), image_of(case)
    asked: list[torch.Tensor] = []
    ask = teacher._ask
    teacher._ask = lambda embeddings, points: (asked.append(points), ask(embeddings, points))[1]  # type: ignore[method-assign]
    found = teacher.masks(image, hint_for(image))
    points = torch.cat(asked)
    assert teacher.asked == len(points) > 4
    with torch.inference_mode():
        logits, ious = ask(teacher._embed(image), points)
        enlarged = teacher._preprocessing.enlarge(logits.flatten(0, 1), image.shape[:2])
        expected = (enlarged > teacher._options.mask_threshold).numpy()
    sure = (ious.flatten() > 0).numpy() & expected.any(axis=(1, 2))
    assert list(found.ious) == sorted(found.ious, reverse=True)
    pixels = found.to_arrays().reshape(len(found), -1).astype(np.float32), expected[sure].reshape(sure.sum(), -1)
    same = pixels[0] @ pixels[1].T
    apart = pixels[0].sum(1)[:, None] + pixels[1].sum(1) - 2 * same
    edge = sum(image.shape[:2])  # where the padding's own logits would have had a say
    assert apart.min(axis=0).max() <= edge
    assert apart.min(axis=1).max() <= edge
    assert np.median(apart.min(axis=1)) <= PIXELS_APART


@pytest.mark.parametrize("case", ["sam", "sam2"])
def test_a_view_without_any_mask_has_none(case: str, folders: dict[str, Path]) -> None:
    teacher, image = load_sam(str(folders[case]), options_of(case, iou_threshold=1.0)), image_of(case)
    assert len(teacher.masks(image, hint_for(image))) == 0
    assert teacher.asked > 0


def test_hints_ask_less_than_the_grid_and_the_grid_can_still_be_had(folders: dict[str, Path]) -> None:
    image = image_of("sam")
    hinted = load_sam(str(folders["sam"]), options_of("sam", points_per_side=12))
    assert hinted.hinted
    hinted.masks(image, hint_for(image))
    assert 4 <= hinted.asked < 12 * 12
    grid = load_sam(str(folders["sam"]), options_of("sam", placing="grid"))
    assert not grid.hinted
    assert grid.masks(image, hint_for(image)) == grid.masks(image)


@pytest.mark.parametrize("case", ["sam", "sam_hq", "sam2_square"])
def test_views_embedded_together_have_the_masks_of_each_alone(case: str, folders: dict[str, Path]) -> None:
    teacher = load_sam(str(folders[case]), options_of(case))
    images = [np.roll(image_of(case), shift, axis=1) for shift in (0, 9, 30)]
    hints = [hint_for(image) for image in images]
    alone = [teacher.masks(image, hint) for image, hint in zip(images, hints, strict=True)]
    teacher._views_per_batch = 2
    for one, other in zip(teacher.masks_of_views(images, hints), alone, strict=True):
        assert len(one) == len(other)
        assert (one.to_arrays() != other.to_arrays()).sum(axis=(1, 2)).max() <= PIXELS_APART


def test_views_are_embedded_fewer_at_a_time_when_memory_is_short(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    teacher = load_sam(str(folders["sam"]), options_of("sam"))
    images = [np.roll(image_of("sam"), shift, axis=1) for shift in range(5)]
    expected = teacher.masks_of_views(images, [None] * 5)
    embed = teacher._model.get_image_embeddings

    def limited(pixels: torch.Tensor) -> Any:
        if len(pixels) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return embed(pixels)

    monkeypatch.setattr(teacher._model, "get_image_embeddings", limited)
    teacher._views_per_batch = 4
    with caplog.at_level(logging.WARNING, logger="goodsam"):
        assert teacher.masks_of_views(images, [None] * 5) == expected
    assert [record.getMessage().split(";")[1] for record in caplog.records] == [
        " going on with 2 views at once.",
        " going on with 1 views at once.",
        " going on with 1 views at once.",
    ]
