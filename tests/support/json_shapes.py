"""Any JSON, for what must never be stumbled over."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip


def objects_with(names: Sequence[str], depth: int = 3) -> st.SearchStrategy[dict[str, Any]]:
    """Objects whose fields have names that matter, with values of any shape, nested up to `depth`."""
    inner = values if depth == 0 else values | objects_with(names, depth - 1)
    return st.dictionaries(st.sampled_from(names), inner | st.lists(inner, max_size=2), max_size=5)
