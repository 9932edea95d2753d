"""Where real engines are, for tests that use them: named by environment variables, or where they are usually set up."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

# Read when the tests are collected: the tests themselves have another home.
_CACHE = Path(os.environ.get("REAL", Path.home() / ".cache" / "quarterdeck-real"))
OLLAMA = Path(os.environ.get("QUARTERDECK_REAL_OLLAMA", _CACHE / "ollama" / "ollama"))
LITELLM = Path(os.environ.get("QUARTERDECK_REAL_LITELLM", _CACHE / "litellm" / "venv" / "bin" / "litellm"))
VLLM = Path(os.environ.get("QUARTERDECK_REAL_VLLM", _CACHE / "vllm" / "venv" / "bin" / "vllm"))
VLLM_MODEL = Path(os.environ.get("QUARTERDECK_REAL_VLLM_MODEL", _CACHE / "vllm" / "smollm2-hf"))
LLAMA_SERVER = Path(os.environ.get("QUARTERDECK_REAL_LLAMA_SERVER", _CACHE / "llama-server" / "llama-server"))


def needs(program: Path, what: str) -> pytest.MarkDecorator:
    """Skips a test where `program` is not installed, saying what is then not tested."""
    return pytest.mark.skipif(not program.exists(), reason=f"{program.name} is not installed: {what} is not tested")
