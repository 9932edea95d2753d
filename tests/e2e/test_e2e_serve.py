"""`quarterdeck serve` as a program: what it prints, how it ends, and that it is alone on its data folder."""

from __future__ import annotations

import re
import signal
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from serve_process import MODULE, PROGRAM, STARTER, command, serving, wait_for

pytestmark = pytest.mark.engine


@pytest.fixture
def data(tmp_path: Path, starter_file: object) -> Path:
    return tmp_path / "data"


@pytest.mark.parametrize("program", [PROGRAM, MODULE], ids=["command", "python -m"])
def test_it_prints_one_line_with_its_address(program: Sequence[str], data: Path) -> None:
    with serving(data, program=program) as serve:
        assert re.fullmatch(r"listening on http://127\.0\.0\.1:\d+\n", serve.out)
        assert serve.http.get("/health").json()["status"] == "ok"
        assert serve.terminate() == 0
        assert serve.err == ""


def test_it_listens_where_it_is_told(data: Path) -> None:
    with serving(data) as first:
        port = int(first.url.rpartition(":")[2])
        assert first.terminate() == 0
    with serving(data, port=port) as second:
        assert second.out == f"listening on http://127.0.0.1:{port}\n"
        assert second.terminate() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_well_while_streams_are_open(number: signal.Signals, data: Path) -> None:
    with serving(data) as serve:
        assert serve.load().status_code == 200
        with serve.http.stream("GET", "/api/events") as events, serve.chat_stream() as lines:
            assert next(events.iter_lines())
            assert any(line.startswith("data: ") for line in lines)
            serve.process.send_signal(number)
            assert serve.wait() == 0
        assert serve.engines() == []
        assert serve.err == ""
    assert not (data / "core.json").exists()


def test_a_stream_that_is_cut_by_the_end_says_so(data: Path) -> None:
    with serving(data) as serve:
        with serve.chat_stream() as lines:
            assert any(line.startswith("data: ") for line in lines)
            serve.process.send_signal(signal.SIGTERM)
            rest = [line for line in lines if line.startswith("data: ")]
        assert '"closing"' in rest[-2]
        assert rest[-1] == "data: [DONE]"
        assert serve.wait() == 0


def test_streams_in_a_row_all_arrive(data: Path) -> None:
    chat = {"model": STARTER, "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 2, "stream": True}
    with serving(data) as serve:
        answers = [serve.http.post("/v1/chat/completions", json=chat) for _ in range(60)]
        assert [answer.status_code for answer in answers] == [200] * 60
        assert all(answer.text.endswith("data: [DONE]\n\n") for answer in answers)
        assert serve.terminate() == 0


def test_a_client_that_leaves_frees_the_engine(data: Path) -> None:
    with serving(data) as serve:
        with serve.chat_stream() as lines:
            assert any(line.startswith("data: ") for line in lines)
        wait_for(lambda: serve.http.get("/api/requests").json(), "the request is over")
        assert serve.http.post(
            "/v1/chat/completions",
            json={"model": STARTER, "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 4},
        ).is_success
        assert serve.terminate() == 0


def test_a_second_core_on_the_same_folder_is_refused(data: Path) -> None:
    with serving(data) as serve:
        done = command(data, "serve", "--port", "0")
        assert (done.code, done.out) == (1, "")
        sentence, hint = done.err.splitlines()
        assert str(data) in sentence
        assert "--data-dir" in hint
        assert serve.model()["name"] == STARTER
        assert serve.terminate() == 0


def test_it_starts_again_after_a_kill_and_names_what_was_cut_off(data: Path) -> None:
    with serving(data) as serve, ThreadPoolExecutor(1) as pool:
        loading = pool.submit(serve.load)
        wait_for(lambda: serve.model()["phase"] == "loading", "the load is under way")
        serve.kill()
        assert isinstance(loading.exception(), httpx.TransportError)
        serve.wait_without_engines()
    assert (data / "core.json").exists()
    shown = command(data, "models")
    assert shown.code == 0
    assert f"{STARTER} is now incompatible" in shown.err
    with serving(data) as again:
        assert again.model()["status"] == "incompatible"
        # What was named once is settled.
        assert again.err == ""
        assert again.terminate() == 0


def test_commands_find_the_running_core(data: Path) -> None:
    with serving(data) as serve:
        assert command(data, "load", STARTER).code == 0
        assert serve.model()["loaded"] is True
        current = command(data, "current")
        assert STARTER in current.out
        assert command(data, "unload").code == 0
        assert serve.engines() == []
        assert serve.terminate() == 0
    assert command(data, "current").out == "No model is loaded.\n"


def test_wrong_usage_ends_with_two(data: Path) -> None:
    for arguments in (["serve", "--port", "many"], ["fly"], ["models", "add"]):
        done = command(data, *arguments)
        assert (done.code, done.out) == (2, "")
        assert "usage:" in done.err


def test_a_port_out_of_range_is_refused(data: Path) -> None:
    done = command(data, "serve", "--port", "70000")
    assert (done.code, done.out) == (1, "")
    assert "port" in done.err.splitlines()[0]


def test_both_addresses_serve_the_same(data: Path) -> None:
    with serving(data) as serve:
        control = serve.http.get("/api/status").json()["control_url"]
        headers = {"Authorization": f"Bearer {serve.token}"}
        answer = httpx.get(f"{control}/api/models", headers=headers, trust_env=False)
        assert answer.json() == serve.http.get("/api/models").json()
        assert serve.terminate() == 0
