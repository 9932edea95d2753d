"""The rooms import as pyproject.toml says: upwards only, and the window knows the core only through the client."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# In a process of its own: the linter configures logging and so silences the loggers of every later test.
LINT = "import sys; from importlinter import cli; sys.exit(cli.lint_imports(no_logo=True, no_cache=True))"


def test_the_rooms_keep_their_import_contracts() -> None:
    outcome = subprocess.run([sys.executable, "-c", LINT], cwd=ROOT, capture_output=True, text=True, check=False)
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
