"""Which options change the memory, under every name they have."""

from __future__ import annotations

from quarterdeck.hardware.fit.options import llama_options, padded, vllm_options


def test_the_defaults_are_those_of_each_backend() -> None:
    embedded, server, ollama = (llama_options({}, name) for name in ("embedded", "llama-server", "ollama"))
    assert (embedded.parallel, embedded.every_output, embedded.pooled, embedded.n_batch) == (1, True, True, 512)
    assert (server.parallel, server.unified, server.every_output, server.n_batch) == (4, True, False, 2048)
    assert (ollama.parallel, ollama.unified) == (1, False)
    assert llama_options({}, "ollama", usual_ctx=4096).n_ctx == 4096


def test_other_names_mean_the_same() -> None:
    assert llama_options({"ctx_size": 8192}, "embedded").n_ctx == 8192
    assert llama_options({"--ctx-size": 8192}, "llama-server").n_ctx == 8192
    assert llama_options({"num_ctx": 8192}, "ollama").n_ctx == 8192
    assert llama_options({"flash_attn": "off"}, "embedded").flash is False
    assert llama_options({"flash_attention": False}, "ollama").flash is False
    assert llama_options({"num_gpu": 10}, "ollama").gpu_layers == 10
    assert llama_options({"kv_type": "q8_0"}, "embedded").value_type == "q8_0"
    assert vllm_options({"max-model-len": 2048}).max_model_len == 2048


def test_options_may_hide_under_extra_arguments() -> None:
    assert llama_options({"extra_args": {"swa_full": True}}, "embedded").swa_full is True
    assert llama_options({"extra_args": ["--swa-full"]}, "llama-server").swa_full is False


def test_what_cannot_be_used_is_passed_over() -> None:
    assert llama_options({"n_ctx": -5, "n_parallel": "many", "n_ubatch": True}, "embedded").n_ctx == 0
    assert vllm_options({"gpu_memory_utilization": 7}).utilization == 0.92
    assert llama_options({"n_gpu_layers": -1}, "embedded").gpu_layers is None
    assert llama_options({"n_gpu_layers": 0}, "embedded").gpu_layers == 0


def test_vllm_remembers_which_defaults_depend_on_the_card() -> None:
    assert vllm_options({"max_num_seqs": 16}).given == {"max_num_seqs"}


def test_caches_are_rounded_up_to_256_cells() -> None:
    assert [padded(cells) for cells in (1, 256, 257, 4000)] == [256, 256, 512, 4096]
