"""Reads a `model_registry.json`: a list of entries, or the curated and the discovered list in one object."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from quarterdeck.errors import ConfigError
from quarterdeck.registry.facts import clean_capabilities
from quarterdeck.registry.importers.arguments import Engines, parse
from quarterdeck.registry.importers.plan import ImportPlan, PlannedModel
from quarterdeck.registry.importers.texts import mapping, positive, word, words, wrong

FORMAT = "model_registry"
TITLE = "Model registry"

_BACKENDS = {
    "vllm": "vllm", "ollama": "ollama", "gguf": "embedded", "llama_cpp": "embedded", "llamacpp": "embedded",
    "lmdeploy": "openai-compatible", "triton": "openai-compatible", "openai": "openai-compatible",
}  # fmt: skip
_OLLAMA_PATH = "ollama:/"
_THIS_MACHINE = "127.0.0.1"
_PORTS = {"ollama": 11434, "vllm": 8000, "openai-compatible": 8000}
_DROPPED = {
    "generation_defaults": "default sampling values", "performance": "measured performance", "probes": "probes",
    "license": "the license", "backend_alternatives": "other backends", "role_priority": "the order within roles",
    "artifacts": "the list of files", "download_files": "the list of downloaded files",
    "profiles_placeholder": "profiles",
}  # fmt: skip
_LISTS = ("models", "entries", "registry")


def read(document: Any, engines: Engines) -> ImportPlan:
    """Raises ConfigError when the document is not such a registry."""
    plan = ImportPlan(FORMAT, TITLE)
    for number, entry in enumerate(_entries(document), 1):
        name = word(entry.get("name"))
        if not name:
            plan.warnings.append(f"Entry {number} has no name and was left out.")
            continue
        plan.models.append(_planned(name, entry, engines, plan))
    return plan


def is_registry(document: Any) -> bool:
    """Whether the document looks like one: entries with a name and a backend."""
    try:
        entries = _entries(document)
    except ConfigError:
        return False
    return any("name" in entry and ("backend" in entry or "backend_config" in entry) for entry in entries)


def _entries(document: Any) -> list[Mapping[str, Any]]:
    if isinstance(document, list):
        return [mapping(each) for each in document]
    root = mapping(document)
    if isinstance(root.get("curated"), list) or isinstance(root.get("discovered"), list):
        return _joined(root)
    for key in _LISTS:
        if isinstance(root.get(key), list):
            return [mapping(each) for each in root[key]]
        if isinstance(root.get(key), Mapping):
            return [{"name": name, **mapping(each)} for name, each in mapping(root[key]).items()]
    raise wrong("there is no list of models in it")


def _joined(root: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Curated over discovered, fact by fact; null never wins."""
    merged: dict[str, Mapping[str, Any]] = {}
    for layer in ("discovered", "curated"):
        for each in root.get(layer) or []:
            entry = mapping(each)
            merged[word(entry.get("name"))] = _over(merged.get(word(entry.get("name")), {}), entry)
    return list(merged.values())


