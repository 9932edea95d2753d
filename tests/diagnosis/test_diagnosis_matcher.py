"""Recorded logs of real failures, crash signatures, deaths without a word, and the order of causes."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quarterdeck.diagnosis.matcher import LONGEST_EVIDENCE, diagnose, diagnose_log
from quarterdeck.schemas.hardware import NvmlState
from quarterdeck.schemas.models import CauseKind

RECORDED = Path(__file__).parent / "recorded"
HARDWARE, CAPACITY, ENVIRONMENT = CauseKind.HARDWARE, CauseKind.CAPACITY, CauseKind.ENVIRONMENT

FAILURES = {
    "missing-file": ("model_not_found", ENVIRONMENT),
    "truncated-header": ("corrupt_model_file", ENVIRONMENT),
    "truncated-data": ("corrupt_model_file", ENVIRONMENT),
    "wrong-magic": ("corrupt_model_file", ENVIRONMENT),
    "empty": ("corrupt_model_file", ENVIRONMENT),
    "html": ("corrupt_model_file", ENVIRONMENT),
    "unknown-arch": ("unsupported_architecture", ENVIRONMENT),
    "missing-tensor": ("corrupt_model_file", ENVIRONMENT),
    "missing-hparam": ("corrupt_model_file", ENVIRONMENT),
    "bad-chat-template": ("chat_template_missing", ENVIRONMENT),
    "port-in-use": ("port_in_use", ENVIRONMENT),
    "quantized-v-cache": ("bad_load_config", ENVIRONMENT),
    "context-too-large": ("kv_cache_too_small", CAPACITY),
    "context-bad-alloc": ("kv_cache_too_small", CAPACITY),
}


def recorded(name: str) -> list[str]:
    return (RECORDED / f"llamacpp-{name}.log").read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize(("name", "expected"), FAILURES.items())
def test_recorded_failures(name: str, expected: tuple[str, CauseKind]) -> None:
    cause = diagnose(recorded(name), exit_code=1, signal=None, oom_killed=False)
    assert (cause.failure_class, cause.kind) == expected
    assert cause.evidence in "\n".join(recorded(name))
    assert "please check the input params" not in cause.evidence


def test_every_recorded_failure_is_tested() -> None:
    names = {path.stem.removeprefix("llamacpp-") for path in RECORDED.glob("llamacpp-*.log")}
    assert names == {*FAILURES, "ok", "prompt-too-long"}


def test_names_from_the_log_are_in_the_sentence() -> None:
    assert "no-such.gguf" in diagnose(recorded("missing-file"), exit_code=1).sentence
    assert "foobar" in diagnose(recorded("unknown-arch"), exit_code=1).sentence


def test_a_spoiled_request_is_the_cause_only_while_the_engine_lives() -> None:
    log = recorded("prompt-too-long")
    assert diagnose(log).failure_class == "context_overflow"
    assert diagnose(log, signal="SIGSEGV").failure_class == "other"
    assert diagnose(log, exit_code=3).failure_class == "other"


@pytest.mark.parametrize("signal", ["SIGSEGV", "SIGABRT", "SIGILL", "SIGBUS", "SIGFPE", "SIGKILL"])
def test_death_by_signal_with_a_healthy_log(signal: str) -> None:
    cause = diagnose(recorded("ok"), signal=signal)
    assert (cause.failure_class, cause.kind) == ("other", HARDWARE)
    assert signal in cause.sentence
    assert cause.hint


@pytest.mark.parametrize("signal", ["SIGTERM", "SIGINT", "SIGHUP"])
def test_stopped_from_outside_says_nothing_about_the_hardware(signal: str) -> None:
    assert diagnose(recorded("ok"), signal=signal).kind is ENVIRONMENT


def test_killed_for_memory_is_a_matter_of_capacity() -> None:
    cause = diagnose(recorded("missing-file"), signal="SIGKILL", oom_killed=True)
    assert (cause.failure_class, cause.kind) == ("host_oom_killed", CAPACITY)


def test_unknown_exit_names_the_code_and_the_last_telling_line() -> None:
    log = ["0.00.000.100 I srv          init: loading", "0.00.000.200 E srv          init: the flux failed", "bye"]
    cause = diagnose(log, exit_code=42)
    assert (cause.failure_class, cause.kind) == ("other", HARDWARE)
    assert "42" in cause.sentence
    assert "“init: the flux failed”" in cause.sentence
    assert cause.evidence == log[1]


def test_nothing_known_at_all() -> None:
    cause = diagnose([])
    assert (cause.failure_class, cause.kind, cause.evidence) == ("other", HARDWARE, "")
    assert "“" not in cause.sentence


SIGNATURES = [
    ("RuntimeError: Flash-Attention is not available on this card", "flash_attention_unavailable"),
    ("some FLASH-ATTENTION trouble", "flash_attention_unavailable"),
    ("hipErrorUnknown in CreateContext", "create_context_failed"),
    ("createcontext returned 3", "create_context_failed"),
    ("Assertion `x > 0' failed.", "assertion_failed"),
    ("ggml.c:123: GGML_ASSERT(a == b) failed", "assertion_failed"),
    ("kernel.cuh:12: fatal error", "assertion_failed"),
    ("Aborted (core dumped)", "other"),
    ("ABORTED", "other"),
    ("CUDA error: an illegal memory access was encountered", "illegal_memory_access"),
    ("CUDA error: no kernel image is available for execution on the device", "no_kernel_image"),
    ("CUDA error: unspecified launch failure", "illegal_memory_access"),
]


@pytest.mark.parametrize(("line", "expected"), SIGNATURES)
@pytest.mark.parametrize("signal", [None, "SIGABRT"])
def test_crash_signatures_are_hardware(line: str, expected: str, signal: str | None) -> None:
    cause = diagnose(["loading", line, "bye"], exit_code=None if signal else 1, signal=signal)
    assert (cause.failure_class, cause.kind) == (expected, HARDWARE)
    assert cause.evidence == line


CAUSES = [
    ("write: No space left on device", "disk_full", ENVIRONMENT),
    ("gguf_init_from_file: failed to open GGUF file '/m/a.gguf' (Permission denied)", "permission_denied", ENVIRONMENT),
    ("libgomp.so.1: cannot open shared object file: No such file or directory", "missing_dependency", ENVIRONMENT),
    ("ModuleNotFoundError: No module named 'xllamacpp'", "missing_dependency", ENVIRONMENT),
    ("CUDA driver version is insufficient for CUDA runtime version", "driver_too_old", ENVIRONMENT),
    ("tensor 'a' has invalid ggml type 57. should be in [0, 43)", "unsupported_quantization", ENVIRONMENT),
    ("error: invalid argument: --warp", "bad_load_config", ENVIRONMENT),
    ("error loading model vocabulary: unknown pre-tokenizer type: 'new'", "old_gguf_format", ENVIRONMENT),
    ("allocating 1234.00 MiB on device 1: cudaMalloc failed: out of memory", "cuda_oom", CAPACITY),
    ("terminate called after throwing an instance of 'std::bad_alloc'", "host_oom_killed", CAPACITY),
    ("timed out waiting for the runner to start", "timeout_loading", ENVIRONMENT),
    ("rocBLAS error: Cannot read /opt/rocm/lib/TensileLibrary.dat", "hip_rocm_unsupported_gpu", HARDWARE),
    ("unknown model architecture: 'clip'", "unsupported_architecture", ENVIRONMENT),
]


@pytest.mark.parametrize(("line", "expected", "kind"), CAUSES)
def test_causes_stand_above_the_crash_that_they_lead_to(line: str, expected: str, kind: CauseKind) -> None:
    cause = diagnose([line, "GGML_ASSERT(buffer != nullptr) failed", "Aborted (core dumped)"], signal="SIGABRT")
    assert (cause.failure_class, cause.kind) == (expected, kind)


def test_context_that_does_not_fit_beside_the_weights() -> None:
    log = [
        "allocating 100.00 MiB on device 0: cudaMalloc failed: out of memory",
        "alloc_tensor_range: failed to allocate CUDA0 buffer of size 104857600",
        "llama_init_from_model: failed to initialize the context: failed to allocate buffer for kv cache",
        "common_init_: failed to create context with model 'a.gguf'",
    ]
    cause = diagnose(log, exit_code=1)
    assert (cause.failure_class, cause.kind) == ("create_context_failed", CAPACITY)


def test_harmless_lines_explain_nothing() -> None:
    log = [
        "W srv init: security: no API key is set and CORS allows all origins",
        "fit: failed to measure the memory of the extra model, fitting without it: failed to create llama_context",
        "llama_context: flash_attn    = 0",
        "WARNING: flash attention not supported by CPU, memory usage will increase",
    ]
    cause = diagnose(log, exit_code=1)
    assert cause.failure_class == "other"
    assert "1" in cause.sentence


def test_colours_and_length_of_evidence() -> None:
    cause = diagnose(["\x1b[31mCUDA error: out of memory\x1b[0m " + "x" * 1000], exit_code=1)
    assert cause.failure_class == "cuda_oom"
    assert cause.evidence.startswith("CUDA error")
    assert len(cause.evidence) == LONGEST_EVIDENCE


@given(
    log=st.lists(st.text(max_size=200), max_size=20),
    exit_code=st.none() | st.integers(-255, 255),
    signal=st.none() | st.text(max_size=10),
    oom_killed=st.booleans(),
)
def test_always_an_answer(log: list[str], exit_code: int | None, signal: str | None, oom_killed: bool) -> None:
    cause = diagnose(log, exit_code=exit_code, signal=signal, oom_killed=oom_killed)
    assert cause.title
    assert cause.sentence
    assert cause.hint
    assert len(cause.evidence) <= LONGEST_EVIDENCE


def test_a_healthy_line_that_speaks_of_assertions_explains_no_death() -> None:
    log = ["0.00.338.1 W llama_context: setting n_batch = n_ubatch = 512 to avoid assertion failure"]
    assert diagnose(log, exit_code=None, signal="SIGKILL", oom_killed=False).failure_class == "other"


def test_what_a_server_writes_of_its_requests_is_nobodys_last_words() -> None:
    log = ["something odd happened", '[GIN] 2026/11/21 - 07:22:30 | 200 | 48.4µs | 127.0.0.1 | GET "/api/ps"',
           'INFO:     127.0.0.1:41868 - "GET /health HTTP/1.1" 200 OK']  # fmt: skip
    assert "something odd happened" in diagnose(log, signal="SIGABRT").sentence


def test_a_gateway_without_a_master_key_is_told_what_to_do() -> None:
    log = [
        "litellm.proxy.auth.master_key_boot_check.UnsafeMasterKeyError: LiteLLM proxy refused to start: no master key "
        "is set, so every request would be accepted without authentication.",
        "ERROR:    Application startup failed. Exiting.",
    ]
    cause = diagnose(log, exit_code=3)
    assert (cause.failure_class, cause.kind) == ("auth_invalid_key", ENVIRONMENT)
    assert "master key" in cause.sentence


HEALTHY = {
    "an installer's warning": [
        "ERROR: pip's dependency resolver does not currently take into account all the packages that are installed.",
        "facets 1.0 requires numpy<2, but you have numpy 2.1 which is incompatible.",
        "Successfully installed numpy-2.1",
    ],
    "an extension built for an older library": [
        "A module that was compiled using NumPy 1.x cannot be run in",
        "NumPy 2.1.0 as it may crash.",
        "INFO:     Application startup complete.",
    ],
    "an extension that is left out": [
        "Cannot import /opt/ui/custom_nodes/upscale module for custom nodes: No module named 'tiles'",
        "To see the GUI go to: http://127.0.0.1:8188",
    ],
    "a second attempt": [
        "alloc_buffer: allocating 900.00 MiB on device 0: cudaMalloc failed: out of memory",
        "retrying without pipeline parallelism",
        "main: server is listening on http://127.0.0.1:8080",
    ],
    "one request refused, another answered": [
        "ERROR 09-17 05:40:55 [serving.py:200] Error in preprocessing prompt inputs",
        "Traceback (most recent call last):",
        '  File "/opt/serving.py", line 3, in render',
        "jinja2.exceptions.TemplateError: roles of another kind",
        'INFO:     127.0.0.1:50000 - "POST /v1/chat/completions HTTP/1.1" 200 OK',
    ],
}


@pytest.mark.parametrize("log", HEALTHY.values(), ids=HEALTHY)
def test_what_did_no_harm_is_no_failure(log: list[str]) -> None:
    assert diagnose_log(log).kind == "healthy"


@pytest.mark.parametrize(
    ("log", "expected"),
    [
        (["Loading safetensors checkpoint shards:  0%", "torch.OutOfMemoryError: CUDA out of memory."], "cuda_oom"),
        (["ggml_cuda_init: found 1 ROCm devices:", "error: invalid device function"], "hip_rocm_unsupported_gpu"),
        (["CUDA error: invalid device function"], "no_kernel_image"),
        (
            ['[GIN] 2026/11/21 - 07:22:30 | 403 |  1ms |  127.0.0.1 | POST     "/v1/chat/completions"'],
            "cors_blocked",
        ),
        (
            [
                '  File "/opt/api.py", line 3, in find',
                '    raise Exception("Model not found")',
            ],
            "model_not_found",
        ),
    ],
)
def test_words_that_other_causes_have_too(log: list[str], expected: str) -> None:
    assert diagnose_log(log).failure_class == expected


@pytest.mark.parametrize(
    ("state", "failure_class", "title"),
    [
        (NvmlState.GPU_LOST, "other", "The GPU is gone"),
        (NvmlState.VERSION_MISMATCH, "nvml_mismatch", "Driver and its library do not match"),
        (NvmlState.NOT_RESPONDING, "other", "The GPU does not answer"),
        (NvmlState.OK, "other", "The engine crashed"),
    ],
)
def test_the_state_of_the_gpu_explains_an_end_without_words(state: NvmlState, failure_class: str, title: str) -> None:
    cause = diagnose(["loading tensors"], signal="SIGSEGV", nvml=state)
    assert (cause.failure_class, cause.title) == (failure_class, title)


def test_what_the_log_says_counts_above_the_state_of_the_gpu() -> None:
    log = ["CUDA error: out of memory", "  current device: 0"]
    assert diagnose(log, exit_code=1, nvml=NvmlState.GPU_LOST).failure_class == "cuda_oom"
