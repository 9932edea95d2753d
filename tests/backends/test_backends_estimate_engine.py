"""The estimate against the real engine: made models are loaded, and what the engine prints is compared."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from gguf_models import Recipe, write_model
from real_loads import load

pytestmark = [
    pytest.mark.engine,
    pytest.mark.skipif(
        importlib.util.find_spec("xllamacpp") is None,
        reason="the engine is not installed; the estimate is not compared with real loads",
    ),
]

SMALL, LARGE = 2048, 32768
MODELS = [
    (Recipe("llama", vocabulary=32000), {"n_ctx": SMALL}),
    (Recipe("llama", vocabulary=32000), {"n_ctx": LARGE, "cache_type_k": "q8_0", "cache_type_v": "q8_0"}),
    (Recipe("qwen2", tied=True, vocabulary=65536), {"n_ctx": 8192, "embeddings": False}),
    (Recipe("gemma2", window=1024, layers=6), {"n_ctx": LARGE}),
    (Recipe("gemma3", layers=6, ffn=2048), {"n_ctx": LARGE, "cache_type_k": "q8_0", "cache_type_v": "q8_0"}),
    (Recipe("llama-moe", used=4), {"n_ctx": SMALL, "n_parallel": 2}),
    (Recipe("qwen2moe"), {"n_ctx": 8192, "flash_attention": "off"}),
    (Recipe("deepseek2", vocabulary=32000), {"n_ctx": 8192}),
]


@pytest.mark.parametrize(("recipe", "config"), MODELS, ids=[f"{r.architecture}-{c['n_ctx']}" for r, c in MODELS])
def test_a_load_takes_what_was_estimated(recipe: Recipe, config: dict[str, object], tmp_path: Path) -> None:
    seen = load(write_model(tmp_path / "made.gguf", recipe), config)
    assert abs(seen.error) <= 0.03
    for part in ("weights", "kv_cache", "output"):
        assert seen.predicted.part(part) == pytest.approx(seen.printed.part(part), abs=10_500)
    assert seen.predicted.part("compute") == pytest.approx(seen.printed.part("compute"), rel=0.1)
