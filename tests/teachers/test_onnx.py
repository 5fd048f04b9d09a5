"""ONNX files: what is read from the file, against the same arithmetic in numpy, and what is refused."""

import json
import logging
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from goodsam.errors import GoodSAMError
from goodsam.teachers import onnx_session
from goodsam.teachers.normalisation import IMAGENET_MEAN, IMAGENET_STD
from goodsam.teachers.onnx import OnnxSegmenter

SHARED = Path(__file__).parents[2].parent / "shared"
WEIGHT = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
BIAS = np.array([0.1, -0.2, 0.3, 0.0], np.float32)


def save(path, nodes, inputs, outputs, constants, metadata=None, external=False):
    """Write a graph; inputs and outputs are (name, type, shape), constants are arrays by name."""
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info(*value) for value in inputs],
        [helper.make_tensor_value_info(*value) for value in outputs],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    helper.set_model_props(model, metadata or {})
    if external:
        onnx.save(model, path, save_as_external_data=True, location="weights.data", size_threshold=0)
    else:
        onnx.save(model, path)
    return path


def segmenter_file(
    path, *, before=(), after=(), dtype=TensorProto.FLOAT, size=("h", "w"), batch="n", stride=1, channels=3, **options
):
    """A file whose logits are WEIGHT @ pixel + BIAS, NCHW; `before` and `after` are (operation, constant or None)."""
    nodes, constants = [], {"weight": WEIGHT[:, :channels, None, None], "bias": BIAS}
    value = "image"
    if dtype != TensorProto.FLOAT:
        nodes.append(helper.make_node("Cast", [value], ["cast"], to=TensorProto.FLOAT))
        value = "cast"

    def chain(steps, value, prefix):
        for index, (operation, constant, *attributes) in enumerate(steps):
            operands = [value]
            if constant is not None:
                constants[f"{prefix}c{index}"] = np.asarray(constant, np.float32)
                operands.append(f"{prefix}c{index}")
            nodes.append(helper.make_node(operation, operands, [f"{prefix}{index}"], **dict(*attributes)))
            value = f"{prefix}{index}"
        return value

    value = chain(before, value, "before")
    nodes.append(helper.make_node("Conv", [value, "weight", "bias"], ["raw"], strides=[stride, stride]))
    value = chain(after, "raw", "after")
    nodes.append(helper.make_node("Identity", [value], ["logits"]))
    inputs = [("image", dtype, [batch, channels, *size])]
    return save(path, nodes, inputs, [("logits", TensorProto.FLOAT, [batch, 4, "oh", "ow"])], constants, **options)


def images(height=20, width=30, count=1):
    """Random bytes as floats in 0..1, so that uint8 inputs see the same pixels."""
    values = torch.randint(0, 256, (count, 3, height, width), generator=torch.Generator().manual_seed(1))
    return values.float() / 255


def expected(pixels, white, mean=(0, 0, 0), std=(1, 1, 1)):
    """Softmax of WEIGHT @ ((pixels * white - mean) / std) + BIAS, by numpy."""
    scaled = (pixels.numpy() * white - np.reshape(mean, (3, 1, 1))) / np.reshape(std, (3, 1, 1))
    logits = np.einsum("kc,bchw->bkhw", WEIGHT, scaled) + BIAS[:, None, None]
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def assert_close(found, wanted, atol=2e-5):
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found.numpy(), wanted, atol=atol)


