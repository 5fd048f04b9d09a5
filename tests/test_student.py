"""The student: transformers' SegFormer to the last digit without wrapping, a circle with it."""

import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from transformers import (
    AutoModelForSemanticSegmentation,
    SegformerConfig,
    SegformerForImageClassification,
    SegformerForSemanticSegmentation,
)
from transformers.models.segformer.modeling_segformer import SegformerDropPath

from goodsam.errors import GoodSAMError
from goodsam.labels import LABEL_SETS, LabelSet
from goodsam.segformer import _wrapped
from goodsam.student import (
    SIZES,
    Student,
    load_student,
    new_student,
    resize,
    resolve_start,
    save_student,
)
from goodsam.teachers.normalisation import IMAGENET_MEAN, IMAGENET_STD

CLASSES = LabelSet("lot", ("road", "sky", "car"), ((1, 2, 3), (4, 5, 6), (7, 8, 9)))


def shaken(student: Student, seed: int = 0) -> Student:
    """Random weights everywhere, biases, norms and BatchNorm statistics too: nothing hides behind 0 or 1."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in student.model.state_dict().items():
            if name.endswith("running_var"):
                value.copy_(0.5 + torch.rand(value.shape, generator=generator))
            elif value.is_floating_point():
                scale = 0.1 if value.ndim > 1 else 0.3
                value.add_(scale * torch.randn(value.shape, generator=generator))
    return student.eval()


@pytest.fixture(scope="module")
def student() -> Student:
    return shaken(new_student("t", CLASSES, "random"))


def images(height: int, width: int, number: int = 1, seed: int = 0) -> torch.Tensor:
    return torch.rand(number, 3, height, width, generator=torch.Generator().manual_seed(seed))


# --- sizes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("size", "millions"), [("t", 3.7), ("s", 13.7), ("m", 24.7)])
def test_sizes_have_the_papers_parameters(size: str, millions: float) -> None:
    with torch.device("meta"):
        config = SegformerConfig(
            **SIZES[size], num_attention_heads=[1, 2, 5, 8], decoder_hidden_size=256, num_labels=19
        )
        expected = sum(value.numel() for value in SegformerForSemanticSegmentation(config).parameters())
    assert round(expected / 1e6, 1) == millions
    if size == "t":  # the larger ones take seconds to draw
        built = new_student(size, LABEL_SETS["cityscapes19"], "random")
        assert sum(value.numel() for value in built.parameters()) == expected


@pytest.mark.parametrize("size", [(64, 96), (33, 65), (50, 32)])
def test_shapes(student: Student, size: tuple[int, int]) -> None:
    with torch.no_grad():
        output = student(images(*size, number=2))
    sizes = [(-(-size[0] // stride), -(-size[1] // stride)) for stride in (4, 8, 16, 32)]
    assert output.logits.shape == (2, 3, *sizes[0])
    assert [tuple(item.shape) for item in output.features] == [
        (2, channels, *level) for channels, level in zip(student.channels, sizes, strict=True)
    ]


def test_an_unknown_size_lists_the_known() -> None:
    with pytest.raises(GoodSAMError, match="--student b: must be one of t, s, m"):
        new_student("b", CLASSES, "random")


# --- equal to transformers ----------------------------------------------------------------------------------------


def plain_logits(model: torch.nn.Module, values: torch.Tensor) -> torch.Tensor:
    mean, std = torch.tensor(IMAGENET_MEAN).reshape(1, 3, 1, 1), torch.tensor(IMAGENET_STD).reshape(1, 3, 1, 1)
    return model(pixel_values=(values - mean) / std).logits


@pytest.mark.parametrize("size", [(64, 96), (61, 64), (39, 71)])
def test_without_wrapping_logits_are_those_of_transformers(student: Student, size: tuple[int, int]) -> None:
    values = images(*size, number=2)
    with torch.no_grad():
        ours, theirs = student(values).logits, plain_logits(student.model, values)
    assert theirs.std() > 0.1
    torch.testing.assert_close(ours, theirs, atol=1e-5 * float(theirs.std()) + 1e-5, rtol=1e-5)


def test_features_are_those_of_transformers(student: Student) -> None:
    values = images(45, 64)
    mean, std = torch.tensor(IMAGENET_MEAN).reshape(1, 3, 1, 1), torch.tensor(IMAGENET_STD).reshape(1, 3, 1, 1)
    with torch.no_grad():
        ours = student(values).features
        theirs = student.model.segformer((values - mean) / std, output_hidden_states=True).hidden_states
    assert len(ours) == 4
    for mine, other in zip(ours, theirs[-4:], strict=True):
        torch.testing.assert_close(mine, other, atol=1e-4, rtol=1e-4)


def test_gradients_reach_every_weight_and_equal_those_of_transformers() -> None:
    built = shaken(new_student("t", CLASSES, "random"), seed=3)
    values = images(32, 64)
    gradients = []
    for logits in (built(values).logits, plain_logits(built.model, values)):
        built.zero_grad()
        logits.square().mean().backward()
        gradients.append([value.grad.clone() for value in built.parameters()])
    for (name, _), ours, theirs in zip(built.named_parameters(), *gradients, strict=True):
        scale = float(theirs.abs().max())
        assert scale > 0 or "key.bias" in name or "k_proj.bias" in name, name  # softmax ignores a key's bias
        torch.testing.assert_close(ours, theirs, atol=1e-3 * scale + 1e-6, rtol=1e-3, msg=name)


def gradients(built: Student, values: torch.Tensor, logits: torch.Tensor) -> dict[str, torch.Tensor]:
    weight = torch.linspace(-1, 1, logits.numel(), dtype=logits.dtype).reshape(logits.shape)
    names, parameters = zip(*built.named_parameters(), strict=True)
    return dict(zip(names, torch.autograd.grad((logits.square() * weight).sum(), parameters), strict=True))


def double(seed: int, frozen: bool) -> Student:
    """In float64, where rounding hides nothing; in training nothing is dropped at random."""
    built = shaken(new_student("t", CLASSES, "random"), seed).double().train(not frozen)
    for module in built.modules():
        if isinstance(module, torch.nn.Dropout | SegformerDropPath):
            module.eval()
    return built


@pytest.mark.parametrize("frozen", [False, True])
def test_training_equals_that_of_transformers(frozen: bool) -> None:
    """Also where heights leave a remainder when keys are reduced, and with the batch norm's statistics of the batch."""
    ours, theirs = double(1, frozen), double(1, frozen)
    values = images(49, 72, number=2).double()
    logits, expected = ours(values).logits, plain_logits(theirs.model, values)
    torch.testing.assert_close(logits, expected, atol=1e-9, rtol=1e-9)
    found, wanted = gradients(ours, values, logits), gradients(theirs, values, expected)
    scale = max(float(value.abs().max()) for value in wanted.values())
    for name, value in wanted.items():
        torch.testing.assert_close(found[name], value, atol=1e-10 * scale, rtol=1e-8, msg=name)
    for name, value in theirs.model.decode_head.batch_norm.named_buffers():
        torch.testing.assert_close(ours.model.decode_head.batch_norm.get_buffer(name), value, msg=name)


