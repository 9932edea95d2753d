"""LangChain's ChatOpenAI and OpenAIEmbeddings."""

from __future__ import annotations

import json
from typing import Any

import httpx
import openai
from client_cells import (
    EMBEDDINGS,
    FORCED,
    FUNCTION,
    IMAGE,
    OPENAI,
    PICTURE_URL,
    RESPONSES,
    SCHEMA,
    TEXTS,
    TOOL_NAME,
    Question,
    RealClient,
    Said,
)
from langchain_core.messages import HumanMessage
from langchain_openai import ChatOpenAI, OpenAIEmbeddings

from real_clients.openai_sdk import refused


class LangChainChat(RealClient):
    name = "langchain"
    dialect = OPENAI
    uses_responses = False

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._http = httpx.Client(trust_env=False, timeout=120)
        self._reach: dict[str, Any] = {"base_url": f"{url}/v1", "api_key": "EMPTY", "http_client": self._http}

    def ask(self, question: Question) -> Said:
        try:
            return self._vectors(question) if question.feature == EMBEDDINGS else self._chat(question)
        except openai.OpenAIError as error:
            raise refused(error) from error

    def _vectors(self, question: Question) -> Said:
        # As LangChain says for servers that are not OpenAI's: texts, not the token numbers of OpenAI's models.
        model = OpenAIEmbeddings(model=question.model, check_embedding_ctx_length=False, **self._reach)
        return Said(vectors=model.embed_documents(TEXTS))

    def _chat(self, question: Question) -> Said:
        model = ChatOpenAI(
            model=question.model, max_completion_tokens=question.most, temperature=question.temperature, max_retries=0,
            seed=question.seed, stop_sequences=[question.stop] if question.stop else None, stream_usage=True,
            use_responses_api=self.uses_responses, **self._reach,
        )  # fmt: skip
        content: Any = question.said
        if question.feature == IMAGE:
            content = [{"type": "text", "text": content}, {"type": "image_url", "image_url": {"url": PICTURE_URL}}]
        asked = [HumanMessage(content)]
        if question.feature == SCHEMA:
            told = model.with_structured_output(question.schema, method="json_schema", include_raw=True).invoke(asked)
            assert isinstance(told, dict)
            assert told["parsing_error"] is None
            return _read(told["raw"], json.dumps(told["parsed"]))
        runs: Any = model
        if question.has_tools:
            choice = TOOL_NAME if question.feature == FORCED else None
            runs = model.bind_tools([{"type": "function", "function": FUNCTION}], tool_choice=choice)
        if not question.streams:
            return _read(runs.invoke(asked))
        chunks = list(runs.stream(asked))
        whole = chunks[0]
        for chunk in chunks[1:]:
            whole += chunk
        said = _read(whole)
        said.pieces = sum(bool(_text(chunk)) for chunk in chunks)
        return said

    def close(self) -> None:
        self._http.close()


class LangChainResponses(LangChainChat):
    dialect = RESPONSES
    uses_responses = True
    cannot = frozenset({EMBEDDINGS})


def _text(message: Any) -> str:
    return str(message.text)


def _read(message: Any, text: str | None = None) -> Said:
    assert not message.invalid_tool_calls
    calls = [(call["name"], call["args"]) for call in message.tool_calls]
    used, told = message.usage_metadata, message.response_metadata
    cut = (told.get("incomplete_details") or {}).get("reason")
    finish = told.get("finish_reason") or cut or told.get("status")
    said = _text(message) if text is None else text
    return Said(said, calls, usage=(used["input_tokens"], used["output_tokens"]), finish=finish)
