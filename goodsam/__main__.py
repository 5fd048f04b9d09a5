"""`python -m goodsam` and `accelerate launch -m goodsam`."""

from goodsam.cli import main

main()
