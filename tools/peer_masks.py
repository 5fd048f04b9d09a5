"""Write the masks that other generators make of tiny random SAM models, for tests/teachers/test_sam.py.

Run by `make peers-fixture` in the environment of `make peers` (transformers with torchvision, segment-anything):

    python tools/peer_masks.py tests/data/peer_masks

The tests build the same models again from `tiny_model` and the same image from `test_image`, so no weights are stored:
every parameter comes from numpy with a seed made of its name, which no version of torch changes.
"""

import argparse
import functools
import json
import re
import zlib
from pathlib import Path

import numpy as np
import torch
import transformers
from PIL import Image
from pycocotools import mask as coco

IMAGE_SIZE = 64
POINTS_PER_SIDE = 9
POINTS_PER_BATCH = 16  # does not divide 81: the last batch holds one prompt
SIZES = {"sam": (100, 128), "sam_hq": (100, 128), "sam2": (100, 128), "sam2_square": (112, 112)}
"""(h, w) of the test image by case, pixels."""
OPTIONS = {  # under names of SamOptions; each filter removes some of the 243 masks, suppression some of the rest
    "sam": {"iou_threshold": 0.55, "stability_threshold": 0.6, "stability_offset": 0.02, "mask_threshold": 0.0},
    "sam_hq": {"iou_threshold": 0.55, "stability_threshold": 0.843, "stability_offset": 0.05, "mask_threshold": 3.8},
    "sam2": {"iou_threshold": 0.6, "stability_threshold": 0.6, "stability_offset": 0.02, "mask_threshold": 0.0},
    "sam2_square": {"iou_threshold": 0.6, "stability_threshold": 0.6, "stability_offset": 0.02, "mask_threshold": 0.1},
}
NMS_THRESHOLD = 0.8
SEEDS = {"sam": 0, "sam_hq": 3, "sam2": 7, "sam2_square": 7}
"""Chosen so that noise of 1e-6 on every weight keeps the same masks: no decision hangs on the last bits of a float."""


def test_image(size: tuple[int, int]) -> np.ndarray:
    """uint8 (h, w, 3): a slanted gradient, discs and bars of random colours, a little noise."""
    random = np.random.RandomState(7)
    rows, columns = np.mgrid[: size[0], : size[1]].astype(float)
    slant = (rows + 0.5 * columns) / (size[0] + 0.5 * size[1])
    image = slant[..., None] * random.uniform(60, 200, 3)
    for _ in range(9):
        y, x, radius = random.uniform(0, size[0]), random.uniform(0, size[1]), random.uniform(6, 24)
        image[(rows - y) ** 2 + (columns - x) ** 2 < radius**2] = random.uniform(0, 255, 3)
    for _ in range(3):
        left = int(random.uniform(0, size[1] - 8))
        image[:, left : left + 4] = random.uniform(0, 255, 3)
    return np.clip(image + random.uniform(-8, 8, image.shape), 0, 255).astype(np.uint8)


def tiny_model(case: str) -> torch.nn.Module:
    """A SAM, SAM-HQ or SAM 2 model of some ten thousand parameters, the same under every version of torch."""
    model = {"sam": _tiny_sam, "sam_hq": _tiny_sam_hq, "sam2": _tiny_sam2, "sam2_square": _tiny_sam2}[case]()
    fill(model, SEEDS[case])
    return model.eval()


def fill(model: torch.nn.Module, seed: int = 0) -> None:
    """Set every parameter and random buffer from numpy, seeded with its name and a number."""
    seen: set[int] = set()
    for name, tensor in sorted(model.state_dict().items()):
        if not tensor.is_floating_point() or tensor.data_ptr() in seen:
            continue  # tied weights keep the values of their first name
        seen.add(tensor.data_ptr())
        # Queries made like keys look for their own position: masks that differ from prompt to prompt.
        random = np.random.RandomState(zlib.crc32(name.replace("q_proj", "k_proj").encode(), seed))
        values = random.standard_normal(tuple(tensor.shape)) * _scale(name, tensor)
        if name.endswith("weight") and "norm" in name:
            values = 1 + values
        if values.ndim == 4 and name.startswith("mask_decoder"):  # kernels alike at each place make smoother masks
            values[:] = values.mean(axis=(2, 3), keepdims=True) * values.shape[-1]
        if "iou_prediction_head.proj_out" in name:  # predicted IoUs inside 0..1
            values = 0.15 * values + (0.5 if name.endswith("bias") else 0)
        tensor.copy_(torch.from_numpy(values).to(tensor.dtype))


def _scale(name: str, tensor: torch.Tensor) -> float:
    if "norm" in name or name.endswith("bias"):
        return 0.1
    if name.startswith("mask_decoder") and ("q_proj" in name or "k_proj" in name):
        return 4 / max(1, tensor[0].numel()) ** 0.5
    if ".conv_s" in name or ".neck." in name:  # SAM 2's image features, which would drown the prompts
        return 0.15 / max(1, tensor[0].numel()) ** 0.5
    if "embed" in name and "patch_embed" not in name and "mask_embed" not in name:
        return 1.0
    return (1.6 / max(1, tensor[0].numel())) ** 0.5


