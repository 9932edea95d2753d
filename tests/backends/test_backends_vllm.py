"""vLLM as a child of ours and as somebody else's server, with a stand-in that speaks its protocol."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from quarterdeck.backends import attached
from quarterdeck.backends.base import EngineFailed, EngineRecord, Instance, Resident, Target
from quarterdeck.backends.logs import LogBook
from quarterdeck.backends.vllm import VllmBackend
from quarterdeck.backends.vllm_state import read_state
from quarterdeck.errors import AppError, ConfigError
from quarterdeck.processes import is_alive
from quarterdeck.schemas.backends import BackendState
from quarterdeck.settings import Settings

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="vLLM does not run there")

FAKE = Path(__file__).parents[1] / "support" / "fake_vllm.py"
RECORDED = Path(__file__).parent / "recorded"
Stages = list[tuple[str, float | None]]


class Bench:
    """A backend with the stand-in for `vllm`, and everything it has started."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder
        self.program = folder / "bin" / "vllm"
        self.program.parent.mkdir()
        self.program.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{FAKE}" "$@"\n', encoding="utf-8")
        self.program.chmod(0o755)
        self.settings = Settings(vllm_command=str(self.program), vllm_port=port, stop_timeout=0.5)
        self.urls: list[str] = []
        self.backends: list[VllmBackend] = []
        self.backend = self.another()
        self.records: list[EngineRecord] = []
        self.instances: list[tuple[VllmBackend, Instance]] = []

    def another(self) -> VllmBackend:
        made = VllmBackend(
            LogBook("vllm"), settings=lambda: self.settings, data=self.folder, known_urls=lambda: self.urls
        )
        self.backends.append(made)
        return made

    def set(self, **changes: Any) -> None:
        self.settings = self.settings.model_copy(update=changes)

    def model(self, name: str = "coder", **how: object) -> Path:
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        (folder / "how.json").write_text(json.dumps(how), encoding="utf-8")
        return folder

    async def load(
        self, path: Path | None = None, config: dict[str, Any] | None = None, *,
        backend: VllmBackend | None = None, url: str | None = None, served: str = "", stages: Stages | None = None,
        timeout: float = 30,
    ) -> Instance:  # fmt: skip
        backend = backend or self.backend

        async def started(record: EngineRecord) -> None:
            self.records.append(record)

        target = Target(
            path.name if path else "coder", path, None, backend.check_config(config or {}), served_id=served, url=url
        )
        progress = (lambda stage, part: stages.append((stage, part))) if stages is not None else lambda *_: None
        instance = await backend.load(target, timeout=timeout, progress=progress, started=started)
        self.instances.append((backend, instance))
        return instance

    def seen(self, name: str = "coder") -> dict[str, Any]:
        """The arguments and the environment of the last start."""
        return dict(json.loads((self.folder / name / "seen.json").read_text(encoding="utf-8")))


@pytest.fixture
async def bench(tmp_path: Path, free_port: int) -> AsyncIterator[Bench]:
    made = Bench(tmp_path, free_port)
    yield made
    for backend, instance in made.instances:
        if instance.record is not None:
            await backend.unload(instance)
    for backend in made.backends:
        await backend.close()


@pytest.fixture
def free_port() -> int:
    from quarterdeck.backends.process import free_port as find

    return find()


@contextmanager
def taken(port: int) -> Iterator[None]:
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", port))
        other.listen()
        yield


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.01)


async def get(url: str) -> Any:
    async with httpx.AsyncClient(trust_env=False) as http:
        return (await http.get(url)).json()


async def refusal(work: Awaitable[object]) -> AppError:
    with pytest.raises(AppError) as caught:
        await work
    return caught.value


def children_of(pid: int) -> list[psutil.Process]:
    return psutil.Process(pid).children(recursive=True)


# -- our own child


