"""What llama.cpp needs: sizes it printed itself, and laws that hold for every model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from gguf_models import Recipe, write_model
from hypothesis import given, settings
from hypothesis import strategies as st
from shapes import MIB, dense, small_shapes

from quarterdeck.hardware.fit.llama import Need, cache_of, llama_need
from quarterdeck.hardware.fit.options import LlamaOptions, llama_options
from quarterdeck.registry.shapes import shape_of
from quarterdeck.registry.starter import starter_file
from quarterdeck.schemas.shape import LayerShape, ModelShape

CONTEXTS = st.integers(1, 160).map(lambda number: number * 256)


def mib(need: Need, name: str) -> float:
    return need.part(name) / MIB


@pytest.mark.parametrize(
    ("config", "kv", "compute", "output"),
    [
        ({"n_ctx": 4096}, 90.0, 105.65, 0.19),
        ({"n_ctx": 4096, "cache_type_k": "q8_0", "cache_type_v": "q8_0"}, 47.81, 105.65, 0.19),
    ],
)
def test_the_starter_model_as_the_engine_printed_it(
    config: dict[str, object], kv: float, compute: float, output: float
) -> None:
    path = starter_file()
    if path is None:
        pytest.skip("the starter model is not installed; the sizes of a real model are not compared")
    need = llama_need(shape_of(path), llama_options(config, "embedded"), gpu_layers=0)
    assert mib(need, "weights") == pytest.approx(92.10, abs=0.01)
    assert mib(need, "kv_cache") == pytest.approx(kv, abs=0.01)
    assert mib(need, "compute") == pytest.approx(compute, rel=0.01)
    assert mib(need, "output") == pytest.approx(output, abs=0.01)


# What the engine printed for these made models: weights, KV cache with state, compute buffer, in MiB.
PRINTED = [
    (Recipe("llama"), {"n_ctx": 8192}, 5.19, 8.0, 15.02),
    (Recipe("llama"), {"n_ctx": 32768}, 5.19, 32.0, 39.02),
    (Recipe("llama"), {"n_ctx": 8192, "n_ubatch": 128}, 5.19, 8.0, 3.76),
    (Recipe("llama"), {"n_ctx": 8192, "cache_type_k": "q8_0"}, 5.19, 6.12, 15.02),
    (Recipe("llama"), {"n_ctx": 8192, "flash_attention": "off"}, 5.19, 8.0, 147.27),
    (Recipe("llama"), {"n_ctx": 8192, "n_parallel": 4, "embeddings": False}, 5.19, 8.0, 9.02),
    (Recipe("llama"), {"n_ctx": 8192, "n_parallel": 4, "kv_unified": True, "embeddings": False}, 5.19, 8.0, 15.02),
    (Recipe("qwen2"), {"n_ctx": 4096}, 5.19, 4.0, 14.52),
    (Recipe("qwen3"), {"n_ctx": 4096}, 5.19, 4.0, 14.52),
    (Recipe("gemma2"), {"n_ctx": 4096}, 4.13, 2.5, 15.53),
    (Recipe("gemma3"), {"n_ctx": 4096}, 4.13, 1.0, 11.52),
    (Recipe("llama-moe"), {"n_ctx": 4096}, 21.95, 4.0, 15.52),
    (Recipe("qwen2moe"), {"n_ctx": 4096}, 11.60, 4.0, 14.52),
    (Recipe("qwen3moe"), {"n_ctx": 4096}, 9.21, 4.0, 14.52),
    (Recipe("deepseek2"), {"n_ctx": 4096}, 9.43, 5.0, 14.52),
    (Recipe("mamba"), {"n_ctx": 4096}, 4.13, 0.15, 10.51),
    (Recipe("jamba"), {"n_ctx": 4096}, 6.19, 1.11, 14.52),
]


@pytest.mark.parametrize(("recipe", "config", "weights", "cache", "compute"), PRINTED)
def test_made_models_as_the_engine_printed_them(
    recipe: Recipe, config: dict[str, object], weights: float, cache: float, compute: float, tmp_path: Path
) -> None:
    shape = shape_of(write_model(tmp_path / "made.gguf", recipe))
    need = llama_need(shape, llama_options(config, "embedded"), gpu_layers=0)
    assert mib(need, "weights") == pytest.approx(weights, abs=0.01)
    assert mib(need, "kv_cache") + mib(need, "state") == pytest.approx(cache, abs=0.02)
    assert mib(need, "compute") == pytest.approx(compute, rel=0.02)


def test_a_window_needs_its_length_and_one_batch_unless_the_whole_cache_is_asked_for() -> None:
    shape = dense(4, window=1024)
    assert cache_of(shape, LlamaOptions(n_ctx=32768)).window_cells == 1024 + 512
    assert cache_of(shape, LlamaOptions(n_ctx=32768, n_ubatch=100)).window_cells == 1280
    assert cache_of(shape, LlamaOptions(n_ctx=1000)).window_cells == 1024
    assert cache_of(shape, LlamaOptions(n_ctx=32768, swa_full=True)).window_cells == 32768
    together = LlamaOptions(n_ctx=32768, parallel=4, unified=True)
    assert cache_of(shape, together).window_cells == 4 * 1024 + 512


def test_requests_side_by_side_share_the_context_rounded_up() -> None:
    shape = dense(4)
    assert cache_of(shape, LlamaOptions(n_ctx=4096, parallel=3)).cells == 1536
    assert cache_of(shape, LlamaOptions(n_ctx=4096, parallel=3, unified=True)).n_ctx == 4096
    assert cache_of(shape, LlamaOptions()).n_ctx == shape.n_ctx_train


def test_every_request_has_a_recurrent_state_whatever_the_context() -> None:
    recurrent = LayerShape(weight_bytes=MIB, state_values=1000, ffn_length=512)
    shape = ModelShape("mamba", (recurrent,) * 3, 256, 1000, MIB, MIB, 5 * MIB, inner_length=512)
    for n_ctx in (256, 65536):
        need = llama_need(shape, LlamaOptions(n_ctx=n_ctx, parallel=2), gpu_layers=0)
        assert (need.part("state"), need.part("kv_cache")) == (3 * 1000 * 4 * 2, 0)


def test_a_file_that_tells_of_no_attention_is_estimated_all_the_same() -> None:
    silent = LayerShape(weight_bytes=MIB, ffn_length=512)
    shape = ModelShape("unheard-of", (silent,) * 3, 256, 1000, MIB, MIB, 5 * MIB)
    need = llama_need(shape, LlamaOptions(n_ctx=512), gpu_layers=0)
    assert need.part("kv_cache") == 0
    assert need.part("compute") > 0


def test_an_encoder_keeps_no_cache() -> None:
    need = llama_need(replace(dense(2), cached=False), LlamaOptions(n_ctx=512), gpu_layers=0)
    assert need.part("kv_cache") == 0


def test_the_table_of_tokens_stays_in_main_memory_and_is_there_twice_when_it_is_the_output_too() -> None:
    plain, tied = dense(4), dense(4, tied=True)
    everything = llama_need(plain, LlamaOptions(n_ctx=512), gpu_layers=5)
    assert everything.host["weights"] == plain.embedding_bytes
    assert everything.gpu["weights"] == plain.weight_bytes - plain.embedding_bytes
    doubled = llama_need(tied, LlamaOptions(n_ctx=512), gpu_layers=5)
    assert doubled.part("weights") == tied.weight_bytes + tied.embedding_bytes
    assert llama_need(tied, LlamaOptions(n_ctx=512), gpu_layers=0).part("weights") == tied.weight_bytes


def test_the_last_layers_go_to_the_gpu_first_and_take_their_cache_along() -> None:
    layers = tuple(
        LayerShape(weight_bytes=1 << n, heads=1, kv_heads=1, key_length=64, value_length=64) for n in range(4)
    )
    shape = ModelShape("llama", layers, 64, 100, 1 << 10, 1 << 12, 0)
    need = llama_need(shape, LlamaOptions(n_ctx=256), gpu_layers=3)
    assert need.gpu["weights"] == (1 << 3) + (1 << 2) + (1 << 12)
    assert need.gpu["kv_cache"] == need.host["kv_cache"]
    kept = llama_need(shape, LlamaOptions(n_ctx=256, cache_on_gpu=False), gpu_layers=5)
    assert "kv_cache" not in kept.gpu


def test_weights_in_an_order_of_their_own_are_only_needed_where_the_processor_computes() -> None:
    shape = replace(dense(2), output_repacked_bytes=7)
    shape = replace(shape, layers=tuple(replace(layer, repacked_bytes=100) for layer in shape.layers))
    assert llama_need(shape, LlamaOptions(n_ctx=256), gpu_layers=0).part("repacked") == 207
    assert llama_need(shape, LlamaOptions(n_ctx=256), gpu_layers=2).part("repacked") == 100
    assert llama_need(shape, LlamaOptions(n_ctx=256), gpu_layers=3).part("repacked") == 0


def test_a_correction_leaves_alone_what_is_known() -> None:
    need = llama_need(dense(4), LlamaOptions(n_ctx=512), gpu_layers=5)
    doubled = need.corrected(2.0)
    assert doubled.part("weights") == need.part("weights")
    assert doubled.part("compute") == 2 * need.part("compute")


@settings(max_examples=60, deadline=None)
@given(small_shapes(), CONTEXTS, st.integers(1, 8), st.booleans())
def test_a_longer_context_never_needs_less(shape: ModelShape, n_ctx: int, parallel: int, unified: bool) -> None:
    def total(context: int) -> Need:
        return llama_need(shape, LlamaOptions(n_ctx=context, parallel=parallel, unified=unified), gpu_layers=99)

    shorter, longer = total(n_ctx), total(2 * n_ctx)
    assert longer.part("kv_cache") >= shorter.part("kv_cache")
    # Gaps of the compute buffer may fall better for once, but never by more than the cache grows and some percent.
    assert longer.total_bytes >= shorter.total_bytes * 0.98


@settings(max_examples=60, deadline=None)
@given(small_shapes(), CONTEXTS)
def test_smaller_numbers_in_the_cache_need_less(shape: ModelShape, n_ctx: int) -> None:
    sizes = [
        llama_need(shape, LlamaOptions(n_ctx=n_ctx, key_type=kind, value_type=kind), gpu_layers=0).part("kv_cache")
        for kind in ("f32", "f16", "q8_0", "q5_1", "q4_0")
    ]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[2] * 16 == pytest.approx(sizes[1] * 8.5, abs=16 * len(shape.layers))


@settings(max_examples=60, deadline=None)
@given(small_shapes(), CONTEXTS, st.integers(0, 8))
def test_what_leaves_the_gpu_arrives_in_main_memory(shape: ModelShape, n_ctx: int, layers: int) -> None:
    whole = llama_need(shape, LlamaOptions(n_ctx=n_ctx), gpu_layers=0)
    split = llama_need(shape, LlamaOptions(n_ctx=n_ctx), gpu_layers=layers)
    assert split.part("kv_cache") == whole.part("kv_cache")
    copied = shape.embedding_bytes if shape.tied and layers else 0
    assert split.part("weights") == whole.part("weights") + copied
