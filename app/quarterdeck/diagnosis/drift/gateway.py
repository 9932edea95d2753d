"""The configuration of a LiteLLM gateway as it is written, each entry with its line."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from quarterdeck.diagnosis.drift.yaml_file import YamlFile, items, line_of, plain, read, section, words

FALLBACKS = ("fallbacks", "context_window_fallbacks", "content_policy_fallbacks", "default_fallbacks")
_SETTINGS = ("router_settings", "litellm_settings")
_ENVIRONMENT = re.compile(r"os\.environ/([A-Za-z_][A-Za-z0-9_]*)")
_USUAL_URLS = {"ollama": "http://127.0.0.1:11434", "ollama_chat": "http://127.0.0.1:11434"}
_TITLES = {"ollama": "Ollama", "ollama_chat": "Ollama", "hosted_vllm": "vLLM", "vllm": "vLLM", "openai": "OpenAI-style"}


@dataclass(frozen=True)
class Entry:
    """An entry of the model list. `target` is the model as LiteLLM names it; `line` where the entry begins."""

    name: str
    line: int
    target: str = ""
    url: str = ""
    params: Mapping[str, Any] = field(default_factory=dict)
    info: Mapping[str, Any] = field(default_factory=dict)

    @property
    def provider(self) -> str:
        given = self.params.get("custom_llm_provider")
        return str(given) if given else self.target.partition("/")[0] if "/" in self.target else ""

    @property
    def served_id(self) -> str:
        """The id under which the server behind it knows the model."""
        prefix, slash, rest = self.target.partition("/")
        return rest if slash and prefix == self.provider else self.target

    @property
    def address(self) -> str:
        """Where its requests go; empty where that is a cloud or cannot be told."""
        return self.url or _USUAL_URLS.get(self.provider, "")

    @property
    def tools(self) -> bool:
        """Whether the file says that it can call tools."""
        return self.info.get("supports_function_calling") is True

    @property
    def context(self) -> int | None:
        given = self.info.get("max_input_tokens") or self.info.get("context_length")
        return given if isinstance(given, int) and not isinstance(given, bool) else None

    def same(self, other: Entry) -> bool:
        """Whether both lead to the same place in the same way."""
        return (self.name, self.params, self.info) == (other.name, other.params, other.info)


@dataclass(frozen=True)
class Reference:
    """A name that stands for a model somewhere in the file. `of` is the model that it stands in for, if any."""

    line: int
    kind: str
    of: str
    name: str


@dataclass
class Gateway:
    """A configuration that was read."""

    file: YamlFile
    entries: list[Entry]

    @property
    def names(self) -> list[str]:
        return list(dict.fromkeys(entry.name for entry in self.entries))

    def references(self) -> Iterator[Reference]:
        """The names in fallbacks and aliases."""
        for settings in _SETTINGS:
            holder = section(self.file.mapping, settings)
            for kind in FALLBACKS:
                yield from _fallbacks(kind, holder)
        for line, alias, target in self.aliases():
            if isinstance(target, str):
                yield Reference(line, "alias", alias, target)

    def stand_ins(self, name: str) -> set[str]:
        """The models that answer where the one of that name does not."""
        return {each.name for each in self.references() if each.kind in FALLBACKS and each.of in ("", name)} - {name}

    def aliases(self) -> Iterator[tuple[int, str, Any]]:
        """Other names: line, alias, and what it stands for as it is written."""
        for settings in _SETTINGS:
            given = section(section(self.file.mapping, settings), "model_group_alias")
            for alias, value in given.items():
                target = value.get("model") if isinstance(value, Mapping) else value
                yield line_of(given, alias), str(alias), target

    def environment(self) -> dict[str, int]:
        """Names of environment variables that the file needs, with the line of the first mention."""
        found: dict[str, int] = {}
        for number, line in enumerate(self.file.text.splitlines(), 1):
            if not line.lstrip().startswith("#"):
                for name in _ENVIRONMENT.findall(line):
                    found.setdefault(name, number)
        return found


def backend(entry: Entry) -> str:
    """The kind of server behind an entry, in words, as far as the file tells."""
    return _TITLES.get(entry.provider, entry.provider or "other")


def is_gateway(file: YamlFile) -> bool:
    """Whether this is a LiteLLM configuration."""
    return any(key in file.mapping for key in ("model_list", *_SETTINGS, "general_settings"))


def read_gateway(text: str) -> Gateway:
    """Read a configuration; what is wrong stands in the faults of its file and in `gateway_checks`."""
    return of_file(read(text))


def of_file(file: YamlFile) -> Gateway:
    """The entries of a file that was read as YAML."""
    listed = items(file.mapping, "model_list")
    return Gateway(file, [_entry(each, line_of(listed, place)) for place, each in enumerate(listed)])


def _entry(each: Any, line: int) -> Entry:
    params = plain(section(each, "litellm_params"))
    target = params.get("model")
    url = params.get("api_base") or params.get("base_url") or ""
    name = each.get("model_name") if isinstance(each, Mapping) else None
    return Entry(
        name=str(name) if name is not None else "",
        line=line,
        target=target if isinstance(target, str) else "",
        url=url if isinstance(url, str) and not url.startswith("os.environ/") else "",
        params=params,
        info=plain(section(each, "model_info")),
    )


def _fallbacks(kind: str, holder: Any) -> Iterator[Reference]:
    listed = items(holder, kind)
    for place, each in enumerate(listed):
        if isinstance(each, str):
            yield Reference(line_of(listed, place), kind, "", each)
        elif isinstance(each, Mapping):
            for model, targets in each.items():
                line = line_of(each, model)
                yield Reference(line, f"{kind} of", "", str(model))
                for own_line, target in words(targets):
                    yield Reference(own_line or line, kind, str(model), target)
