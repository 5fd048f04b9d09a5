"""SegFormer's forward pass on the modules of transformers, with results equal to theirs and fewer operations.

With `wrap`, convolutions and upsampling take the other edge's columns where there are none. What is written otherwise
than one would at first was measured on a CPU in training, where most operations wait for memory.
"""

import functools
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint


def encode(segformer: Any, x: Tensor, wrap: bool = False) -> tuple[Tensor, ...]:
    """SegFormer's encoder, module by module, with convolutions that can wrap.

    Args:
        segformer: transformers' `SegformerModel`.
        x: normalised images, (B, 3, H, W).
        wrap: the width spans 360 degrees.
    Returns:
        four levels at strides 4, 8, 16 and 32, (B, D_l, h_l, w_l).
    """
    features = []
    for stage in segformer.stages:
        x = _convolve(stage.patch_embeddings.proj, x, wrap)
        size = (x.shape[-2], x.shape[-1])
        tokens = stage.patch_embeddings.layer_norm(x.flatten(2).transpose(1, 2))
        for block in stage.blocks:
            attended = _attend(block.attention, block.layernorm_before(tokens), size)
            tokens = tokens + block.drop_path(block.hidden_dropout(attended))
            tokens = tokens + block.drop_path(_mix_ffn(block.mlp, block.layernorm_after(tokens), size, wrap))
        x = stage.layer_norm(tokens).transpose(1, 2).unflatten(2, size).contiguous()
        features.append(x)
    return tuple(features)


def _attend(attention: Any, tokens: Tensor, size: tuple[int, int]) -> Tensor:
    """Self-attention with fewer keys than queries: (B, h w, D)."""

    def heads(linear: nn.Module, x: Tensor) -> Tensor:
        return linear(x).unflatten(-1, (-1, attention.head_dim)).transpose(1, 2)

    few = _reduce(attention.sequence_reduction, tokens, size) if attention.sequence_reduction_ratio > 1 else tokens
    query = heads(attention.q_proj, tokens)
    key, value = heads(attention.k_proj, few), heads(attention.v_proj, few)
    dropout = attention.attention_dropout if attention.training else 0.0
    parts = _parts(query)
    if parts > 1:
        query = query.unflatten(2, (parts, -1))[0].transpose(0, 1)
        key, value = key.expand(parts, -1, -1, -1), value.expand(parts, -1, -1, -1)
    attended = F.scaled_dot_product_attention(query, key, value, dropout_p=dropout, scale=attention.scaling)
    if parts > 1:
        attended = attended.transpose(0, 1).flatten(1, 2)[None]
    return attention.o_proj(attended.transpose(1, 2).flatten(2))


def _parts(query: Tensor) -> int:
    """Into how many samples to cut the queries of one, (1, heads, N, d); they do not see each other.

    On a CPU, the gradient of attention keeps one thread per sample and head busy: stage 1 has one head.
    """
    batch, heads, number, _ = query.shape
    threads = torch.get_num_threads()
    serves = batch == 1 and heads < threads and number % threads == 0 and query.requires_grad
    return threads if serves and query.device.type == "cpu" else 1


def _reduce(reduction: Any, tokens: Tensor, size: tuple[int, int]) -> Tensor:
    """SegFormer's sequence reduction, (B, h w, D) to (B, h w / r^2, D)."""
    conv = reduction.sequence_reduction
    arguments = (tokens, conv.weight, conv.bias, size)
    if torch.is_grad_enabled() and tokens.requires_grad:  # the copied windows are made again rather than kept
        reduced = checkpoint(_convolve_windows, *arguments, use_reentrant=False, preserve_rng_state=False)
    else:
        reduced = _convolve_windows(*arguments)
    return reduction.layer_norm(reduced)


def _convolve_windows(tokens: Tensor, weight: Tensor, bias: Tensor, size: tuple[int, int]) -> Tensor:
    """A convolution whose windows do not overlap, as one product of matrices, which takes less time.

    Args:
        tokens: (B, h w, D).
        weight: (E, D, r, r), of stride r.
        size: (h, w); a remainder is left out.
    Returns:
        (B, h/r w/r, E).
    """
    ratio = weight.shape[-1]
    height, width = size[0] // ratio, size[1] // ratio
    whole = tokens.unflatten(1, size)[:, : height * ratio, : width * ratio]
    windows = whole.unflatten(2, (width, ratio)).unflatten(1, (height, ratio)).transpose(2, 3).flatten(3).flatten(1, 2)
    return F.linear(windows, weight.permute(0, 2, 3, 1).flatten(1), bias)


