"""Requests of the hub in the words of Ollama's own API."""

from __future__ import annotations

from quarterdeck.errors import AppError
from quarterdeck.proxy.dialects.base import HUB_EXTENSIONS, Asked, Fields
from quarterdeck.proxy.dialects.ollama_words import ROOT_WORDS, SAME_OPTIONS, invalid, objects, stop_words
from quarterdeck.proxy.upstreams.base import Question
from quarterdeck.proxy.upstreams.ollama_messages import messages
from quarterdeck.proxy.upstreams.openai_fields import NO_EFFECT, changes_nothing
from quarterdeck.schemas.requests import Operation

_LEVELS = {"minimal": "low", "low": "low", "medium": "medium", "high": "high", "xhigh": "high", "max": "high"}
_ONLY_HERE = ("max_completion_tokens", "functions", "reasoning_effort", "chat_template_kwargs", "repetition_penalty")
_GENERATE_WORDS = ("context", "template")


def ask(asked: Asked, served_id: str) -> Question:
    """The request for Ollama's own path. Raises AppError: 400 for what it cannot read, 501 for other operations."""
    request = _Request(asked, served_id)
    match asked.operation:
        case Operation.CHAT:
            return request.chat()
        case Operation.COMPLETION:
            return request.completion()
        case Operation.EMBEDDINGS:
            return request.embeddings()
    raise AppError(
        "not_supported",
        f"Ollama cannot do this ({asked.operation.value}).",
        "Ask a model at another backend.",
        status=501,
    )


def needed_for(asked: Asked) -> list[str]:
    """What is lost or misread at Ollama's OpenAI interface, and is not at its own."""
    fields = asked.fields
    needed = [name for name in fields if name in HUB_EXTENSIONS and fields[name] is not None]
    if asked.operation is Operation.COMPLETION:
        # Its OpenAI interface puts a chat template around the text that is to be continued.
        needed.append("prompt")
    elif asked.operation is Operation.EMBEDDINGS:
        if fields.get("encoding_format") == "base64":
            needed.append("encoding_format")
    else:
        if fields.get("tool_choice") == "none":
            needed.append("tool_choice")
        needed += [name for name in _ONLY_HERE if fields.get(name) is not None]
        if _messages_need_it(fields.get("messages")):
            needed.append("messages")
    return needed


def _messages_need_it(entries: object) -> bool:
    """Its OpenAI interface knows no `developer`, no null content, no `reasoning_content`; it splits lists of parts."""
    if not isinstance(entries, list):
        return False
    return any(
        isinstance(entry, dict)
        and (
            not isinstance(entry.get("content"), str)
            or entry.get("role") in ("developer", "function")
            or "reasoning_content" in entry
        )
        for entry in entries
    )


