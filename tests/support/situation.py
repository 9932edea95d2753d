"""Two configurations of one gateway that nobody applied, a vLLM without its tool options, and a gateway that is down.

All of it is real: vLLM, LiteLLM as a user unit, Ollama, and a git repository with a change that is not committed.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
from engine_room import VLLM_CONFIG, end_listener, free_port
from real_engines import LITELLM, OLLAMA, VLLM, VLLM_MODEL
from serve_process import Serve, serving
from tool_templates import JINJA
from units import Units

MODEL = "qwen2.5-coder-7b"
SERVED = "Qwen/Qwen2.5-Coder-7B-Instruct-AWQ"
UNIT = "litellm.service"
GATEWAY = "gateway"
KEY = "sk-0123456789abcdef0123456789abcdef"
LLAMA = "llama3.1:latest"
TOOL = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "Tells the weather of a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
_SMALL = """\
# Fails fast for the terminal client
model_list:
  - model_name: qwen-coder-7b
    litellm_params:
      model: openai/{served}
      api_base: http://localhost:{vllm}/v1
      api_key: not-needed
      timeout: 5
      max_retries: 0
    model_info:
      supports_function_calling: true
"""
_UNIFIED = """\
# One gateway for all projects
model_list:
  - model_name: llama3.1:latest
    litellm_params:
      model: ollama/llama3.1:latest
      api_base: http://localhost:{ollama}
  - model_name: qwen2.5-coder:7b
    litellm_params:
      model: ollama/qwen2.5-coder:7b
      api_base: http://localhost:{ollama}
  - model_name: qwen-coder-vllm
    litellm_params:
      model: openai/{served}
      api_base: http://localhost:{vllm}/v1
      api_key: not-needed
    model_info:
      supports_function_calling: true
router_settings:
  num_retries: 2
"""
_DOLPHIN = """\
  - model_name: dolphin-uncensored-vllm
    litellm_params:
      model: openai/solidrust/dolphin-2.8-mistral-7b-v02-AWQ
      api_base: http://localhost:{vllm}/v1
      api_key: not-needed
      rpm: 100
      tpm: 50000
router_settings:
  fallbacks:
    - dolphin-uncensored-vllm: [llama3.1:latest]
