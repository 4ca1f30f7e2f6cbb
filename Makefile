PYTHON ?= python3
export PATH := $(CURDIR)/.venv/bin:$(PATH)

.PHONY: env run test check format stubs dashboards packages bench accuracy simulate crashes chaos pure-v2 clean

# Everything needed to run and to work on joulebook, in .venv.
env: .venv/.done
.venv/.done: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "joulebook needs Python 3.11 or later; $$($(PYTHON) --version) found. Say: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "no venv in $$($(PYTHON) --version). On Debian: apt-get install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[collector,dev]'
	touch $@

# A collector and an agent that measures this very machine.
run: env
	exec joulebook up

# The Debian packages that tests start servers from.
packages:
	deploy/install-packages

test: env packages check
	tests/suite

# Format, lint, types, import contracts, the wire contract, and generated files that must not drift.
check: env
	ruff format --check .
	ruff check .
	mypy
	lint-imports
	cd proto && buf lint
	cd proto && buf breaking --against '../.git#ref=$(shell git describe --tags --abbrev=0 2>/dev/null || echo HEAD),subdir=proto'
	proto/check-stubs
	@python -m joulebook.agent.source_reference | diff -q - docs/sources.md >/dev/null || { echo "docs/sources.md is not what the sources' FACTS give: run make stubs" >&2; exit 1; }
	deploy/grafana/check-dashboards

format: env
	ruff check --fix .
	ruff format .

# Python stubs from the .proto files, and the references of metrics and sources.
stubs: env
	proto/generate
	python -m joulebook.v1.reference >docs/metrics.md
	python -m joulebook.agent.source_reference >docs/sources.md

# Grafana's dashboards, from deploy/grafana/generator.
dashboards: env
	python -m deploy.grafana.generator

# Costs and rates beside the peers', measured in one run; PARTS="ticks gauges" for some; writes build/bench.json.
bench: env packages
	python -m tests.bench $(PARTS)

# Everybody's error per job, on simulated machines of known truth; writes build/accuracy.json.
accuracy: env
	python -m tests.accuracy

# Agents, network, collectors and stores under seeded faults: SEEDS=10000 FROM=0 JOBS=2, or SEED=123 with its trace.
simulate: env
	python -m tests.simulation $(if $(SEED),--seed $(SEED),--seeds $(or $(SEEDS),200) --from $(or $(FROM),0) $(if $(JOBS),--jobs $(JOBS)))

# The embedded store's file operations, cut short by kills and power cuts after every EVERY=1 of them: SEED=0.
crashes: env
	python -m tests.crashes --every $(or $(EVERY),1) --seed $(or $(SEED),0)

# Real agents, collectors and stores, killed, cut off and on full disks; needs root. ROUNDS=20 NODES=3 SEED=1, and
# STORES=duckdb,influxdb,victoriametrics for some.
chaos: env packages
	python -m tests.system.chaos --rounds $(or $(ROUNDS),5) --nodes $(or $(NODES),3) --seed $(or $(SEED),1) $(if $(STORES),--stores $(STORES))

# Slurm's tests and those of workloads on a kernel of its own with cgroup v2 alone, under systemd: TESTS="FILE ...".
pure-v2: env packages
	python -m tests.system.pure_v2 $(TESTS)

clean:
	rm -rf .venv build
