"""The bundled teacher's network: a small SAM 2 that looks at the point from the first step, and its companion."""

import torch
import torch.nn.functional as F
from torch import nn
from transformers import Sam2Config, Sam2Model, Sam2VisionConfig
from transformers.models.sam2.configuration_sam2 import Sam2HieraDetConfig

SIZE = 512
"""Side of what the finished network takes, pixels."""
SMALL = 256
"""Side of the pictures of the first phase, where a step costs a quarter: what it learns holds at SIZE too."""
WIDTH = 128
"""Channels of neck, prompts and decoder."""


def model_config(side: int) -> Sam2Config:
    """A SAM 2 of 3.3 million parameters for pictures of `side` pixels: at 512, embedding 32 x 32, masks 128 x 128."""
    dims = [32, 64, 128, 256]
    backbone = Sam2HieraDetConfig(
        hidden_size=dims[0],
        num_attention_heads=1,
        image_size=[side, side],
        blocks_per_stage=[1, 2, 5, 2],
        embed_dim_per_stage=dims,
        num_attention_heads_per_stage=[1, 2, 4, 8],
        window_size_per_stage=[8, 8, 8, 8],
        global_attention_blocks=[5, 7],  # in the third stage, 32 x 32
    )
    vision = Sam2VisionConfig(
        backbone_config=backbone,
        backbone_channel_list=dims[::-1],
        backbone_feature_sizes=[[side // stride] * 2 for stride in (4, 8, 16)],
        fpn_hidden_size=WIDTH,
    )
    prompts = {"hidden_size": WIDTH, "image_size": side, "patch_size": 16}
    decoder = {"hidden_size": WIDTH, "mlp_dim": 256, "iou_head_hidden_dim": WIDTH, "num_attention_heads": 4}
    return Sam2Config(vision_config=vision, prompt_encoder_config=prompts, mask_decoder_config=decoder)


def build_model(seed: int, side: int = SIZE) -> Sam2Model:
    """The model with fresh weights; transformers' own start (deviation 0.02) is too small for layers this narrow."""
    torch.manual_seed(seed)
    model = Sam2Model(model_config(side))
    for module in model.modules():
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="linear")
            nn.init.zeros_(module.bias)
        elif isinstance(module, nn.ConvTranspose2d):  # kernel = stride: one tap a pixel and channel
            nn.init.normal_(module.weight, std=module.in_channels**-0.5)
            nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight)  # as in SAM: tokens that differ, so that the three masks do
    nn.init.normal_(model.prompt_encoder.no_mask_embed.weight, std=0.02)  # added to every cell of the image
    for network in model.mask_decoder.output_hypernetworks_mlps:
        network.proj_out.weight.data.mul_(0.5)  # first logits near 0: no mask starts saturated
    # Points and cells must be encoded alike to be compared; transformers draws two matrices. fp16 as in the file.
    matrix = model.shared_image_embedding.positional_embedding
    matrix.copy_((2 * matrix).half())
    model.prompt_encoder.shared_embedding.positional_embedding.copy_(matrix)
    look_at_the_point(model)
    return model


@torch.no_grad()
def look_at_the_point(model: Sam2Model) -> None:
    """Let the decoder's tokens attend to the point from the first step on.

    Learning where to look is what makes decoders with queries slow to train (DETR); with tokens drawn at random, what
    the image holds at the point reaches the mask tokens as a few hundredths of their size, and nothing was learned in a
    thousand steps. Here every token first takes over the point's position, and then what the image holds there. All of
    it can be unlearned: these are ordinary weights.
    """
    decoder = model.mask_decoder
    layers = decoder.transformer.layers
    for table in (decoder.mask_tokens, decoder.iou_token, decoder.obj_score_token):
        table.weight.mul_(0.3)  # what a token takes over must not drown in what it is
    prompts = model.prompt_encoder
    prompts.not_a_point_embed.weight.mul_(0.3)
    prompts.point_embed.weight.mul_(0.2)
    mark = F.normalize(torch.randn(WIDTH), dim=0) * 4  # half as long as an encoded position
    prompts.point_embed.weight[1] = mark
    for layer in layers:  # tokens attend to what bears the mark: weight about 0.9
        attention = layer.self_attn
        rows = torch.arange(attention.num_attention_heads) * attention.head_dim
        attention.q_proj.weight[rows] = 0
        attention.q_proj.bias[rows] = 4 * attention.head_dim**0.5 / 16
        attention.k_proj.weight[rows] = mark
    for projection in (layers[0].self_attn.v_proj, layers[0].self_attn.o_proj):
        projection.weight.copy_(torch.eye(WIDTH))
    # Each head compares its own frequencies, sin with sin and cos with cos: q.k is a sum of cos(2 pi f (a - b)), which
    # is largest where a = b.
    for attention in [layer.cross_attn_token_to_image for layer in layers] + [
        decoder.transformer.final_attn_token_to_image
    ]:
        half = attention.head_dim // 2
        for head in range(attention.num_attention_heads):
            for part in range(2):  # the encoding is all sines, then all cosines
                rows = torch.arange(half) + head * attention.head_dim + part * half
                columns = torch.arange(half) + head * half + part * WIDTH // 2
                for projection in (attention.q_proj, attention.k_proj):
                    projection.weight[rows] *= 0.2
                    projection.weight[rows, columns] += 2.0