def _convolve(conv: nn.Conv2d, x: Tensor, wrap: bool) -> Tensor:
    """A convolution of transformers' model; with `wrap` its horizontal zeros are the other edge's columns."""
    rows, columns = (int(pixels) for pixels in conv.padding)
    if not wrap or columns == 0:
        return conv(x)
    return F.conv2d(_wrapped(x, columns), conv.weight, conv.bias, conv.stride, (rows, 0), conv.dilation, conv.groups)


def _mix_ffn(mlp: Any, tokens: Tensor, size: tuple[int, int], wrap: bool) -> Tensor:
    """Mix-FFN: its depth-wise convolution is the only place where a block sees neighbours and zeros."""
    x = mlp.fc1(tokens).transpose(1, 2).unflatten(2, size)
    x = _convolve(mlp.dwconv.dwconv, x, wrap).flatten(2).transpose(1, 2)
    return mlp.dropout(mlp.fc2(mlp.dropout(mlp.activation_fn(x))))


def all_mlp_head(head: Any, features: Sequence[Tensor], wrap: bool = False) -> Tensor:
    """SegFormer's all-MLP head with its 1x1 mixing done per level before upsampling, where there are fewer pixels.

    Projection, bilinear upsampling and the 1x1 fuse are linear, and 1x1 convolutions commute with upsampling (its
    weights sum to one, so biases too): fuse(cat(up(proj_l(x_l)))) = sum_l up((W_l P_l) x_l + W_l b_l).

    Args:
        head: transformers' `SegformerDecodeHead`.
        features: four levels, (B, D_l, h_l, w_l).
        wrap: the width spans 360 degrees.
    Returns:
        logits, (B, C, h_1, w_1).
    """
    weights, bias = _mixing(head)
    size = features[0].shape[-2:]
    if features[0].device.type == "cpu":  # the coarse levels first, since they need more memory meanwhile
        mixed = _mix_coarse(weights[1:], bias, features[1:], size, wrap)
        mixed = mixed.add_(_pointwise(weights[0], features[0]))
    else:
        mixed = _pointwise(weights[0], features[0])
        mixed = mixed + bias[:, None, None].to(mixed.dtype)
        for weight, x in zip(weights[1:], features[1:], strict=True):
            mixed = mixed + resize(_pointwise(weight, x), size, wrap)
    if head.batch_norm.training:
        mixed = head.batch_norm(mixed)
    return _pointwise(head.classifier.weight[:, :, 0, 0], head.dropout(mixed.relu_()), head.classifier.bias)


def _mixing(head: Any) -> tuple[list[Tensor], Tensor]:
    """Per level the (D, D_l) matrix W_l P_l, and sum_l W_l b_l (D); in evaluation mode with the batch norm in them."""
    projections, width = list(head.linear_projections), head.config.decoder_hidden_size
    fuse = head.linear_fuse.weight[:, :, 0, 0].split(width, 1)[::-1]  # the head concatenates the deepest level first
    norm = head.batch_norm
    if not norm.training:
        scale = norm.weight * (norm.running_var + norm.eps).rsqrt()
        fuse = [scale[:, None] * own for own in fuse]
    weights = [own @ projection.proj.weight for own, projection in zip(fuse, projections, strict=True)]
    bias = sum(own @ projection.proj.bias for own, projection in zip(fuse, projections, strict=True))
    return weights, bias if norm.training else bias + norm.bias - scale * norm.running_mean


def _pointwise(weight: Tensor, x: Tensor, bias: Tensor | None = None) -> Tensor:
    """A 1x1 convolution as a product of matrices, which a CPU computes faster: (D, E) on (B, E, h, w)."""
    weights, pixels = weight.expand(len(x), -1, -1), x.flatten(2)
    mixed = weights @ pixels if bias is None else torch.baddbmm(bias[:, None], weights, pixels)
    return mixed.unflatten(2, x.shape[-2:])


