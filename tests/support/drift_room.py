"""A folder with two configurations of one gateway, and the facts of servers around it."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from quarterdeck.diagnosis.drift.facts import (
    Facts,
    FileFact,
    GatewayRoute,
    ModelFact,
    Running,
    ServedModel,
    ServerFact,
)
from quarterdeck.diagnosis.drift.files import ConfigFile, look

NOW = datetime(2026, 5, 4, 10, 0, tzinfo=UTC)
CODER = "Qwen/Qwen2.5-Coder-7B-Instruct-AWQ"
REFUSED = '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set'
SMALL = f"""\
# Only what the terminal client needs
model_list:
  - model_name: coder
    litellm_params:
      model: openai/{CODER}
      api_base: http://localhost:8001/v1
      timeout: 5
      max_retries: 0
    model_info:
      supports_function_calling: true
litellm_settings:
  drop_params: true
"""
UNIFIED = f"""\
# One gateway for all projects
model_list:
  # on Ollama
  - model_name: llama
    litellm_params:
      model: ollama/llama3.1:latest
      api_base: http://localhost:11434
  - model_name: coder
    litellm_params:
      model: openai/{CODER}
      api_base: http://localhost:8001/v1
  - model_name: dolphin
    litellm_params:
      model: openai/dolphin-awq
      api_base: http://localhost:8001/v1
router_settings:
  fallbacks:
    - dolphin: [llama]
litellm_settings:
  drop_params: false
  num_retries: 2
"""


class Room:
    """Files in `folder`, a repository of git; servers as the tests want them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.small = folder / "litellm_config.yaml"
        self.unified = folder / "litellm-unified.yaml"
        self.small.write_text(SMALL, encoding="utf-8")
        self.unified.write_text(UNIFIED, encoding="utf-8")
        self.git("init", "--quiet")
        self.git("config", "user.name", "Test")
        self.git("config", "user.email", "test@example.org")
        self.git("add", ".")
        self.git("commit", "--quiet", "-m", "First")
        self.servers = {
            "litellm": ServerFact(
                name="litellm", kind="litellm", title="LiteLLM", address="http://127.0.0.1:4000",
                state=Running.RUNNING, owner="systemd", unit="litellm.service", pid=11, uptime_s=4000.0,
                started_at=self.small.stat().st_mtime + 10, config=str(self.small), models=(ServedModel("coder"),),
                routes=(GatewayRoute("coder", f"openai/{CODER}", "http://localhost:8001/v1"),),
            ),
            "vllm": ServerFact(
                name="vllm", kind="vllm", title="vLLM", address="http://127.0.0.1:8001", state=Running.RUNNING, pid=12,
                uptime_s=7200.0, arguments=("vllm", "serve", CODER, "--port", "8001"),
                models=(ServedModel(CODER, 4096, tools=True),),
            ),
        }  # fmt: skip
        self.models: tuple[ModelFact, ...] = ()

    def git(self, *arguments: str) -> str:
        environment = os.environ | {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
        return subprocess.run(
            ["git", "-C", str(self.folder), *arguments], check=True, capture_output=True, text=True, env=environment
        ).stdout  # fmt: skip

    def change(self, name: str, **values: object) -> None:
        self.servers[name] = replace(self.servers[name], **values)  # type: ignore[arg-type]

    @property
    def facts(self) -> Facts:
        return Facts(
            at=NOW,
            servers=tuple(self.servers.values()),
            models=self.models,
            files=(FileFact(str(self.small), ("litellm",)), FileFact(str(self.unified))),
            version="1.0",
        )

    async def collect(self, *, thorough: bool = False) -> Facts:
        return self.facts

    async def files(self) -> list[ConfigFile]:
        return await look(self.facts)

    async def file(self, path: Path) -> ConfigFile:
        return next(file for file in await self.files() if file.path == path)