def test_attention_of_one_image_is_cut_for_threads_with_equal_results() -> None:
    built = double(2, frozen=True)
    values = images(64, 64).double()
    threads = torch.get_num_threads()
    results = []
    try:
        for number in (1, 4):
            torch.set_num_threads(number)
            logits = built(values, wrap=True).logits
            results.append((logits.detach(), gradients(built, values, logits)))
    finally:
        torch.set_num_threads(threads)
    (one, one_gradients), (four, four_gradients) = results
    torch.testing.assert_close(four, one, atol=1e-10, rtol=1e-10)
    scale = max(float(value.abs().max()) for value in one_gradients.values())
    for name, value in one_gradients.items():
        torch.testing.assert_close(four_gradients[name], value, atol=1e-10 * scale, rtol=1e-8, msg=name)


@pytest.mark.parametrize("wrap", [False, True])
def test_a_step_in_bfloat16_is_near_that_in_float32(wrap: bool) -> None:
    built = shaken(new_student("t", CLASSES, "random"), seed=4)
    values = images(64, 96)
    exact = built(values, wrap).logits.detach()
    with torch.autocast("cpu", torch.bfloat16):
        for training in (False, True):
            logits = built.train(training)(values, wrap).logits
            assert logits.dtype == torch.bfloat16
            logits.float().square().mean().backward()
            if not training:
                assert (logits.float() - exact).abs().mean() < 0.1 * exact.std()
    assert all(value.grad is not None and value.grad.isfinite().all() for value in built.parameters())


