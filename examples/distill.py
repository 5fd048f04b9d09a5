"""From a folder of panoramas to a student: python examples/distill.py PANORAMAS RUN ASSISTANT.onnx [STEPS]

Uses the training-free regions and any ONNX segmenter, so that it runs on a laptop; see the README for SAM's weights.
"""

import sys

import goodsam

panoramas, out, assistant, *steps = sys.argv[1:]
student = goodsam.distill(
    panoramas,
    out=out,
    sam="regions",
    assistant=assistant,
    init="random",
    steps=int(steps[0]) if steps else 2000,
)
print("classes:", ", ".join(student.label_set.names))
