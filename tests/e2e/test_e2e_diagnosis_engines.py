"""Real failures of the real vLLM, llama-server, Ollama and LiteLLM: each is named with its proof, and mended."""

from __future__ import annotations

import json
import os
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
from engine_room import VLLM_CONFIG, free_port
from live_engines import LOCKED, OLLAMA_CONTEXT, TAG, Live, Problem, live_engines, stranger
from real_engines import LITELLM, LLAMA_SERVER, OLLAMA, VLLM, VLLM_MODEL, needs
from serve_process import wait_for

pytestmark = [pytest.mark.engine, pytest.mark.slow, pytest.mark.timeout(300)]

needs_llama_server = needs(LLAMA_SERVER, "what is told of its failures")
needs_ollama = needs(OLLAMA, "what is told of its failures")
needs_litellm = needs(LITELLM, "what is told of its failures")
needs_vllm = needs(VLLM, "what is told of its failures")
needs_its_model = needs(VLLM_MODEL, "what is told of vLLM's failures")

LONG = "word " * 300
TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}


class Case(NamedTuple):
    """A load_config that does not work: the class and the words of the proof; `mends` is in the fix that helps."""

    config: dict[str, Any]
    failure_class: str
    proof: str
    mends: str | None = None


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory, starter_file: Path) -> Iterator[Live]:
    with live_engines(tmp_path_factory.mktemp("live"), starter_file) as engines:
        yield engines


@pytest.fixture(scope="module")
def ollama(live: Live) -> Live:
    live.make_ollama_model()
    return live


def named(problem: Problem, failure_class: str, proof: str = "") -> None:
    """It has its class, a title that says it, the line that proves it, and something to do."""
    assert problem["failure_class"] == failure_class, problem
    assert ":" in problem["title"] or problem["source"] != "attempt", problem
    assert problem["why"], problem
    assert any(proof in evidence["text"] for evidence in problem["evidence"]) or not proof, problem
    assert problem["fixes"] or problem["advice"] or problem["commands"] or problem["hint"], problem


def mended(live: Live, name: str, problem: Problem, entry: str) -> dict[str, Any]:
    """The fix works, so that the model answers and nothing is wrong with it any more."""
    result = live.mend(problem, entry)
    assert result["worked"] is True, result
    assert live.chat(name).status_code == 200
    live.over(f"model:{name}")
    return result


# -- llama-server

LLAMA_CASES = {
    "an unknown flag": Case({"extra_args": ["--no-such-flag"]}, "bad_load_config", "--no-such-flag", "extra_args"),
    "no number": Case({"extra_args": ["--threads-batch", "many"]}, "bad_load_config", "--threads-batch", "extra_args"),
    "a template that is none": Case(
        {"chat_template": "{% if %}"}, "chat_template_missing", "template is not supported", "chat_template"
    ),
    "too much context": Case({"n_ctx": 16_000_000}, "kv_cache_too_small", "kv cache", "n_ctx"),
    "two options that fight": Case(
        {"cache_type_v": "q8_0", "flash_attention": "off"}, "bad_load_config", "flash_attn", "cache_type_v"
    ),
    "no projector": Case({"mmproj": "/nowhere/p.gguf"}, "model_not_found", "/nowhere/p.gguf", "mmproj"),
    "no adapter": Case({"lora": "/nowhere/a.gguf"}, "model_not_found", "/nowhere/a.gguf", "lora"),
}


@needs_llama_server
@pytest.mark.parametrize("name", LLAMA_CASES)
def test_an_option_of_llama_server(live: Live, name: str) -> None:
    case = LLAMA_CASES[name]
    live.add(name, path=str(live.starter), backend="llama-server", load_config=case.config)
    problem = live.fails(name)
    named(problem, case.failure_class, case.proof)
    assert case.mends is not None
    result = mended(live, name, problem, case.mends)
    live.take_back(result)
    assert json.loads(live.serve.model(name)["load_config"]) == case.config
    live.remove(name)


@needs_llama_server
def test_a_projector_of_another_model(live: Live) -> None:
    name = "another model's projector"
    live.add(name, path=str(live.starter), backend="llama-server", load_config={"mmproj": str(live.starter)})
    problem = live.fails(name)
    named(problem, "multimodal_unsupported", "Failed to load CLIP model")
    mended(live, name, problem, "mmproj")
    live.remove(name)


@needs_llama_server
def test_the_program_of_llama_server_is_not_there(live: Live) -> None:
    name = "no program"
    live.add(name, path=str(live.starter), backend="llama-server")
    live.set(llama_server_command="/nowhere/llama-server")
    named(live.fails(name), "missing_dependency")
    live.set(llama_server_command=str(LLAMA_SERVER))
    assert live.load(name).status_code == 200
    live.over(f"model:{name}")
    live.remove(name)


@needs_llama_server
def test_a_server_that_nobody_started(live: Live) -> None:
    name = "nobody there"
    live.add(name, backend="llama-server", url=f"http://127.0.0.1:{free_port()}", served_name="x")
    named(live.fails(name), "connection_refused")
    live.remove(name)