async def test_a_loaded_model_answers_on_the_fixed_port_and_ends_when_unloaded(bench: Bench) -> None:
    stages: Stages = []
    instance = await bench.load(bench.model(), stages=stages, served="Qwen2.5-Coder")
    assert instance.base_url == f"http://127.0.0.1:{bench.settings.vllm_port}"
    assert [entry["id"] for entry in (await get(instance.base_url + "/v1/models"))["data"]] == ["Qwen2.5-Coder"]
    assert instance.record == bench.records[0]
    assert instance.served_id == "Qwen2.5-Coder"
    assert stages[0] == ("starting the engine", None)
    view = bench.backend.view([instance])
    assert (view.state, view.version, view.actions) == (BackendState.RUNNING, "0.32.0", ["stop", "restart"])
    workers = children_of(instance.record.pid)
    await bench.backend.unload(instance)
    assert (await instance.exited).asked_for
    await until(lambda: not any(is_alive(each.pid, each.create_time()) for each in workers if each.is_running()))
    assert bench.backend.view([]).state is BackendState.STOPPED


async def test_the_steps_of_a_load_are_told(bench: Bench) -> None:
    folder = bench.model(steps=True)
    stages: Stages = []
    load = asyncio.ensure_future(bench.load(folder, stages=stages))
    await until(lambda: stages)
    (folder / "go").touch()
    await load
    told = [stage for stage, _ in stages]
    order = ["starting the engine", "preparing the model", "reading the model", "placing the model",
             "setting up the KV cache", "opening the server"]  # fmt: skip
    assert told == sorted(told, key=order.index)