class Likeness(nn.Module):
    """Which pixels belong with a point's, from the encoder and the decoder's upscaling alone: used in training only.

    A decoder from scratch at first tells the encoder nothing. This shorter way to the same masks, where a point's own
    pixel says what to look for, costs next to nothing a point and teaches encoder and upscaling many points at a time.
    """

    def __init__(self) -> None:
        super().__init__()
        channels = WIDTH // 8
        self.question = nn.Sequential(nn.Linear(channels + WIDTH, WIDTH), nn.GELU(), nn.Linear(WIDTH, channels + 1))

    def forward(self, model: Sam2Model, embeddings: list[torch.Tensor], points: torch.Tensor) -> torch.Tensor:
        """Logits of the masks at points (B, Q, 2) in pixels of the input: (B, Q, h, w) at a quarter of its side."""
        fine, middle, coarse = embeddings
        decoder = model.mask_decoder
        coarse = coarse + model.prompt_encoder.no_mask_embed.weight.view(1, -1, 1, 1)
        coarse = decoder.transformer.layers[-1].layer_norm4(coarse.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        up = decoder.activation(decoder.upscale_layer_norm(decoder.upscale_conv1(coarse) + middle))
        up = decoder.activation(decoder.upscale_conv2(up) + fine)
        batch = torch.arange(len(up), device=up.device)[:, None]
        cells = (points / 4).long(), (points / 16).long()
        own = up[batch, :, cells[0][..., 1], cells[0][..., 0]]
        around = coarse[batch, :, cells[1][..., 1], cells[1][..., 0]]
        asked = self.question(torch.cat([own, around], dim=-1))
        return torch.einsum("bqd,bdhw->bqhw", asked[..., :-1], up) + asked[..., -1, None, None]


def embed(model: Sam2Model, pixels: torch.Tensor) -> list[torch.Tensor]:
    """`get_image_embeddings` with gradients."""
    features = model.get_image_features(pixels, return_dict=True).fpn_hidden_states
    features[-1] = features[-1] + model.no_memory_embedding
    sizes = zip(features, model.backbone_feature_sizes, strict=True)
    return [feature.permute(1, 2, 0).view(len(pixels), -1, *size) for feature, size in sizes]


def prepare_for_training(model: Sam2Model, compiled: bool = False) -> None:
    """Keep the position encodings in float32 under autocast: bfloat16 places a point to 2 pixels at best.

    Args:
        compiled: fuse what lies between the products, by torch.compile.
    """
    for module in (model.shared_image_embedding, model.prompt_encoder.shared_embedding):
        module.forward = torch.autocast(model.device.type, enabled=False)(module.forward)
    # On a CPU the fused attention takes longer than plain products where there are 8 tokens or windows of 64 cells.
    if model.device.type == "cpu":
        model.mask_decoder.config._attn_implementation = "eager"
        model.vision_encoder.backbone.config._attn_implementation = "eager"
    # The neck's sines feed SAM 2's video memory only, yet cost as much as a stage; nothing here reads them.
    model.vision_encoder.neck.position_encoding.forward = lambda *_: torch.zeros(1, 1, 1, 1)
    if compiled:
        for module in (model.vision_encoder.backbone, model.mask_decoder):
            module.forward = torch.compile(module.forward, dynamic=False)