@needs_llama_server
def test_a_server_that_wants_a_key(live: Live) -> None:
    name = "without its key"
    with live.locked_server("right") as url:
        live.add(name, backend="llama-server", url=url, served_name=LOCKED)
        assert live.chat(name).status_code >= 400
        named(live.problem(f"model:{name}"), "auth_invalid_key", "Invalid API Key")
    live.remove(name)


@needs_llama_server
def test_a_name_that_no_model_has(live: Live) -> None:
    name, asked = "has another name", "gpt-4o-mini"
    live.add(name, path=str(live.starter), backend="llama-server")
    live.load(name).raise_for_status()
    assert live.chat(asked).status_code == 404
    problem = live.of_client("model_not_found")
    named(problem, "model_not_found")
    assert asked in problem["title"]
    result = live.mend(problem, "alias")
    assert live.chat(asked).status_code == 200
    live.take_back(result)
    live.remove(name)


def test_a_client_with_a_wrong_key(live: Live) -> None:
    key = live.serve.http.post("/api/keys", json={"name": "somebody"}).raise_for_status().json()
    headers = {"Authorization": f"Bearer {key['key']}-wrong"}
    answer = httpx.get(f"{live.serve.url}/v1/models", headers=headers, trust_env=False)
    assert answer.status_code == 401
    named(live.of_client("auth_invalid_key"), "auth_invalid_key")


# -- Ollama


@needs_ollama
def test_another_program_is_on_the_port_of_ollama(live: Live) -> None:
    name = "crowded out"
    live.add(name, backend="ollama", url=live.ollama_url, served_name=TAG)
    live.act("ollama", "stop")
    with stranger(live.ollama_port) as pid:
        problem = live.fails(name)
    named(problem, "port_in_use")
    assert f"(process {pid})" in problem["why"]
    live.remove(name)


@needs_ollama
def test_a_model_that_ollama_does_not_have(ollama: Live) -> None:
    name = "not pulled"
    ollama.add(name, backend="ollama", url=ollama.ollama_url, served_name="nosuch:1b")
    problem = ollama.fails(name)
    named(problem, "model_not_found")
    assert "ollama pull nosuch:1b" in problem["hint"]
    ollama.remove(name)


@needs_ollama
def test_weights_of_ollama_that_were_cut_off(ollama: Live) -> None:
    name = "cut off"
    ollama.add(name, backend="ollama", url=ollama.ollama_url, served_name=TAG)
    weights = ollama.ollama_weights
    whole = weights.rename(weights.with_suffix(".whole"))
    weights.write_bytes(whole.read_bytes()[:60_000_000])
    named(ollama.fails(name), "corrupt_model_file", "corrupted or incomplete")
    whole.rename(weights)
    assert ollama.load(name).status_code == 200
    ollama.over(f"model:{name}")
    ollama.remove(name)


@needs_ollama
def test_a_prompt_that_ollama_cuts_without_a_word(ollama: Live) -> None:
    name = "short memory"
    ollama.add(name, backend="ollama", url=ollama.ollama_url, served_name=TAG)
    assert ollama.chat(name, LONG).json()["usage"]["prompt_tokens"] == OLLAMA_CONTEXT
    problem = ollama.problem(f"model:{name}", "context_overflow")
    named(problem, "context_overflow", str(OLLAMA_CONTEXT))
    mended(ollama, name, problem, "num_ctx")
    assert ollama.chat(name, LONG).json()["usage"]["prompt_tokens"] > 300
    ollama.remove(name)


@needs_ollama
def test_an_ollama_that_was_killed_is_started_again(ollama: Live) -> None:
    name = "killed"
    ollama.add(name, backend="ollama", url=ollama.ollama_url, served_name=TAG)
    ollama.load(name).raise_for_status()
    kill(ollama, "ollama")
    problem = ollama.problem("server:ollama")
    named(problem, "connection_refused")
    ollama.mend(problem, "start_server")
    ollama.over("server:ollama")
    named(ollama.problem(f"model:{name}"), "other")
    ollama.load(name).raise_for_status()
    ollama.over(f"model:{name}")
    assert ollama.chat(name).status_code == 200
    ollama.remove(name)


# -- LiteLLM

BROKEN = "model_list:\n  - model_name: a\n   litellm_params: {model: openai/a}\n"


def gateway(models: dict[str, tuple[str, str]]) -> str:
    """A configuration with models by name: where each is asked, and with which key."""
    entries = [
        {"model_name": name, "litellm_params": {"model": "openai/x", "api_base": url, "api_key": key}}
        for name, (url, key) in models.items()
    ]
    return json.dumps({"model_list": entries})


@needs_litellm
def test_a_configuration_of_litellm_that_is_broken(live: Live) -> None:
    live.gateway_file.write_text(BROKEN)
    assert live.act("litellm", "start").status_code == 424
    named(live.problem("server:litellm"), "bad_load_config", "")
    file = live.problem(f"file:{live.gateway_file}")
    assert [evidence["line"] for evidence in file["evidence"]] == [3]
    live.gateway_file.write_text(gateway({}))
    live.mend(live.problem("server:litellm"), "start_server")
    live.over("server:litellm")
    live.act("litellm", "stop").raise_for_status()


