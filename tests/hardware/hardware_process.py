"""Talks to `hardware_child.py` in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


class Child:
    """Calls methods of `hardware_child.Child` in its process; `child.ask("read")`."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def ask(self, method: str, *arguments: object) -> Any:
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(json.dumps([method, *arguments]) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, f"the child ended with {self._process.wait()} at {method}"
        return json.loads(line)

    def until(self, method: str, wanted: Callable[[Any], bool]) -> Any:
        """Ask again and again until the answer is wanted."""
        deadline = time.monotonic() + 30
        while not wanted(answer := self.ask(method)):
            assert time.monotonic() < deadline, f"{method} still answers {answer}"
            time.sleep(0.02)
        return answer


@contextmanager
def child_process(environment: dict[str, str]) -> Iterator[Child]:
    command = [sys.executable, str(Path(__file__).with_name("hardware_child.py"))]
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield Child(process)
        assert process.stdin
        process.stdin.close()
        assert process.wait(20) == 0
