# Both `make demo` and `make test` set everything up by themselves; see scripts/setup.
PYTHON ?= python3
BIN := .venv/bin
PROJECTS := pyproject.toml agent/pyproject.toml scripts/setup requirements/run.txt requirements/dev.txt
# Tests mostly wait, so there are twice as many processes as processors; each has brokers, ports and folders of its own.
WORKERS ?= $(shell expr 2 \* $$(nproc))
# Its devices are judged by their latency on real load, so nothing else may run beside it.
ALONE := tests/system/test_demo.py
# What the benchmarks share, and what writes down what they found.
NO_BENCHMARKS := $(addprefix benchmarks/,real_bundle.py real_float.py delta_growth.py goals.py report.py) \
	$(wildcard benchmarks/zoo*.py)
BENCHMARKS := $(filter-out $(NO_BENCHMARKS),$(wildcard benchmarks/*.py))

.PHONY: help setup demo test test-arm64 test-boot lint bench zoo sweep fuzz wheels wheelhouse deb container lock licenses sbom audit clean
help:
	@echo "make demo [JSON=out.json] [STAY=1]  the whole story on this machine"
	@echo "make sweep [SAMPLE=1]      every fault of the crash laboratory; the sample within a minute"
	@echo "make test-boot             first boots by a real systemd and cloud-init, of a Debian in namespaces; needs root"
	@echo "make test-arm64            a board from its box to serving, in an emulated arm64 userland; needs root"
	@echo "make fuzz [COUNT=200000]   damaged bytes for every reader of bytes from outside"
	@echo "make wheels                \`skerry demo\` from wheels in a fresh environment, without an index"
	@echo "make wheelhouse [MACHINE=aarch64] [VERSION=3.11]  dist/wheelhouse: what a device installs offline, with hashes"
	@echo "make deb [MACHINE=aarch64 SYSTEM=debian-13]  dist/*.deb: the agent with all that it imports, in /opt/skerry"
	@echo "make container             an OCI image of the agent in dist/, tried: read-only root, no root user (needs root)"
	@echo "make lock [LOCK=--upgrade] writes requirements/*.txt anew"
	@echo "make licenses | sbom | audit   what is installed: licences, CycloneDX files in dist, known advisories"
	@echo "make test | lint | bench | zoo | setup | clean"

setup: .venv/.ready-run

.venv/.ready-run: $(PROJECTS)
	@PYTHON=$(PYTHON) scripts/setup run

.venv/.ready-dev: $(PROJECTS)
	@PYTHON=$(PYTHON) scripts/setup dev

demo: .venv/.ready-run
	@$(BIN)/skerry demo $(if $(JSON),--json-file $(JSON)) $(if $(STAY),--stay)

test: .venv/.ready-dev
	@scripts/setup-system
	@scripts/setup-converters
	@scripts/setup-torch
	@scripts/setup-coral
	@scripts/setup-aarch64
	$(BIN)/pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder --ignore $(ALONE)
	$(BIN)/pytest $(ALONE)

# First boots by a real systemd and cloud-init, of a Debian in namespaces; needs root on Debian.
test-boot: .venv/.ready-dev
	@scripts/setup-system
	@scripts/setup-boot
	SKERRY_BOOT=1 $(BIN)/pytest -v tests/boot

# A board from its box to serving, in an emulated arm64 userland; `make test` runs a sample of it. Needs root on Debian.
test-arm64: .venv/.ready-dev
	@scripts/setup-system
	@scripts/setup-aarch64
	SKERRY_ARM64=full $(BIN)/pytest -v tests/arm64 tests/agent/runner/test_aarch64.py

lint: .venv/.ready-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python scripts/arrows.py

# Runs them all, also after a miss; docs/benchmarks.md says what was found, and the exit code whether all goals were met.
bench: .venv/.ready-dev
	@scripts/setup-system
	@scripts/setup-converters
	@out=$$(mktemp -d); trap 'rm -rf "$$out"' EXIT; \
	for each in $(BENCHMARKS) "benchmarks/delta.py --growth"; do \
	  echo "== $$each"; SKERRY_BENCH_OUT=$$out $(BIN)/python $$each >/dev/null; done; \
	$(BIN)/python benchmarks/report.py $$out docs/benchmarks.md $(BENCHMARKS) delta_growth

# Real models, beside other tools; takes one to two hours, and writes docs/zoo.md.
zoo: .venv/.ready-dev
	@scripts/setup-system
	@scripts/setup-converters
	@scripts/setup-torch
	$(BIN)/python benchmarks/zoo.py --page docs/zoo.md >/dev/null

sweep: .venv/.ready-dev
	@scripts/setup-system
	@PYTHONPATH=. $(BIN)/python -m tests.lab.sweep $(if $(SAMPLE),--sample)
	@$(if $(SAMPLE),,PYTHONPATH=. $(BIN)/python -m tests.lab.identity)
	@$(if $(SAMPLE),,PYTHONPATH=. $(BIN)/python -m tests.lab.settings)
	@$(if $(SAMPLE),,PYTHONPATH=. $(BIN)/python -m tests.lab.agents)

# Reads or refuses each mutant in one line, in bounded time and memory; what does otherwise is saved and named.
fuzz: .venv/.ready-dev
	@PYTHONPATH=. $(BIN)/python -m tests.fuzz $(if $(COUNT),--count $(COUNT))

wheels: .venv/.ready-run
	@PYTHON=$(PYTHON) scripts/check-wheels

wheelhouse: .venv/.ready-run
	@scripts/wheelhouse dist/wheelhouse device $(MACHINE) $(VERSION)

deb: .venv/.ready-run
	@scripts/deb dist $(MACHINE) $(SYSTEM)

container: .venv/.ready-run
	@scripts/container dist $(MACHINE)

lock:
	@PYTHON=$(PYTHON) scripts/lock $(LOCK)

licenses: .venv/.ready-dev
	@$(BIN)/python scripts/licenses.py

sbom: .venv/.ready-run
	@PYTHON=$(PYTHON) scripts/sbom

# Needs the network; says so where there is none. CI does not run it: a new advisory must not fail unchanged code.
audit:
	@PYTHON=$(PYTHON) scripts/audit

clean:
	rm -rf .venv .skerry .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
