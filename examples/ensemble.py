"""The method by hand on one panorama: views -> masks and probabilities -> merged -> fused.

python examples/ensemble.py PANORAMA ASSISTANT.onnx
"""

import sys
from pathlib import Path

from PIL import Image

from goodsam.config import FusionOptions
from goodsam.dar.fusion import fuse, name_masks
from goodsam.panorama import read_panorama
from goodsam.teachers.assistant import load_assistant, predict_views
from goodsam.teachers.regions import load_regions
from goodsam.views import Merger, cut, lay_views

photo, name = sys.argv[1:]
panorama = read_panorama(Path(photo))
teacher, assistant = load_regions(), load_assistant(name)

merger = Merger(panorama.geometry, len(assistant.label_set))
named = []
for view, output in predict_views(assistant, panorama, lay_views(panorama.geometry)):
    masks = teacher.masks(cut(panorama, view))
    merger.add(view, output.probabilities[0])
    named.append(name_masks(view, masks, output.probabilities[0], FusionOptions()))
merged = merger.result()
ensemble = fuse(merged, named, panorama.geometry)

changed = (merged.argmax(0) != ensemble.argmax(0)).float().mean()
Image.fromarray(assistant.label_set.colorize(ensemble.argmax(0).byte().numpy())).save("ensemble.png")
print(f"{sum(len(item.masks) for item in named)} masks changed the class of {100 * changed:.1f} % of the pixels")
