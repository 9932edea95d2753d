"""Quarterdeck as real processes: `serve` and single commands, for tests that kill, stop and starve them."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import httpx
import psutil

from quarterdeck.processes import is_alive

STARTER = "SmolLM2-135M-Instruct"
WORKER = "quarterdeck.backends.embedded_worker"
PROGRAM = (str(Path(sys.executable).with_name("quarterdeck")),)
MODULE = (sys.executable, "-m", "quarterdeck")
LISTENING = "listening on "
# Servers that happen to run on this machine are nobody's business here.
NOBODY_ELSE = {
    "QUARTERDECK_DISCOVER_AT_START": "0",
    "QUARTERDECK_PROBE_PORTS": "",
    "QUARTERDECK_OLLAMA_URL": "http://127.0.0.1:9",
    "QUARTERDECK_LITELLM_URL": "http://127.0.0.1:9",
}
PATIENCE = 30.0

T = TypeVar("T")


def wait_for(condition: Callable[[], T], what: str, seconds: float = PATIENCE) -> T:
    """The first true result of `condition`; fails the test when there is none in time."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {seconds:.0f} s")
        time.sleep(0.01)
    return found


def surroundings(data_dir: Path, **more: str) -> dict[str, str]:
    """An environment whose home and data folder belong to this test alone."""
    home = data_dir.with_name(f"{data_dir.name}-home")
    home.mkdir(parents=True, exist_ok=True)
    ours = ("QUARTERDECK_", "CHAT_PROXY_", "XDG_", "OLLAMA_", "OPENAI_", "HF_", "IMAGEWORKS_")
    kept = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(ours) and not key.lower().endswith("_proxy")
    }
    own = {"HOME": str(home), "QUARTERDECK_DATA_DIR": str(data_dir), "PYTHONFAULTHANDLER": "1"}
    return {**kept, **NOBODY_ELSE, **own, **more}


