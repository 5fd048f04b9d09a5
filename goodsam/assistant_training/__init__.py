"""`goodsam assistant train`: an assistant from labelled photos, fine-tuned or from random weights."""
