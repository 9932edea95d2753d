"""What each client program needs to reach Quarterdeck: settings to copy and lines to paste."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from typing import NamedTuple
from urllib.parse import urlsplit, urlunsplit

from quarterdeck.schemas.access import ConnectGuide

ANY_MODEL = "MODEL"
KEY_HERE = "YOUR-KEY"
NO_KEY = "EMPTY"
"""What clients send that insist on a key where none is needed."""

_WILDCARDS = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}  # noqa: S104 - compared, not bound
_ANY_KEY = f"There is no API key yet, so any text does as the key, such as {NO_KEY}."
_CONTAINER = (
    "In a container, 127.0.0.1 is the container itself. Start it with --network=host, or let Quarterdeck listen on an "
    "address that the container reaches (this needs an API key) and use host.docker.internal in place of 127.0.0.1."
)
_STORED = (
    "Open WebUI keeps the connections of its first start: later, change them under Admin Panel, Settings, Connections."
)


class Situation(NamedTuple):
    """Where clients reach Quarterdeck, without a slash at the end; a model for examples; whether a key is needed."""

    url: str
    model: str = ANY_MODEL
    needs_key: bool = False
    everywhere: bool = False
    host_name: str = ""

    @property
    def openai(self) -> str:
        return f"{self.url}/v1"

    @property
    def key(self) -> str:
        return KEY_HERE if self.needs_key else NO_KEY


def situation(public_url: str, *, model: str, needs_key: bool, host_name: str) -> Situation:
    """`public_url` may name all addresses of the machine (0.0.0.0), which no client can call."""
    parts = urlsplit(public_url)
    here = _WILDCARDS.get(parts.hostname or "")
    if here is None:
        return Situation(public_url.rstrip("/"), model, needs_key)
    port = f":{parts.port}" if parts.port else ""
    return Situation(urlunsplit((parts.scheme, here + port, "", "", "")), model, needs_key, True, host_name)


def guides(now: Situation) -> list[ConnectGuide]:
    """A guide for each program that is known, the most used first."""
    return [_guide(now, program) for program in PROGRAMS.values()]


class Program(NamedTuple):
    """A client program. `fields` and `snippet` are made for a situation; `notes` hold for all of them."""

    client: str
    title: str
    dialect: str
    fields: Callable[[Situation], dict[str, str]]
    snippet: Callable[[Situation], str] = lambda _now: ""
    notes: tuple[str, ...] = ()


def _guide(now: Situation, program: Program) -> ConnectGuide:
    notes = [*program.notes, *([] if now.needs_key else [_ANY_KEY])]
    if now.everywhere:
        port = urlsplit(now.url).port
        notes.append(f"On other computers, use {now.host_name}:{port} in place of {urlsplit(now.url).netloc}.")
    if now.url.startswith("https"):
        notes.append("The program must trust the certificate of Quarterdeck.")
    return ConnectGuide(
        client=program.client,
        title=program.title,
        dialect=program.dialect,
        fields=program.fields(now),
        snippet=program.snippet(now),
        notes=notes,
    )


def _base_url(label: str) -> Callable[[Situation], dict[str, str]]:
    return lambda now: {label: now.openai, "API key": now.key, "Model": now.model}


def _host(label: str) -> Callable[[Situation], dict[str, str]]:
    def fields(now: Situation) -> dict[str, str]:
        key = {"Authorization header": f"Bearer {now.key}"} if now.needs_key else {}
        return {label: now.url, **key, "Model": now.model}

    return fields


def _openai_python(now: Situation) -> str:
    return f"""\
from openai import OpenAI

client = OpenAI(base_url={_text(now.openai)}, api_key={_text(now.key)})
answer = client.chat.completions.create(
    model={_text(now.model)},
    messages=[{{"role": "user", "content": "Hello"}}],
)
print(answer.choices[0].message.content)
"""


def _ollama_python(now: Situation) -> str:
    headers = f', headers={{"Authorization": {_text(f"Bearer {now.key}")}}}' if now.needs_key else ""
    return f"""\
from ollama import Client

client = Client(host={_text(now.url)}{headers})
answer = client.chat(model={_text(now.model)}, messages=[{{"role": "user", "content": "Hello"}}])
print(answer.message.content)
"""


def _anthropic_python(now: Situation) -> str:
    return f"""\
from anthropic import Anthropic

client = Anthropic(base_url={_text(now.url)}, api_key={_text(now.key)})
answer = client.messages.create(
    model={_text(now.model)},
    max_tokens=500,
    messages=[{{"role": "user", "content": "Hello"}}],
)
print(answer.content[0].text)
"""


def _litellm(now: Situation) -> str:
    return f"""\
