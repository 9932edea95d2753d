"""Reads imports with the options of the real engines."""

from __future__ import annotations

import pytest

from quarterdeck.backends.embedded import EmbeddedBackend
from quarterdeck.backends.llama_options import SHARED
from quarterdeck.backends.ollama_options import OPTIONS as OLLAMA_OPTIONS
from quarterdeck.backends.options import EXTRA_ARGS
from quarterdeck.backends.vllm_options import OPTIONS as VLLM_OPTIONS
from quarterdeck.errors import AppError
from quarterdeck.registry.importers import ImportPlan, PlannedModel, preview
from quarterdeck.registry.importers.arguments import Engines

LLAMA_OPTIONS = (*SHARED, EXTRA_ARGS)
ENGINES: Engines = {
    "embedded": EmbeddedBackend.options, "llama-server": LLAMA_OPTIONS, "vllm": VLLM_OPTIONS, "ollama": OLLAMA_OPTIONS,
}  # fmt: skip


def read(text: str, name: str = "file", format: str | None = None) -> ImportPlan:
    return preview(text, name=name, format=format, engines=ENGINES)


def only(plan: ImportPlan) -> PlannedModel:
    [entry] = plan.models
    return entry


def refused(text: str, name: str = "file", format: str | None = None) -> AppError:
    with pytest.raises(AppError) as caught:
        read(text, name, format)
    assert caught.value.sentence
    assert caught.value.hint
    return caught.value
