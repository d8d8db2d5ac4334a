# The Python that .venv was made with, or the system's; `make install PYTHON=python3.11` takes another.
PYTHON ?= $(shell .venv/bin/python -c '' 2>/dev/null && echo .venv/bin/python || echo python3)
# Other versions than the tested ones, both from one index: TORCH_SPEC="torch==X torchvision==Y".
TORCH_SPEC ?=

# A file of DINOv2-S elsewhere, or not the public one, for `make demo-real`, `make study`.
WEIGHTS ?=

.DEFAULT_GOAL := help
.PHONY: help install dev demo demo-det demo-real study study-data claims test test-slow benchmark gpu-check docs lint clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1: \2/p' $(MAKEFILE_LIST)

install: ## install everything into .venv (nothing to do when it is up to date)
	@$(PYTHON) tools/install.py --torch-spec '$(TORCH_SPEC)'

dev: ## install what the tests and checks need, too
	@$(PYTHON) tools/install.py --extra dev --torch-spec '$(TORCH_SPEC)'

demo: install ## make toy streets, convert, train, test on unseen domains, draw images
	.venv/bin/python projects/demo/demo.py

demo-det: install ## the same for detection: make toy streets with boxes, train SoMA and a frozen backbone with DINO, test
	.venv/bin/python projects/demo/demo.py --task detection

demo-real: install ## real streets: download DINOv2-S and CamVid, train by day, test at dusk (half an hour on two cores); WEIGHTS=FILE DATA=FOLDER name them elsewhere
	.venv/bin/python projects/demo/demo.py --task real $(if $(WEIGHTS),--weights '$(WEIGHTS)') $(if $(DATA),--data '$(DATA)')

COMPARE = .venv/bin/python projects/method_comparison/compare.py projects/method_comparison/configs
COMPARISON = --work-dir work_dirs/study $(if $(WEIGHTS),--weights '$(WEIGHTS)')

study: study-data ## train every method on CamVid with three seeds, write docs/notes/study.md (hours; it goes on where it stopped); WEIGHTS=FILE
	$(COMPARE)/study.py $(COMPARISON) --report docs/notes/study.md

claims: study-data ## the same for what is claimed of SoMA and its peers, write docs/notes/claims.md
	$(COMPARE)/claims.py $(COMPARISON) --report docs/notes/claims.md

study-data:
	@$(PYTHON) tools/install.py --extra corruptions --torch-spec '$(TORCH_SPEC)'
	.venv/bin/python tools/download.py $(if $(WEIGHTS),,dinov2_vits14) camvid
	.venv/bin/python tools/convert_datasets/camvid.py data/camvid
	.venv/bin/python projects/toy_streets/make_toy_streets.py data/toy_study --images 300 --val-images 1 --domains gta --size 480x360
	.venv/bin/python tools/convert_datasets/gta.py data/toy_study/gta
	.venv/bin/python tools/make_fractals.py data/fractals --images 200 --size 256

test: dev ## run the tests, in two processes
	.venv/bin/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

test-slow: ## run the tests that take long or need a browser (Debian: apt-get install chromium)
	@$(PYTHON) tools/install.py --extra dev-slow --torch-spec '$(TORCH_SPEC)'
	.venv/bin/python -m pytest -m slow -o norecursedirs='.*' -n 2 --dist loadfile

benchmark: install ## measure against the plain way, write docs/benchmarks.md
	.venv/bin/python benchmarks/run.py

gpu-check: dev ## what only a GPU can tell, in eight minutes: tests on CUDA, operators, speed and memory of the configs
	.venv/bin/python benchmarks/gpu_check.py

docs: ## build the site of docs/ with its API reference into site/
	@$(PYTHON) tools/install.py --extra docs --torch-spec '$(TORCH_SPEC)'
	NO_MKDOCS_2_WARNING=1 .venv/bin/python -m mkdocs build --strict

lint: dev ## check style, docstrings and format
	.venv/bin/python -m ruff check
	.venv/bin/python -m ruff format --check

clean: ## remove caches and build leftovers (not .venv, data, checkpoints, work_dirs)
	rm -rf build dist site *.egg-info .pytest_cache .ruff_cache
	find . -path ./.venv -prune -o -name __pycache__ -type d -exec rm -rf {} +