# --- wrapping -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("height", "width", "by"), [(64, 128, 32), (50, 96, 64), (33, 32, 32), (64, 160, -32)])
def test_with_wrapping_rolling_the_input_rolls_the_logits(student: Student, height: int, width: int, by: int) -> None:
    values = images(height, width)
    with torch.no_grad():
        still = student(values, wrap=True)
        moved = student(values.roll(by, -1), wrap=True)
    difference = (still.logits.roll(by // 4, -1) - moved.logits).abs().max()
    assert difference < 1e-4 * still.logits.std()
    for level, (before, after) in enumerate(zip(still.features, moved.features, strict=True)):
        cells = by // (4 << level)
        assert (before.roll(cells, -1) - after).abs().max() < 1e-4 * before.std()


def test_without_wrapping_rolling_does_not_roll_the_logits(student: Student) -> None:
    values = images(64, 128)
    with torch.no_grad():
        difference = student(values).logits.roll(8, -1) - student(values.roll(32, -1)).logits
    assert difference.abs().max() > 1e-2 * difference.std()


def first_embedding(student: Student, values: torch.Tensor, wrap: bool) -> torch.Tensor:
    """Output of the first convolution, caught where the next module takes it in."""
    caught: list[torch.Tensor] = []
    norm = student.model.segformer.stages[0].patch_embeddings.layer_norm
    handle = norm.register_forward_pre_hook(lambda _, arguments: caught.append(arguments[0]))
    try:
        with torch.no_grad():
            student(values, wrap=wrap)
    finally:
        handle.remove()
    width = -(-values.shape[-1] // 4)
    return caught[0].transpose(1, 2).unflatten(2, (-1, width))


def test_the_first_convolution_sees_the_right_edge_from_the_left_only_with_wrapping(student: Student) -> None:
    values = images(32, 64)
    changed = values.clone()
    changed[..., -3:] = 1 - changed[..., -3:]
    for wrap in (False, True):
        difference = first_embedding(student, changed, wrap) - first_embedding(student, values, wrap)
        moved = (difference.abs().amax((0, 1, 2)) > 1e-6).tolist()
        # 7 pixels wide, stride 4: column i sees pixels 4 i - 3 to 4 i + 3, the last column those from 57 on.
        assert moved == [wrap] + [False] * 14 + [True]


@pytest.mark.parametrize("wrap", [False, True])
def test_the_first_convolution_equals_a_padded_one(student: Student, wrap: bool) -> None:
    values = images(32, 64)
    normal = (values - torch.tensor(IMAGENET_MEAN).reshape(1, 3, 1, 1)) / torch.tensor(IMAGENET_STD).reshape(1, 3, 1, 1)
    padded = np.pad(normal.numpy(), ((0, 0), (0, 0), (0, 0), (3, 3)), mode="wrap" if wrap else "constant")
    padded = np.pad(padded, ((0, 0), (0, 0), (3, 3), (0, 0)))
    conv = student.model.segformer.stages[0].patch_embeddings.proj
    expected = F.conv2d(torch.from_numpy(padded), conv.weight, conv.bias, stride=4)
    torch.testing.assert_close(first_embedding(student, values, wrap), expected.detach(), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("width", "right"), [(100, 96), (33, 32), (8, 32), (127, 128)])
def test_a_width_that_does_not_wrap_is_refused_with_one_that_does(student: Student, width: int, right: int) -> None:
    with pytest.raises(ValueError, match=f"width {width} does not wrap: give a multiple of 32, such as {right}$"):
        student(images(32, width), wrap=True)


@pytest.mark.parametrize("columns", [1, 3])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_wrapped_columns_equal_circular_padding(columns: int, layout: torch.memory_format) -> None:
    values = torch.randn(2, 3, 4, 5, dtype=torch.float64).contiguous(memory_format=layout).requires_grad_()
    padded = _wrapped(values, columns)
    assert torch.equal(padded, F.pad(values, (columns, columns, 0, 0), mode="circular"))
    assert padded.is_contiguous(memory_format=layout)
    assert torch.autograd.gradcheck(lambda x: _wrapped(x, columns), values)
    with torch.inference_mode():
        assert torch.equal(_wrapped(values, columns), padded)


def test_one_column_wraps_onto_itself() -> None:
    values = torch.randn(1, 2, 3, 1, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: _wrapped(x, 1), values)


@pytest.mark.parametrize("width", [96, 1056])
def test_gradients_with_wrapping_equal_those_of_circular_padding(width: int) -> None:
    built = double(5, frozen=False)
    values = images(33, width).double()
    logits = built(values, wrap=True).logits
    mean, std = torch.tensor(IMAGENET_MEAN).reshape(1, 3, 1, 1), torch.tensor(IMAGENET_STD).reshape(1, 3, 1, 1)
    expected = slow_wrapped_logits(built.model, (values - mean) / std)
    torch.testing.assert_close(logits, expected, atol=1e-9, rtol=1e-9)
    found, wanted = gradients(built, values, logits), gradients(built, values, expected)
    scale = max(float(value.abs().max()) for value in wanted.values())
    for name, value in wanted.items():
        torch.testing.assert_close(found[name], value, atol=1e-10 * scale, rtol=1e-8, msg=name)


def slow_wrapped_logits(model: SegformerForSemanticSegmentation, x: torch.Tensor) -> torch.Tensor:
    def circular(conv: torch.nn.Conv2d, x: torch.Tensor) -> torch.Tensor:
        rows, columns = (int(pixels) for pixels in conv.padding)
        x = F.pad(F.pad(x, (columns, columns, 0, 0), mode="circular"), (0, 0, rows, rows))
        return F.conv2d(x, conv.weight, conv.bias, conv.stride, groups=conv.groups)

    levels = []
    for stage in model.segformer.stages:
        x = circular(stage.patch_embeddings.proj, x)
        height, width = x.shape[-2:]
        tokens = stage.patch_embeddings.layer_norm(x.flatten(2).transpose(1, 2))
        for block in stage.blocks:
            tokens = tokens + block.attention(block.layernorm_before(tokens), height, width)[0]
            grown = block.mlp.fc1(block.layernorm_after(tokens)).transpose(1, 2).unflatten(2, (height, width))
            grown = circular(block.mlp.dwconv.dwconv, grown).flatten(2).transpose(1, 2)
            tokens = tokens + block.mlp.fc2(F.gelu(grown))
        x = stage.layer_norm(tokens).transpose(1, 2).unflatten(2, (height, width))
        levels.append(x)
    head, (height, width) = model.decode_head, levels[0].shape[-2:]
    grown_levels = []
    for level, projection in zip(levels, head.linear_projections, strict=True):
        projected = projection.proj(level.flatten(2).transpose(1, 2)).transpose(1, 2).unflatten(2, level.shape[-2:])
        three = F.interpolate(projected.repeat(1, 1, 1, 3), (height, 3 * width), mode="bilinear")
        grown_levels.append(three[..., width : 2 * width])
    mixed = head.batch_norm(head.linear_fuse(torch.cat(grown_levels[::-1], 1)))
    return head.classifier(mixed.relu())


# --- resize -------------------------------------------------------------------------------------------------------


def slow_resize(values: np.ndarray, size: tuple[int, int], wrap: bool) -> np.ndarray:
    height, width = values.shape[-2:]
    result = np.zeros((*values.shape[:2], *size))
    for row in range(size[0]):
        y = min(max((row + 0.5) * height / size[0] - 0.5, 0), height - 1)
        top = int(y)
        for column in range(size[1]):
            x = (column + 0.5) * width / size[1] - 0.5
            if not wrap:
                x = min(max(x, 0), width - 1)
            left = int(np.floor(x))
            for r, weight_r in ((top, 1 - y + top), (min(top + 1, height - 1), y - top)):
                for c, weight_c in ((left, 1 - x + left), (left + 1, x - left)):
                    c = c % width if wrap else min(c, width - 1)
                    result[..., row, column] += weight_r * weight_c * values[..., r, c]
    return result


@pytest.mark.parametrize(
    "size",
    [(6, 8), (3, 8), (9, 12), (5, 20), (7, 7), (3, 10), (4, 3), (2, 2), (3, 4), (8, 4), (2, 5)],
    ids=lambda size: f"{size[0]}x{size[1]}",
)
@pytest.mark.parametrize("wrap", [False, True])
def test_resize_equals_a_loop_over_pixels(size: tuple[int, int], wrap: bool) -> None:
    """From 3 x 4: whole factors (8, 12, 20), other ones (7, 10, 5), smaller (3, 2) and the same width."""
    values = torch.randn(2, 3, 3, 4, generator=torch.Generator().manual_seed(0))
    found = resize(values, size, wrap)
    assert found.shape == (2, 3, *size)
    np.testing.assert_allclose(found, slow_resize(values.double().numpy(), size, wrap), atol=1e-5)


def test_resize_wraps_one_column() -> None:
    values = torch.randn(1, 1, 2, 1)
    np.testing.assert_allclose(resize(values, (2, 5), True), values.expand(1, 1, 2, 5), atol=1e-6)


# --- on disk ------------------------------------------------------------------------------------------------------


def test_a_saved_student_loads_in_transformers(student: Student, tmp_path: Path) -> None:
    folder = tmp_path / "student"
    save_student(student, folder, (64, 128), 180.0, "# A student\n")
    assert sorted(path.name for path in folder.iterdir()) == [
        "README.md", "config.json", "model.safetensors", "preprocessor_config.json",
    ]  # fmt: skip
    values = images(40, 64)
    with torch.no_grad():
        ours = student(values).logits
        model = AutoModelForSemanticSegmentation.from_pretrained(folder).eval()
        torch.testing.assert_close(plain_logits(model, values), ours, atol=1e-4, rtol=1e-4)
        again = load_student(folder)
        assert not again.training
        torch.testing.assert_close(again(values).logits, ours, atol=1e-5, rtol=1e-5)  # memory is aligned otherwise
    assert all(torch.equal(value, state(again)[name]) for name, value in state(student).items())
    assert model.config.id2label == {0: "road", 1: "sky", 2: "car"}
    assert again.label_set == CLASSES
    assert again.model.config.goodsam["train_size"] == [64, 128]
    assert again.model.config.goodsam["vfov"] == 180.0


def test_a_plain_segformer_loads_as_a_student(tmp_path: Path) -> None:
    tiny().save_pretrained(tmp_path / "plain")
    found = load_student(tmp_path / "plain")
    assert found.label_set.names == ("LABEL_0", "LABEL_1")


def test_what_is_no_student_is_refused(tmp_path: Path) -> None:
    with pytest.raises(GoodSAMError, match=r"not a student .*give the RUN/student folder"):
        load_student(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(GoodSAMError, match=r"not a student"):
        load_student(tmp_path)


def test_a_damaged_student_is_named(student: Student, tmp_path: Path) -> None:
    folder = tmp_path / "student"
    save_student(student, folder, (64, 128), 180.0, "")
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(GoodSAMError, match=r"student .*cannot be loaded"):
        load_student(folder)


# --- starts -------------------------------------------------------------------------------------------------------


def tiny() -> SegformerForSemanticSegmentation:
    return SegformerForSemanticSegmentation(
        SegformerConfig(
            hidden_sizes=[8, 8, 16, 16], depths=[1, 1, 1, 1], num_attention_heads=[1, 1, 2, 2], decoder_hidden_size=16
        )
    )


def state(student: Student) -> dict[str, torch.Tensor]:
    return student.model.state_dict()


def test_random_weights_are_reproducible_by_seed(student: Student) -> None:
    first, second, other = (state(new_student("t", CLASSES, "random", seed)) for seed in (5, 5, 6))
    assert all(torch.equal(value, second[name]) for name, value in first.items())
    assert not torch.equal(first["decode_head.linear_fuse.weight"], other["decode_head.linear_fuse.weight"])


def test_a_start_from_another_run_takes_everything(
    student: Student, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    save_student(student, tmp_path / "student", (64, 128), 180.0, "")
    with caplog.at_level(logging.INFO):
        found = state(new_student("t", CLASSES, str(tmp_path / "student")))
    assert all(torch.equal(value, found[name]) for name, value in state(student).items())
    assert f"head taken, with {len(CLASSES)} of {len(CLASSES)} classes" in caplog.text


def test_other_classes_take_encoder_and_head_and_what_is_known_of_classes(
    student: Student, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    save_student(student, tmp_path / "student", (64, 128), 180.0, "")
    classes = LabelSet("other", ("a", CLASSES.names[1], "c"), CLASSES.colors[:3])  # one is known, by its name
    fresh = state(new_student("t", classes, "random", seed=4))
    with caplog.at_level(logging.INFO):
        found = state(new_student("t", classes, str(tmp_path / "student"), seed=4))
    for name, value in state(student).items():
        if "classifier" not in name:
            assert torch.equal(found[name], value), name
            continue
        assert torch.equal(found[name][1], value[1])
        for row in (0, 2):
            assert torch.equal(found[name][row], fresh[name][row])
    assert "head taken, with 1 of 3 classes" in caplog.text


def test_an_image_net_start_takes_the_encoder(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    config = SegformerConfig(**SIZES["t"], num_attention_heads=[1, 2, 5, 8], num_labels=7)
    model = SegformerForImageClassification(config)
    with torch.no_grad():
        for value in model.parameters():
            value.add_(0.5)
    model.save_pretrained(tmp_path / "mit")
    fresh = state(new_student("t", CLASSES, "random", seed=4))
    with caplog.at_level(logging.INFO):
        found = state(new_student("t", CLASSES, str(tmp_path / "mit"), seed=4))
    encoder = {name: value for name, value in model.state_dict().items() if name.startswith("segformer.")}
    assert len(encoder) > 100
    for name, value in found.items():
        assert torch.equal(value, fresh[name] if name.startswith("decode_head.") else encoder[name]), name
    assert "no head there, with 0 of" in caplog.text


def test_another_head_width_gives_its_encoder_only(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    config = SegformerConfig(**SIZES["t"], num_attention_heads=[1, 2, 5, 8], decoder_hidden_size=32, num_labels=3)
    model = SegformerForSemanticSegmentation(config)
    model.save_pretrained(tmp_path / "narrow")
    with caplog.at_level(logging.INFO):
        found = state(new_student("t", CLASSES, str(tmp_path / "narrow")))
    for name, value in model.segformer.state_dict().items():
        assert torch.equal(found[f"segformer.{name}"], value)
    assert found["decode_head.linear_fuse.weight"].shape[0] == 256
    assert "head of another width left out" in caplog.text


def test_a_start_of_another_size_is_refused(tmp_path: Path) -> None:
    tiny().save_pretrained(tmp_path / "tiny")
    with pytest.raises(
        GoodSAMError, match=r"--init .*tiny: .*\[8, 8, 16, 16\].*student t needs a segformer with .*256"
    ):
        new_student("t", CLASSES, str(tmp_path / "tiny"))


def test_a_start_that_cannot_be_had_lists_what_else_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: object, **__: object) -> str:
        raise OSError("no connection\nmore lines")

    monkeypatch.setattr("goodsam.weights.snapshot_download", offline)
    for init, name in ((None, "nvidia/mit-b0"), ("some/where", "some/where")):
        with pytest.raises(GoodSAMError, match=rf"--init {name}: .*no connection.*--init DIR .*--init random"):
            new_student("t", CLASSES, init)
    with pytest.raises(GoodSAMError, match=r"--init nowhere: no such folder.*--init random"):
        resolve_start("t", "nowhere")
    assert resolve_start("t", "random") == ("random", None)
