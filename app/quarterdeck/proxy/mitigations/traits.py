"""What a model cannot take: told by its chat template, else by its name, else by what its backend refused before."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from quarterdeck.errors import AppError
from quarterdeck.registry.gguf import read_header
from quarterdeck.schemas.backends import BackendKind
from quarterdeck.schemas.models import ModelView

LOCAL_ENGINES = frozenset((BackendKind.EMBEDDED, BackendKind.LLAMA_SERVER, BackendKind.VLLM))
_LLAMA_CPP = frozenset((BackendKind.EMBEDDED, BackendKind.LLAMA_SERVER))
_MOST_KEPT = 2000

_NO_SYSTEM = "system role not supported"
_ALTERNATES = "roles must alternate"
_SYSTEM_FIRST = re.compile(r"system message must be (at the |the )?(beginning|first)", re.IGNORECASE)
_SPEAKS_OF_TOOLS = re.compile("tool|function", re.IGNORECASE)
_NO_TOOLS = "does not support tools"
_NO_AUTO_TOOLS = "tool choice requires --enable-auto-tool-choice"

# Templates that insist on turns, by the names of their models; the first group knows no system role either.
_PLAIN_TURNS = re.compile(
    r"(^|[^a-z])(gemma-?2|gemma-(1\.1-)?[27]b|codegemma|recurrentgemma|shieldgemma)"
    r"|mi[sx]tral-(7b|8x7b)-instruct-v0\.[12]|(^|/)o1-(mini|preview)"
)
_TURNS = re.compile(r"(^|[^a-z])gemma-?3|mi[sx]tral-(7b|8x7b|8x22b)|llama-2-.*chat")
_PLAIN_ARCHITECTURES = frozenset(("gemma", "gemma2", "recurrentgemma", "recurrent_gemma"))
_TURNS_ARCHITECTURES = frozenset(("gemma3", "gemma3_text"))


@dataclass(frozen=True, slots=True)
class Traits:
    """`no_system`: no system role; `system_first`: only at the beginning; `turns`: user and assistant must alternate.

    `turns_with_tools` says that messages of tool calls may stand between the turns; `no_tools`, that the engine refuses
    or loses tools.
    """

    no_system: bool = False
    system_first: bool = False
    turns: bool = False
    turns_with_tools: bool = False
    no_tools: bool = False


_PLAIN = Traits()
_known: dict[tuple[str | None, ...], Traits] = {}


async def traits_of(view: ModelView) -> Traits:
    """What `view` cannot take. A template is read once, in a thread; after that this costs a look into a table."""
    key = _key(view)
    found = _known.get(key)
    if found is None:
        template = None
        if view.path and view.backend in LOCAL_ENGINES:
            template = await asyncio.to_thread(_template, Path(view.path), options_of(view))
        found = by_template(template) if template else by_name(view)
        if template and view.backend in _LLAMA_CPP and not _SPEAKS_OF_TOOLS.search(template):
            # llama.cpp leaves tools out without a word when the template has no place for them.
            found = replace(found, no_tools=True)
        _keep(key, found)
    return found


def learn(view: ModelView, sentence: str) -> bool:
    """Remember what a backend refused with `sentence`; whether the request may be mended and sent once more.

    vLLM without its options for tools is remembered, but the request is not repeated: that client has to know.
    """
    said = sentence.casefold()
    key = _key(view)
    before = _known.get(key, _PLAIN)
    after = replace(
        before,
        no_system=before.no_system or _NO_SYSTEM in said,
        system_first=before.system_first or _SYSTEM_FIRST.search(said) is not None,
        turns=before.turns or _ALTERNATES in said or _NO_SYSTEM in said,
        no_tools=before.no_tools or _NO_TOOLS in said or _NO_AUTO_TOOLS in said,
    )
    if after == before:
        return False
    _keep(key, after)
    return _NO_AUTO_TOOLS not in said


def by_template(template: str) -> Traits:
    """What a template in Jinja's language refuses, by its own words."""
    said = template.casefold()
    turns = _ALTERNATES in said
    return Traits(
        no_system=_NO_SYSTEM in said or (turns and "system" not in said),
        system_first=_SYSTEM_FIRST.search(said) is not None,
        turns=turns,
        turns_with_tools=turns and "tool_calls" in said,
    )


def by_name(view: ModelView) -> Traits:
    """What the templates of well-known families refuse. Ollama has templates of its own, which take everything."""
    if view.backend == BackendKind.OLLAMA:
        return _PLAIN
    names = " ".join(filter(None, (view.hf_path, view.served_name, view.name, view.path))).casefold()
    kinds = {(view.architecture or "").casefold(), (view.family or "").casefold()}
    if kinds & _PLAIN_ARCHITECTURES or _PLAIN_TURNS.search(names):
        return Traits(no_system=True, turns=True)
    if kinds & _TURNS_ARCHITECTURES or _TURNS.search(names):
        return Traits(turns=True)
    return _PLAIN


def options_of(view: ModelView) -> dict[str, Any]:
    """The load_config of a model; to be read only."""
    return _options(view.load_config) if view.load_config != "{}" else {}


@lru_cache(maxsize=512)
def _options(text: str) -> dict[str, Any]:
    options = json.loads(text)
    return options if isinstance(options, dict) else {}


def _key(view: ModelView) -> tuple[str | None, ...]:
    return view.backend, view.path or view.url, view.served_name, view.name, view.load_config


def _keep(key: tuple[str | None, ...], traits: Traits) -> Traits:
    if len(_known) >= _MOST_KEPT:
        _known.clear()
    _known[key] = traits
    return traits


def _template(path: Path, options: dict[str, Any]) -> str | None:
    """The template with which an engine runs the model; None where it cannot be read. Blocking."""
    given = options.get("chat_template_file") or options.get("chat_template")
    if given:
        # It is a file, or the template itself, or the name of one that the engine brings along.
        return _read(Path(given)) or (given if "{" in given else None)
    if not path.is_dir():
        try:
            header = read_header(path)
            # The second is the one that llama.cpp takes for requests with tools.
            return "\n".join(filter(None, (header.chat_template, header.tool_template))) or None
        except (AppError, OSError):
            return None
    return _read(path / "chat_template.jinja") or _inside(path / "chat_template.json", path / "tokenizer_config.json")


def _inside(*files: Path) -> str | None:
    """The template that one of these JSON files holds; several with names count as one."""
    for file in files:
        with contextlib.suppress(ValueError):
            content = json.loads(_read(file) or "{}")
            template = content.get("chat_template") if isinstance(content, dict) else None
            if template:
                return template if isinstance(template, str) else json.dumps(template)
    return None


def _read(file: Path) -> str | None:
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except (OSError, ValueError):
        return None