def _over(low: Mapping[str, Any], high: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(low)
    for key, value in high.items():
        below = merged.get(key)
        if isinstance(value, Mapping) and isinstance(below, Mapping):
            merged[key] = _over(below, value)
        elif value is not None:
            merged[key] = value
    return merged


def _planned(name: str, entry: Mapping[str, Any], engines: Engines, plan: ImportPlan) -> PlannedModel:
    planned = PlannedModel(name)
    theirs = word(entry.get("backend")).lower()
    backend = _BACKENDS.get(theirs)
    if backend is None:
        planned.problem = (
            f"Its backend “{theirs}” is not one that Quarterdeck knows." if theirs else "It has no backend."
        )
        return planned
    config = mapping(entry.get("backend_config"))
    planned.values["backend"] = backend
    _place(planned, entry, config, plan)
    _arguments(planned, config, engines)
    _template(planned, mapping(entry.get("chat_template")))
    _policies(planned, entry)
    _facts(planned, entry)
    _lock(planned, mapping(entry.get("version_lock")))
    planned.dropped += [what for key, what in _DROPPED.items() if _says_something(entry.get(key))]
    return planned


def _place(planned: PlannedModel, entry: Mapping[str, Any], config: Mapping[str, Any], plan: ImportPlan) -> None:
    """Where the model is: a path, or a server and the id there."""
    backend = planned.values["backend"]
    path = word(config.get("model_path")) or word(entry.get("download_path"))
    served = word(entry.get("served_model_id"))
    served = "" if served == "None" else served
    url = word(config.get("base_url"))
    if backend in ("ollama", "openai-compatible") or url:
        address = url or _address(planned, config, plan)
        if address:
            planned.values["url"] = address
        planned.values["served_name"] = served or path.removeprefix(_OLLAMA_PATH).strip("/") or planned.name
        return
    if not path:
        planned.problem = "It names no file."
        return
    planned.values["path"] = os.path.abspath(os.path.expanduser(path))  # noqa: PTH100, PTH111
    if not os.path.isabs(os.path.expanduser(path)):  # noqa: PTH117, PTH111
        planned.problem = f"“{path}” is relative to a folder that the file does not name."
    if served and served != planned.name:
        planned.values["served_name"] = served


def _address(planned: PlannedModel, config: Mapping[str, Any], plan: ImportPlan) -> str:
    """The server's address from host and port; empty means the usual one of the backend."""
    backend, host, port = planned.values["backend"], word(config.get("host")), positive(config.get("port"))
    if host and host != "localhost" and "." not in host and ":" not in host and "://" not in host:
        note = f"“{host}” is the name of a container; the server is looked for on this machine instead."
        if note not in plan.warnings:
            plan.warnings.append(note)
        host = ""
    if "://" in host:
        return host
    if not host and backend == "ollama":
        return ""
    return f"http://{host or _THIS_MACHINE}:{port or _PORTS.get(backend, 8000)}"


def _arguments(planned: PlannedModel, config: Mapping[str, Any], engines: Engines) -> None:
    arguments = words(config.get("extra_args") or [])
    if not arguments:
        return
    parsed = parse(arguments, planned.values["backend"], engines)
    planned.dropped += parsed.dropped
    if parsed.load_config:
        planned.values["load_config"] = parsed.load_config


def _template(planned: PlannedModel, template: Mapping[str, Any]) -> None:
    path = word(template.get("path"))
    if not path or word(template.get("source")) != "external":
        return
    if planned.values["backend"] == "vllm":
        planned.values["load_config"] = {"chat_template": path, **planned.values.get("load_config", {})}
    else:
        planned.dropped.append("the chat template")


def _policies(planned: PlannedModel, entry: Mapping[str, Any]) -> None:
    aliases = [*words(entry.get("model_aliases") or []), *words(entry.get("display_name") or [])]
    lists = {
        "aliases": list(dict.fromkeys(alias for alias in aliases if alias != planned.name)),
        "roles": list(dict.fromkeys(words(entry.get("roles") or []))),
        "capabilities": _capabilities(entry.get("capabilities")),
    }
    planned.values |= {key: value for key, value in lists.items() if value}
    if entry.get("deprecated") is True:
        planned.values["deprecated"] = True


def _capabilities(value: object) -> list[str]:
    if isinstance(value, Mapping):
        named = [key for key, has in mapping(value).items() if has is True]
        if "text" not in value and named:
            named.insert(0, "text")
        return clean_capabilities(named)
    return clean_capabilities(words(value)) if isinstance(value, list) else []


def _facts(planned: PlannedModel, entry: Mapping[str, Any]) -> None:
    kind = word(entry.get("download_format")).lower()
    measured = {
        "family": word(entry.get("family")) or None,
        "quantization": word(entry.get("quantization")).upper() or None,
        "size_bytes": positive(entry.get("download_size_bytes")),
        "format": kind if kind in ("gguf", "safetensors") else None,
    }
    planned.facts = {key: value for key, value in measured.items() if value is not None}


def _lock(planned: PlannedModel, lock: Mapping[str, Any]) -> None:
    planned.locked = lock.get("locked") is True
    if word(lock.get("expected_aggregate_sha256")):
        planned.dropped.append("the expected hash (computed in another way; the next check keeps the present one)")


def _says_something(value: object) -> bool:
    if isinstance(value, Mapping):
        return any(_says_something(each) for each in value.values())
    if isinstance(value, list):
        return bool(value)
    return value not in (None, "", False, 0)