import litellm

answer = litellm.completion(
    model={_text(f"openai/{now.model}")},
    api_base={_text(now.openai)},
    api_key={_text(now.key)},
    messages=[{{"role": "user", "content": "Hello"}}],
)
print(answer.choices[0].message.content)
"""


def _langchain(now: Situation) -> str:
    return f"""\
from langchain_openai import ChatOpenAI

model = ChatOpenAI(model={_text(now.model)}, base_url={_text(now.openai)}, api_key={_text(now.key)})
print(model.invoke("Hello").content)
"""


def _llm(now: Situation) -> str:
    return f"""\
cat >> "$(dirname "$(llm logs path)")/extra-openai-models.yaml" <<'END'
- model_id: {_text(now.model)}
  model_name: {_text(now.model)}
  api_base: {_text(now.openai)}
  api_key_name: quarterdeck
END
llm keys set quarterdeck --value {shlex.quote(now.key)}
llm -m {shlex.quote(now.model)} "Hello"
"""


def _curl(now: Situation) -> str:
    body = json.dumps({"model": now.model, "messages": [{"role": "user", "content": "Hello"}], "stream": True})
    key = f"  -H {shlex.quote(f'Authorization: Bearer {now.key}')} \\\n" if now.needs_key else ""
    return f"""\
curl -N {shlex.quote(now.openai + "/chat/completions")} \\
  -H 'Content-Type: application/json' \\
{key}  -d {shlex.quote(body)}
"""


def _environment(**variables: Callable[[Situation], str]) -> Callable[[Situation], str]:
    return lambda now: "".join(
        f"export {name}={shlex.quote(value)}\n" for name, made in variables.items() if (value := made(now))
    )


_OPEN_WEBUI = "open-webui"
_LISTED = (
    Program(
        _OPEN_WEBUI, "Open WebUI", "openai",
        lambda now: {"OpenAI API: URL": now.openai, "Key": now.key},
        _environment(OPENAI_API_BASE_URLS=lambda now: now.openai, OPENAI_API_KEYS=lambda now: now.key),
        (_STORED, _CONTAINER),
    ),
    Program(
        "open-webui-ollama", "Open WebUI (as Ollama)", "ollama",
        lambda now: {"Ollama API: URL": now.url} | ({"Key": now.key} if now.needs_key else {}),
        _environment(ENABLE_OLLAMA_API=lambda _now: "true", OLLAMA_BASE_URLS=lambda now: now.url),
        (_STORED, _CONTAINER, "One connection is enough; with both, every model is listed twice."),
    ),
    Program("openai", "openai (Python)", "openai", _base_url("Base URL"), _openai_python),
    Program("ollama", "ollama (Python)", "ollama", _host("Host"), _ollama_python),
    Program(
        "anthropic", "anthropic (Python)", "anthropic",
        lambda now: {"Base URL": now.url, "API key": now.key, "Model": now.model}, _anthropic_python,
    ),
    Program(
        "claude-code", "Claude Code", "anthropic",
        lambda now: {"ANTHROPIC_BASE_URL": now.url, "ANTHROPIC_AUTH_TOKEN": now.key, "ANTHROPIC_MODEL": now.model},
        lambda now: _environment(
            ANTHROPIC_BASE_URL=lambda now: now.url, ANTHROPIC_AUTH_TOKEN=lambda now: now.key,
            ANTHROPIC_MODEL=lambda now: now.model,
        )(now) + "claude\n",
        ("Choose a model that can use tools and was loaded with a long context.",),
    ),
    Program("litellm", "LiteLLM (Python)", "openai", _base_url("api_base"), _litellm),
    Program("langchain", "LangChain", "openai", _base_url("base_url"), _langchain),
    Program("llm", "llm (command line)", "openai", _base_url("api_base"), _llm),
    Program("ollama-cli", "ollama (command line)", "ollama", lambda now: {"OLLAMA_HOST": now.url, "Model": now.model},
            lambda now: f"export OLLAMA_HOST={shlex.quote(now.url)}\nollama run {shlex.quote(now.model)}\n",
            ("It sends no API key: it works as long as there is none.",)),
    Program("curl", "curl", "openai", _base_url("Base URL"), _curl),
    Program("any-openai", "Any OpenAI client", "openai", _base_url("Base URL"),
            _environment(OPENAI_BASE_URL=lambda now: now.openai, OPENAI_API_KEY=lambda now: now.key)),
)  # fmt: skip
PROGRAMS: dict[str, Program] = {program.client: program for program in _LISTED}


def _text(value: str) -> str:
    """The value between double quotes, as Python, YAML and JSON read it alike."""
    return json.dumps(value, ensure_ascii=False)
