"""Open WebUI as it is: what its page sends for one question, as an OpenAI and as an Ollama connection."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from gguf_writer import CHAT_FACTS, gguf_bytes
from scripted_core import ScriptedCore, scripted_core
from tool_engine import CALL_ID, ToolEngine, tool_engine

RECORDED: dict[str, Any] = json.loads(
    (Path(__file__).parent / "recorded" / "open-webui.json").read_text(encoding="utf-8")
)
TOOLS = RECORDED["tools"]
"""The tools that the page offers with every question, without their descriptions."""

CHAT = {"openai": "/v1/chat/completions", "ollama": "/api/chat"}
EMBED = {"openai": "/v1/embeddings", "ollama": "/api/embed"}
CONNECTIONS = list(CHAT)
KNOWS_TOOLS = {**CHAT_FACTS, "tokenizer.chat_template": "{{ tools }}{% for m in messages %}{{ m.content }}{% endfor %}"}
BACKENDS = ["embedded", "ollama", "openai-compatible"]


@pytest.fixture(scope="module")
def engine() -> Iterator[ToolEngine]:
    with tool_engine() as running:
        yield running


@pytest.fixture(scope="module")
def shared_core(tmp_path_factory: pytest.TempPathFactory, engine: ToolEngine) -> Iterator[ScriptedCore]:
    starting = scripted_core(tmp_path_factory.mktemp("core"), engine_url=engine.url, every_engine=True)
    with starting as core:
        yield core


@pytest.fixture
def core(shared_core: ScriptedCore, engine: ToolEngine) -> ScriptedCore:
    engine.uses_tools = True
    engine.asked.clear()
    return shared_core


@pytest.fixture
def add(core: ScriptedCore, engine: ToolEngine) -> Callable[[str], str]:
    """Registers a model of its own at a backend; returns its name."""

    def added(backend: str) -> str:
        name = f"{backend}-{len(core.http.get('/api/models').json())}"
        body = {"model_name": name, "backend": backend}
        if backend == "embedded":
            path = core.folder / f"{name}.gguf"
            path.write_bytes(gguf_bytes(facts=KNOWS_TOOLS))
            body["path"] = str(path)
        else:
            body |= {"url": engine.url if backend == "ollama" else f"{engine.url}/v1", "served_name": name}
        core.http.post("/api/models", json=body).raise_for_status()
        return name

    return added


class Page:
    """One chat in Open WebUI with `model`, over one kind of connection; reads answers as Open WebUI does."""

    def __init__(self, core: ScriptedCore, connection: str, model: str) -> None:
        self.connection = connection
        # Names on the Ollama side come from /api/tags and carry a tag.
        self.model = f"{model}:latest" if connection == "ollama" else model
        self._url = core.public_url + CHAT[connection]
        self.title, self.question, self.with_result, self.follow_ups, self.tags = RECORDED[connection]

    def ask(self, recorded: dict[str, Any]) -> httpx.Response:
        body = {**recorded, "model": self.model}
        if body.get("tools"):
            body["tools"] = TOOLS
        answer = httpx.post(self._url, json=body, headers={"Authorization": "Bearer EMPTY"}, trust_env=False)
        assert answer.status_code == 200, answer.text
        return answer

    def chat(self, recorded: dict[str, Any]) -> tuple[str, list[dict[str, Any]], str | None]:
        """The text, the calls of tools and the reason for the end of a streamed answer."""
        lines = self.ask(recorded).text.splitlines()
        return (_events if self.connection == "openai" else _ndjson)(lines)

    def task(self, recorded: dict[str, Any]) -> dict[str, Any]:
        """The JSON object in the answer to one of the requests in the background."""
        answer = self.ask(recorded).json()
        message = answer["choices"][0]["message"] if self.connection == "openai" else answer["message"]
        said = dict(json.loads(message["content"]))
        if self.connection == "ollama":
            assert answer["done"] is True
        return said


def _events(lines: list[str]) -> tuple[str, list[dict[str, Any]], str | None]:
    data = [line.removeprefix("data: ") for line in lines if line.startswith("data: ")]
    assert data[-1] == "[DONE]"
    text, calls, reason = "", list[dict[str, Any]](), None
    for chunk in map(json.loads, data[:-1]):
        for choice in chunk["choices"]:
            text += choice["delta"].get("content") or ""
            reason = choice["finish_reason"] or reason
            for part in choice["delta"].get("tool_calls") or ():
                if part["index"] == len(calls):
                    calls.append({"id": part["id"], "name": part["function"]["name"], "arguments": ""})
                calls[part["index"]]["arguments"] += part["function"].get("arguments") or ""
    return text, [{**call, "arguments": json.loads(call["arguments"])} for call in calls], reason


def _ndjson(lines: list[str]) -> tuple[str, list[dict[str, Any]], str | None]:
    parts = [json.loads(line) for line in lines]
    assert [part["done"] for part in parts] == [*[False] * (len(parts) - 1), True]
    text = "".join(part["message"]["content"] for part in parts)
    made = [call for part in parts for call in part["message"].get("tool_calls") or ()]
    calls = [{"name": call["function"]["name"], "arguments": call["function"]["arguments"]} for call in made]
    return text, calls, parts[-1]["done_reason"]


@pytest.mark.parametrize("connection", CONNECTIONS)
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_question_with_all_tools_and_everything_in_the_background(
    core: ScriptedCore, add: Callable[[str], str], engine: ToolEngine, connection: str, backend: str
) -> None:
    page = Page(core, connection, add(backend))
    assert page.task(page.title)["title"] == "A clock"
    text, calls, _ = page.chat(page.question)
    assert text == ""
    assert [(call["name"], call["arguments"]) for call in calls] == [("get_current_timestamp", {})]
    assert [tool["function"]["name"] for tool in engine.asked[-1]["tools"]] == [
        tool["function"]["name"] for tool in TOOLS
    ]
    text, calls, reason = page.chat(page.with_result)
    assert text.startswith('The tool said: {"current_timestamp":')
    assert (calls, reason) == ([], "stop")
    assert page.task(page.follow_ups)["follow_ups"] == ["And tomorrow?"]
    assert page.task(page.tags)["tags"] == ["Time"]
    assert len(engine.asked) == 5


@pytest.mark.parametrize("connection", CONNECTIONS)
@pytest.mark.parametrize("backend", ["embedded", "openai-compatible"])
def test_the_result_of_a_tool_belongs_to_its_call(
    core: ScriptedCore, add: Callable[[str], str], engine: ToolEngine, connection: str, backend: str
) -> None:
    page = Page(core, connection, add(backend))
    page.chat(page.with_result)
    _, called, result = engine.asked[-1]["messages"]
    assert [(call["id"], call["function"]["name"]) for call in called["tool_calls"]] == [
        (CALL_ID, "get_current_timestamp")
    ]
    assert json.loads(called["tool_calls"][0]["function"]["arguments"]) == {}
    assert result["tool_call_id"] == CALL_ID


@pytest.mark.parametrize("connection", CONNECTIONS)
def test_a_model_of_ollama_that_cannot_use_tools_answers_without_them(
    core: ScriptedCore, add: Callable[[str], str], engine: ToolEngine, connection: str
) -> None:
    engine.uses_tools = False
    page = Page(core, connection, add("ollama"))
    for _ in range(2):
        answer = page.ask(page.question)
        assert answer.headers["x-quarterdeck-applied"] == "strip-tools"
        assert answer.headers["x-quarterdeck-dropped"] == "tools"
    # It is refused once, and remembered.
    assert [bool(body.get("tools")) for body in engine.asked] == [True, False, False]
    assert page.chat(page.question)[0]


@pytest.mark.parametrize("connection", CONNECTIONS)
def test_the_background_wakes_no_other_model(core: ScriptedCore, add: Callable[[str], str], connection: str) -> None:
    add("embedded")
    name = add("embedded")
    page = Page(core, connection, name)
    before = [model["name"] for model in core.http.get("/api/models").json() if model["loaded"]]
    page.task(page.title)
    page.chat(page.question)
    page.task(page.follow_ups)
    loaded = {model["name"] for model in core.http.get("/api/models").json() if model["loaded"]}
    assert name in loaded
    assert loaded <= {name, *before}


@pytest.mark.parametrize("connection", CONNECTIONS)
@pytest.mark.parametrize("backend", BACKENDS)
def test_the_numbers_of_every_request_are_known(
    core: ScriptedCore, add: Callable[[str], str], connection: str, backend: str
) -> None:
    page = Page(core, connection, add(backend))
    request_id = page.ask(page.title).headers["x-request-id"]
    (request,) = (each for each in core.http.get("/api/requests").json() if each["id"] == request_id)
    assert (request["prompt_tokens"], request["completion_tokens"]) == (5, 3)


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer"}, {"Authorization": "Bearer EMPTY"}])
def test_models_are_listed_whatever_is_entered_as_the_key(
    core: ScriptedCore, add: Callable[[str], str], headers: dict[str, str]
) -> None:
    name = add("embedded")
    openai = httpx.get(f"{core.public_url}/v1/models", headers=headers, trust_env=False).json()
    ollama = httpx.get(f"{core.public_url}/api/tags", headers=headers, trust_env=False).json()
    assert name in [model["id"] for model in openai["data"]]
    assert f"{name}:latest" in [model["model"] for model in ollama["models"]]


def test_the_button_that_unloads(core: ScriptedCore, add: Callable[[str], str]) -> None:
    page = Page(core, "ollama", add("embedded"))
    page.chat(page.question)
    running = httpx.get(f"{core.public_url}/api/ps", trust_env=False).json()["models"]
    assert page.model in [model["model"] for model in running]
    body = {"model": page.model, "keep_alive": 0, "prompt": ""}
    httpx.post(f"{core.public_url}/api/generate", json=body, trust_env=False).raise_for_status()
    running = httpx.get(f"{core.public_url}/api/ps", trust_env=False).json()["models"]
    assert page.model not in [model["model"] for model in running]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("connection", CONNECTIONS)
def test_documents_become_vectors(core: ScriptedCore, add: Callable[[str], str], connection: str, backend: str) -> None:
    page = Page(core, connection, add(backend))
    body: dict[str, Any] = {"input": ["The sky is blue.", "Grass is green."], "model": page.model}
    if connection == "ollama":
        body["truncate"] = True
    answer = httpx.post(core.public_url + EMBED[connection], json=body, trust_env=False).raise_for_status().json()
    vectors = answer["embeddings"] if connection == "ollama" else [each["embedding"] for each in answer["data"]]
    assert vectors == [[0.25, -0.5]] * 2


@pytest.mark.parametrize("connection", CONNECTIONS)
def test_an_error_is_told_in_words_that_the_page_shows(core: ScriptedCore, connection: str) -> None:
    body = {**RECORDED[connection][1], "model": "nobody", "tools": TOOLS}
    answer = httpx.post(core.public_url + CHAT[connection], json=body, trust_env=False)
    error = answer.json()["error"]
    assert answer.status_code == 404
    assert "nobody" in (error["message"] if connection == "openai" else error)
