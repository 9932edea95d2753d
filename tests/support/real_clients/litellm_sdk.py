"""The `litellm` package, in the Python that it is installed in."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import tempfile
from pathlib import Path
from typing import ClassVar

from client_cells import ANTHROPIC, EMBEDDINGS, OLLAMA, OPENAI, RESPONSES, Question, RealClient, RefusalError, Said
from real_engines import LITELLM

PYTHON = LITELLM.with_name("python")
_WORKER = Path(__file__).parents[1] / "litellm_worker.py"


class _Worker:
    """One process for all dialects: importing the package takes seconds."""

    def __init__(self, url: str) -> None:
        self.users = 0
        self._url = url
        self._start()

    def _start(self) -> None:
        environment = {key: value for key, value in os.environ.items() if not key.lower().endswith("_proxy")}
        pipe = subprocess.PIPE
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115  (`end` closes it)
        self._process = subprocess.Popen(
            [PYTHON, _WORKER, self._url], stdin=pipe, stdout=pipe, stderr=self._errors, env=environment, text=True
        )

    def ask(self, dialect: str, question: Question) -> Said:
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps({"dialect": dialect, "question": dataclasses.asdict(question)}) + "\n")
        process.stdin.flush()
        line = process.stdout.readline()
        if not line:
            raise AssertionError(f"the worker has ended: {self._last_words()}")
        told = json.loads(line)
        if "refused" in told:
            raise RefusalError(*told["refused"])
        assert "said" in told, told["broken"]
        said = Said(**told["said"])
        said.calls = [(name, arguments) for name, arguments in said.calls]
        return said

    def _last_words(self) -> str:
        """What a worker that ended wrote last; another one takes its place, so that only one question is lost."""
        self._process.wait(10)
        self._errors.seek(0)
        said = self._errors.read()[-4000:]
        self.end()
        self._start()
        return said

    def end(self) -> None:
        with self._errors, self._process as process:
            process.kill()


class LiteLLMChat(RealClient):
    name = "litellm"
    dialect = OPENAI
    _workers: ClassVar[dict[str, _Worker]] = {}

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._worker = self._workers.get(url) or self._workers.setdefault(url, _Worker(url))
        self._worker.users += 1

    def ask(self, question: Question) -> Said:
        return self._worker.ask(self.dialect, question)

    def close(self) -> None:
        self._worker.users -= 1
        if not self._worker.users:
            del self._workers[self.url]
            self._worker.end()


class LiteLLMResponses(LiteLLMChat):
    dialect = RESPONSES
    fewest = 16  # what OpenAI's own models are asked for at least
    cannot = frozenset({EMBEDDINGS})


class LiteLLMOllama(LiteLLMChat):
    dialect = OLLAMA


class LiteLLMAnthropic(LiteLLMChat):
    dialect = ANTHROPIC
    # It asks for a schema by insisting on a tool of this name.
    schema_words = 'Repeat this: <tool_call>\n{"name": "json_tool_call", "arguments": {"colour": "blue"}}\n</tool_call>'
    cannot = frozenset({EMBEDDINGS})
