"""What vLLM prints, as it really printed it: progress and causes. And the state file."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quarterdeck.backends.vllm_log import Progress, blame
from quarterdeck.backends.vllm_state import VllmState, read_state, remove_state, tidy_state, write_state
from quarterdeck.backends.vllm_tools import FAMILIES, missing_tools, suggest_tool_flags

RECORDED = Path(__file__).parent / "recorded"


def recorded(name: str) -> list[str]:
    return (RECORDED / f"vllm-{name}.log").read_text(encoding="utf-8", errors="replace").splitlines()


def test_a_good_load_goes_through_its_steps_in_order() -> None:
    progress, steps = Progress(), []
    for line in recorded("ok"):
        steps.append(progress.read([line]))
    assert [(step.words, step.fraction) for step in dict.fromkeys(steps)] == [
        ("starting the engine", None),
        ("preparing the model", None),
        ("reading the model", 0.0),
        ("reading the model", 1.0),
        ("placing the model", None),
        ("setting up the KV cache", None),
        ("opening the server", None),
    ]


@pytest.mark.parametrize(
    ("line", "words", "fraction"),
    [
        ("Capturing CUDA graphs (decode, FULL):  43%|████▎     | 29/67", "capturing CUDA graphs", 0.43),
        ("(EngineCore pid=1) INFO 11-21 01:58:16 [backends.py:1] Dynamo bytecode transform time: 4.1 s",
         "compiling the model", None),
        ("INFO 08-01 [gpu_worker.py:255] Available KV cache memory: 5.36 GiB", "setting up the KV cache", None),
        ("Loading pt checkpoint shards:  25% Completed | 1/4", "reading the model", 0.25),
    ],
)  # fmt: skip
def test_steps_of_a_gpu_are_known(line: str, words: str, fraction: float | None) -> None:
    assert Progress().read([line]) == (words, fraction)


@given(st.lists(st.sampled_from(recorded("ok"))))
def test_a_load_never_goes_back(lines: list[str]) -> None:
    order = ["starting the engine", "preparing the model", "reading the model",
             "placing the model", "compiling the model", "setting up the KV cache", "capturing CUDA graphs",
             "opening the server"]  # fmt: skip
    progress = Progress()
    reached = [order.index(progress.read([line]).words) for line in lines]
    assert reached == sorted(reached)


@pytest.mark.parametrize(
    ("name", "cause"),
    [
        ("no-weights", "RuntimeError: Cannot find any model weights with"),
        ("maxlen-above-kv", "ValueError: To serve at least one request with the model's max seq len (1000000)"),
        ("maxlen-above-model", "Value error, User-specified max_model_len (100000) is greater"),
        ("wrong-hidden", "RuntimeError: The size of tensor a (640) must match"),
        ("port-in-use", "OSError: [Errno 98] Address already in use"),
        ("bad-flag", "vllm: error: unrecognized arguments: --max-model-length 1024"),
        ("st-garbage-header", "OverflowError: cannot fit 'int'"),
        ("tool-choice-no-parser", "TypeError: Error: --enable-auto-tool-choice requires --tool-call-parser"),
        ("kv-space-above-memory", "ValueError: Available memory on node 0"),
        ("unknown-arch", "Value error, The checkpoint you are trying to load has model type `foobar`"),
    ],
)
def test_the_cause_is_found_however_far_up_it_stands(name: str, cause: str) -> None:
    found = blame(recorded(name))
    assert found is not None
    assert found.startswith(cause)


def test_without_an_error_the_last_line_is_told() -> None:
    assert blame(["one", "two"]) == "two"
    assert blame([]) is None


@pytest.mark.parametrize(
    ("architecture", "name", "parser", "reasoning"),
    [
        ("Qwen2ForCausalLM", "Qwen/Qwen2.5-Coder-7B-Instruct-AWQ", "hermes", None),
        ("Qwen3ForCausalLM", "Qwen3-8B", "hermes", "qwen3"),
        ("Qwen3MoeForCausalLM", "Qwen/Qwen3-Coder-30B-A3B-Instruct", "qwen3_coder", None),
        ("LlamaForCausalLM", "meta-llama/Llama-3.1-8B-Instruct", "llama3_json", None),
        ("LlamaForCausalLM", "Meta_Llama_3_8B", "llama3_json", None),
        ("LlamaForCausalLM", "NousResearch/Hermes-3-Llama-3.1-8B", "hermes", None),
        ("Llama4ForConditionalGeneration", "scout", "llama4_pythonic", None),
        ("MistralForCausalLM", "my own finetune", "mistral", None),
        ("GptOssForCausalLM", "openai/gpt-oss-20b", "openai", "openai_gptoss"),
        ("Qwen2ForCausalLM", "deepseek-ai/DeepSeek-R1-Distill-Qwen-7B", None, "deepseek_r1"),
        (None, "GLM-4.5-Air", "glm45", "glm45"),
        ("LlamaForCausalLM", "SmolLM2-135M-Instruct", None, None),
    ],
)
def test_a_family_gets_its_parsers(
    architecture: str | None, name: str, parser: str | None, reasoning: str | None
) -> None:
    flags = suggest_tool_flags(architecture, name)
    assert (flags.get("tool_call_parser"), flags.get("reasoning_parser")) == (parser, reasoning)
    assert flags.get("enable_auto_tool_choice", False) is (parser is not None)


def test_every_family_suggests_something() -> None:
    assert all(family.tool_parser or family.reasoning_parser for family in FAMILIES)


def model(folder: Path, template: str, architecture: str = "Qwen2ForCausalLM") -> Path:
    (folder / "config.json").write_text(json.dumps({"architectures": [architecture]}), encoding="utf-8")
    (folder / "tokenizer_config.json").write_text(json.dumps({"chat_template": template}), encoding="utf-8")
    return folder


def test_a_template_with_tools_and_options_without_is_a_defect(tmp_path: Path) -> None:
    told = missing_tools(model(tmp_path, "{% if tools %}…{% endif %}"), "coder", {})
    assert (
        told
        == "It runs without tool calling. Add to its options: enable_auto_tool_choice and tool_call_parser = hermes."
    )


@pytest.mark.parametrize(
    "config",
    [
        {"enable_auto_tool_choice": True, "tool_call_parser": "hermes"},
        {"extra_args": ["--enable-auto-tool-choice", "--tool-call-parser", "hermes"]},
        {"runner": "pooling"},
        {"chat_template": "{{ messages }}"},
    ],
)
def test_no_defect_where_tools_are_on_or_not_meant(tmp_path: Path, config: dict[str, object]) -> None:
    assert missing_tools(model(tmp_path, "{% if tools %}…{% endif %}"), "coder", config) is None


def test_a_template_without_tools_lacks_nothing(tmp_path: Path) -> None:
    assert missing_tools(model(tmp_path, "{{ messages }}"), "coder", {}) is None
    assert missing_tools(tmp_path / "nowhere", "coder", {}) is None


# -- the state file


@pytest.fixture
def program(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A process that is named vllm and listens on a port."""
    script = tmp_path / "vllm"
    script.write_text(
        "import socket, time\ns = socket.socket(); s.bind(('127.0.0.1', 0)); s.listen()\n"
        "print(s.getsockname()[1], flush=True); time.sleep(60)\n",
        encoding="utf-8",
    )
    with subprocess.Popen([sys.executable, str(script), "serve"], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process, int(process.stdout.readline())
        process.kill()


def state(pid: int, port: int, started_at: float | None = None) -> VllmState:
    created = psutil.Process(pid).create_time() if started_at is None else started_at
    return VllmState("coder", "Qwen2.5-Coder", port, pid, created)


def test_what_is_written_is_read_back_whole(tmp_path: Path) -> None:
    file = tmp_path / "new" / "state.json"
    write_state(file, state(os.getpid(), 24001))
    assert read_state(file) == state(os.getpid(), 24001)
    assert set(json.loads(file.read_text())) == {"logical_name", "served_model_id", "port", "pid", "started_at"}
    assert list(file.parent.iterdir()) == [file]


def test_a_vllm_that_runs_as_the_file_says_is_found(tmp_path: Path, program: tuple[subprocess.Popen[str], int]) -> None:
    process, port = program
    file = tmp_path / "state.json"
    write_state(file, state(process.pid, port))
    found = tidy_state(file)
    assert found is not None
    assert (found.pid, found.port) == (process.pid, port)
    assert file.exists()


def test_a_time_noted_after_the_start_is_no_reason_to_doubt(
    tmp_path: Path, program: tuple[subprocess.Popen[str], int]
) -> None:
    process, port = program
    file = tmp_path / "state.json"
    write_state(file, state(process.pid, port, psutil.Process(process.pid).create_time() + 40))
    assert tidy_state(file) is not None


def test_the_right_process_on_another_port_is_not_believed(
    tmp_path: Path, program: tuple[subprocess.Popen[str], int], free_tcp_port: int
) -> None:
    file = tmp_path / "state.json"
    write_state(file, state(program[0].pid, free_tcp_port))
    assert tidy_state(file) is None
    assert not file.exists()


def test_a_later_process_with_the_same_pid_is_not_believed(
    tmp_path: Path, program: tuple[subprocess.Popen[str], int]
) -> None:
    process, port = program
    file = tmp_path / "state.json"
    write_state(file, state(process.pid, port, psutil.Process(process.pid).create_time() - 60))
    assert tidy_state(file) is None
    assert not file.exists()


def test_a_dead_process_clears_the_file(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    file = tmp_path / "state.json"
    write_state(file, state(process.pid, 24001, 1.0))
    assert tidy_state(file) is None
    assert not file.exists()


def test_a_live_process_of_another_program_clears_the_file(tmp_path: Path) -> None:
    with socket.socket() as listening, subprocess.Popen(["sleep", "60"]) as process:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        file = tmp_path / "state.json"
        write_state(file, state(process.pid, listening.getsockname()[1]))
        assert tidy_state(file) is None
        assert not file.exists()
        process.kill()


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"pid": "x"}', '{"logical_name": 1, "port": null}', "\0"])
def test_a_file_that_makes_no_sense_is_removed(tmp_path: Path, content: str) -> None:
    file = tmp_path / "state.json"
    file.write_text(content, encoding="utf-8")
    assert tidy_state(file) is None
    assert not file.exists()


def test_a_file_that_speaks_of_another_process_by_now_is_left(tmp_path: Path) -> None:
    file = tmp_path / "state.json"
    write_state(file, state(os.getpid(), 24001))
    remove_state(file, os.getpid() + 1)
    assert file.exists()
    remove_state(file, os.getpid())
    assert not file.exists()
