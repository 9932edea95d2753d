"""What processes, units and servers say of themselves, for the comparison with what is declared."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import psutil

from quarterdeck.backends.logs import clean
from quarterdeck.backends.remote import Remote, ServerRefused
from quarterdeck.backends.systemd_unit import unit_name
from quarterdeck.backends.tools import Tool
from quarterdeck.diagnosis.drift.facts import GatewayRoute, ServedModel
from quarterdeck.errors import AppError

PATIENCE_S = 3.0
TOOL_PATIENCE_S = 30.0
HIDDEN = "…"
_SHOWN = re.compile(r"^(OLLAMA|VLLM|LLAMA|CUDA|NVIDIA|HIP|ROCR|HSA|HF|LITELLM|GGML|NCCL|OMP)_")
_SECRET = re.compile(r"(?i)key|token|secret|password|credential")
_SECRET_OPTION = re.compile(r"(?i)^--?[\w-]*(key|token|secret|password)[\w-]*$")
_CONFIG = ("--config", "-c")
_ARGV = re.compile(r"argv\[\]=(.*?) ; ignore_errors=")
_PAIR = re.compile(r'(?:^|\s)("?)([A-Za-z_]\w*)=(.*?)\1(?=\s"?[A-Za-z_]\w*=|$)')
_TOOL: Mapping[str, Any] = {
    "type": "function",
    "function": {"name": "look", "description": "Looks.", "parameters": {"type": "object", "properties": {}}},
}


@dataclass(frozen=True)
class ProcessFact:
    """A process; `started_at` in seconds since the epoch. Secrets are hidden."""

    arguments: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    folder: str = ""
    started_at: float | None = None


@dataclass(frozen=True)
class UnitFact:
    """What the file of a systemd user unit declares."""

    arguments: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    folder: str = ""


def processes(pids: Iterable[int]) -> dict[int, ProcessFact]:
    """The processes that there are (blocking); one that the system hides has no arguments."""
    found: dict[int, ProcessFact] = {}
    for pid in pids:
        try:
            process = psutil.Process(pid)
            fact = ProcessFact(started_at=process.create_time())
        except psutil.Error:
            continue
        with contextlib.suppress(psutil.Error, OSError):
            fact = replace(fact, arguments=hidden(process.cmdline()))
            fact = replace(fact, environment=_environment(process.environ()), folder=process.cwd())
        found[pid] = fact
    return found


async def unit(name: str, tool: Tool) -> UnitFact:
    """The declaration of a user unit; an empty one where it cannot be asked for."""
    try:
        properties = "ExecStart,Environment,WorkingDirectory"
        said = await tool.run("--user", "show", f"--property={properties}", "--", unit_name(name))
    except AppError:
        return UnitFact()
    facts = dict(line.split("=", 1) for line in said.stdout.splitlines() if "=" in line)
    match = _ARGV.search(facts.get("ExecStart", ""))
    pairs = {each[2]: each[3] for each in _PAIR.finditer(facts.get("Environment", ""))}
    return UnitFact(
        arguments=hidden(match.group(1).split()) if match else (),
        environment=_environment(pairs),
        folder=facts.get("WorkingDirectory", "").lstrip("!-"),
    )


def hidden(arguments: Iterable[str]) -> tuple[str, ...]:
    """A command line without keys."""
    shown: list[str] = []
    hide = False
    for argument in arguments:
        option, equals, _ = argument.partition("=")
        secret = bool(_SECRET_OPTION.match(option))
        shown.append(HIDDEN if hide else f"{option}={HIDDEN}" if secret and equals else argument)
        hide = secret and not equals and not hide
    return tuple(shown)


def config_of(arguments: Iterable[str], folder: str) -> str:
    """The file that a gateway was started with; empty where none is named."""
    listed = list(arguments)
    for place, argument in enumerate(listed):
        option, equals, value = argument.partition("=")
        if option in _CONFIG:
            path = value if equals else next(iter(listed[place + 1 : place + 2]), "")
            return str(Path(folder or "/", Path(path).expanduser())) if path else ""
    return ""


def comparable(declared: tuple[str, ...], running: tuple[str, ...]) -> tuple[str, ...]:
    """`declared` where it is the program that runs, and not a script or shell that starts it; else nothing."""
    if not declared or not running:
        return declared
    programs = {Path(argument).name for argument in running[:3]}
    return declared if Path(declared[0]).name in programs else ()


class Asking:
    """Asks servers. What a tool call showed is remembered as long as the same process serves."""

    def __init__(self) -> None:
        self._remote = Remote()
        self._tools: dict[tuple[str, str, object], tuple[bool | None, str]] = {}

    async def close(self) -> None:
        await self._remote.close()

    async def props(self, url: str, headers: Mapping[str, str]) -> Mapping[str, Any]:
        """What llama.cpp's server says of itself; empty where it says nothing."""
        with contextlib.suppress(AppError):
            said = await self._remote.json("GET", f"{url}/props", who=url, headers=headers, timeout=PATIENCE_S)
            return said if isinstance(said, dict) else {}
        return {}

    async def served(self, url: str, headers: Mapping[str, str]) -> tuple[ServedModel, ...]:
        """The list of an OpenAI-style server, with the context lengths that it tells."""
        with contextlib.suppress(AppError):
            said = await self._remote.json("GET", f"{url}/v1/models", who=url, headers=headers, timeout=PATIENCE_S)
            return tuple(ServedModel(str(each["id"]), _context(each)) for each in _entries(said) if "id" in each)
        return ()

    async def routes(self, url: str, headers: Mapping[str, str]) -> tuple[GatewayRoute, ...]:
        """The models of a LiteLLM gateway as it has them in use."""
        with contextlib.suppress(AppError):
            said = await self._remote.json("GET", f"{url}/model/info", who=url, headers=headers, timeout=PATIENCE_S)
            return tuple(_route(each) for each in _entries(said) if "model_name" in each)
        return ()

    async def tools(
        self, url: str, id: str, headers: Mapping[str, str], *, process: object, ask: bool
    ) -> tuple[bool | None, str]:
        """Whether a tiny request with a tool is taken, and what the server says if not.

        None where it cannot be told, and without `ask` where this `process` was not asked before.
        """
        key = (url, id, process)
        if key not in self._tools and ask:
            told = await self._ask_tools(url, id, headers)
            if told[0] is not None:
                self._tools[key] = told
        return self._tools.get(key, (None, ""))

    async def _ask_tools(self, url: str, id: str, headers: Mapping[str, str]) -> tuple[bool | None, str]:
        message = {"role": "user", "content": "Hello"}
        body = {"model": id, "messages": [message], "tools": [_TOOL], "tool_choice": "auto", "max_tokens": 1}
        try:
            await self._remote.json(
                "POST", f"{url}/v1/chat/completions", who=url, body=body, headers=headers, timeout=TOOL_PATIENCE_S
            )
        except ServerRefused as refused:
            return (False, clean(refused.message)) if "tool" in refused.message.lower() else (None, "")
        except AppError:
            return None, ""
        return True, ""


def _environment(values: Mapping[str, str]) -> dict[str, str]:
    return {name: value if _SHOWN.match(name) and not _SECRET.search(name) else HIDDEN
            for name, value in values.items()}  # fmt: skip


def _entries(said: object) -> list[dict[str, Any]]:
    listed = said.get("data") if isinstance(said, dict) else None
    return [each for each in listed if isinstance(each, dict)] if isinstance(listed, list) else []


def _context(entry: Mapping[str, Any]) -> int | None:
    meta = entry.get("meta")
    found = entry.get("max_model_len") or (meta.get("n_ctx") if isinstance(meta, dict) else None)
    return found if isinstance(found, int) and not isinstance(found, bool) else None


def _route(entry: Mapping[str, Any]) -> GatewayRoute:
    given = entry.get("litellm_params")
    params: Mapping[str, Any] = given if isinstance(given, dict) else {}
    return GatewayRoute(str(entry["model_name"]), str(params.get("model") or ""), str(params.get("api_base") or ""))
