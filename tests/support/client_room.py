"""One running program with a model on every engine, for clients that ask all of them."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path

from client_cells import EMBEDDINGS, IMAGE, PLAIN, SCHEMA, STREAM, Question, RealClient, RefusalError, judge
from engine_room import SECOND, VLLM_CONFIG, VLLM_NAME, EngineRoom, engine_room
from real_engines import OLLAMA, VLLM_MODEL
from serve_process import STARTER
from tool_templates import JINJA
from tool_templates import OLLAMA as OLLAMA_TEMPLATE

LLAMA_CPP, ON_OLLAMA, ON_VLLM = BACKENDS = ("llama.cpp", "Ollama", "vLLM")
MODELS = {LLAMA_CPP: SECOND, ON_OLLAMA: "smol-with-tools", ON_VLLM: VLLM_NAME}
"""On each engine a model that takes tools."""
WITHOUT_TOOLS = {LLAMA_CPP: STARTER, ON_OLLAMA: "smol-without-tools"}
"""The same model as it is: its template has no place for tools."""
# Engines whose threads wait for each other crawl where other programs have the processor too.
_LLAMA_CONFIG = {"n_ctx": 1024, "n_threads": 1, "n_threads_batch": 1}

# A model that is punished for repeating would not repeat.
_OLLAMA_PARAMETERS = {"num_ctx": 1024, "num_thread": 1, "repeat_penalty": 1.0}


class ClientRoom:
    """The program, and the clients that were made for it so far."""

    def __init__(self, room: EngineRoom) -> None:
        self.room = room
        self.serve = room.serve
        self.url = room.serve.url
        self._clients: dict[type[RealClient], RealClient] = {}

    def client(self, kind: type[RealClient]) -> RealClient:
        if kind not in self._clients:
            self._clients[kind] = kind(self.url)
        return self._clients[kind]

    def close(self) -> None:
        for client in self._clients.values():
            client.close()


@contextlib.contextmanager
def client_room(folder: Path, file: Path, *, vllm: bool) -> Iterator[ClientRoom]:
    """`file` is the starter model; with `vllm` there is a model on vLLM too."""
    with engine_room(folder / "data", file, vllm=False) as room:
        for name, config in ((STARTER, _LLAMA_CONFIG), (SECOND, {**_LLAMA_CONFIG, "chat_template": JINJA})):
            room.serve.patch(name, load_config=config).raise_for_status()
        _add_to_ollama(room, MODELS[ON_OLLAMA], file, folder, OLLAMA_TEMPLATE)
        _add_to_ollama(room, WITHOUT_TOOLS[ON_OLLAMA], file, folder, None)
        if vllm:
            tools = {"enable_auto_tool_choice": True, "tool_call_parser": "hermes", "chat_template": JINJA}
            config = {**VLLM_CONFIG, **tools}
            room.serve.add(VLLM_NAME, VLLM_MODEL, backend="vllm", load_config=config).raise_for_status()
        made = ClientRoom(room)
        try:
            yield made
        finally:
            made.close()


def _add_to_ollama(room: EngineRoom, name: str, file: Path, folder: Path, template: str | None) -> None:
    modelfile = folder / f"Modelfile.{name}"
    parameters = "".join(f"PARAMETER {word} {value}\n" for word, value in _OLLAMA_PARAMETERS.items())
    modelfile.write_text(f"FROM {file}\n{parameters}" + (f'TEMPLATE """{template}"""\n' if template else ""))
    command = [OLLAMA, "create", name, "-f", modelfile]
    environment = {**os.environ, "OLLAMA_HOST": room.ollama_url}
    subprocess.run(command, env=environment, check=True, capture_output=True, timeout=120)
    body = {"model_name": name, "url": room.ollama_url, "backend": "ollama", "served_name": name}
    room.serve.http.post("/api/models", json=body).raise_for_status()


def refused_as(backend: str, feature: str) -> str | None:
    """What a model of `backend` is known to be unable to do, in the words of the refusal."""
    if feature == IMAGE:
        return "cannot read pictures"
    return "cannot make embeddings" if feature == EMBEDDINGS and backend == ON_VLLM else None


def row(room: ClientRoom, kind: type[RealClient], backend: str, features: Iterable[str]) -> dict[str, str]:
    """What came of each feature: ok, refused, or what was wrong."""
    return {feature: _cell(room, kind, backend, feature) for feature in features if feature not in kind.cannot}


def _cell(room: ClientRoom, kind: type[RealClient], backend: str, feature: str) -> str:
    try:
        return _ask(room, kind, backend, feature)
    except Exception as error:
        return f"fault: {type(error).__name__}: {error}"


def _ask(room: ClientRoom, kind: type[RealClient], backend: str, feature: str) -> str:
    words = kind.schema_words if feature == SCHEMA else ""
    question = Question(MODELS[backend], feature, words, limit=kind.fewest if feature in (PLAIN, STREAM) else 0)
    due = refused_as(backend, feature)
    try:
        said = room.client(kind).ask(question)
    except RefusalError as error:
        assert due is not None, f"refused: {error}"
        assert error.status in (409, None), error
        assert error.code in ("capability_mismatch", None), error
        assert due in error.sentence, error
        return "refused"
    assert due is None, f"answered: {said}"
    return judge(kind, question, said)
