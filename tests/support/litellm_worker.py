"""Asks with the `litellm` package: one question as JSON per line comes in, one answer goes out.

    PYTHON litellm_worker.py ADDRESS

Runs in the Python that has LiteLLM. An answer is {"said": …}, {"refused": [status, code, sentence]} or {"broken": …}.
A worker that is stuck for 90 s writes where to its standard error and ends.
"""

from __future__ import annotations

import dataclasses
import faulthandler
import json
import os
import sys
import traceback
from typing import Any

from client_cells import ANTHROPIC, EMBEDDINGS, OLLAMA, OPENAI, RESPONSES, TEXTS, Question, Said
from openai_words import chat_fields, read_chat, read_chunks, read_events, read_response, responses_fields

# Prices and such are of no interest, and the lists of them come from the internet.
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = os.environ["LITELLM_LOCAL_ANTHROPIC_BETA_HEADERS"] = "True"

_PROVIDERS = {OPENAI: "openai", RESPONSES: "openai", OLLAMA: "ollama_chat", ANTHROPIC: "anthropic"}


def ask(litellm: Any, url: str, dialect: str, question: Question) -> Said:
    provider = _PROVIDERS[dialect]
    reach = {"api_base": f"{url}/v1" if provider == "openai" else url, "api_key": "EMPTY", "timeout": 120}
    if question.feature == EMBEDDINGS:
        provider = provider.removesuffix("_chat")
        answer = litellm.embedding(model=f"{provider}/{question.model}", input=TEXTS, **reach)
        return Said(vectors=[each["embedding"] for each in answer.data])
    if dialect == RESPONSES:
        fields = responses_fields(question) | {"model": f"{provider}/{question.model}"}
        answer = litellm.responses(**fields, **reach)
        return read_events(answer) if question.streams else read_response(answer)
    fields = chat_fields(question) | {"model": f"{provider}/{question.model}", "num_retries": 0}
    answer = litellm.completion(**fields, **reach)
    return read_chunks(answer) if question.streams else read_chat(answer)


def main() -> None:
    import litellm

    litellm.suppress_debug_info = True
    litellm.telemetry = False
    # What it wants to know of a model it asks there, else at Ollama's usual port, whatever it is that listens there.
    os.environ["OLLAMA_API_BASE"] = sys.argv[1]
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what the package prints is no answer
    for line in sys.stdin:
        faulthandler.dump_traceback_later(90, exit=True)
        asked = json.loads(line)
        asked["question"]["colours"] = tuple(asked["question"]["colours"])
        try:
            said = ask(litellm, sys.argv[1], asked["dialect"], Question(**asked["question"]))
            told: dict[str, Any] = {"said": dataclasses.asdict(said)}
        except AssertionError as error:
            told = {"broken": str(error)}
        except Exception as error:
            status = getattr(error, "status_code", None)
            told = {"refused": [status, None, str(error)]} if status else {"broken": traceback.format_exc()}
        answers.write(json.dumps(told) + "\n")
        answers.flush()
        faulthandler.cancel_dump_traceback_later()


if __name__ == "__main__":
    main()
