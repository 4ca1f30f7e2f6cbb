PY := .venv/bin/python
export PATH := $(CURDIR)/.venv/bin:$(PATH)

.PHONY: env run test check format stubs bench

# Everything needed to work on joulebook, in .venv.
env: .venv/.done
.venv/.done: pyproject.toml
	python3 -m venv .venv
	$(PY) -m pip install --quiet --disable-pip-version-check --editable '.[collector,dev]'
	touch $@
