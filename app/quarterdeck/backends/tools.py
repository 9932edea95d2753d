"""Running a tool of the system (systemctl, docker …) as an argument list, with a time limit."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from quarterdeck.errors import AppError

QUICK_SECONDS = 5.0


class Output(NamedTuple):
    """What a tool printed, and its exit code."""

    code: int
    stdout: str
    stderr: str

    @property
    def complaint(self) -> str:
        """The last line that it wrote about an error."""
        lines = (self.stderr.strip() or self.stdout.strip()).splitlines()
        return lines[-1].strip() if lines else f"it ended with exit code {self.code}"


class Tool:
    """A program of the system. `path` is searched like PATH; None means the PATH of this process."""

    def __init__(self, name: str, path: str | None = None) -> None:
        self.name = name
        self._path = path

    @property
    def installed(self) -> bool:
        return self._program is not None

    async def run(self, *arguments: str, timeout: float = QUICK_SECONDS) -> Output:
        """Run it to its end. Raises AppError `tool_missing` or `tool_timeout` (after `timeout` seconds)."""
        program = self._program
        if program is None:
            raise AppError(
                "tool_missing", f"The program {self.name} is not installed.", f"Install {self.name}.", status=503
            )
        process = await asyncio.create_subprocess_exec(
            program,
            *arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=_environment(),
        )
        try:
            stdout, stderr = await asyncio.wait_for(process.communicate(), timeout)
        except TimeoutError:
            raise AppError(
                "tool_timeout",
                f"{self.name} did not finish within {timeout:g} seconds.",
                f"Try “{' '.join([self.name, *arguments])}” in a terminal to see what it waits for.",
                status=504,
            ) from None
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
        return Output(process.returncode or 0, stdout.decode("utf-8", "replace"), stderr.decode("utf-8", "replace"))

    @property
    def _program(self) -> str | None:
        return shutil.which(self.name, path=self._path)


def lines_of(text: str) -> Sequence[str]:
    return [line for line in text.splitlines() if line.strip()]


def _environment() -> dict[str, str]:
    """Ours, in plain English, and with the user's run-time folder, which a login over ssh or cron leaves out."""
    environment = {**os.environ, "LC_ALL": "C"}
    if "XDG_RUNTIME_DIR" not in environment and hasattr(os, "getuid"):
        folder = Path(f"/run/user/{os.getuid()}")
        if folder.is_dir():
            environment["XDG_RUNTIME_DIR"] = str(folder)
    return environment
