"""Running a command in this process."""

from __future__ import annotations

import logging

import pytest
from command import Ended, Run

from quarterdeck.cli import main


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    # `serve` logs to the console for as long as its process lives, which is here the whole test run.
    log = logging.getLogger("quarterdeck")
    monkeypatch.setattr(log, "handlers", list(log.handlers))

    def command(*arguments: str) -> Ended:
        try:
            code = main(arguments)
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 1
        captured = capsys.readouterr()
        return Ended(code, captured.out, captured.err)

    return command
