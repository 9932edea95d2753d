"""The command line program `llm`, with a model of an OpenAI-compatible server in a folder of its own."""

from __future__ import annotations

import base64
import json
import os
import re
import tempfile
from pathlib import Path
from typing import Any
from unittest import mock

import click.testing
import yaml
from client_cells import (
    EMBEDDINGS,
    FORCED,
    IMAGE,
    OPENAI,
    PICTURE,
    RESPONSES,
    SCHEMA,
    STREAM,
    TOOL_DESCRIPTION,
    TOOL_NAME,
    Question,
    RealClient,
    RefusalError,
    Said,
)

_FUNCTION = f'''
def {TOOL_NAME}(at: str) -> str:
    """{TOOL_DESCRIPTION}"""
    return "It rains."
'''
_USAGE = re.compile(r"Token usage: ([\d,]+) input, ([\d,]+) output")
_ERROR = re.compile(r"Error code: (\d+) - (\{.*\})", re.DOTALL)
_CODE = re.compile(r"'code': '(\w+)'")


class LlmChat(RealClient):
    name = "llm"
    dialect = OPENAI
    # It makes vectors with OpenAI's own models only, and lets nobody insist on a tool.
    cannot = frozenset({EMBEDDINGS, FORCED})
    tells_finish = False
    uses_responses = False

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._place = tempfile.TemporaryDirectory(prefix="llm-")
        self._folder = Path(self._place.name)
        (self._folder / "picture.png").write_bytes(base64.b64decode(PICTURE))
        # Plugins that happen to be installed here are nobody's business.
        self.environment = {"LLM_USER_PATH": str(self._folder), "LLM_LOAD_PLUGINS": ""}

    def arguments(self, question: Question) -> list[str]:
        """The words of the command, after its name."""
        model: dict[str, Any] = {
            "model_id": "mine", "model_name": question.model, "api_base": f"{self.url}/v1", "supports_tools": True,
            "supports_schema": True, "vision": True, "responses": self.uses_responses,
        }  # fmt: skip
        (self._folder / "extra-openai-models.yaml").write_text(yaml.safe_dump([model]))
        words = [
            "prompt",
            "-m",
            "mine",
            question.said,
            "-n",
            "-u",
            "--key",
            "EMPTY",
            "-o",
            "max_tokens",
            str(question.most),
        ]
        words += ["-o", "temperature", str(question.temperature)]
        if not question.streams:
            words.append("--no-stream")
        if question.seed is not None:
            words += ["-o", "seed", str(question.seed)]
        if question.has_tools:
            words += ["--functions", _FUNCTION, "--td"]
        if question.feature == SCHEMA:
            words += ["--schema", json.dumps(question.schema)]
        if question.feature == IMAGE:
            words += ["-a", str(self._folder / "picture.png")]
        return words

    def ask(self, question: Question) -> Said:
        words = self.arguments(question)
        with mock.patch.dict(os.environ, self.environment):
            # Starting the program costs a second; what it does is the same without that.
            from llm.cli import cli

            ran = click.testing.CliRunner().invoke(cli, words)
        if ran.exit_code:
            found = _ERROR.search(ran.stderr)
            if found is None:
                raise RefusalError(None, None, ran.stderr or repr(ran.exception))
            code = _CODE.search(found.group(2))
            raise RefusalError(int(found.group(1)), code and code.group(1), found.group(2))
        used = _USAGE.search(ran.stderr)
        usage = (int(used.group(1).replace(",", "")), int(used.group(2).replace(",", ""))) if used else None
        # It prints a stream as it comes, and nobody can see the pieces afterwards.
        return Said(ran.stdout, usage=usage, pieces=2)

    def close(self) -> None:
        self._place.cleanup()


class LlmResponses(LlmChat):
    dialect = RESPONSES
    # It looks for the usage of a stream only where the answer was not cut.
    loses_usage = frozenset({STREAM})
    uses_responses = True
