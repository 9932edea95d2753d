"""Reads the configuration of llama-swap: commands that start engines, with macros and groups."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from quarterdeck.registry.importers.arguments import Arguments, Engines, parse
from quarterdeck.registry.importers.plan import ImportPlan, PlannedModel
from quarterdeck.registry.importers.texts import mapping, word, words, wrong

FORMAT = "llama_swap"
TITLE = "llama-swap configuration"

_MACRO = re.compile(r"\$\{([A-Za-z0-9_.-]+)\}")
_MOST_MACROS = 1000
_ENDLESS = 10**9
_LONGEST_COMMAND = 100_000
_TAKEN = frozenset({"cmd", "proxy", "aliases", "ttl", "useModelName", "macros", "name", "description"})
_TAKEN_OUTSIDE = frozenset({"models", "groups", "macros", "globalTTL", "peers", "includeAliasesInList"})
_WORDS = {
    "env": "environment variables", "filters": "filters of parameters", "cmdStop": "the command that stops it",
    "checkEndpoint": "the address of its health check", "concurrencyLimit": "the limit of requests",
    "unlisted": "that it is not listed", "metadata": "metadata", "timeouts": "timeouts",
    "sendLoadingState": "messages while it loads", "healthCheckTimeout": "the patience at the start",
    "logLevel": "the log level", "startPort": "the first port", "apiKeys": "API keys", "hooks": "hooks at the start",
    "matrix": "the matrix of models that live together", "profiles": "profiles",
}  # fmt: skip


def read(document: Any, engines: Engines) -> ImportPlan:
    """Raises ConfigError when the document is not such a configuration."""
    root = mapping(document)
    models = root.get("models")
    if not isinstance(models, Mapping):
        raise wrong("“models” must be a mapping from names to settings")
    plan = ImportPlan(FORMAT, TITLE)
    common = _macros(root.get("macros"))
    for name, settings in mapping(models).items():
        plan.models.append(_Entry(name, mapping(settings), common, root.get("globalTTL"), engines).planned())
    _groups(plan, mapping(root.get("groups")))
    _peers(plan, mapping(root.get("peers")))
    left = [_WORDS.get(key, f"“{key}”") for key in root if key not in _TAKEN_OUTSIDE]
    if left:
        plan.warnings.append(f"Not carried over: {', '.join(left)}.")
    return plan


class _Entry:
    """One model of the file."""

    def __init__(
        self, name: str, settings: Mapping[str, Any], common: Mapping[str, str], ttl: object, engines: Engines
    ) -> None:
        self._name = name
        self._settings = settings
        self._macros = {**common, **_macros(settings.get("macros")), "MODEL_ID": name}
        self._ttl = settings.get("ttl") if settings.get("ttl") not in (None, -1) else ttl
        self._engines = engines

    def planned(self) -> PlannedModel:
        entry = PlannedModel(self._name)
        entry.dropped = [_WORDS.get(key, f"“{key}”") for key in self._settings if key not in _TAKEN]
        try:
            argv = _words_of(self._expand(word(self._settings.get("cmd"))))
        except ValueError as error:
            entry.problem = f"Its command cannot be read: {error}."
            return entry
        self._launch(entry, argv)
        self._policies(entry)
        return entry

    def _launch(self, entry: PlannedModel, argv: list[str]) -> None:
        backend, arguments = _engine(argv)
        proxy = self._expand(word(self._settings.get("proxy")))
        if backend is None:
            self._proxied(entry, argv, proxy)
            return
        parsed = parse(arguments, backend, self._engines)
        entry.dropped += parsed.dropped
        entry.values = {"backend": backend, "load_config": parsed.load_config}
        self._source(entry, parsed)
        served = word(self._settings.get("useModelName")) or parsed.served_name
        if served and served != self._name:
            entry.values["served_name"] = served

    def _source(self, entry: PlannedModel, parsed: Arguments) -> None:
        if parsed.path and ("/" in parsed.path or parsed.path.lower().endswith(".gguf")):
            path = os.path.expanduser(parsed.path)  # noqa: PTH111 (no error for an unknown ~user)
            if os.path.isabs(path):  # noqa: PTH117
                entry.values["path"] = os.path.normpath(path)
                return
            if entry.values["backend"] == "vllm":
                entry.values["hf_path"] = parsed.path
                return
            entry.problem = f"“{parsed.path}” is relative to a folder that the file does not name."
        elif parsed.repository:
            entry.problem = f"It downloads “{parsed.repository}” when it starts. Download the model and add its file."
        else:
            entry.problem = "Its command names no model."

    def _proxied(self, entry: PlannedModel, argv: list[str], proxy: str) -> None:
        program = Path(argv[0]).name if argv else ""
        if proxy and "${PORT}" not in proxy:
            served = word(self._settings.get("useModelName")) or self._name
            entry.values = {"backend": "openai-compatible", "url": proxy, "served_name": served}
            if program:
                entry.dropped.append(f"the command that starts it ({program})")
        elif program:
            entry.problem = f"It is started by “{program}”, which Quarterdeck cannot start."
        else:
            entry.problem = "It has neither a command nor a fixed address."

    def _policies(self, entry: PlannedModel) -> None:
        aliases: list[str] = []
        listed = self._settings.get("aliases")
        for alias in listed if isinstance(listed, list) else []:
            aliases += words(mapping(alias).get("id")) if isinstance(alias, Mapping) else words(alias)
        if title := word(self._settings.get("name")):
            aliases.append(title)
        if aliases and entry.values:
            entry.values["aliases"] = list(dict.fromkeys(each for each in aliases if each != self._name))
        ttl = self._ttl
        if entry.values and isinstance(ttl, int | float) and not isinstance(ttl, bool) and 0 <= ttl < _ENDLESS:
            entry.values["idle_timeout"] = float(ttl)

    def _expand(self, text: str) -> str:
        """`text` with its macros replaced; ${PORT} and unknown ones stay as they are. Raises ValueError."""
        for _ in range(_MOST_MACROS):
            found = next((each for each in _MACRO.finditer(text) if self._value(each[1]) is not None), None)
            if found is None:
                return text
            text = text[: found.start()] + str(self._value(found[1])) + text[found.end() :]
            if len(text) > _LONGEST_COMMAND:
                break
        raise ValueError("its macros refer to each other without end")

    def _value(self, macro: str) -> str | None:
        if macro.startswith("env."):
            return os.environ.get(macro.removeprefix("env."))
        return self._macros.get(macro)


def _engine(argv: list[str]) -> tuple[str | None, list[str]]:
    """The backend that stands for a command, and the arguments behind the program."""
    if not argv:
        return None, []
    program = Path(argv[0]).name
    if program.startswith("llama-server"):
        return "llama-server", argv[1:]
    if program == "vllm" and argv[1:2] == ["serve"]:
        return "vllm", argv[2:]
    if program.startswith("python") and argv[1:3] == ["-m", "vllm.entrypoints.openai.api_server"]:
        return "vllm", argv[3:]
    return None, []


def _words_of(command: str) -> list[str]:
    """The words of a command, which may have several lines with comments between them. Raises ValueError."""
    lines = (line for line in command.splitlines() if not line.lstrip().startswith("#"))
    try:
        return shlex.split(" ".join(line.rstrip().removesuffix("\\") for line in lines))
    except ValueError as error:
        raise ValueError(str(error).rstrip(".").lower()) from None


def _macros(value: object) -> dict[str, str]:
    pairs = mapping(value)
    for item in value if isinstance(value, list) else []:
        each = mapping(item)
        pairs = {**pairs, **({word(each["name"]): each.get("value")} if "name" in each else each)}
    shown = {True: "true", False: "false"}
    return {name: shown[each] if isinstance(each, bool) else word(each) for name, each in pairs.items()}


def _groups(plan: ImportPlan, groups: Mapping[str, Any]) -> None:
    """Models that a group does not swap live together; those of a persistent group are never evicted."""
    entries = {entry.name: entry for entry in plan.models if entry.values}
    for group, settings in groups.items():
        known = mapping(settings)
        for member in words(known.get("members", [])):
            entry = entries.get(member)
            if entry is None:
                plan.warnings.append(f"The group “{group}” names “{member}”, which the file does not define.")
                continue
            if known.get("swap") is False:
                entry.values["group"] = group
            if known.get("persistent") is True:
                entry.values["pinned"] = True


def _peers(plan: ImportPlan, peers: Mapping[str, Any]) -> None:
    """Servers elsewhere with the models that they have."""
    for settings in peers.values():
        known = mapping(settings)
        url = word(known.get("proxy"))
        if not url:
            continue
        plan.servers.append(url)
        for name in words(known.get("models", [])):
            dropped = ["its API key (add it to the server)"] if known.get("apiKey") else []
            values = {"backend": "openai-compatible", "url": url, "served_name": name}
            plan.models.append(PlannedModel(name, values, dropped=dropped))
