"""The assistant: every kind of model against its own post-processing in transformers, views, label sets, refusals."""

import json
import logging
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
import transformers
from PIL import Image
from safetensors.torch import save_file
from transformers.models.eomt.image_processing_pil_eomt import EomtImageProcessorPil
from transformers.models.mask2former.image_processing_pil_mask2former import Mask2FormerImageProcessorPil
from transformers.models.maskformer.image_processing_pil_maskformer import MaskFormerImageProcessorPil
from transformers.models.oneformer.image_processing_pil_oneformer import OneFormerImageProcessorPil
from transformers.models.oneformer.processing_oneformer import OneFormerProcessor
from transformers.models.segformer.image_processing_pil_segformer import SegformerImageProcessorPil

from goodsam.config import AdaptOptions
from goodsam.dar.adapt import Adapter, save_adapted
from goodsam.errors import GoodSAMError
from goodsam.labels import LABEL_SETS, LabelSet
from goodsam.masks import PanoramaMasks, masks_from_arrays
from goodsam.panorama import Panorama, geometry_of, read_panorama
from goodsam.teachers.assistant import (
    VIEWS_AT_ONCE,
    AssistantOutput,
    load_assistant,
    merged_probabilities,
    predict_views,
)
from goodsam.teachers.output import fit_label_set
from goodsam.views import Crop, Tangent, lay_views, size_of

SHARED = Path(__file__).parents[2].parent / "shared"
NAMES = {0: "road", 1: "sky", 2: "tree", 3: "car", 4: "person"}
SEED = 12  # with which every model below gives more than one class
MEAN, STD = [0.4, 0.5, 0.6], [0.2, 0.25, 0.3]


@pytest.fixture(autouse=True)
def offline_and_seeded(monkeypatch):
    torch.manual_seed(0)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


def swin():
    return transformers.SwinConfig(
        image_size=64,
        embed_dim=8,
        depths=[1, 1, 1, 1],
        num_heads=[1, 1, 2, 2],
        window_size=4,
        out_features=["stage1", "stage2", "stage3", "stage4"],
    )


def segformer(names=NAMES):
    config = transformers.SegformerConfig(
        id2label=names,
        hidden_sizes=[8, 8, 16, 16],
        depths=[1, 1, 1, 1],
        num_attention_heads=[1, 1, 2, 2],
        decoder_hidden_size=16,
    )
    return transformers.SegformerForSemanticSegmentation(config)


def upernet():
    config = transformers.UperNetConfig(
        id2label=NAMES, backbone_config=swin(), hidden_size=16, use_auxiliary_head=False, pool_scales=[1, 2]
    )
    return transformers.UperNetForSemanticSegmentation(config)


def mobilenet():
    config = transformers.MobileNetV2Config(id2label=NAMES, depth_multiplier=0.25, output_stride=8)
    return transformers.MobileNetV2ForSemanticSegmentation(config)


_VIT = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 4, "num_attention_heads": 2, "image_size": 64}


def dpt():
    config = transformers.DPTConfig(
        id2label=NAMES,
        patch_size=16,
        backbone_out_indices=[0, 1, 2, 3],
        neck_hidden_sizes=[8, 8, 8, 8],
        fusion_hidden_size=8,
        **_VIT,
    )
    return transformers.DPTForSemanticSegmentation(config)


def beit():
    config = transformers.BeitConfig(
        id2label=NAMES, patch_size=16, out_indices=[1, 2, 3, 4], use_auxiliary_head=False, pool_scales=[1, 2], **_VIT
    )
    return transformers.BeitForSemanticSegmentation(config)


_QUERIES = {
    "id2label": NAMES,
    "hidden_dim": 32,
    "encoder_layers": 1,
    "decoder_layers": 2,
    "num_queries": 7,
    "num_attention_heads": 2,
    "encoder_feedforward_dim": 16,
    "dim_feedforward": 16,
}


def mask2former():
    config = transformers.Mask2FormerConfig(backbone_config=swin(), feature_size=32, mask_feature_size=32, **_QUERIES)
    return transformers.Mask2FormerForUniversalSegmentation(config)