def _mix_coarse(
    weights: Sequence[Tensor], bias: Tensor, features: Sequence[Tensor], size: torch.Size, wrap: bool
) -> Tensor:
    """sum_l up(weight_l x_l) + bias: several (B, D_l, h_l, w_l) to one (B, D, H, W).

    Columns are resized level by level, rows of all levels in one product, so that only one tensor of (H, W) is written.
    """
    levels = [_pointwise(weight, x) for weight, x in zip(weights, features, strict=True)]
    levels[-1] = levels[-1] + bias[:, None, None].to(levels[-1].dtype)  # there are few pixels; resized, it is the same
    wide = [resize(x, (x.shape[-2], size[1]), wrap) for x in levels]
    rows = torch.cat([_resize_matrix(int(x.shape[-2]), int(size[0]), False) for x in wide], 1)
    return rows.to(wide[0].dtype) @ torch.cat(wide, -2)


class _Wrap(torch.autograd.Function):
    """`_wrapped` whose gradient, unlike those of `torch.cat` and of circular `F.pad`, is one copy."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, columns: int) -> Tensor:
        ctx.columns = columns
        return torch.cat((x[..., -columns:], x, x[..., :columns]), -1)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        columns, (padded,) = ctx.columns, gradients
        gradient = padded[..., columns:-columns].clone()
        gradient[..., :columns] += padded[..., -columns:]
        gradient[..., -columns:] += padded[..., :columns]
        return gradient, None


def _wrapped(x: Tensor, columns: int) -> Tensor:
    """(B, D, h, w) with `columns` of the other edge on either side, in the memory format of `x`."""
    if torch.is_grad_enabled() and x.requires_grad:
        return _Wrap.apply(x, columns)
    return torch.cat((x[..., -columns:], x, x[..., :columns]), -1)  # plain operations, which can be exported


_FEW = 128
"""Columns up to which resizing by matrices takes less time on a CPU than PyTorch's kernel, most so in bfloat16."""


def resize(values: Tensor, size: tuple[int, int] | torch.Size, wrap: bool) -> Tensor:
    """Bilinear (pixel centres at half-integers); with `wrap` the left and right edge are neighbours.

    Args:
        values: float (B, D, h, w).
        size: (H, W).
    """
    height, width = int(size[0]), int(size[1])
    own_height, own_width = int(values.shape[-2]), int(values.shape[-1])  # numbers for a tracer too, not operations
    if (own_height, own_width) == (height, width):
        return values
    if values.device.type == "cpu" and own_width <= _FEW:
        # What it does to rows and to columns is linear and independent: two products of matrices.
        rows = _resize_matrix(own_height, height, False).to(values.dtype)
        columns = _resize_matrix(own_width, width, wrap).to(values.dtype)
        return rows @ (values @ columns.T)
    return _interpolate(values, (height, width), wrap)


@functools.lru_cache(maxsize=64)
def _resize_matrix(source: int, target: int, wrap: bool) -> Tensor:
    """Resizing along one axis: float64 (target, source)."""
    with torch.inference_mode(False):  # a tensor made in inference mode could not take part in training later
        return _interpolate(torch.eye(source, dtype=torch.float64)[None, None], (source, target), wrap)[
            0, 0
        ].T.contiguous()


def _interpolate(values: Tensor, size: tuple[int, int], wrap: bool) -> Tensor:
    """`resize` by PyTorch's kernel."""
    height, width = size
    if not wrap or values.shape[-1] == width:
        return F.interpolate(values, (height, width), mode="bilinear", align_corners=False)
    if width % values.shape[-1] == 0:  # the padded columns land on whole columns and are cut off again
        factor = width // values.shape[-1]
        grown = F.interpolate(_wrapped(values, 1), (height, width + 2 * factor), mode="bilinear", align_corners=False)
        return grown[..., factor:-factor]
    tall = F.interpolate(values, (height, values.shape[-1]), mode="bilinear", align_corners=False)
    position = (torch.arange(width, device=values.device) + 0.5) * (values.shape[-1] / width) - 0.5
    left = position.floor()
    part = (position - left).to(values.dtype)
    left = left.long() % values.shape[-1]
    return torch.lerp(tall[..., left], tall[..., (left + 1) % values.shape[-1]], part)
