"""Titles of causes as parts of longer sentences."""

from __future__ import annotations

import pytest

from quarterdeck.diagnosis.titles import continued


@pytest.mark.parametrize(
    ("title", "behind_a_colon"),
    [
        ("The context does not fit into memory", "the context does not fit into memory"),
        ("A program is missing", "a program is missing"),
        ("Ollama does not answer", "Ollama does not answer"),
        ("vLLM's engine stopped", "vLLM's engine stopped"),
        ("LM Studio's engine ended", "LM Studio's engine ended"),
        ("CUDA graphs could not be made", "CUDA graphs could not be made"),
        ("ROCm does not support this GPU", "ROCm does not support this GPU"),
        ("", ""),
    ],
)
def test_names_keep_their_capitals(title: str, behind_a_colon: str) -> None:
    assert continued(title) == behind_a_colon
