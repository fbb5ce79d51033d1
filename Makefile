# Names for people; the work is in noxfile.py and in qualification/.
PYTHON ?= python3
NOX = .venv/bin/nox
export MATRIX ?= release
export BASE ?=

.PHONY: qualify test lint bench compare plan resume verdict report verify lock clean
qualify: $(NOX) ; $(NOX) -s plan qualify verdict
test:    $(NOX) ; $(NOX) -s test
lint:    $(NOX) ; $(NOX) -s lint
bench:   $(NOX) ; $(NOX) -s bench -- $(ARGS)
compare: $(NOX) ; $(NOX) -s compare -- $(ARGS)
plan:    $(NOX) ; $(NOX) -s plan -- $(or $(ARGS),--show)
resume:  $(NOX) ; $(NOX) -s qualify verdict -- --resume
verdict: $(NOX) ; $(NOX) -s verdict
report:  $(NOX) ; .venv/bin/python -m qualification report $(or $(ARGS),show reports/latest)
verify:  $(NOX) ; .venv/bin/python -m qualification report verify $(or $(ARGS),reports/latest)
lock:    $(NOX) ; $(NOX) -s lock
clean:          ; rm -rf .venv .nox build dist

$(NOX): qualification/constraints.txt Makefile
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 10) or sys.exit("$(PYTHON) is Python %d.%d; this needs 3.10 or newer: make PYTHON=python3.12" % sys.version_info[:2])'
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install -qq --disable-pip-version-check -c qualification/constraints.txt jinja2 jsonschema nox psutil pyyaml rich
	-@.venv/bin/python -m pip install -qq --disable-pip-version-check -c qualification/constraints.txt uv
	@touch $@
