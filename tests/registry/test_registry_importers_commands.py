"""Reading command lines, Modelfiles and lists of addresses of other programs."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from import_reading import ENGINES, LLAMA_OPTIONS, only, read, refused

from quarterdeck.backends.options import arguments, check
from quarterdeck.errors import ConfigError
from quarterdeck.registry.importers import preview
from quarterdeck.registry.importers.arguments import parse

SWAP = """
healthCheckTimeout: 90
globalTTL: 120
macros:
  server: /opt/llama/llama-server --port ${PORT} --host 127.0.0.1
  ctx: 8192
  args: --ctx-size ${ctx}
models:
  "qwen":
    cmd: |
      # a comment
      ${server} ${args}
      -m "/models/my qwen.gguf" -ngl 99 -fa --jinja \\
      --cache-type-k q8_0 --no-mmap --temp 0.7
    aliases: [gpt-4o-mini, {id: mini}]
    ttl: 300
    env: ["CUDA_VISIBLE_DEVICES=0"]
    useModelName: Qwen/Qwen3
  "big":
    macros: {ctx: 1024}
    cmd: ${server} ${args} --model=/models/big.gguf -np 2 --alias served
    unlisted: true
    ttl: 0
  "vllm":
    cmd: vllm serve /models/hf --port ${PORT} --max-model-len 4096 --tensor-parallel-size 2
    ttl: -1
  "hub":
    cmd: python3 -m vllm.entrypoints.openai.api_server --model org/name
  "docker":
    proxy: http://127.0.0.1:9000
    cmd: docker run --name ${MODEL_ID} image
  "lost":
    cmd: docker run image
  "download":
    cmd: llama-server -hf org/name:Q4
  "relative":
    cmd: llama-server -m models/a.gguf
  "open":
    cmd: llama-server -m "/a.gguf
  "loop":
    macros: {a: "${b}", b: "${a}"}
    cmd: llama-server ${a}
groups:
  together: {swap: false, members: [qwen, big]}
  kept: {persistent: true, members: [vllm, nobody]}
peers:
  remote: {proxy: "http://192.168.1.2:8080", apiKey: secret, models: [far]}
