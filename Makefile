.DEFAULT_GOAL := help
.PHONY: help install run test unit lint format bench clean

help:
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: ## hftray, editable, with everything the tests need
	python -m pip install --editable '.[test]'

run: ## start trading a simulated market (Ctrl-C stops it)
	python -m hftray.cli up

test: ## all tests
	python -m pytest

unit: ## only the fast tests, without Ray and PostgreSQL
	python -m pytest tests/unit

lint: ## style, types and the import rule
	ruff check .
	ruff format --check .
	mypy
	lint-imports

format: ## put every file into shape
	ruff check --fix .
	ruff format .

bench: ## run every benchmark
	@for script in $$(grep -l __main__ benchmarks/*.py); do echo "== $$script"; python "$$script" || exit 1; done

clean: ## remove what builds and tools leave behind
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find hftray tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