@needs_litellm
@needs_llama_server
def test_what_litellm_cannot_ask(live: Live) -> None:
    with live.locked_server("right") as url:
        nobody = f"http://127.0.0.1:{free_port()}/v1"
        models = {"answers": (url, "right"), "wrong key": (url, "wrong"), "nobody there": (nobody, "any")}
        live.gateway_file.write_text(gateway(models))
        live.act("litellm", "start").raise_for_status()
        for name in [*models, "unheard of"]:
            live.add(name, backend="litellm", url=live.gateway_url, served_name=name)
        assert live.chat("wrong key").status_code >= 500
        named(live.problem("model:wrong key"), "auth_invalid_key", "AuthenticationError")
        assert live.chat("nobody there").status_code >= 500
        named(live.problem("model:nobody there"), "connection_refused", "Connection error")
        named(live.fails("unheard of"), "model_not_found")
        assert live.chat("answers").status_code == 200
        kill(live, "litellm")
        problem = live.problem("server:litellm")
        named(problem, "connection_refused")
        live.mend(problem, "start_server")
        live.over("server:litellm")
        assert live.chat("answers").status_code == 200
    for name in [*models, "unheard of"]:
        live.remove(name)
    live.act("litellm", "stop").raise_for_status()


def kill(live: Live, server: str) -> None:
    """What the out-of-memory killer does to a server of ours."""

    def view() -> dict[str, Any]:
        return next(each for each in live.serve.http.get("/api/backends").json() if each["name"] == server)

    os.kill(view()["pid"], signal.SIGKILL)
    wait_for(lambda: view()["state"] != "running", f"{server} is gone")


# -- vLLM


def without_tokenizer(folder: Path) -> None:
    for file in folder.glob("tokenizer*"):
        file.unlink()


def of_an_unknown_architecture(folder: Path) -> None:
    config = folder / "config.json"
    config.write_text(config.read_text().replace("LlamaForCausalLM", "LhamaForCausalLM"))


VLLM_DAMAGE: dict[str, tuple[Callable[[Path], None], str, str]] = {
    "no tokenizer": (without_tokenizer, "corrupt_model_file", "tokenizer"),
    "an unknown architecture": (of_an_unknown_architecture, "unsupported_architecture", "LhamaForCausalLM"),
}


FAULTY = {
    **VLLM_CONFIG,
    "max_model_len": 500_000,
    "enable_auto_tool_choice": True,
    "tool_call_parser": "nosuch",
    "env": {"VLLM_CPU_KVCACHE_SPACE": "2000"},
    "extra_args": ["--no-such-flag", "3"],
}
# The class of each fault, the words of its proof, and what is in the fix that ends it.
FAULTS = (
    ("port_in_use", "", "vllm_single_port"),
    ("bad_load_config", "--no-such-flag 3", "extra_args"),
    ("tool_parser_unsupported", "nosuch", "tool_call_parser"),
    ("bad_load_config", "max_model_len (500000) is greater", "max_model_len"),
    ("gpu_memory_utilization_too_high", "2000.0 GiB", "env"),
)


@needs_vllm
@needs_its_model
@pytest.mark.parametrize("name", VLLM_DAMAGE)
def test_a_model_folder_of_vllm(live: Live, name: str) -> None:
    damage, failure_class, proof = VLLM_DAMAGE[name]
    folder = live.vllm_folder(name)
    live.add(name, path=str(folder), backend="vllm", load_config=VLLM_CONFIG)
    damage(folder)
    named(live.fails(name), failure_class, proof)
    live.remove(name)


@needs_vllm
@needs_its_model
@pytest.mark.timeout(600)
def test_a_vllm_with_one_fault_behind_the_other(live: Live) -> None:
    """A start takes long, so each trial of a fix is at once the failure that comes next."""
    name = "qwen2-of-many-faults"
    folder = live.vllm_folder(name)
    with (folder / "chat_template.jinja").open("a") as template:
        template.write("{% if tools %}{{ tools | tojson }}{% endif %}")
    live.add(name, path=str(folder), backend="vllm", load_config=FAULTY)
    with socket.create_server(("127.0.0.1", 0)) as thief:
        live.set(vllm_port=thief.getsockname()[1])
        problem = live.fails(name)
        assert f"process {os.getpid()}" in problem["why"]
        for failure_class, proof, entry in FAULTS:
            problem = live.problem(f"model:{name}", failure_class)
            named(problem, failure_class, proof)
            result = live.mend(problem, entry)
        assert result["worked"] is True, result
    assert live.chat(name).status_code == 200
    problem = live.problem(f"model:{name}", "tool_calling_not_enabled")
    mended(live, name, problem, "tool_call_parser")
    assert live.chat(name, tools=[TOOL], tool_choice="auto").status_code == 200
    live.remove(name)
    live.set(vllm_port=0)
