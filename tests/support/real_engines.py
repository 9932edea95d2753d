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


LONG = "LONG_TESTS" in os.environ
"""Whether tests run that take minutes."""


def missing(program: Path) -> str | None:
    """Why nothing is tested with a program; None where it is there."""
    if program in (VLLM, VLLM_MODEL) and not LONG:
        return "every start of vLLM takes most of a minute: without LONG_TESTS=1"
    return None if program.exists() else f"{program.name} is not installed:"


def needs(program: Path, what: str) -> pytest.MarkDecorator:
    """Skips a test that cannot have `program`, saying what is then not tested."""
    why = missing(program)
    return pytest.mark.skipif(why is not None, reason=f"{why} {what} is not tested")
