"""Operations against counts by hand."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import tiny
import torch
from onnx import TensorProto, helper
from torch import nn
from transformers import SegformerConfig, SegformerForSemanticSegmentation

from goodsam import costs
from goodsam.datasets import parse_data
from goodsam.panorama import Panorama, geometry_of
from goodsam.subjects import Subject, SubjectOptions, load_subject


def subject_of(module: nn.Module, *given: torch.Tensor) -> Subject:
    def predict(stem: str, image: Any) -> np.ndarray:
        with torch.inference_mode():
            module(*given)
        return np.zeros((1, 1), np.uint8)

    return Subject("network", predict, True)


def test_convolutions_by_hand() -> None:
    net = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, 1, 1, groups=4), nn.Conv2d(8, 5, 1))
    by_hand = 2 * (16 * 32) * (8 * 3 * 9 + 8 * 2 * 9 + 5 * 8)
    assert costs.operations(subject_of(net, torch.rand(1, 3, 32, 64)), "a", None) == by_hand


def test_a_segformer_by_hand() -> None:
    """Linear layers and convolutions seen by hooks, attention from its sizes: queries of stride 4, 8, 16, 32."""
    config = SegformerConfig(
        hidden_sizes=[8, 8, 16, 16], depths=[1, 1, 1, 1], num_attention_heads=[1, 1, 2, 2], decoder_hidden_size=16,
        num_labels=5,
    )  # fmt: skip
    model = SegformerForSemanticSegmentation(config).eval()
    seen = {"linear": 0, "conv": 0}

    def hook(module: nn.Module, given: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        if isinstance(module, nn.Linear):
            seen["linear"] += 2 * given[0].numel() * module.out_features
        elif isinstance(module, nn.Conv2d):
            seen["conv"] += 2 * output.numel() * module.weight[0].numel()

    handles = [module.register_forward_hook(hook) for module in model.modules()]
    image = torch.rand(1, 3, 64, 128)
    with torch.no_grad():
        model(image)
    for handle in handles:
        handle.remove()
    tokens = [64 * 128 // stride**2 for stride in (4, 8, 16, 32)]
    keys = [number // ratio**2 for number, ratio in zip(tokens, (8, 4, 2, 1), strict=True)]
    attention = sum(2 * 2 * number * few * size for number, few, size in zip(tokens, keys, (8, 8, 16, 16), strict=True))
    expected = seen["linear"] + seen["conv"] + attention
    assert min(seen.values()) > 0
    assert costs.operations(subject_of(model, image), "a", None) == expected


def write_onnx(path: Path, nodes: list[Any], weights: dict[str, np.ndarray], **options: Any) -> Path:
    tensors = [helper.make_tensor(name, TensorProto.FLOAT, value.shape, value) for name, value in weights.items()]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 3, "h", "w"])
    output = helper.make_tensor_value_info("logits", TensorProto.FLOAT, None)
    model = helper.make_model(
        helper.make_graph(nodes, "g", [image], [output], tensors),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=10,
    )
    onnx.save(model, path, **options)
    return path


def test_an_onnx_file_takes_what_the_same_torch_modules_take(tmp_path: Path) -> None:
    conv, up = nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.ConvTranspose2d(8, 6, 2, 2, groups=2, bias=False)
    product = nn.Linear(20, 7, bias=False)
    weights = {"conv": conv.weight, "up": up.weight, "product": product.weight.T}
    arrays = {name: value.detach().numpy() for name, value in weights.items()}
    nodes = [
        helper.make_node("Conv", ["image", "conv"], ["x"], pads=[1, 1, 1, 1], strides=[2, 2]),
        helper.make_node("ConvTranspose", ["x", "up"], ["y"], strides=[2, 2], group=2),
        helper.make_node("MatMul", ["y", "product"], ["logits"]),
    ]
    outside = {"save_as_external_data": True, "location": "weights.bin", "size_threshold": 0}
    net = nn.Sequential(conv, up, product)
    expected = costs.operations(subject_of(net, torch.rand(1, 3, 12, 20)), "a", None)
    assert expected == 2 * (6 * 10) * (8 * 27 + 8 * 3 * 4) + 2 * (6 * 12 * 20 * 7)
    for options in ({}, outside):
        path = write_onnx(tmp_path / f"{len(options)}.onnx", nodes, arrays, **options)
        assert costs.onnx_operations(path, (1, 3, 12, 20)) == expected


def test_gemm_flipped_and_whole(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("GlobalAveragePool", ["image"], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["row"]),
        helper.make_node("Gemm", ["row", "first"], ["x"]),
        helper.make_node("Gemm", ["x", "second"], ["logits"], transA=1),
    ]
    arrays = {"first": np.ones((3, 4), np.float32), "second": np.ones((1, 6), np.float32)}
    path = write_onnx(tmp_path / "gemm.onnx", nodes, arrays)
    assert costs.onnx_operations(path, (1, 3, 8, 8)) == 2 * (3 * 4) + 2 * (4 * 6)


@pytest.mark.parametrize(("views", "number", "width"), [("crops", 8, 128), ("whole", 1, 512)])
def test_an_onnx_assistant_is_counted_over_its_views(tmp_path: Path, views: str, number: int, width: int) -> None:
    images = tiny.write_panoramas(tmp_path / "images", 1)
    tiny.write_panoramas(tmp_path / "labels", 1)  # not read
    (tmp_path / "set.yaml").write_text("name: t\nclasses: {road: {}, sky: {}, building: {}, vegetation: {}}\n")
    data = parse_data(f"folder:{images},{tmp_path / 'labels'},{tmp_path / 'set.yaml'}")
    assistant = tiny.write_assistant(tmp_path / "assistant.onnx")
    subject = load_subject(f"assistant:{assistant}", data, SubjectOptions(views=views, device="cpu"))
    assert subject.parameters == 4 * 3 * 5 * 5 + 4
    panorama = Panorama(tiny.panorama(0), geometry_of(tiny.SIZE))
    assert costs.operations(subject, "a", panorama) == number * 2 * tiny.SIZE[0] * width * 4 * (3 * 5 * 5)


def test_what_is_not_known_is_none_and_says_why(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = helper.make_node("Einsum", ["image", "image"], ["logits"], equation="bchw,bchw->bchw")
    path = write_onnx(tmp_path / "einsum.onnx", [node], {})
    with caplog.at_level("INFO", logger="goodsam"):
        assert costs.onnx_operations(path, (1, 3, 8, 8)) is None
        assert costs.onnx_operations(tmp_path / "none.onnx", (1, 3, 8, 8)) is None
        monkeypatch.setattr(costs, "onnx", None)
        assert costs.onnx_operations(path, (1, 3, 8, 8)) is None
    assert [word in caplog.text for word in ("Einsum", "none.onnx", "pip install onnx")] == [True] * 3
