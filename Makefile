.PHONY: help setup test gate docs

help: ## list these commands
	@grep -E '^[a-z]+:.*##' Makefile | sed 's/:.*## /	/'

setup: ## install asyncflow with all development tools
	pip install -c constraints.txt -e '.[dev]'

test: ## run the tests
	pytest

gate: ## run every check that a change must pass
	.ci/run

docs: ## serve the documentation
	zensical serve