class Finished(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str


def command(data_dir: Path, *arguments: str, prefix: Sequence[str] = (), **environment: str) -> Finished:
    """Run one `quarterdeck` command to its end."""
    done = subprocess.run(
        [*prefix, *PROGRAM, *arguments],
        env=surroundings(data_dir, **environment),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return Finished(done.returncode, done.stdout, done.stderr)


class AppProcess:
    """One started program in a process group of its own; its output is kept in files beside the data folder."""

    def __init__(self, argv: Sequence[str], data_dir: Path, environment: Mapping[str, str]) -> None:
        self.data_dir = data_dir
        outputs = data_dir.with_name(f"{data_dir.name}-output")
        outputs.mkdir(parents=True, exist_ok=True)
        number = len(list(outputs.iterdir()))
        self._out, self._err = outputs / f"{number:03}.out", outputs / f"{number:03}.err"
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.process = subprocess.Popen(
                list(argv), stdin=subprocess.DEVNULL, stdout=out, stderr=err, env=dict(environment),
                start_new_session=True,
            )  # fmt: skip
        self.pid = self.process.pid

    @property
    def out(self) -> str:
        return self._out.read_text(encoding="utf-8")

    @property
    def err(self) -> str:
        return self._err.read_text(encoding="utf-8")

    @property
    def running(self) -> bool:
        return self.process.poll() is None

    def kill(self) -> None:
        """SIGKILL to the whole process group of the program; engines have groups of their own."""
        os.killpg(self.pid, signal.SIGKILL)
        self.process.wait(PATIENCE)

    def terminate(self) -> int:
        """SIGTERM; returns the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.wait()

    def wait(self) -> int:
        return self.process.wait(PATIENCE)

    def engines(self) -> list[int]:
        """Engine processes that this program started and that still run, whoever their parent is now."""
        return engines_of(self.pid)

    def wait_without_engines(self) -> None:
        wait_for(lambda: not self.engines(), f"no engine of process {self.pid} is left")

    def end(self) -> None:
        """Leave nothing behind, whatever the test has done."""
        if self.running:
            self.kill()
        for pid in self.engines():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


class Serve(AppProcess):
    """`quarterdeck serve` with an HTTP client that carries its token."""

    def __init__(
        self,
        data_dir: Path,
        *arguments: str,
        port: int = 0,
        program: Sequence[str] = PROGRAM,
        prefix: Sequence[str] = (),
        **environment: str,
    ) -> None:
        argv = [*prefix, *program, "serve", "--port", str(port), "--data-dir", str(data_dir), *arguments]
        super().__init__(argv, data_dir, surroundings(data_dir, **environment))
        self.url = ""
        self.http = httpx.Client(trust_env=False, timeout=60)

    def ready(self) -> Serve:
        """Wait for the line that says where it listens."""
        wait_for(lambda: self.out.endswith("\n") or not self.running, "serve listens")
        assert self.out.startswith(LISTENING), self.err
        self.url = self.out.removeprefix(LISTENING).strip()
        self.http.base_url = httpx.URL(self.url)
        self.http.headers["Authorization"] = f"Bearer {self.token}"
        return self

    @property
    def token(self) -> str:
        return (self.data_dir / "token").read_text(encoding="ascii").strip()

    def model(self, name: str = STARTER) -> dict[str, Any]:
        answer = self.http.get(f"/api/models/{name}")
        answer.raise_for_status()
        return dict(answer.json())

    def attempts(self, name: str = STARTER) -> list[dict[str, Any]]:
        """Newest first."""
        answer = self.http.get(f"/api/models/{name}/attempts")
        answer.raise_for_status()
        return list(answer.json())

    def add(self, name: str, path: Path, **more: Any) -> httpx.Response:
        return self.http.post("/api/models", json={"model_name": name, "path": str(path), **more})

    def load(self, name: str = STARTER, **body: Any) -> httpx.Response:
        return self.http.post("/api/orchestrate/load", json={"model_name": name, **body})

    def unload(self) -> None:
        self.http.post("/api/orchestrate/unload", json={}).raise_for_status()

    def patch(self, name: str, **fields: Any) -> httpx.Response:
        return self.http.patch(f"/api/models/{name}/config", json=fields)

    def issues(self) -> dict[str, dict[str, Any]]:
        return {issue["code"]: issue for issue in self.http.get("/api/status").json()["issues"]}

    @contextlib.contextmanager
    def chat_stream(self, name: str = STARTER) -> Iterator[Iterator[str]]:
        """The lines of a long streamed answer."""
        body = {
            "model": name,
            "messages": [{"role": "user", "content": "Tell a very long story."}],
            "max_tokens": 4000,
            "ignore_eos": True,
            "stream": True,
        }
        with self.http.stream("POST", "/v1/chat/completions", json=body) as answer:
            yield answer.iter_lines()

    def end(self) -> None:
        self.http.close()
        super().end()


@contextlib.contextmanager
def serving(data_dir: Path, *arguments: str, **options: Any) -> Iterator[Serve]:
    """A running `serve` that is ready."""
    serve = Serve(data_dir, *arguments, **options)
    try:
        yield serve.ready()
    finally:
        serve.end()


def engines_of(parent: int) -> list[int]:
    """Engine processes that name `parent` as the program that started them."""

    def belongs(words: Sequence[str]) -> bool:
        return WORKER in words and words[words.index("--parent") + 1] == str(parent)

    return [process.pid for process in psutil.process_iter(["cmdline"]) if belongs(process.info["cmdline"] or [])]


class Stored(NamedTuple):
    """What a data folder holds while no program runs: models by name, and all load attempts, oldest first."""

    models: dict[str, dict[str, Any]]
    attempts: list[dict[str, Any]]

    def of(self, name: str) -> list[dict[str, Any]]:
        return [attempt for attempt in self.attempts if attempt["model_name"] == name]


def stored(data_dir: Path, copy_to: Path) -> Stored:
    """Read a copy of the database, so that the reading repairs nothing; fails when its pages do not hold together."""
    shutil.rmtree(copy_to, ignore_errors=True)
    copy_to.mkdir(parents=True)
    for part in data_dir.glob("quarterdeck.db*"):
        shutil.copyfile(part, copy_to / part.name)
    with contextlib.closing(sqlite3.connect(copy_to / "quarterdeck.db")) as connection:
        connection.row_factory = sqlite3.Row
        assert connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
        models = {row["name"]: dict(row) for row in connection.execute("SELECT * FROM model")}
        attempts = [dict(row) for row in connection.execute("SELECT * FROM load_attempt ORDER BY id")]
    return Stored(models, attempts)


def engine_lives(attempt: Mapping[str, Any]) -> bool:
    """Whether the engine that an attempt recorded still runs."""
    pid = attempt["engine_pid"]
    return pid is not None and is_alive(pid, attempt["engine_create_time"])