class _Request:
    """Takes the hub's fields one by one; what is left in the end is dropped by name."""

    def __init__(self, asked: Asked, served_id: str) -> None:
        self._asked = asked
        self._rest = {name: value for name, value in asked.fields.items() if value is not None}
        self._rest.pop("model", None)
        own = self._rest.pop("ollama_options", None)
        self._own: Fields = dict(own) if isinstance(own, dict) else {}
        self._body: Fields = {"model": served_id or asked.model}
        self._dropped: list[str] = []

    def chat(self) -> Question:
        spoken, lost = messages(objects(self._rest.pop("messages", None), "messages"))
        self._dropped += lost
        turn = self._single_turn(spoken)
        if turn is None:
            self._body["messages"] = spoken
            self._dropped += [name for name in _GENERATE_WORDS if self._own.pop(name, None) is not None]
        else:
            self._body |= turn
        self._tools()
        if self._rest.pop("logprobs", None):
            self._body["logprobs"] = True
            self._take("top_logprobs")
        return self._generation("/api/chat" if turn is None else "/api/generate")

    def completion(self) -> Question:
        """Without a template, but for a text with a suffix: what stands around those is the model's."""
        self._body["prompt"] = _single_prompt(self._rest.pop("prompt", ""))
        self._take("suffix")
        if not self._body.get("suffix"):
            self._body["raw"] = True
        count = self._rest.pop("logprobs", None)
        if count is not None and count is not False:
            self._body["logprobs"] = True
            if count and count is not True:
                self._body["top_logprobs"] = count
        return self._generation("/api/generate")

    def embeddings(self) -> Question:
        given = self._rest.pop("input", None)
        if not isinstance(given, str) and not (
            isinstance(given, list) and all(isinstance(each, str) for each in given)
        ):
            raise invalid("Ollama makes vectors of texts only, not of token numbers.", "Send “input” as text.")
        self._body["input"] = given
        self._take("dimensions")
        if self._rest.get("encoding_format") == "base64":
            self._rest.pop("encoding_format")  # Ollama gives floats, the answer is packed here
        self._options()
        return self._question("/api/embed")

    def _single_turn(self, spoken: list[Fields]) -> Fields | None:
        """The words for /api/generate, when the client asked there and its chat is still one prompt.

        Only there Ollama knows `template` and `context`, and answers with a context.
        """
        *before, last = spoken or [{"role": "user", "content": ""}]
        if (
            self._asked.kept.get("path") != "/api/generate"
            or last["role"] != "user"
            or any(each["role"] != "system" for each in before)
        ):
            return None
        turn: Fields = {"prompt": last["content"]}
        if system := "\n\n".join(each["content"] for each in before):
            turn["system"] = system
        return turn | ({"images": last["images"]} if last.get("images") else {})

    def _tools(self) -> None:
        tools = objects(self._rest.pop("tools", None), "tools")
        tools += [
            {"type": "function", "function": each} for each in objects(self._rest.pop("functions", None), "functions")
        ]
        choice = self._rest.pop("tool_choice", None) or self._rest.pop("function_call", None)
        if choice == "none":
            return
        if choice not in (None, "auto"):
            self._dropped.append("tool_choice")
        known = [each for each in tools if isinstance(each.get("function"), dict)]
        self._dropped += [f"tools.{each.get('type')}" for each in tools if not isinstance(each.get("function"), dict)]
        if known:
            self._body["tools"] = known

    def _generation(self, path: str) -> Question:
        self._rest.pop("stream", None)
        self._body["stream"] = self._asked.stream
        self._format()
        self._think()
        self._options()
        return self._question(path)

    def _format(self) -> None:
        wanted = self._rest.pop("response_format", None)
        if wanted is None:
            return
        match wanted:
            case {"type": "json_object"}:
                self._body["format"] = "json"
            case {"type": "json_schema", "json_schema": {"schema": dict() as schema}}:
                self._body["format"] = schema
            case {"type": "text"}:
                pass
            case _:
                self._dropped.append("response_format")

    def _think(self) -> None:
        template = self._rest.pop("chat_template_kwargs", None)
        extra = dict(template) if isinstance(template, dict) else {}
        effort = self._rest.pop("reasoning_effort", None)
        think = self._rest.pop("think", None)
        switch = extra.pop("enable_thinking", None)
        self._dropped += [f"chat_template_kwargs.{name}" for name in extra]
        if think is None and effort is not None:
            think = False if effort == "none" else _LEVELS.get(str(effort))
            if think is None:
                self._dropped.append("reasoning_effort")
        if think is None:
            think = switch
        if think is not None:
            self._body["think"] = think

    def _options(self) -> None:
        options: Fields = {name: self._rest.pop(name) for name in SAME_OPTIONS if name in self._rest}
        penalty = self._rest.pop("repetition_penalty", None)  # vLLM's name, and the same scale
        if penalty is not None:
            options.setdefault("repeat_penalty", penalty)
        if stops := stop_words(self._rest.pop("stop", None)):
            options["stop"] = stops
        limits = [self._rest.pop(name, None) for name in ("max_completion_tokens", "max_tokens")]
        limit = next((each for each in limits if each is not None), None)
        if limit is not None:
            options["num_predict"] = limit
        self._body |= {name: self._own.pop(name) for name in ROOT_WORDS if name in self._own and name not in self._body}
        options |= {name: value for name, value in self._own.items() if name not in options}
        if options:
            self._body["options"] = options
        self._take("keep_alive")

    def _take(self, name: str) -> None:
        if name in self._rest:
            self._body[name] = self._rest.pop(name)

    def _question(self, path: str) -> Question:
        self._dropped += [
            name for name, value in self._rest.items() if name not in NO_EFFECT and not changes_nothing(name, value)
        ]
        return Question(path, self._body, self._dropped)


def _single_prompt(prompt: object) -> str:
    if isinstance(prompt, list) and len(prompt) == 1:
        prompt = prompt[0]
    if not isinstance(prompt, str):
        raise invalid("Ollama continues one text at a time.", "Send “prompt” as one text.")
    return prompt