def maskformer():
    detr = transformers.DetrConfig(
        d_model=16,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        num_queries=5,
        encoder_ffn_dim=8,
        decoder_ffn_dim=8,
    )
    config = transformers.MaskFormerConfig(
        id2label=NAMES, fpn_feature_size=32, mask_feature_size=32, backbone_config=swin(), decoder_config=detr
    )
    return transformers.MaskFormerForInstanceSegmentation(config)


def oneformer():
    config = transformers.OneFormerConfig(
        backbone_config=swin(),
        conv_dim=32,
        mask_dim=32,
        text_encoder_width=16,
        text_encoder_num_layers=1,
        text_encoder_vocab_size=600,
        text_encoder_context_length=24,
        task_seq_len=24,
        max_seq_len=24,
        query_dec_layers=1,
        **_QUERIES,
    )
    return transformers.OneFormerForUniversalSegmentation(config)


_BLOCKS = {
    "id2label": NAMES,
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "image_size": 64,
    "patch_size": 8,
    "num_blocks": 2,
    "num_queries": 6,
    "num_upscale_blocks": 1,
}


def eomt():
    return transformers.EomtForUniversalSegmentation(transformers.EomtConfig(**_BLOCKS))


def eomt_dinov3():
    return transformers.EomtDinov3ForUniversalSegmentation(transformers.EomtDinov3Config(**_BLOCKS))