async def test_options_become_arguments_and_environment(bench: Bench) -> None:
    config = {
        "n_ctx": 2048, "gpu_memory_utilization": 0.5, "enforce_eager": True, "enable_prefix_caching": False,
        "limit_mm_per_prompt": {"image": 2}, "lora_modules": ["a=/x", "b=/y"], "served_names": ["second"],
        "env": {"VLLM_CPU_KVCACHE_SPACE": "1"}, "extra_args": ["--block-size", "16"],
    }  # fmt: skip
    folder = bench.model()
    await bench.load(folder, config)
    seen = bench.seen()
    port = str(bench.settings.vllm_port)
    assert seen["argv"] == [
        "serve", str(folder), "--served-model-name", "coder", "second", "--host", "127.0.0.1", "--port", port,
        "--max-model-len", "2048", "--gpu-memory-utilization", "0.5", "--limit-mm-per-prompt", '{"image": 2}',
        "--lora-modules", "a=/x", "b=/y", "--enforce-eager", "--no-enable-prefix-caching", "--block-size", "16",
    ]  # fmt: skip
    expected = {"VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1", "VLLM_HOST_IP": "127.0.0.1",
                "VLLM_CPU_KVCACHE_SPACE": "1"}  # fmt: skip
    assert expected.items() <= seen["env"].items()
    assert "VLLM_SERVER_DEV_MODE" not in seen["env"]


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ({"max_model_length": 1024}, "Did you mean “max_model_len”?"),
        ({"extra_args": "--seed 1"}, "one text each"),
        ({"extra_args": ["--port", "1"]}, "Quarterdeck sets it itself."),
        ({"extra_args": ["--port=1"]}, "Quarterdeck sets it itself."),
        ({"seed": 1, "extra_args": ["--seed=2"]}, "Keep one of them."),
        ({"enforce_eager": True, "extra_args": ["--no-enforce-eager"]}, "Keep one of them."),
        ({"env": {"A": 1}}, "Environment variables"),
        ({"gpu_memory_utilization": 1.5}, "Share of the GPU memory"),
    ],
)
def test_a_config_that_cannot_work_is_refused(bench: Bench, config: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        bench.backend.check_config(config)
    assert told in caught.value.hint


async def test_without_the_program_it_says_what_to_install(bench: Bench) -> None:
    bench.set(vllm_command="no-such-vllm")
    error = await refusal(bench.load(bench.model()))
    assert error.code == "engine_missing"
    assert "pip install vllm" in error.hint


@pytest.mark.parametrize("name", ["no-weights", "maxlen-above-kv"])
async def test_a_failed_load_keeps_the_whole_log_and_names_the_cause(bench: Bench, name: str) -> None:
    file = RECORDED / f"vllm-{name}.log"
    with pytest.raises(EngineFailed) as caught:
        await bench.load(bench.model(fails=str(file)))
    assert caught.value.exit_report is not None
    assert caught.value.exit_report.exit_code == 1
    printed = [line for line in file.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    assert len(caught.value.log) >= len(printed)
    view = bench.backend.view([])
    assert view.state is BackendState.FAILED
    assert str(view.last_error).startswith(("RuntimeError: Cannot find", "ValueError: To serve"))
    assert read_state(bench.backend.state_file) is None


async def test_a_crash_is_told_and_its_workers_end(bench: Bench) -> None:
    instance = await bench.load(bench.model())
    assert instance.record is not None
    workers = children_of(instance.record.pid)
    os.kill(instance.record.pid, signal.SIGKILL)
    report = await instance.exited
    assert (report.signal, report.asked_for) == ("SIGKILL", False)
    await until(lambda: not any(each.is_running() and each.status() != psutil.STATUS_ZOMBIE for each in workers))
    assert bench.backend.view([]).state is BackendState.FAILED
    await until(lambda: not bench.backend.state_file.exists())


async def test_a_cancelled_load_leaves_nothing(bench: Bench) -> None:
    load = asyncio.ensure_future(bench.load(bench.model(steps=True)))
    await until(lambda: bench.records and (bench.folder / "coder" / "seen.json").exists())
    load.cancel()
    with pytest.raises(asyncio.CancelledError):
        await load
    assert not is_alive(bench.records[0].pid, bench.records[0].create_time)


async def test_one_that_hangs_at_its_start_is_ended(bench: Bench) -> None:
    with pytest.raises(EngineFailed) as caught:
        await bench.load(bench.model(steps=True, stubborn=True), timeout=0.3)
    assert caught.value.timed_out == 0.3
    assert not is_alive(bench.records[0].pid, bench.records[0].create_time)


# -- the port


async def test_a_fixed_port_that_is_taken_is_named_with_its_owner(bench: Bench) -> None:
    with taken(bench.settings.vllm_port):
        error = await refusal(bench.load(bench.model()))
    assert error.code == "port_in_use"
    assert f"process {os.getpid()}" in error.sentence
    assert bench.records == []


async def test_a_fixed_port_stolen_at_the_last_moment_is_told(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("quarterdeck.backends.vllm._is_taken", lambda port: False)
    with taken(bench.settings.vllm_port):
        error = await refusal(bench.load(bench.model()))
    assert error.code == "port_in_use"
    assert not is_alive(bench.records[0].pid, bench.records[0].create_time)


async def test_a_free_port_stolen_at_the_last_moment_is_replaced(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.set(vllm_single_port=False)
    free = bench.settings.vllm_port
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        ports = iter([other.getsockname()[1], free])
        monkeypatch.setattr("quarterdeck.backends.vllm.free_port", lambda: next(ports))
        instance = await bench.load(bench.model())
    assert instance.base_url == f"http://127.0.0.1:{free}"


async def test_a_stranger_on_the_port_is_not_taken_for_the_engine(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another vLLM that answers on the port while ours has not noticed yet."""
    other = await bench.load(bench.model("other"))
    monkeypatch.setattr("quarterdeck.backends.vllm._is_taken", lambda port: False)
    error = await refusal(bench.load(bench.model("mine")))
    assert error.code == "port_in_use"
    assert not other.exited.done()


async def test_with_a_port_each_two_models_run_side_by_side(bench: Bench) -> None:
    bench.set(vllm_single_port=False)
    first, second = await asyncio.gather(bench.load(bench.model("one")), bench.load(bench.model("two")))
    assert first.base_url != second.base_url
    await bench.backend.unload(first)
    assert not second.exited.done()
    state = read_state(bench.backend.state_file)
    assert second.record is not None
    assert state is None or state.pid == second.record.pid


# -- the state file


async def test_the_state_file_tells_what_runs_and_goes_with_it(bench: Bench) -> None:
    instance = await bench.load(bench.model(), served="Qwen2.5-Coder")
    assert instance.record is not None
    state = read_state(bench.backend.state_file)
    assert state is not None
    assert (state.logical_name, state.served_model_id) == ("coder", "Qwen2.5-Coder")
    assert (state.port, state.pid) == (bench.settings.vllm_port, instance.record.pid)
    await bench.backend.unload(instance)
    await until(lambda: not bench.backend.state_file.exists())


async def test_the_state_file_can_be_elsewhere(bench: Bench) -> None:
    bench.set(vllm_state_path=str(bench.folder / "shared" / "vllm.json"))
    await bench.load(bench.model())
    assert read_state(bench.folder / "shared" / "vllm.json") is not None


async def test_a_state_file_that_cannot_be_written_stops_no_load(bench: Bench) -> None:
    (bench.folder / "file").touch()
    bench.set(vllm_state_path=str(bench.folder / "file" / "vllm.json"))
    instance = await bench.load(bench.model())
    assert not instance.exited.done()
    assert any("cannot be written" in line.text for line in bench.backend.log.tail(50))


async def test_what_an_earlier_run_left_on_the_port_makes_room(bench: Bench) -> None:
    left = await bench.load(bench.model("old"))
    later = bench.another()
    assert [resident.served_id for resident in await later.residents()] == ["old"]
    instance = await bench.load(bench.model("new"), backend=later)
    assert left.exited.done()
    assert instance.base_url == left.base_url


async def test_what_an_earlier_run_left_can_be_released(bench: Bench) -> None:
    left = await bench.load(bench.model("old"))
    later = bench.another()
    [resident] = await later.residents()
    assert await later.release(resident)
    assert await later.residents() == []
    assert not (await left.exited).asked_for


# -- sleeping


@pytest.mark.parametrize(
    ("level", "calls"),
    [
        (1, ["/sleep?level=1", "/wake_up"]),
        (2, ["/sleep?level=2", "/wake_up?tags=weights", '/collective_rpc {"method": "reload_weights"}',
             "/wake_up?tags=kv_cache"]),
    ],
)  # fmt: skip
async def test_a_model_sleeps_and_wakes(bench: Bench, level: int, calls: list[str]) -> None:
    instance = await bench.load(bench.model(), {"enable_sleep_mode": True, "sleep_level": level})
    assert "--enable-sleep-mode" in bench.seen()["argv"]
    assert await bench.backend.sleep(instance)
    assert instance.asleep
    await bench.backend.wake(instance, timeout=10)
    assert not instance.asleep
    assert await get(instance.base_url + "/calls") == calls


async def test_without_sleep_mode_nothing_is_asked(bench: Bench) -> None:
    instance = await bench.load(bench.model())
    assert not await bench.backend.sleep(instance)
    assert await get(instance.base_url + "/calls") == []


async def test_a_server_that_only_says_that_it_sleeps_does_not(bench: Bench) -> None:
    instance = await bench.load(bench.model(sleepless=True), {"enable_sleep_mode": True})
    assert not await bench.backend.sleep(instance)
    assert not instance.asleep


async def test_waking_one_that_is_gone_fails(bench: Bench) -> None:
    instance = await bench.load(bench.model(), {"enable_sleep_mode": True})
    assert await bench.backend.sleep(instance)
    await bench.backend.unload(instance)
    with pytest.raises(EngineFailed) as caught:
        await bench.backend.wake(instance, timeout=5)
    assert "nothing listens there" in caught.value.log[0]


async def test_a_sleeper_leaves_the_fixed_port_to_the_next_model(bench: Bench) -> None:
    sleeper = await bench.load(bench.model("one"), {"enable_sleep_mode": True})
    assert await bench.backend.sleep(sleeper)
    await bench.load(bench.model("two"))
    assert (await sleeper.exited).asked_for


# -- defects


async def test_a_model_that_could_call_tools_and_may_not_has_a_defect(bench: Bench) -> None:
    folder = bench.model("Qwen2.5-Coder")
    (folder / "tokenizer_config.json").write_text('{"chat_template": "{% if tools %}"}', encoding="utf-8")
    lacking = await bench.load(folder)
    assert "tool_call_parser = hermes" in str(await bench.backend.defect(lacking))
    await bench.backend.unload(lacking)
    complete = await bench.load(folder, {"enable_auto_tool_choice": True, "tool_call_parser": "hermes"})
    assert await bench.backend.defect(complete) is None


# -- somebody else's server


@pytest.fixture
async def foreign(bench: Bench) -> Instance:
    """A vLLM that another program runs."""
    other = bench.another()
    bench.settings = bench.settings.model_copy(update={"vllm_state_path": str(bench.folder / "other.json")})
    instance = await bench.load(bench.model("theirs"), {"enable_sleep_mode": True}, backend=other)
    bench.set(vllm_state_path="")
    return instance


async def attach(bench: Bench, foreign: Instance, served: str = "theirs") -> Instance:
    return await bench.load(url=foreign.base_url + "/v1/", served=served)


async def test_a_model_of_a_running_server_is_attached_to(bench: Bench, foreign: Instance) -> None:
    instance = await attach(bench, foreign)
    assert (instance.record, instance.command, instance.base_url) == (None, None, foreign.base_url)
    view = bench.backend.view([instance])
    assert (view.state, view.actions) == (BackendState.RUNNING, [])


async def test_a_server_without_the_model_names_what_it_has(bench: Bench, foreign: Instance) -> None:
    error = await refusal(attach(bench, foreign, "mine"))
    assert error.code == "model_not_served"
    assert "it has “theirs”" in error.sentence


async def test_a_server_that_is_down_is_told(bench: Bench) -> None:
    error = await refusal(bench.load(url=f"http://127.0.0.1:{bench.settings.vllm_port}", served="theirs"))
    assert error.code == "server_unreachable"


async def test_unloading_puts_their_server_to_sleep_and_loading_wakes_it(bench: Bench, foreign: Instance) -> None:
    bench.urls = [foreign.base_url]
    instance = await attach(bench, foreign)
    await bench.backend.unload(instance)
    assert (await instance.exited).asked_for
    assert not foreign.exited.done()
    assert await bench.backend.residents() == []
    await attach(bench, foreign)
    assert await bench.backend.residents() == [Resident("theirs", foreign.base_url)]
    assert bench.backend.gives_back("theirs", foreign.base_url)


async def test_a_model_that_cannot_sleep_on_their_server_is_not_ours_to_unload(bench: Bench) -> None:
    foreign = await bench.load(bench.model("theirs"), backend=bench.another())
    instance = await attach(bench, foreign)
    assert (await refusal(bench.backend.unload(instance))).code == "not_ours"
    assert not bench.backend.gives_back("theirs", foreign.base_url)
    assert not instance.exited.done()
    assert "enable_auto_tool_choice" in str(await bench.backend.defect(instance))


async def test_a_server_elsewhere_is_just_let_go(
    bench: Bench, foreign: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    instance = await attach(bench, foreign)
    monkeypatch.setattr("quarterdeck.backends.attached.is_this_machine", lambda url, alias: False)
    await bench.backend.unload(instance)
    assert (await instance.exited).asked_for
    assert await get(foreign.base_url + "/calls") == []


async def test_what_others_loaded_is_seen_and_can_be_released(bench: Bench, foreign: Instance) -> None:
    bench.urls = [foreign.base_url, "http://127.0.0.1:9/v1"]
    [resident] = await bench.backend.residents()
    assert (resident.served_id, resident.url) == ("theirs", foreign.base_url)
    assert await bench.backend.release(resident)
    assert await bench.backend.residents() == []


async def test_the_key_goes_with_every_request(bench: Bench, foreign: Instance) -> None:
    asked: list[str] = []

    def headers(url: str) -> dict[str, str]:
        asked.append(url)
        return {"Authorization": "Bearer secret"}

    backend = VllmBackend(LogBook("vllm"), settings=lambda: bench.settings, data=bench.folder, headers=headers)
    bench.backends.append(backend)
    instance = await bench.load(url=foreign.base_url, served="theirs", backend=backend)
    assert instance.headers == {"Authorization": "Bearer secret"}
    assert set(asked) == {foreign.base_url}
    backend._attached.detach(instance)


async def test_their_server_going_away_is_noticed(
    bench: Bench, foreign: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attached, "WATCH_SECONDS", 0.01)
    instance = await attach(bench, foreign)
    assert foreign.record is not None
    os.kill(foreign.record.pid, signal.SIGKILL)
    async with asyncio.timeout(20):
        report = await instance.exited
    assert report.outside == f"The server at {foreign.base_url} does not answer any more."
    assert not report.asked_for
