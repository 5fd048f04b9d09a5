"""The method by hand on one panorama: views -> masks and probabilities -> merged -> fused.

python examples/ensemble.py PANORAMA ASSISTANT.onnx
"""

import sys
from pathlib import Path

from PIL import Image

from goodsam.config import FusionOptions
from goodsam.dar.fusion import fuse
from goodsam.dar.merging import merge_masks
from goodsam.panorama import read_panorama
from goodsam.teachers.assistant import load_assistant, merged_probabilities
from goodsam.teachers.regions import load_regions
from goodsam.views import cut, lay_views

photo, name = sys.argv[1:]
panorama = read_panorama(Path(photo))
teacher, assistant = load_regions(), load_assistant(name)

views = lay_views(panorama.geometry)
masks = merge_masks([(view, teacher.masks(cut(panorama, view))) for view in views], panorama.geometry)
merged = merged_probabilities(assistant, panorama, views)
ensemble = fuse(merged, masks, FusionOptions())

changed = (merged.argmax(0) != ensemble.argmax(0)).float().mean()
Image.fromarray(assistant.label_set.colorize(ensemble.argmax(0).byte().numpy())).save("ensemble.png")
print(f"{len(masks.areas)} masks changed the class of {100 * changed:.1f} % of the pixels")
