"""Whether a model answers: one token, and a call of a tool."""

from __future__ import annotations

import json
from typing import Any

from quarterdeck.diagnosis.doctor.calling import Answer
from quarterdeck.diagnosis.doctor.catalogue import explain, words_of
from quarterdeck.diagnosis.doctor.findings import Found, StepError, failed, ok, short, skipped, warn
from quarterdeck.diagnosis.doctor.visit import Visit
from quarterdeck.schemas.doctor import StepState

_NO_CHAT = ("embed", "rerank", "bge-", "whisper", "tts", "clip")
_RUNNING = (("/api/ps", "models", "name"), ("/running", "running", "model"))
_TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Tells the weather in a town.",
        "parameters": {"type": "object", "properties": {"town": {"type": "string"}}, "required": ["town"]},
    },
}
_TOOL_TOKENS = 200


async def check_chat(visit: Visit) -> Found:
    """An answer of one token. A model is loaded for it only when it was named."""
    visit.model = await _choose(visit)
    if not visit.model:
        return skipped(
            "No model is loaded, and none is loaded for a check.",
            "nothing_loaded",
            "Name a model to have it asked; it will be loaded.",
        )
    answer = await _ask(visit, "Say hi.", max_tokens=1)
    if answer.status == 401 and not visit.key:
        finding = "The list of models is open, but a question needs an API key, and none was given."
        return failed("key_missing", finding, "Enter the API key of this server.")
    trouble = _refusal(answer)
    if trouble:
        return trouble
    body = answer.json()
    if not (isinstance(body, dict) and isinstance(body.get("choices"), list) and body["choices"]):
        return failed(
            "chat_not_openai",
            "The answer to a chat does not have the form of OpenAI's interface.",
            "Check the path: another interface may answer there.",
        )
    visit.one_token_s = answer.seconds
    return ok(f"{visit.model} answered after {answer.seconds:.1f} s.")


async def _choose(visit: Visit) -> str:
    """The named model; else one that is loaded, or any where the server does not tell which are."""
    if visit.target.model:
        return visit.target.model
    names = [model["id"] for model in visit.models if not any(word in model["id"].lower() for word in _NO_CHAT)]
    flags = {model["id"]: model["loaded"] for model in visit.models if isinstance(model.get("loaded"), bool)}
    running = {name for name, loaded in flags.items() if loaded} if flags else await _running(visit)
    if running is None:
        return names[0] if names else ""
    return next((name for name in names if name in running), "")


async def _running(visit: Visit) -> set[str] | None:
    """What Ollama and llama-swap hold in memory; None where the server is neither."""
    root = visit.api.removesuffix("/v1")
    for path, rows, name in _RUNNING:
        try:
            body = (await visit.caller.ask("GET", visit.at(root + path), headers=visit.headers)).json()
        except StepError:
            continue
        if isinstance(body, dict) and isinstance(body.get(rows), list):
            return {str(row.get(name)) for row in body[rows] if isinstance(row, dict)}
    return None


async def check_tools(visit: Visit) -> Found:
    """A question that calls for a tool, with the tool at hand."""
    question = "What is the weather in Oslo now? Use the tool."
    answer = await _ask(visit, question, max_tokens=_TOOL_TOKENS, tools=[_TOOL], tool_choice="auto")
    trouble = _refusal(answer)
    if trouble:
        # That a model knows no tools is its nature, not a fault of the connection.
        state = StepState.WARN if trouble.code == "tools_unsupported" else trouble.state
        return trouble._replace(state=state, finding=f"A request with tools is refused. {trouble.finding}")
    body = answer.json()
    message = _message(body)
    if message.get("tool_calls"):
        return _called(message["tool_calls"])
    text = str(message.get("content") or "")
    if "get_weather" in text and "{" in text:
        return warn(
            "tools_as_text",
            "The model called the tool, but the call came as text, which programs do not see.",
            "Start the server with the tool parser of this model's family, or let Quarterdeck put it right.",
        )
    return warn(
        "tools_ignored",
        f"The model answered in words and did not use the tool: “{short(text, 60)}”",
        "Choose a model that can call tools; if this one can, the server or a gateway drops them.",
    )


def _called(calls: Any) -> Found:
    try:
        function = calls[0]["function"]
        arguments = json.loads(function["arguments"])
    except (LookupError, TypeError, ValueError):
        return warn(
            "tools_malformed",
            "The model called a tool, but the call cannot be read.",
            "Programs expect a name, and the arguments as JSON text: update the server, or use another parser.",
        )
    return ok(f"The model called the tool with {short(json.dumps(arguments), 60)}.")


async def _ask(visit: Visit, question: str, **options: Any) -> Answer:
    fields = {"model": visit.model, "messages": [{"role": "user", "content": question}], **options}
    url = visit.at(f"{visit.api}/chat/completions")
    return await visit.caller.ask("POST", url, headers=visit.headers, fields=fields, limit=visit.limits.chat)


def _message(body: Any) -> dict[str, Any]:
    try:
        message = body["choices"][0]["message"]
    except (LookupError, TypeError):
        return {}
    return message if isinstance(message, dict) else {}


def _refusal(answer: Answer) -> Found | None:
    if answer.status >= 300:
        return refusal(answer.status, answer.text)
    if answer.is_page:
        return failed(
            "page_not_json",
            "A web page comes back in place of an answer.",
            "Check the path that a web server in front passes on.",
        )
    body = answer.json()
    if isinstance(body, dict) and body.get("error"):
        return refusal(answer.status, answer.text)
    return None


def refusal(status: int, body: str) -> Found:
    """An answer that is no success, explained."""
    told = explain(status, body)
    said = f" It says: {words_of(body)}" if told.said else ""
    return failed(told.code, f"{told.meaning}{said}", told.fix)