def _decoder_options() -> dict:
    return {"hidden_size": 32, "mlp_dim": 48, "num_attention_heads": 2, "iou_head_hidden_dim": 32}


def _tiny_vit() -> dict:
    return {
        "hidden_size": 32,
        "output_channels": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": IMAGE_SIZE,
        "patch_size": 8,
        "window_size": 3,  # does not divide the 8 x 8 patches, so that windows are padded
        "global_attn_indexes": [1],
        "num_pos_feats": 16,
        "mlp_ratio": 2.0,
    }


def _tiny_prompts(patch_size: int) -> dict:
    return {"hidden_size": 32, "image_size": IMAGE_SIZE, "patch_size": patch_size}


def _tiny_sam() -> torch.nn.Module:
    config = transformers.SamConfig(
        vision_config=_tiny_vit(), prompt_encoder_config=_tiny_prompts(8), mask_decoder_config=_decoder_options()
    )
    return transformers.SamModel(config)


def _tiny_sam_hq() -> torch.nn.Module:
    config = transformers.SamHQConfig(
        vision_config=_tiny_vit(),
        prompt_encoder_config=_tiny_prompts(8),
        mask_decoder_config={**_decoder_options(), "vit_dim": 32},
    )
    return transformers.SamHQModel(config)


def _tiny_sam2() -> torch.nn.Module:
    return transformers.Sam2Model(transformers.Sam2Config(**tiny_sam2_config()))


def tiny_sam2_video_config() -> dict:
    """`tiny_sam2_config` with the parts for tracking, which the image model leaves out."""
    widths = (
        "memory_attention_hidden_size",
        "memory_attention_feed_forward_hidden_size",
        "memory_encoder_hidden_size",
        "memory_fuser_embed_dim",
        "memory_fuser_intermediate_dim",
        "mask_downsampler_embed_dim",
    )
    others = {"memory_encoder_output_channels": 8, "image_size": IMAGE_SIZE}
    return {**tiny_sam2_config(), **dict.fromkeys(widths, 32), **others}


def tiny_sam2_config() -> dict:
    """The three parts of a small Sam2Config."""
    backbone = {
        "hidden_size": 8,
        "image_size": [IMAGE_SIZE, IMAGE_SIZE],
        "blocks_per_stage": [1, 1, 2, 1],
        "embed_dim_per_stage": [8, 16, 32, 64],
        "num_attention_heads_per_stage": [1, 1, 2, 4],
        "window_size_per_stage": [8, 4, 2, 2],
        "window_positional_embedding_background_size": [4, 4],
        "global_attention_blocks": [3],  # not one that pools
    }
    vision = {
        "backbone_config": {"model_type": "sam2_hiera_det_model", **backbone},
        "backbone_channel_list": [64, 32, 16, 8],
        "backbone_feature_sizes": [[16, 16], [8, 8], [4, 4]],
        "fpn_hidden_size": 32,
    }
    return {
        "vision_config": {"model_type": "sam2_vision_model", **vision},
        "prompt_encoder_config": _tiny_prompts(16),
        "mask_decoder_config": _decoder_options(),
    }


def pipeline_masks(case: str, image: np.ndarray) -> tuple[list[dict], np.ndarray]:
    """What transformers' mask-generation pipeline makes: masks, and the pixels that its image processor gives."""
    padded = not case.startswith("sam2")
    square = {"height": IMAGE_SIZE, "width": IMAGE_SIZE}
    if padded:
        processor = transformers.SamImageProcessor(size={"longest_edge": IMAGE_SIZE}, pad_size=square)
    else:
        processor = transformers.Sam2ImageProcessor(size=square)
    photo = Image.fromarray(image)
    options = OPTIONS[case]
    generate = transformers.pipeline("mask-generation", model=tiny_model(case), image_processor=processor)
    found = generate(
        photo,
        points_per_crop=POINTS_PER_SIDE,
        points_per_batch=POINTS_PER_BATCH,
        pred_iou_thresh=options["iou_threshold"],
        stability_score_thresh=options["stability_threshold"],
        stability_score_offset=options["stability_offset"],
        mask_threshold=options["mask_threshold"],
        crops_nms_thresh=NMS_THRESHOLD,
    )
    pixels = processor(photo, return_tensors="pt")["pixel_values"]
    masks = [(np.asarray(mask), float(score)) for mask, score in zip(found["masks"], found["scores"], strict=True)]
    return _to_json(masks), np.asarray(pixels)


def segment_anything_masks(image: np.ndarray) -> list[dict]:
    """What segment-anything's own generator makes of the weights of case "sam"."""
    from segment_anything import SamAutomaticMaskGenerator

    options = OPTIONS["sam"]
    model = segment_anything_model()
    model.mask_threshold = options["mask_threshold"]
    generator = SamAutomaticMaskGenerator(
        model,
        points_per_side=POINTS_PER_SIDE,
        points_per_batch=POINTS_PER_BATCH,
        pred_iou_thresh=options["iou_threshold"],
        stability_score_thresh=options["stability_threshold"],
        stability_score_offset=options["stability_offset"],
        box_nms_thresh=NMS_THRESHOLD,
    )
    return _to_json([(item["segmentation"], item["predicted_iou"]) for item in generator.generate(image)])