"""


def test_a_llama_swap_file() -> None:
    plan = read(SWAP)
    entries = {entry.name: entry for entry in plan.models}
    assert plan.format == "llama_swap"
    assert entries["qwen"].values == {
        "backend": "llama-server",
        "path": "/models/my qwen.gguf",
        "served_name": "Qwen/Qwen3",
        "load_config": {
            "n_ctx": 8192, "n_gpu_layers": 99, "flash_attention": "on", "use_jinja": True, "cache_type_k": "q8_0",
            "load_mode": "none", "extra_args": ["--temp", "0.7"],
        },
        "aliases": ["gpt-4o-mini", "mini"],
        "idle_timeout": 300.0,
        "group": "together",
    }  # fmt: skip
    assert entries["qwen"].dropped == ["environment variables", "--port", "--host"]
    assert entries["big"].values == {
        "backend": "llama-server", "path": "/models/big.gguf", "served_name": "served",
        "load_config": {"n_ctx": 1024, "n_parallel": 2}, "idle_timeout": 0.0, "group": "together",
    }  # fmt: skip
    assert entries["vllm"].values == {
        "backend": "vllm", "path": "/models/hf", "load_config": {"max_model_len": 4096, "tensor_parallel_size": 2},
        "idle_timeout": 120.0, "pinned": True,
    }  # fmt: skip
    assert entries["hub"].values["hf_path"] == "org/name"
    assert entries["docker"].values["url"] == "http://127.0.0.1:9000"
    assert "docker" in entries["docker"].dropped[0]
    assert entries["far"].values == {
        "backend": "openai-compatible", "url": "http://192.168.1.2:8080", "served_name": "far",
    }  # fmt: skip
    assert plan.servers == ["http://192.168.1.2:8080"]
    assert {name for name, entry in entries.items() if entry.problem} == {
        "lost",
        "download",
        "relative",
        "open",
        "loop",
    }
    said = " ".join(plan.warnings)
    assert "“nobody”" in said
    assert "patience" in said
    assert "secret" not in said + str(entries["far"])


def test_macros_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_MODELS", "/mine")
    plan = read("models:\n  a:\n    cmd: llama-server -m ${env.MY_MODELS}/a.gguf\n")
    assert only(plan).values["path"] == "/mine/a.gguf"


def test_without_tables_every_argument_is_named() -> None:
    text = "models:\n  a:\n    cmd: llama-server -m /a.gguf -c 5\n"
    entry = only(preview(text, name="x"))
    assert entry.values["load_config"] == {}
    assert entry.dropped == ["-c 5"]


CONFIGS = st.fixed_dictionaries(
    {},
    optional={
        "n_ctx": st.integers(0, 99_999),
        "n_gpu_layers": st.integers(-1, 99),
        "flash_attention": st.sampled_from(["auto", "on", "off"]),
        "rope_freq_base": st.floats(0, 1e6, allow_nan=False),
        "tensor_split": st.lists(st.integers(0, 9).map(float), min_size=1, max_size=3),
        "use_jinja": st.booleans(),
        "mmproj": st.sampled_from(["/a b.gguf", "x=y"]),
        "check_tensors": st.just(True),
        "extra_args": st.just(["--unknown", "5", "--other"]),
    },
)


@given(CONFIGS)
def test_the_arguments_of_a_config_become_that_config_again(config: dict[str, Any]) -> None:
    checked = check(LLAMA_OPTIONS, config, backend="llama-server")
    parsed = parse(arguments(LLAMA_OPTIONS, checked), "llama-server", ENGINES)
    assert parsed.load_config == checked
    assert parsed.dropped == []


@given(
    st.lists(
        st.sampled_from(["-c", "-m", "--model", "--jinja", "-fa", "5", "x", "--odd", "--port", "-ngl=3", "-1", ""])
    )
)
def test_no_argument_is_lost(words: list[str]) -> None:
    parsed = parse(words, "llama-server", ENGINES)
    check(LLAMA_OPTIONS, {key: value for key, value in parsed.load_config.items() if key == "extra_args"}, backend="x")
    flags = {"--odd"} & set(words)
    assert flags <= set(parsed.extra)


def test_a_modelfile_over_a_model_of_ollama() -> None:
    plan = read(
        'FROM llama3.1:8b\nPARAMETER num_ctx 128000\nparameter temperature 0.7\nPARAMETER stop "<|end|>"\n'
        'TEMPLATE """{{ .System }}\nFROM here\n"""\nSYSTEM You are "kind".\nADAPTER ./a\n# comment\n',
        name="/home/me/Modelfile.long",
    )
    entry = only(plan)
    assert (plan.format, entry.name) == ("modelfile", "long")
    assert entry.values == {"backend": "ollama", "served_name": "llama3.1:8b", "load_config": {"num_ctx": 128_000}}
    assert entry.dropped == [
        "the template", "the system prompt", "the adapter", "the parameter temperature", "the parameter stop",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("source", "name", "values"),
    [
        ("./a.gguf", "/m/Modelfile", {"backend": "embedded", "path": "/m/a.gguf"}),
        ("/x/a.gguf", "Modelfile", {"backend": "embedded", "path": "/x/a.gguf"}),
        ("/x/blobs/sha256-00", "Modelfile", {"backend": "embedded", "path": "/x/blobs/sha256-00"}),
        ("/x/folder", "coder.Modelfile", {"backend": "vllm", "path": "/x/folder"}),
        ("hf.co/org/name:Q4", "Modelfile", {"backend": "ollama", "served_name": "hf.co/org/name:Q4"}),
    ],
)
def test_where_a_modelfile_takes_its_model_from(source: str, name: str, values: dict[str, Any]) -> None:
    entry = only(read(f"FROM {source}\n", name=name))
    assert (entry.values, entry.problem) == (values, None)


def test_parameters_of_a_file_have_the_names_of_its_engine() -> None:
    entry = only(read("FROM /x/a.gguf\nPARAMETER num_ctx 4096\nPARAMETER num_gpu 5\nPARAMETER num_thread x\n"))
    assert entry.values["load_config"] == {"n_ctx": 4096, "n_gpu_layers": 5}
    assert entry.dropped == ["the parameter num_thread"]


def test_a_relative_path_without_a_folder_is_told() -> None:
    assert "relative" in str(only(read("FROM ./a.gguf\n", name="text")).problem)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("FROM a\nFROM b\n", (2, 1)),
        ("FROM a\nFOO bar\n", (2, 1)),
        ('FROM a\n\nSYSTEM """open\n', (3, 1)),
    ],
)
def test_mistakes_in_a_modelfile_have_their_place(text: str, place: tuple[int, int]) -> None:
    error = refused(text, "Modelfile", "modelfile")
    assert isinstance(error, ConfigError)
    assert (error.line, error.column) == place


def test_a_modelfile_without_from_is_refused() -> None:
    assert refused("PARAMETER num_ctx 5\n", "Modelfile", "modelfile").code == "bad_import"


@pytest.mark.parametrize(
    ("text", "servers"),
    [
        ("OPENAI_API_BASE_URLS=http://a:1/v1;http://b:2/v1/", ["http://a:1/v1", "http://b:2/v1"]),
        ('export OLLAMA_BASE_URLS="http://a:11434;http://b:11434"\n', ["http://a:11434", "http://b:11434"]),
        ("OLLAMA_API_BASE_URL=http://a:11434/api\nOTHER=x\n# note\n", ["http://a:11434"]),
        ("http://a:1;http://b:2", ["http://a:1", "http://b:2"]),
        ("http://a:1\nhttps://b/v1\nhttp://a:1\n", ["http://a:1", "https://b/v1"]),
        ("- OPENAI_API_BASE_URLS=http://a:1", ["http://a:1"]),
    ],
)
def test_lists_of_addresses(text: str, servers: list[str]) -> None:
    plan = read(text, ".env")
    assert (plan.format, plan.servers, plan.models) == ("url_lists", servers, [])


def test_keys_are_named_and_not_repeated() -> None:
    plan = read("OPENAI_API_BASE_URLS=http://a:1\nOPENAI_API_KEYS=sk-secret\n")
    assert "keys" in plan.warnings[0]
    assert "sk-secret" not in str(plan)


def test_an_address_that_is_none_has_its_place() -> None:
    error = refused("OPENAI_API_BASE_URLS=http://a:1;nonsense\n")
    assert isinstance(error, ConfigError)
    assert (error.line, error.column) == (1, 33)
