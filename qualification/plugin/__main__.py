"""``python -m qualification.plugin``: pytest as a cell starts it, with this plugin and pytest-timeout.

They are handed over as modules. For every plugin that ``-p`` names, pytest reads the entry points of all distributions that are
installed, and in an environment with an ML stack that takes as long as to start the interpreter.
"""

from __future__ import annotations

import pytest
import pytest_timeout

from qualification import plugin

raise SystemExit(pytest.main(plugins=[plugin, pytest_timeout]))
