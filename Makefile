# `make test` and every other target do their own set-up.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: install demo test lint types check-fast peers peers-fixture clean help

help:
	@echo "make install   virtual environment in .venv with everything (torch for the CPU)"
	@echo "make demo      the whole method on rendered streets, offline: goodsam-demo/report.html (about 8 minutes)"
	@echo "make test      lint, types and all tests"
	@echo "make lint      style only"
	@echo "make peers     second environment for comparing with other mask generators (5.5 GB)"

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt torch==2.13.0
	$(BIN)/pip install --quiet --constraint constraints.txt --editable ".[dev]"
	touch $@

demo: $(STAMP)
	$(BIN)/goodsam demo --out goodsam-demo

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP)
	$(BIN)/mypy

test: lint types
	$(BIN)/pytest

peers: .venv-peers/.installed

.venv-peers/.installed: constraints-peers.txt
	$(PYTHON) -m venv .venv-peers
	.venv-peers/bin/pip install --quiet --constraint constraints-peers.txt torch torchvision "transformers==5.23.0" segment-anything pycocotools
	touch $@

peers-fixture: peers
	.venv-peers/bin/python tools/peer_masks.py tests/data/peer_masks

clean:
	rm -rf $(VENV) .venv-peers .pytest_cache .mypy_cache .ruff_cache