def test_plain_graph_gets_imagenet_normalisation_and_says_so(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    segmenter = OnnxSegmenter(segmenter_file(tmp_path / "a.onnx"))
    pixels = images(count=2)
    assert_close(segmenter.probabilities(pixels), expected(pixels, 1, IMAGENET_MEAN, IMAGENET_STD))
    assert segmenter.class_count == 4
    assert segmenter.classes is None
    line = caplog.messages[-1]
    for part in ("image", "float32", "NCHW", "any size", "ImageNet", "logits", "4 classes"):
        assert part in line


@pytest.mark.parametrize(
    ("before", "white"),
    [
        ([("Sub", np.reshape(IMAGENET_MEAN, (3, 1, 1)))], 1),
        ([("Mul", np.reshape([4.4, 4.5, 4.4], (3, 1, 1)))], 1),
        ([("Mul", 255.0), ("Sub", 123.7)], 1),
        ([("Sub", np.reshape([123.7, 116.3, 103.5], (3, 1, 1))), ("Div", 58.0)], 255),
        ([("Div", 255.0)], 255),
        ([("Mul", 1 / 255)], 255),
        ([("Identity", None), ("Add", -127.5), ("Mul", 1 / 127.5)], 255),
    ],
)
def test_normalisation_in_the_graph_is_found(tmp_path, before, white):
    segmenter = OnnxSegmenter(segmenter_file(tmp_path / "a.onnx", before=before))
    assert (segmenter.normalisation.white, segmenter.normalisation.mean) == (white, (0, 0, 0))
    pixels = images()
    value = pixels * white
    for operation, constant in before:
        constant = None if constant is None else torch.as_tensor(np.asarray(constant), dtype=torch.float32)
        value = {
            "Sub": lambda x, c: x - c,
            "Add": lambda x, c: x + c,
            "Mul": lambda x, c: x * c,
            "Div": lambda x, c: x / c,
            "Identity": lambda x, c: x,
        }[operation](value, constant)
    assert_close(segmenter.probabilities(pixels), expected(value, 1), atol=1e-4)


def test_constant_nodes_with_another_shape_count_as_constants(tmp_path):
    mean = numpy_helper.from_array(np.array([123.7, 116.3, 103.5], np.float32))
    nodes = [
        helper.make_node("Constant", [], ["flat"], value=mean),
        helper.make_node("Unsqueeze", ["flat", "axes"], ["mean"]),
        helper.make_node("Sub", ["image", "mean"], ["less"]),
        helper.make_node("Conv", ["less", "weight"], ["logits"]),
    ]
    constants = {"axes": np.array([1, 2]), "weight": WEIGHT[:, :, None, None]}
    inputs = [("image", TensorProto.FLOAT, ["n", 3, "h", "w"])]
    outputs = [("logits", TensorProto.FLOAT, ["n", 4, "h", "w"])]
    assert OnnxSegmenter(save(tmp_path / "a.onnx", nodes, inputs, outputs, constants)).normalisation.white == 255


@pytest.mark.parametrize("short", [{"value_float": 255.0}, {"value_floats": [255.0]}])
def test_constant_nodes_in_short_form_count_as_constants(tmp_path, short):
    nodes = [
        helper.make_node("Constant", [], ["white"], **short),
        helper.make_node("Div", ["image", "white"], ["unit"]),
        helper.make_node("Conv", ["unit", "weight"], ["logits"]),
    ]
    constants = {"weight": WEIGHT[:, :, None, None]}
    inputs = [("image", TensorProto.FLOAT, ["n", 3, "h", "w"])]
    outputs = [("logits", TensorProto.FLOAT, ["n", 4, "h", "w"])]
    segmenter = OnnxSegmenter(save(tmp_path / "a.onnx", nodes, inputs, outputs, constants))
    assert (segmenter.normalisation.white, segmenter.normalisation.mean) == (255, (0, 0, 0))


def test_metadata_overrides_what_the_graph_shows(tmp_path):
    metadata = {"scale": "255", "mean": "[120, 110, 100]", "std": "[60, 50, 40]", "classes": '["a", "b", "c", "d"]'}
    segmenter = OnnxSegmenter(segmenter_file(tmp_path / "a.onnx", metadata=metadata))
    pixels = images()
    assert_close(segmenter.probabilities(pixels), expected(pixels, 255, (120, 110, 100), (60, 50, 40)))
    assert segmenter.classes == ("a", "b", "c", "d")


@pytest.mark.parametrize(
    "metadata",
    [{"scale": "bytes"}, {"mean": "[1, 2]"}, {"std": "[0, 1, 1]"}, {"classes": "a, b"}, {"classes": '["a", "b"]'}],
)
def test_metadata_that_cannot_be_meant_is_refused(tmp_path, metadata):
    with pytest.raises(GoodSAMError, match="metadata"):
        OnnxSegmenter(segmenter_file(tmp_path / "a.onnx", metadata=metadata))


def test_uint8_input_takes_bytes(tmp_path):
    segmenter = OnnxSegmenter(segmenter_file(tmp_path / "a.onnx", dtype=TensorProto.UINT8, before=[("Div", 255.0)]))
    pixels = images()
    assert_close(segmenter.probabilities(pixels), expected(pixels, 1))
    assert segmenter.options()["dtype"] == "uint8"


def test_float16_input(tmp_path):
    segmenter = OnnxSegmenter(segmenter_file(tmp_path / "a.onnx", dtype=TensorProto.FLOAT16))
    pixels = images()
    assert_close(segmenter.probabilities(pixels), expected(pixels, 1, IMAGENET_MEAN, IMAGENET_STD), atol=5e-3)


@pytest.mark.parametrize("output_shape", [["n", "h", "w", 4], ["n", "h", "w", "c"]])
def test_channels_last(tmp_path, output_shape):
    nodes = [
        helper.make_node("MatMul", ["image", "weight"], ["raw"]),
        helper.make_node("Add", ["raw", "b"], ["logits"]),
    ]
    inputs = [("image", TensorProto.FLOAT, ["n", "h", "w", 3])]
    outputs = [("logits", TensorProto.FLOAT, output_shape)]
    path = save(tmp_path / "a.onnx", nodes, inputs, outputs, {"weight": WEIGHT.T.copy(), "b": BIAS})
    segmenter = OnnxSegmenter(path)
    pixels = images()
    assert_close(segmenter.probabilities(pixels), expected(pixels, 1, IMAGENET_MEAN, IMAGENET_STD))
    assert segmenter.options()["layout"] == "NHWC"


def test_fixed_size_is_resized_to_and_back(tmp_path):
    segmenter = OnnxSegmenter(segmenter_file(tmp_path / "a.onnx", size=(16, 24)))
    same = images(16, 24)
    assert_close(segmenter.probabilities(same), expected(same, 1, IMAGENET_MEAN, IMAGENET_STD))
    flat = torch.full((1, 3, 50, 70), 0.25)
    found = segmenter.probabilities(flat)
    assert_close(found, expected(flat, 1, IMAGENET_MEAN, IMAGENET_STD))
    assert segmenter.options()["size"] == [16, 24]


def test_fixed_batch_takes_any_number_of_images(tmp_path):
    segmenter = OnnxSegmenter(segmenter_file(tmp_path / "a.onnx", batch=2))
    pixels = images(count=3)
    assert_close(segmenter.probabilities(pixels), expected(pixels, 1, IMAGENET_MEAN, IMAGENET_STD))


def test_probabilities_are_not_softmaxed_again(tmp_path):
    segmenter = OnnxSegmenter(segmenter_file(tmp_path / "a.onnx", after=[("Softmax", None, {"axis": 1})]))
    pixels = images()
    assert_close(segmenter.probabilities(pixels), expected(pixels, 1, IMAGENET_MEAN, IMAGENET_STD))
    assert segmenter.options()["gives"] == "probabilities"


def test_sizes_that_fail_are_padded_to_a_multiple(tmp_path):
    """Down and up by 32, added to the input: only multiples of 32 fit."""
    nodes = [
        helper.make_node("Conv", ["image", "weight"], ["logit"]),
        helper.make_node("MaxPool", ["logit"], ["small"], kernel_shape=[32, 32], strides=[32, 32]),
        helper.make_node("Resize", ["small", "", "scales"], ["up"], mode="nearest"),
        helper.make_node("Mul", ["up", "zero"], ["none"]),
        helper.make_node("Add", ["logit", "none"], ["logits"]),
    ]
    constants = {"weight": WEIGHT[:, :, None, None], "scales": np.float32([1, 1, 32, 32]), "zero": np.float32(0)}
    inputs = [("image", TensorProto.FLOAT, ["n", 3, "h", "w"])]
    outputs = [("logits", TensorProto.FLOAT, ["n", 4, "oh", "ow"])]
    segmenter = OnnxSegmenter(save(tmp_path / "a.onnx", nodes, inputs, outputs, constants))
    assert segmenter.options()["divisor"] == 32
    pixels = images(50, 70)
    scaled = (pixels - torch.tensor(IMAGENET_MEAN)[:, None, None]) / torch.tensor(IMAGENET_STD)[:, None, None]
    wanted = torch.einsum("kc,bchw->bkhw", torch.from_numpy(WEIGHT), scaled).softmax(1)
    assert_close(segmenter.probabilities(pixels), wanted.numpy())


@pytest.mark.parametrize("flag", [True, False])
def test_align_corners_by_metadata(tmp_path, flag):
    path = segmenter_file(tmp_path / "a.onnx", stride=2, metadata={"align_corners": str(flag).lower()})
    pixels = images(21, 31)
    scaled = (pixels - torch.tensor(IMAGENET_MEAN)[:, None, None]) / torch.tensor(IMAGENET_STD)[:, None, None]
    logits = torch.einsum("kc,bchw->bkhw", torch.from_numpy(WEIGHT), scaled)[:, :, ::2, ::2]
    logits = logits + torch.from_numpy(BIAS)[:, None, None]
    wanted = torch.nn.functional.interpolate(logits, (21, 31), mode="bilinear", align_corners=flag).softmax(1)
    assert_close(OnnxSegmenter(path).probabilities(pixels), wanted.numpy())


@pytest.mark.parametrize(("names", "taken"), [(("aux", "logits"), "logits"), (("small", "large"), "large")])
def test_among_several_outputs(tmp_path, names, taken, caplog):
    caplog.set_level(logging.INFO)
    nodes = [helper.make_node("Conv", ["image", "a"], [names[0]]), helper.make_node("Conv", ["image", "b"], [names[1]])]
    constants = {"a": WEIGHT[:2, :, None, None], "b": WEIGHT[:, :, None, None]}
    outputs = [(name, TensorProto.FLOAT, ["n", count, "h", "w"]) for name, count in zip(names, (2, 4), strict=True)]
    inputs = [("image", TensorProto.FLOAT, ["n", 3, "h", "w"])]
    segmenter = OnnxSegmenter(save(tmp_path / "a.onnx", nodes, inputs, outputs, constants))
    assert (segmenter.options()["output"], segmenter.class_count) == (taken, 4)
    assert any(f"takes {taken}" in message for message in caplog.messages)


def test_two_inputs_are_refused(tmp_path):
    nodes = [helper.make_node("Add", ["image", "other"], ["logits"])]
    inputs = [(name, TensorProto.FLOAT, ["n", 3, "h", "w"]) for name in ("image", "other")]
    path = save(tmp_path / "two.onnx", nodes, inputs, [("logits", TensorProto.FLOAT, ["n", 3, "h", "w"])], {})
    with pytest.raises(GoodSAMError, match=r"two\.onnx: its inputs are image .*, other .*; a segmenter has one"):
        OnnxSegmenter(path)


def test_one_channel_is_refused(tmp_path):
    with pytest.raises(GoodSAMError, match=r"a\.onnx: its input has shape .*3 channels"):
        OnnxSegmenter(segmenter_file(tmp_path / "a.onnx", channels=1))


def test_an_input_that_is_no_image_is_refused(tmp_path):
    nodes = [helper.make_node("Identity", ["x"], ["logits"])]
    path = save(
        tmp_path / "a.onnx", nodes, [("x", TensorProto.FLOAT, ["n", 3])], [("logits", TensorProto.FLOAT, ["n", 3])], {}
    )
    with pytest.raises(GoodSAMError, match="its inputs are x"):
        OnnxSegmenter(path)


def test_class_ids_without_logits_are_refused(tmp_path):
    nodes = [helper.make_node("ArgMax", ["image"], ["labels"], axis=1, keepdims=1)]
    inputs = [("image", TensorProto.FLOAT, ["n", 3, "h", "w"])]
    path = save(tmp_path / "a.onnx", nodes, inputs, [("labels", TensorProto.INT64, ["n", 1, "h", "w"])], {})
    with pytest.raises(GoodSAMError, match=r"labels tensor\(int64\).*before any arg max"):
        OnnxSegmenter(path)


def test_files_that_are_not_onnx_are_refused(tmp_path):
    path = tmp_path / "broken.onnx"
    path.write_bytes(b"these are not the bytes of a graph")
    with pytest.raises(GoodSAMError, match=r"broken\.onnx: cannot be opened as an ONNX model"):
        OnnxSegmenter(path)
    with pytest.raises(GoodSAMError, match="no such file"):
        OnnxSegmenter(tmp_path / "absent.onnx")


def test_without_onnxruntime_the_error_tells_what_to_install(tmp_path, monkeypatch):
    path = segmenter_file(tmp_path / "a.onnx")
    monkeypatch.setattr(onnx_session, "onnxruntime", None)
    with pytest.raises(GoodSAMError, match=r"pip install goodsam\[onnx\]"):
        OnnxSegmenter(path)


def test_weights_outside_the_file_are_hashed_too(tmp_path):
    path = segmenter_file(tmp_path / "a.onnx", external=True, metadata={"license": "MIT"})
    found = OnnxSegmenter(path).weight_files("a.onnx")
    assert [(weight.file, weight.licence) for weight in found] == [("a.onnx", "MIT"), ("weights.data", "MIT")]
    assert found[0].sha256 != found[1].sha256


def test_options_are_json_and_the_same_each_time(tmp_path):
    path = segmenter_file(tmp_path / "a.onnx")
    options = OnnxSegmenter(path).options()
    assert json.loads(json.dumps(options)) == options == OnnxSegmenter(path).options()


@pytest.mark.shared
def test_real_file_on_a_labelled_photo():
    path, photos = SHARED / "models" / "espnetv2-cityscapes.onnx", SHARED / "camvid"
    if not path.is_file() or not photos.is_dir():
        pytest.skip(f"no {path} and {photos}")
    segmenter = OnnxSegmenter(path)
    assert (segmenter.normalisation.white, segmenter.normalisation.mean, segmenter.class_count) == (1, (0, 0, 0), 19)
    assert segmenter.classes is not None
    assert segmenter.classes[10] == "sky"
    photo = sorted((photos / "images").iterdir())[0]
    labels = np.array(Image.open(next((photos / "labels").glob(f"{photo.stem}.*"))))
    pixels = torch.from_numpy(np.array(Image.open(photo).convert("RGB"))).permute(2, 0, 1)[None].float() / 255
    found = segmenter.probabilities(pixels)
    assert found.shape == (1, 19, *labels.shape)
    torch.testing.assert_close(found.sum(1), torch.ones_like(found[:, 0]))
    known = labels < 255
    assert (found.argmax(1)[0].numpy()[known] == labels[known]).mean() > 0.6
