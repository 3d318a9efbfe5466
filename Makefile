PYTHON ?= python3
VENV ?= .venv
REQUIREMENTS ?= requirements.txt
PORT ?= 8000
ARGS ?=

export PORT

DEMO := --settings project.demo_settings

BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: help
help: ## Show this list
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

.PHONY: run
run: $(READY) ## Start the demo site on this computer (PORT=8000)
	@$(BIN)/python manage.py migrate --verbosity 0 $(DEMO)
	@$(BIN)/python manage.py demo_setup --sessions 5000 $(DEMO)
	@$(BIN)/python manage.py runserver 127.0.0.1:$(PORT) $(DEMO)

.PHONY: test
test: $(READY) ## Run the tests on each database that answers (ARGS="-k keys" goes to pytest)
	@$(BIN)/python tools/test.py $(ARGS)

.PHONY: versions
versions: $(READY) ## Run the tests on other versions of Python and Django, against the wheel
	@$(BIN)/nox $(if $(ARGS),-- $(ARGS))

.PHONY: coverage
coverage: $(READY) ## Run the tests and show which lines they missed
	@$(BIN)/coverage run -m pytest $(ARGS)
	@$(BIN)/coverage report

.PHONY: lint
lint: $(READY) ## Check style, formatting and the direction of imports
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/lint-imports

.PHONY: format
format: $(READY) ## Mend style and formatting
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

.PHONY: types
types: $(READY) ## Check types with mypy
	@$(BIN)/mypy

.PHONY: mutants
mutants: $(READY) ## Break the core in many small ways and count what the tests notice
	@$(BIN)/python tools/mutants.py $(ARGS)

.PHONY: bench
bench: $(READY) ## Measure speed beside other libraries for docs/performance.md (ARGS="hot" chooses)
	@$(BIN)/python -m benchmarks $(ARGS)

.PHONY: clean
clean: ## Remove what the other targets made, but not the demo's database
	@if [ -e $(READY) ]; then rm -rf $(VENV); fi
	@rm -rf .peers build dist mutants .coverage .hypothesis .*_cache
	@find . -name __pycache__ -prune -exec rm -rf {} +

$(READY): requirements*.txt pyproject.toml
	@if [ ! -e $@ ] && [ -n "$$(ls -A $(VENV) 2>/dev/null)" ]; then \
		echo "$(VENV) was not made by make, which would empty it: remove it, or set VENV." >&2; \
		exit 1; \
	fi
	@echo "Setting up $(VENV)"
	@$(PYTHON) -m venv --clear $(VENV)
	@touch -t 200001010000 $@ # It is make's own from now on, but not ready.
	@$(BIN)/python -m pip install -qq --disable-pip-version-check $(addprefix -r ,$(REQUIREMENTS))
	@touch $@
