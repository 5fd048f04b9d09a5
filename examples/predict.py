"""Label one panorama and say how much of the view each class takes: python examples/predict.py RUN/student PHOTO"""

import sys

from PIL import Image

import goodsam

student, photo = sys.argv[1:]
prediction = goodsam.load(student).predict(photo)

Image.fromarray(prediction.labels).save("labels.png")
Image.fromarray(prediction.overlay()).save("overlay.jpg")
for name, share in zip(prediction.label_set.names, prediction.shares(), strict=True):
    if share > 0.01:
        print(f"{name:15} {100 * share:5.1f} % of the view (solid angle)")
