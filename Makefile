# Two commands on a fresh machine: `make demo` and `make test`. Each sets up .venv if it is not there.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
TORCH := torch==2.13.0
OUT ?= expunge-demo

.PHONY: demo test town figures ablation bench clean

demo: $(VENV)/.ready
	$(BIN)/expunge demo --out $(OUT)

test: $(VENV)/.ready-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest

# The built-in town model, its oracle, its data and its harm classifier, made anew (see src/expunge/demo/README.md).
town: $(VENV)/.ready
	$(BIN)/python -m expunge.demo.build

# Figures of whole runs, and what each term of the loss is worth: docs/figures.md, docs/ablation.md;
# with TOFU=… MODELS=… of a real model too: docs/tofu800.md.
figures: $(VENV)/.ready
	$(BIN)/python bench/figures.py $(RECIPES)
	test -z "$(TOFU)" || $(BIN)/python bench/real.py

ablation: $(VENV)/.ready
	$(BIN)/python bench/ablation.py

# Time and memory of a step, beside a textbook trainer and TRL: docs/benchmarks.md.
bench: $(VENV)/.ready
	$(BIN)/pip install --quiet --editable '.[bench]'
	$(BIN)/python bench/speed.py

# torch first and by itself: a fixed version takes the small CPU build where one is at hand.
$(VENV)/.ready: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet $(TORCH)
	$(BIN)/pip install --quiet --editable .
	touch $@

$(VENV)/.ready-dev: $(VENV)/.ready
	$(BIN)/pip install --quiet --editable '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) dist expunge-demo
