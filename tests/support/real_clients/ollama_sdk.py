"""The `ollama` package."""

from __future__ import annotations

from typing import Any

import ollama
from client_cells import (
    EMBEDDINGS,
    FORCED,
    FUNCTION,
    IMAGE,
    OLLAMA,
    PICTURE,
    SCHEMA,
    TEXTS,
    Question,
    RealClient,
    RefusalError,
    Said,
)


def options_of(question: Question) -> dict[str, Any]:
    options: dict[str, Any] = {"num_predict": question.most, "temperature": question.temperature}
    if question.seed is not None:
        options["seed"] = question.seed
    if question.stop is not None:
        options["stop"] = [question.stop]
    return options


def chat_fields(question: Question) -> dict[str, Any]:
    """The request of a chat, as Ollama's interface has it."""
    message: dict[str, Any] = {"role": "user", "content": question.said}
    if question.feature == IMAGE:
        message["images"] = [PICTURE]
    fields: dict[str, Any] = {
        "model": question.model, "messages": [message], "stream": question.streams, "options": options_of(question),
    }  # fmt: skip
    if question.has_tools:
        fields["tools"] = [{"type": "function", "function": FUNCTION}]
    if question.feature == SCHEMA:
        fields["format"] = question.schema
    return fields


class OllamaClient(RealClient):
    name = "ollama"
    dialect = OLLAMA
    # Ollama's interface has no word for it.
    cannot = frozenset({FORCED})

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.sdk = ollama.Client(host=url, trust_env=False, timeout=120)

    def ask(self, question: Question) -> Said:
        try:
            if question.feature == EMBEDDINGS:
                vectors = self.sdk.embed(question.model, TEXTS).embeddings
                return Said(vectors=[list(vector) for vector in vectors])
            answer = self.sdk.chat(**chat_fields(question))
            return _read(list(answer) if question.streams else [answer])
        except ollama.ResponseError as error:
            raise RefusalError(error.status_code, None, error.error) from error

    def close(self) -> None:
        self.sdk._client.close()


def _read(answers: list[Any]) -> Said:
    text = "".join(each.message.content or "" for each in answers)
    calls = [
        (call.function.name, call.function.arguments) for each in answers for call in each.message.tool_calls or ()
    ]
    last = answers[-1]
    assert last.done
    usage = (last.prompt_eval_count, last.eval_count)
    pieces = sum(bool(each.message.content) for each in answers)
    return Said(text, calls, usage=usage, finish=last.done_reason, pieces=pieces)