def saved(folder, model, processor=True, seed=SEED):
    """Save a model whose parameters are spread enough for its arg max to vary; returns it in eval mode."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            spread = 1.0 if any(part in name for part in ("class", "quer")) else 0.2
            if parameter.ndim > 1:
                parameter.add_(torch.randn(parameter.shape, generator=generator) * spread)
    model.eval().save_pretrained(folder)
    if processor:
        (folder / "preprocessor_config.json").write_text(json.dumps({"image_mean": MEAN, "image_std": STD}))
    return model


def segmenter_file(path, metadata=None):
    """An ONNX file with four classes: a random 1 x 1 convolution."""
    weight = np.random.default_rng(0).normal(size=(4, 3, 1, 1)).astype(np.float32)
    make, number = onnx.helper, onnx.TensorProto.FLOAT
    graph = make.make_graph(
        [make.make_node("Conv", ["image", "weight"], ["logits"])],
        "test",
        [make.make_tensor_value_info("image", number, ["n", 3, "h", "w"])],
        [make.make_tensor_value_info("logits", number, ["n", 4, "h", "w"])],
        [onnx.numpy_helper.from_array(weight, "weight")],
    )
    model = make.make_model(graph, opset_imports=[make.make_opsetid("", 17)], ir_version=9)
    make.set_model_props(model, metadata or {})
    onnx.save(model, path)
    return path


def photo(height=64, width=96):
    """A smooth random image, uint8 (h, w, 3)."""
    noise = np.random.default_rng(5).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC))


def as_batch(*pictures):
    return torch.stack([torch.from_numpy(np.array(picture)) for picture in pictures]).permute(0, 3, 1, 2).float() / 255


def assert_same_labels(found, wanted):
    assert len(wanted.unique()) > 1, "a test whose model gives one class everywhere shows nothing"
    assert found.shape[-2:] == wanted.shape
    assert (found.argmax(1)[0] == wanted).float().mean() > 0.9995  # ties in float32 apart
    torch.testing.assert_close(found.sum(1), torch.ones_like(found[:, 0]))


@pytest.mark.parametrize(
    ("make", "side", "levels"),
    [
        (segformer, None, {1: 8, 2: 8, 3: 16, 4: 16}),
        (upernet, None, {1: 8, 2: 16, 3: 32, 4: 64}),
        (mobilenet, None, {1, 2}),
        (dpt, 64, {}),
        (beit, 64, {}),
    ],
)
def test_semantic_segmenters_match_their_post_processing(tmp_path, make, side, levels):
    model = saved(tmp_path, make())
    picture = photo(64, 64) if side else photo(64, 96)
    processor = SegformerImageProcessorPil(do_resize=False, image_mean=MEAN, image_std=STD)
    with torch.no_grad():
        output = model(**processor(Image.fromarray(picture), return_tensors="pt"))
    wanted = processor.post_process_semantic_segmentation(output, [picture.shape[:2]])[0]
    found = load_assistant(str(tmp_path)).predict(as_batch(picture))
    assert_same_labels(found.probabilities, wanted)
    assert set(found.features) == set(levels)
    for level, feature in found.features.items():
        assert feature.shape[2:] == (64 // 2 ** (level + 1), 96 // 2 ** (level + 1))
        assert not isinstance(levels, dict) or feature.shape[1] == levels[level]


@pytest.mark.parametrize("make", [dpt, beit])
def test_models_of_one_size_answer_at_the_size_of_the_view(tmp_path, make):
    saved(tmp_path, make())
    found = load_assistant(str(tmp_path)).predict(as_batch(photo(50, 90)))
    assert found.probabilities.shape == (1, 5, 50, 90)


@pytest.mark.parametrize(
    ("make", "processor_class"),
    [(mask2former, Mask2FormerImageProcessorPil), (maskformer, MaskFormerImageProcessorPil)],
)
def test_mask_classifiers_match_their_post_processing(tmp_path, make, processor_class):
    model = saved(tmp_path, make())
    picture = photo()
    processor = processor_class(do_resize=False, image_mean=MEAN, image_std=STD)
    with torch.no_grad():
        output = model(**processor(Image.fromarray(picture), return_tensors="pt"))
    wanted = processor.post_process_semantic_segmentation(output, [picture.shape[:2]])[0]
    found = load_assistant(str(tmp_path)).predict(as_batch(picture))
    assert_same_labels(found.probabilities, wanted)
    assert {level: tuple(value.shape[1:]) for level, value in found.features.items()} == {
        1: (8, 16, 24),
        2: (16, 8, 12),
        3: (32, 4, 6),
        4: (64, 2, 3),
    }


def clip_tokenizer(folder):
    """A CLIP tokenizer of single characters."""
    characters = [*"abcdefghijklmnopqrstuvwxyz"]
    tokens = [*characters, *(f"{letter}</w>" for letter in characters), "<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({token: index for index, token in enumerate(tokens)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "CLIPTokenizer"}))
    return transformers.CLIPTokenizer.from_pretrained(folder, local_files_only=True)


def test_oneformer_matches_its_post_processing(tmp_path):
    model = saved(tmp_path, oneformer(), seed=7)
    classes = {str(index): {"name": name, "isthing": 0} for index, name in NAMES.items()}
    (tmp_path / "classes.json").write_text(json.dumps(classes))
    image_processor = OneFormerImageProcessorPil(
        do_resize=False, image_mean=MEAN, image_std=STD, repo_path=str(tmp_path), class_info_file="classes.json"
    )
    processor = OneFormerProcessor(image_processor, clip_tokenizer(tmp_path), 24, 24)
    picture = photo()
    encoded = processor([Image.fromarray(picture)], ["semantic"], return_tensors="pt")
    with torch.no_grad():
        output = model(pixel_values=encoded["pixel_values"], task_inputs=encoded["task_inputs"])
    wanted = image_processor.post_process_semantic_segmentation(output, [picture.shape[:2]])[0]
    assistant = load_assistant(str(tmp_path))
    assert torch.equal(assistant.model._task_tokens, encoded["task_inputs"])
    assert len(encoded["task_inputs"].unique()) > 5
    assert_same_labels(assistant.predict(as_batch(picture)).probabilities, wanted)
    assert assistant.predict(as_batch(picture, picture)).probabilities.shape == (2, 5, 64, 96)


def test_oneformer_without_its_tokenizer_is_refused(tmp_path):
    saved(tmp_path, oneformer())
    with pytest.raises(GoodSAMError, match=r"needs its tokenizer .*vocab\.json"):
        load_assistant(str(tmp_path))


@pytest.mark.parametrize("make", [eomt, eomt_dinov3])
@pytest.mark.parametrize("size", [(64, 64), (64, 150), (200, 64)])
def test_eomt_matches_its_windows_and_post_processing(tmp_path, make, size):
    model = saved(tmp_path, make())
    picture = photo(*size)
    sides = {"shortest_edge": 64, "longest_edge": None}
    processor = EomtImageProcessorPil(size=sides, do_split_image=True, image_mean=MEAN, image_std=STD)
    encoded = processor(Image.fromarray(picture), return_tensors="pt")
    with torch.no_grad():
        output = model(pixel_values=encoded["pixel_values"])
    output.patch_offsets = encoded["patch_offsets"]
    wanted = processor.post_process_semantic_segmentation(output, [size], size=sides)[0]
    found = load_assistant(str(tmp_path)).predict(as_batch(picture))
    assert_same_labels(found.probabilities, wanted)
    assert found.features == {}


def test_eomt_resizes_as_its_processor_does(tmp_path):
    model = saved(tmp_path, eomt())
    picture = photo(96, 150)
    sides = {"shortest_edge": 64, "longest_edge": None}
    processor = EomtImageProcessorPil(size=sides, do_split_image=True, image_mean=MEAN, image_std=STD)
    encoded = processor(Image.fromarray(picture), return_tensors="pt")
    with torch.no_grad():
        output = model(pixel_values=encoded["pixel_values"])
    output.patch_offsets = encoded["patch_offsets"]
    wanted = processor.post_process_semantic_segmentation(output, [(96, 150)], size=sides)[0]
    found = load_assistant(str(tmp_path)).predict(as_batch(picture)).probabilities
    assert (found.argmax(1)[0] == wanted).float().mean() > 0.97  # PIL rounds resized pixels to bytes


def test_normalisation_defaults_to_imagenet_and_says_so(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    model = saved(tmp_path, segformer(), processor=False)
    picture = photo()
    found = load_assistant(str(tmp_path)).predict(as_batch(picture)).probabilities
    processor = SegformerImageProcessorPil(do_resize=False)
    with torch.no_grad():
        output = model(**processor(Image.fromarray(picture), return_tensors="pt"))
    assert_same_labels(found, processor.post_process_semantic_segmentation(output, [(64, 96)])[0])
    assert any("ImageNet's are taken" in message for message in caplog.messages)


@pytest.mark.parametrize(
    ("config", "white", "mean", "bgr"),
    [
        ({"do_normalize": False}, 1, 0, False),
        ({"do_normalize": False, "do_rescale": False}, 255, 0, False),
        ({"do_normalize": False, "do_flip_channel_order": True}, 1, 0, True),
        ({"image_mean": [0.5] * 3, "image_std": [1, 1, 1], "rescale_factor": 2 / 255}, 2, 0.5, False),
    ],
)
def test_normalisation_by_preprocessor_config(tmp_path, config, white, mean, bgr):
    saved(tmp_path, segformer(), processor=False)
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(config))
    assistant = load_assistant(str(tmp_path))
    pixels = as_batch(photo())
    wanted = pixels * white - mean
    torch.testing.assert_close(assistant._normalisation.apply(pixels), wanted.flip(1) if bgr else wanted)


def test_own_classes_and_label_sets(tmp_path):
    saved(tmp_path / "m", segformer())
    own = load_assistant(str(tmp_path / "m"))
    assert own.label_set.names == tuple(NAMES.values())
    coarse = tmp_path / "coarse.yaml"
    coarse.write_text("name: coarse\nclasses:\n  alive: {from: [tree, person]}\n  car: {}\n  road: {}\n  sky: {}\n")
    mapped = load_assistant(str(tmp_path / "m"), str(coarse))
    assert mapped.label_set.name == "coarse"
    pixels = as_batch(photo())
    fine, found = own.predict(pixels).probabilities, mapped.predict(pixels).probabilities
    wanted = torch.stack([fine[:, 2] + fine[:, 4], fine[:, 3], fine[:, 0], fine[:, 1]], dim=1)
    torch.testing.assert_close(found, wanted)
    assert own.options() != mapped.options()
    with pytest.raises(GoodSAMError, match=r"classes 'sidewalk'.* are not among those of the assistant"):
        load_assistant(str(tmp_path / "m"), "cityscapes19")


def test_nineteen_cityscapes_classes_to_densepass_thirteen(tmp_path):
    cityscapes, densepass = LABEL_SETS["cityscapes19"], LABEL_SETS["densepass13"]
    saved(tmp_path, segformer(dict(enumerate(cityscapes.names))))
    pixels = as_batch(photo())
    fine = load_assistant(str(tmp_path)).predict(pixels).probabilities
    found = load_assistant(str(tmp_path), "densepass13").predict(pixels).probabilities
    assert found.shape[1] == 13
    kept = 1 - fine[:, cityscapes.names.index("train")]

    def share(*names):
        return sum(fine[:, cityscapes.names.index(name)] for name in names) / kept

    assert_close = torch.testing.assert_close
    assert_close(found[:, densepass.names.index("person")], share("person", "rider"))
    assert_close(found[:, densepass.names.index("car")], share("car", "truck", "bus", "motorcycle", "bicycle"))
    assert_close(found[:, densepass.names.index("sky")], share("sky"))


def test_onnx_without_class_names(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    path = str(segmenter_file(tmp_path / "a.onnx"))
    with pytest.raises(GoodSAMError, match=r"has 4 classes and no names.*--label-set"):
        load_assistant(path)
    four = tmp_path / "four.yaml"
    four.write_text("classes:\n  a: {from: [x]}\n  b: {}\n  c: {}\n  d: {}\n")
    assistant = load_assistant(path, str(four))
    assert any("in the order of" in message for message in caplog.messages)
    pixels = as_batch(photo())
    assert torch.equal(assistant.predict(pixels).probabilities, assistant._segmenter.probabilities(pixels))
    assert not assistant.trainable
    assert json.loads(json.dumps(assistant.options()))["name"] == path


def test_onnx_with_class_names(tmp_path):
    path = segmenter_file(tmp_path / "a.onnx", metadata={"classes": '["road", "sky", "car", "bus"]'})
    assert load_assistant(str(path)).label_set.names == ("road", "sky", "car", "bus")
    three = tmp_path / "three.yaml"
    three.write_text("classes:\n  sky: {}\n  vehicle: {from: [car, bus]}\n  road: {}\n")
    pixels = as_batch(photo())
    fine = load_assistant(str(path)).predict(pixels).probabilities
    found = load_assistant(str(path), str(three)).predict(pixels).probabilities
    torch.testing.assert_close(found, torch.stack([fine[:, 1], fine[:, 2] + fine[:, 3], fine[:, 0]], dim=1))


def test_nineteen_unnamed_outputs_are_cityscapes(caplog):
    caplog.set_level(logging.INFO)
    label_set, matrix = fit_label_set("a.onnx", None, 19, None)
    assert label_set is LABEL_SETS["cityscapes19"]
    assert torch.equal(matrix, torch.eye(19))
    assert any("taken as cityscapes19" in message for message in caplog.messages)
    assert fit_label_set("a.onnx", None, 19, LABEL_SETS["densepass13"])[1].shape == (13, 19)


def test_an_encoder_without_head_is_refused(tmp_path):
    segformer().segformer.save_pretrained(tmp_path)
    with pytest.raises(GoodSAMError, match=r"weights lack .* an encoder without"):
        load_assistant(str(tmp_path))


def test_other_kinds_of_model_are_refused(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(GoodSAMError, match=r"'bert' is not a semantic segmenter; it must be one of .*segformer"):
        load_assistant(str(tmp_path))
    with pytest.raises(GoodSAMError, match="no such folder"):
        load_assistant(str(tmp_path / "absent"))


def test_pickled_code_is_refused(tmp_path):
    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    segformer().config.save_pretrained(tmp_path)
    torch.save({"weight": Evil()}, tmp_path / "pytorch_model.bin")
    with pytest.raises(GoodSAMError, match="--assistant"):
        load_assistant(str(tmp_path))
    assert not (tmp_path / "ran").exists()


def test_backbones_of_libraries_that_are_absent_say_so(tmp_path):
    if transformers.utils.is_timm_available():
        pytest.skip("timm is installed")
    config = {"model_type": "upernet", "backbone_config": {"model_type": "timm_backbone", "backbone": "resnet18"}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    save_file({"weight": torch.zeros(1)}, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(GoodSAMError, match="timm"):
        load_assistant(str(tmp_path))


def test_weights_and_options_of_a_model_folder(tmp_path):
    saved(tmp_path, segformer())
    assistant = load_assistant(str(tmp_path))
    assert [weight.file for weight in assistant.weights] == ["model.safetensors"]
    assert assistant.trainable
    assert json.loads(json.dumps(assistant.options()))["model_type"] == "segformer"


def test_predict_has_no_gradients_and_forward_has(tmp_path):
    saved(tmp_path, segformer())
    assistant = load_assistant(str(tmp_path))
    pixels = as_batch(photo())
    assert not assistant.predict(pixels).probabilities.requires_grad
    assistant.forward(pixels).probabilities[:, 0].mean().backward()
    assert assistant.model.decode_head.classifier.weight.grad.abs().sum() > 0


def test_a_batch_that_does_not_fit_memory_is_split(tmp_path, monkeypatch):
    saved(tmp_path, segformer())
    assistant = load_assistant(str(tmp_path))
    pixels = as_batch(photo(), photo()[::-1], photo()[:, ::-1])
    wanted = assistant.predict(pixels)
    forward = assistant.forward

    def small(images):
        if len(images) > 1:
            raise torch.OutOfMemoryError
        return forward(images)

    monkeypatch.setattr(assistant, "forward", small)
    found = assistant.predict(pixels)
    torch.testing.assert_close(found.probabilities, wanted.probabilities)
    torch.testing.assert_close(found.features[3], wanted.features[3])


class Constant:
    """An assistant that says the same of every pixel, and remembers what it was shown."""

    name, weights, trainable = "constant", (), False
    label_set = LabelSet("abc", ("a", "b", "c"), ((1, 1, 1), (2, 2, 2), (3, 3, 3)))

    def __init__(self):
        self.seen = []

    def predict(self, images):
        self.seen.append(images)
        shares = torch.tensor([0.2, 0.5, 0.3])[None, :, None, None]
        return AssistantOutput(shares.expand(len(images), 3, *images.shape[2:]))

    def options(self):
        return {}


def panorama(height, width):
    return Panorama(photo(height, width), geometry_of((height, width)))


@pytest.mark.parametrize("scale", [1.0, 1.5, 0.5])
@pytest.mark.parametrize(("size", "kind"), [((40, 200), "crops"), ((64, 128), "tangent"), ((40, 200), "whole")])
def test_views_come_at_their_own_size_and_constants_stay(scale, size, kind):
    strip, assistant = panorama(*size), Constant()
    views = lay_views(strip.geometry, kind)
    for (view, output), laid in zip(predict_views(assistant, strip, views, (scale,)), views, strict=True):
        height, width = size_of(view, strip.geometry)
        assert view == laid
        assert output.probabilities.shape == (1, 3, height, width)
        assert assistant.seen[-1].shape == (1, 3, round(height * scale), round(width * scale))
    merged = merged_probabilities(assistant, strip, views, (scale,))
    torch.testing.assert_close(merged, torch.tensor([0.2, 0.5, 0.3])[:, None, None].expand(3, *size))


def test_views_are_shown_as_floats_of_their_pixels():
    strip, assistant = panorama(40, 200), Constant()
    list(predict_views(assistant, strip, [Crop(0.0, 90.0), Tangent(0.0, 0.0, 60.0)]))
    torch.testing.assert_close(assistant.seen[0], as_batch(strip.pixels[:, 75:125]))
    assert assistant.seen[1].max() <= 1


def test_turning_the_panorama_turns_what_a_segformer_says(tmp_path):
    saved(tmp_path, segformer())
    assert_turns(load_assistant(str(tmp_path)), panorama(64, 512))


@pytest.mark.shared
def test_turning_a_real_panorama_turns_what_a_real_segmenter_says():
    path = SHARED / "models" / "espnetv2-cityscapes.onnx"
    pictures = sorted((SHARED / "panoramas").rglob("*.jpg"))
    if not path.is_file() or not pictures:
        pytest.skip(f"no {path} or no panoramas in {SHARED / 'panoramas'}")
    real = read_panorama(pictures[0])
    small = np.asarray(Image.fromarray(real.pixels).resize((512, 100), Image.Resampling.BOX))
    assert_turns(load_assistant(str(path)), Panorama(small, geometry_of((100, 512))))


def assert_turns(assistant, strip):
    """A turn by the step between views (64 of 512 columns) turns the merged probabilities."""
    views = lay_views(strip.geometry, "crops", width=90, step=45)
    still = merged_probabilities(assistant, strip, views)
    turned = merged_probabilities(assistant, strip.rolled(64), views)
    assert (still.roll(64, 2) - turned).abs().max() < 1e-5
    assert (still - turned).abs().max() > 1e-2, "a panorama that looks alike all around shows nothing"
    torch.testing.assert_close(still.sum(0), torch.ones_like(still[0]))


@pytest.mark.parametrize(
    "build", [segformer, upernet, mobilenet, dpt, beit, mask2former, maskformer, eomt, eomt_dinov3]
)
def test_every_transformers_model_can_be_adapted_and_saved(build, tmp_path):
    saved(tmp_path / "model", build())
    pixels = np.asarray(Image.fromarray(photo()).resize((384, 96)))
    panorama = Panorama(pixels, geometry_of((96, 384)))
    views = lay_views(panorama.geometry)
    arrays = np.zeros((2, 96, 96), dtype=bool)
    arrays[0, 20:80, 20:80], arrays[1, 40:60, 40:50] = True, True
    masks = PanoramaMasks((96, 384), "boxes", tuple((view, masks_from_arrays(arrays)) for view in views))
    assistant = load_assistant(str(tmp_path / "model"))
    before = merged_probabilities(assistant, panorama, views)
    adapter = Adapter(assistant, AdaptOptions(adapt_steps=2, adapt_rate=1e-3))
    for number in range(2):
        assert torch.isfinite(adapter.step(number, 1, lambda _: (panorama, masks)).total)
    after = merged_probabilities(assistant, panorama, views)
    assert not torch.allclose(before, after)
    save_adapted(assistant, tmp_path / "adapted")
    torch.testing.assert_close(merged_probabilities(load_assistant(str(tmp_path / "adapted")), panorama, views), after)


def test_views_seen_together_are_said_the_same_of_as_one_by_one(tmp_path, monkeypatch):
    """On a GPU several views of one size make a batch; sizes are never mixed, and the order stays."""
    saved(tmp_path, segformer())
    assistant, strip = load_assistant(str(tmp_path)), panorama(64, 256)
    views = [Crop(-90.0, 90.0), Crop(0.0, 90.0), Crop(90.0, 90.0), Crop(0.0, 180.0), Crop(45.0, 90.0)]
    alone = list(predict_views(assistant, strip, views))
    monkeypatch.setitem(VIEWS_AT_ONCE, "cpu", 2)
    seen, predict = [], assistant.predict
    monkeypatch.setattr(assistant, "predict", lambda images: (seen.append(len(images)), predict(images))[1])
    together = list(predict_views(assistant, strip, views))
    assert seen == [2, 1, 1, 1]
    assert [view for view, _ in together] == views
    for (_, one), (_, other) in zip(alone, together, strict=True):
        assert one.probabilities.shape == other.probabilities.shape
        torch.testing.assert_close(one.probabilities, other.probabilities)
        for level in one.features:
            torch.testing.assert_close(one.features[level], other.features[level])
