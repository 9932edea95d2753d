"""The `openai` package: chats, responses and embeddings."""

from __future__ import annotations

import openai
from client_cells import EMBEDDINGS, OPENAI, RESPONSES, TEXTS, Question, RealClient, RefusalError, Said
from openai_words import chat_fields, read_chat, read_chunks, read_events, read_response, responses_fields


def refused(error: openai.OpenAIError) -> RefusalError:
    if not isinstance(error, openai.APIStatusError):
        return RefusalError(None, None, str(error))
    told = error.body if isinstance(error.body, dict) else {}
    return RefusalError(error.status_code, told.get("code"), str(told.get("message")))


class _OpenAI(RealClient):
    name = "openai"

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.sdk = openai.OpenAI(base_url=f"{url}/v1", api_key="EMPTY", max_retries=0, timeout=120)

    def ask(self, question: Question) -> Said:
        try:
            return self.asked(question)
        except openai.OpenAIError as error:
            raise refused(error) from error

    def asked(self, question: Question) -> Said:
        raise NotImplementedError

    def close(self) -> None:
        self.sdk.close()


class OpenAIChat(_OpenAI):
    dialect = OPENAI

    def asked(self, question: Question) -> Said:
        if question.feature == EMBEDDINGS:
            answer = self.sdk.embeddings.create(model=question.model, input=TEXTS)
            return Said(vectors=[each.embedding for each in answer.data])
        if question.streams:
            with self.sdk.chat.completions.create(**chat_fields(question)) as stream:
                return read_chunks(stream)
        return read_chat(self.sdk.chat.completions.create(**chat_fields(question)))


class OpenAIResponses(_OpenAI):
    dialect = RESPONSES
    cannot = frozenset({EMBEDDINGS})

    def asked(self, question: Question) -> Said:
        if question.streams:
            with self.sdk.responses.create(**responses_fields(question)) as stream:
                return read_events(stream)
        return read_response(self.sdk.responses.create(**responses_fields(question)))