"""


class Situation:
    """`small` is what the gateway is started with, `unified` what somebody works on."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.vllm, self.ollama, self.gateway = free_port(), free_port(), free_port()
        self.gateway_url = f"http://127.0.0.1:{self.gateway}"
        self.repository = folder / "gateway"
        self.small = self.repository / "litellm_config.yaml"
        self.unified = self.repository / "config" / "litellm-unified.yaml"
        self.units = Units(folder / "units")
        self.serve: Serve

    def write_files(self) -> None:
        ports = {"served": SERVED, "vllm": self.vllm, "ollama": self.ollama}
        self.unified.parent.mkdir(parents=True)
        self.small.write_text(_SMALL.format(**ports))
        before = _UNIFIED.format(**ports)
        self.unified.write_text(before)
        self.git("init", "--quiet", "--initial-branch=main")
        self.git("config", "user.name", "Test")
        self.git("config", "user.email", "test@example.org")
        self.git("add", ".")
        self.git("commit", "--quiet", "-m", "The gateway of all projects")
        self.unified.write_text(before.replace("router_settings:\n", _DOLPHIN.format(**ports)))

    def git(self, *arguments: str) -> str:
        environment = os.environ | {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
        return subprocess.run(
            ["git", "-C", str(self.repository), *arguments], check=True, capture_output=True, text=True,
            env=environment,
        ).stdout  # fmt: skip

    @property
    def environment(self) -> dict[str, str]:
        return {
            "PATH": f"{self.units.path}:{os.environ['PATH']}",
            "QUARTERDECK_OLLAMA_URL": f"http://127.0.0.1:{self.ollama}",
            "QUARTERDECK_OLLAMA_COMMAND": str(OLLAMA),
            "QUARTERDECK_VLLM_COMMAND": str(VLLM),
            "QUARTERDECK_VLLM_PORT": str(self.vllm),
            "OLLAMA_MODELS": str(self.folder / "ollama-models"),
            "HF_HUB_OFFLINE": "1",
        }

    def add_gateway(self) -> None:
        command = [str(LITELLM), "--config", str(self.small), "--host", "127.0.0.1", "--port", str(self.gateway),
                   "--telemetry", "False"]  # fmt: skip
        self.units.add(
            UNIT, command, {"LITELLM_MASTER_KEY": KEY, "LITELLM_LOCAL_MODEL_COST_MAP": "True"}, ended_s=10_140
        )
        owner = {"kind": "systemd", "name": UNIT}
        body = {"url": self.gateway_url, "name": GATEWAY, "kind": "litellm", "owner": owner, "api_key": KEY}
        self.serve.http.post("/api/servers", json=body).raise_for_status()

    def add_ollama(self, file: Path) -> None:
        self.serve.http.post("/api/backends/ollama/start", timeout=60).raise_for_status()
        modelfile = self.folder / "Modelfile"
        modelfile.write_text(f"FROM {file}\nPARAMETER num_ctx 512\n")
        environment = {**os.environ, "OLLAMA_HOST": f"http://127.0.0.1:{self.ollama}"}
        for tag in (LLAMA, "qwen2.5-coder:7b"):
            subprocess.run(
                [OLLAMA, "create", tag, "-f", modelfile], env=environment, check=True, capture_output=True, timeout=60
            )

    def add_vllm(self) -> None:
        config = {**VLLM_CONFIG, "chat_template": JINJA}
        fields = {"backend": "vllm", "served_name": SERVED, "load_config": config}
        self.serve.add(MODEL, VLLM_MODEL, **fields).raise_for_status()
        self.serve.http.post("/api/orchestrate/load", json={"model_name": MODEL}, timeout=200).raise_for_status()

    def start_engines(self, starter: Path) -> None:
        """What answers behind the gateway."""
        self.add_ollama(starter)
        self.add_vllm()

    def follow(self) -> None:
        body = {"path": str(self.unified), "names": [], "apply": True, "follow": True}
        self.serve.http.post("/api/import", json=body).raise_for_status()

    def ask(self, **fields: Any) -> httpx.Response:
        """A client's question with a tool."""
        body = {
            "model": MODEL,
            "messages": [{"role": "user", "content": "What is the weather in Rome?"}],
            "tools": [TOOL],
            "max_tokens": 8,
            **fields,
        }
        return self.serve.http.post("/v1/chat/completions", json=body, timeout=100)

    def problems(self) -> list[dict[str, Any]]:
        return list(self.serve.http.get("/api/problems").raise_for_status().json())

    def told(self) -> set[tuple[str, str]]:
        """Severity and subject of every problem; files by their name."""
        return {(each["severity"], each["subject"].replace(f"{self.repository}/", "")) for each in self.problems()}

    def fix(self, problem: str, fix: str) -> httpx.Response:
        """See what a fix would do and click on Apply; both are named by the beginning of their ids."""
        found = next(each for each in self.problems() if each["id"].startswith(problem))
        offer = next(each for each in found["fixes"] if each["id"].startswith(fix))
        wanted = {"problem_id": found["id"], "fix_id": offer["id"]}
        assert self.serve.http.post("/api/fixes/preview", json=wanted).raise_for_status().json()["changes"]
        return self.serve.http.post("/api/fixes/apply", json=wanted, timeout=200)

    def undo(self, undo_id: str) -> None:
        self.serve.http.post(f"/api/fixes/{undo_id}/undo", timeout=100).raise_for_status()


@contextlib.contextmanager
def situation(folder: Path) -> Iterator[Situation]:
    """Everything as it was found but for the engines, and nothing of it left behind."""
    made = Situation(folder)
    made.write_files()
    try:
        with serving(folder / "data", **made.environment) as serve:
            made.serve = serve
            made.add_gateway()
            made.follow()
            yield made
            serve.terminate()
    finally:
        made.units.close()
        end_listener(made.ollama)
        end_listener(made.vllm)
