"""The sizes that engines print of their own memory, as they really print them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quarterdeck.backends.buffers import Buffers, parse_buffers

MIB, GIB = 1 << 20, 1 << 30

EMBEDDED = """\
0.00.242.415 I load_tensors: loading model tensors, this can take a while... (load_mode = mmap)
0.00.258.515 I load_tensors:   CPU_Mapped model buffer size =    46.10 MiB
0.00.258.516 I load_tensors:   CPU_REPACK model buffer size =    40.00 MiB
0.00.261.702 I llama_context: n_seq_max             = 2
0.00.261.702 I llama_context: n_ctx                 = 4096
0.00.261.702 I llama_context: n_ctx_seq             = 2048
0.00.261.708 I llama_context: n_ctx_seq (4096) < n_ctx_train (8192) -- the full capacity will not be utilized
0.00.261.729 I llama_context:        CPU  output buffer size =     0.19 MiB
0.00.261.806 I llama_kv_cache:        CPU KV buffer size =    60.00 MiB
0.00.298.763 I llama_kv_cache: size =   60.00 MiB (  4096 cells,  30 layers,  1/1 seqs), K (f16):   30.00 MiB
0.00.298.800 I llama_kv_cache:        CPU KV buffer size =    30.00 MiB
0.00.298.801 I llama_memory_recurrent:        CPU RS buffer size =     0.15 MiB
0.00.301.449 I sched_reserve:        CPU compute buffer size =   105.65 MiB
"""

OLLAMA = """\
load_tensors: loading model tensors, this can take a while... (mmap = true)
load_tensors: offloading 32 repeating layers to GPU
load_tensors: offloaded 33/33 layers to GPU
load_tensors:   CPU_Mapped model buffer size =   281.81 MiB
load_tensors:        CUDA0 model buffer size =  4403.49 MiB
llama_context:  CUDA_Host  output buffer size =     0.50 MiB
llama_kv_cache_unified:      CUDA0 KV buffer size =   512.00 MiB
llama_context:      CUDA0 compute buffer size =   258.50 MiB
llama_context:  CUDA_Host compute buffer size =    16.01 MiB
"""

VLLM = """\
INFO 11-21 01:58:16 [gpu_model_runner.py:5150] Model loading took 5.2 GiB memory and 2.125 seconds
INFO 11-21 01:58:30 [gpu_worker.py:760] Available KV cache memory: 7.36 GiB
INFO 11-21 01:58:30 [kv_cache_utils.py:2328] GPU KV cache size: 137,792 tokens, Maximum concurrency: 33x
INFO 11-21 01:58:50 [gpu_model_runner.py:6582] Graph capturing finished in 20 secs, took 0.55 GiB
INFO 11-21 01:58:50 [gpu_worker.py:1016] Actual usage is 5.3 GiB for consumed memory (weights + non-torch), 1.41 GiB \
for peak activation, and 0.55 GiB for CUDAGraph memory.
"""


def parsed(text: str) -> Buffers:
    found = parse_buffers(text.splitlines())
    assert found is not None
    return found


def mib(sizes: dict[str, int]) -> dict[str, float]:
    return {name: round(size / MIB, 2) for name, size in sizes.items()}


def test_llama_cpp_without_a_gpu() -> None:
    found = parsed(EMBEDDED)
    assert mib(found.host) == {
        "weights": 46.1, "repacked": 40.0, "output": 0.19, "kv_cache": 90.0, "state": 0.15, "compute": 105.65,
    }  # fmt: skip
    assert (found.gpu, found.n_ctx, found.parallel, found.gpu_layers) == ({}, 4096, 2, 0)


def test_llama_cpp_with_a_gpu() -> None:
    found = parsed(OLLAMA)
    assert mib(found.gpu) == {"weights": 4403.49, "kv_cache": 512.0, "compute": 258.5}
    assert mib(found.host) == {"weights": 281.81, "output": 0.5, "compute": 16.01}
    assert found.gpu_layers == 33


def test_only_the_last_load_counts() -> None:
    assert parsed(OLLAMA + EMBEDDED).gpu == {}
    assert parsed(EMBEDDED + EMBEDDED) == parsed(EMBEDDED)


def test_a_buffer_that_is_reserved_anew_replaces_the_one_before() -> None:
    again = EMBEDDED + "sched_reserve:        CPU compute buffer size =   200.00 MiB\n"
    assert parsed(again).part("compute") == 200 * MIB


def test_vllm() -> None:
    found = parsed(VLLM)
    assert found.gpu == {
        "weights": round(5.2 * GIB), "kv_cache": round(7.36 * GIB), "compute": round(1.41 * GIB),
        "cuda_graphs": round(0.55 * GIB),
    }  # fmt: skip
    assert (found.cache_tokens, found.cache_bytes, found.missing_bytes) == (137_792, round(7.36 * GIB), None)


def test_vllm_whose_cache_came_out_negative() -> None:
    found = parsed("Model loading took 14.27 GB\nAvailable KV cache memory: -1.50 GiB\n")
    assert (found.missing_bytes, found.part("kv_cache")) == (round(1.5 * GIB), 0)


def test_vllm_on_the_processor() -> None:
    found = parsed(
        "[cpu_worker.py:260] Explicitly set (1.0/9.21) GiB for KV cache on node 0.\n"
        "[kv_cache_utils.py:2327] CPU KV cache size: 46,592 tokens, Maximum concurrency\n"
    )
    assert (found.host, found.cache_tokens, found.cache_bytes) == ({"kv_cache": GIB}, 46592, None)


@pytest.mark.parametrize(
    "text", ["", "listening on 127.0.0.1:8080", "CPU KV buffer size = 3 MiB", "KV cache size: 5 tokens"]
)
def test_an_engine_that_prints_no_sizes(text: str) -> None:
    assert parse_buffers([text]) is None


@given(st.lists(st.text(max_size=80), max_size=20))
def test_any_lines_are_read_without_an_error(lines: list[str]) -> None:
    parse_buffers(lines)
    parse_buffers([*EMBEDDED.splitlines(), *lines])