def segment_anything_model() -> torch.nn.Module:
    """segment-anything's own model with the weights of case "sam"."""
    from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, Sam, TwoWayTransformer

    vit, decoder = _tiny_vit(), _decoder_options()
    patches = IMAGE_SIZE // vit["patch_size"]
    encoder = ImageEncoderViT(
        img_size=IMAGE_SIZE,
        patch_size=vit["patch_size"],
        embed_dim=vit["hidden_size"],
        depth=vit["num_hidden_layers"],
        num_heads=vit["num_attention_heads"],
        mlp_ratio=vit["mlp_ratio"],
        out_chans=vit["output_channels"],
        norm_layer=functools.partial(torch.nn.LayerNorm, eps=1e-6),
        use_rel_pos=True,
        window_size=vit["window_size"],
        global_attn_indexes=vit["global_attn_indexes"],
    )
    prompts = PromptEncoder(decoder["hidden_size"], (patches, patches), (IMAGE_SIZE, IMAGE_SIZE), mask_in_chans=16)
    transformer = TwoWayTransformer(2, decoder["hidden_size"], decoder["num_attention_heads"], decoder["mlp_dim"])
    masks = MaskDecoder(
        transformer_dim=decoder["hidden_size"],
        transformer=transformer,
        iou_head_hidden_dim=decoder["iou_head_hidden_dim"],
    )
    model = Sam(encoder, prompts, masks)
    model.load_state_dict(segment_anything_weights(tiny_model("sam")))
    return model.eval()


def segment_anything_weights(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """The weights of transformers' SAM under segment-anything's names."""
    tensors = {_segment_anything_name(name): value for name, value in model.state_dict().items()}
    tensors.pop("prompt_encoder.shared_embedding.positional_embedding")  # the same tensor under its second name
    return tensors


_RENAMED = (
    (r"^vision_encoder", "image_encoder"),
    (r"^image_encoder\.layers", "image_encoder.blocks"),
    (r"patch_embed\.projection", "patch_embed.proj"),
    (r"neck\.conv1", "neck.0"),
    (r"neck\.layer_norm1", "neck.1"),
    (r"neck\.conv2", "neck.2"),
    (r"neck\.layer_norm2", "neck.3"),
    (r"^shared_image_embedding\.positional_embedding", "prompt_encoder.pe_layer.positional_encoding_gaussian_matrix"),
    (r"prompt_encoder\.point_embed\.", "prompt_encoder.point_embeddings."),
    (r"mask_embed\.conv1", "mask_downscaling.0"),
    (r"mask_embed\.layer_norm1", "mask_downscaling.1"),
    (r"mask_embed\.conv2", "mask_downscaling.3"),
    (r"mask_embed\.layer_norm2", "mask_downscaling.4"),
    (r"mask_embed\.conv3", "mask_downscaling.6"),
    (r"upscale_conv1", "output_upscaling.0"),
    (r"upscale_layer_norm", "output_upscaling.1"),
    (r"upscale_conv2", "output_upscaling.3"),
    (r"(mlps\.\d|iou_prediction_head)\.layers\.0", r"\1.layers.1"),
    (r"(mlps\.\d|iou_prediction_head)\.proj_in", r"\1.layers.0"),
    (r"(mlps\.\d|iou_prediction_head)\.proj_out", r"\1.layers.2"),
    (r"layer_norm_final_attn", "norm_final_attn"),
    (r"layer_norm", "norm"),
)


def _segment_anything_name(name: str) -> str:
    for pattern, replacement in _RENAMED:
        name = re.sub(pattern, replacement, name)
    return name


def _to_json(masks: list[tuple[np.ndarray, float]]) -> list[dict]:
    encoded = [coco.encode(np.asfortranarray(mask.astype(np.uint8))) for mask, _ in masks]
    return [
        {"counts": item["counts"].decode("ascii"), "score": round(score, 6)}
        for item, (_, score) in zip(encoded, masks, strict=True)
    ]


def main() -> None:
    """Write pipeline.json, segment_anything.json and pixels.npz."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    pixels, masks = {}, {}
    for case, size in SIZES.items():
        masks[case], pixels[case] = pipeline_masks(case, test_image(size))
        print(f"{case}: {len(masks[case])} masks of the pipeline")
    np.savez_compressed(folder / "pixels.npz", **pixels)
    versions = {"torch": torch.__version__, "transformers": transformers.__version__}
    _write(folder / "pipeline.json", {"versions": versions, "masks": masks})
    own = segment_anything_masks(test_image(SIZES["sam"]))
    print(f"sam: {len(own)} masks of segment-anything")
    _write(folder / "segment_anything.json", {"versions": {"torch": torch.__version__}, "masks": {"sam": own}})


def _write(path: Path, value: dict) -> None:
    path.write_text(json.dumps(value, indent=1) + "\n")


if __name__ == "__main__":
    main()
