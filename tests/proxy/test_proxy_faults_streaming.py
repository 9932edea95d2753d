"""Rules of streams: back-pressure, clients that leave, comments while a model loads, and limits of time."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import pytest
from fake_backend import Act
from fault_room import DIALECTS, NATIVE, PATHS, FaultRoom, Got, fault_room, question, read
from fault_table import LIMITS, OK
from scripted_core import wait_for
from upstream_refusals import FLOOD_LIMIT
from upstream_words import TEXT

from quarterdeck.proxy.access import profiles

SECONDS = 20
COMMENT = b": the model is loading\n\n"
WITH_COMMENTS = ["openai", "anthropic", "responses"]
FULL_BACKLOG = 8


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultRoom]:
    with fault_room(tmp_path_factory.mktemp("faults"), keep_alive_delay=0.05, connect_limit=0.3) as room:
        yield room


@pytest.fixture(scope="module")
def hasty_room(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultRoom]:
    with fault_room(tmp_path_factory.mktemp("silences"), **LIMITS) as room:
        yield room


@pytest.fixture(scope="module")
def quick_room(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultRoom]:
    """Default limits that no test would outlive, and a fail-fast profile that is faster than the real one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(profiles, "_FAST_SECONDS", 0.3)
        with fault_room(tmp_path_factory.mktemp("profiles")) as room:
            yield room


@contextlib.contextmanager
def asking(room: FaultRoom, body: dict[str, Any], dialect: str) -> Iterator[socket.socket]:
    """A client of which only the socket is there: it reads and leaves when the test says so."""
    place = urlsplit(room.core.public_url)
    text = json.dumps(body).encode()
    head = f"POST {PATHS[dialect]} HTTP/1.1\r\nHost: {place.netloc}\r\nContent-Length: {len(text)}\r\n"
    with socket.create_connection((place.hostname or "", place.port or 0), timeout=SECONDS) as client:
        client.sendall(head.encode() + b"Content-Type: application/json\r\n\r\n" + text)
        yield client


def latest(room: FaultRoom, model: str) -> dict[str, Any] | None:
    listed = room.core.http.get("/api/requests", params={"model": model}).json()
    return listed[0] if listed else None


class TestBackPressure:
    @pytest.mark.parametrize("dialect", ["openai", "anthropic", NATIVE])
    def test_an_upstream_is_not_read_faster_than_its_client_reads(self, room: FaultRoom, dialect: str) -> None:
        upstream = room.upstream
        upstream.sent = 0
        upstream.blocked.clear()
        with asking(room, question(dialect, room.model("flood", dialect), stream=True), dialect):
            assert upstream.blocked.wait(60)
            # What the sockets of both sides hold, and little more.
            assert upstream.sent < FLOOD_LIMIT / 16
        assert upstream.left.acquire(timeout=SECONDS)
        wait_for(lambda: room.active() == 0)

    def test_a_client_that_takes_nothing_is_cut_and_the_backend_not_blamed(self, hasty_room: FaultRoom) -> None:
        room = hasty_room
        room.upstream.sent = 0
        model = room.model("flood")
        with asking(room, question("openai", model, stream=True), "openai"):
            record = wait_for(lambda: latest(room, model))
        assert (record["status"], record["error"]) == (499, "The client stopped taking the answer, so it was ended.")
        wait_for(lambda: room.active() == 0)


class TestLeaving:
    @pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
    @pytest.mark.parametrize("dialect", DIALECTS)
    @pytest.mark.parametrize("behaviour", ["silent_before_headers", "silent_after_headers", "silent_after_3_tokens"])
    def test_the_upstream_is_left_when_the_client_leaves(
        self, room: FaultRoom, behaviour: str, dialect: str, stream: bool
    ) -> None:
        model = room.model(behaviour, dialect)
        asked = room.upstream.count(behaviour)
        known = latest(room, model)
        with asking(room, question(dialect, model, stream=stream), dialect) as client:
            wait_for(lambda: room.upstream.count(behaviour) == asked + 1)
            if stream and behaviour == "silent_after_3_tokens":
                assert client.recv(100).startswith(b"HTTP/1.1 200")
            assert room.active() == 1
            assert not room.upstream.left.acquire(blocking=False)
            assert latest(room, model) == known
        assert room.upstream.left.acquire(timeout=SECONDS)
        wait_for(lambda: room.active() == 0)
        record = wait_for(lambda: (now := latest(room, model)) != known and now)
        assert (record["status"], record["error"]) == (499, "The client went away.")
        assert room.upstream.count(behaviour) == asked + 1

    def test_no_stand_in_is_asked_for_a_client_that_left(self, room: FaultRoom) -> None:
        room.core.http.put("/api/routing", json={"fallbacks": [{"model": "*", "error": [room.model("sturdy")]}]})
        sturdy = room.upstream.count("sturdy")
        model = room.model("silent_before_headers")
        asked = room.upstream.count(model)
        with asking(room, question("openai", model, stream=True), "openai"):
            wait_for(lambda: room.upstream.count(model) == asked + 1)
        assert room.upstream.left.acquire(timeout=SECONDS)
        wait_for(lambda: room.active() == 0)
        assert room.upstream.count("sturdy") == sturdy
        room.core.http.put("/api/routing", json={}).raise_for_status()


class TestLoading:
    """A stream that waits for its model is kept open, in the way of its dialect."""

    @pytest.fixture
    def loading(self, room: FaultRoom) -> str:
        model = room.core.add(f"sturdy@{id(object())}-{len(room.core.backend.loads)}")
        room.core.backend.plan[model] = Act.WAIT
        return model

    def opened(self, room: FaultRoom, model: str, dialect: str) -> tuple[Got, bytes]:
        """The answer, and what had come of it when the model was let go."""
        connection = room.connect()
        body = json.dumps(question(dialect, model, stream=True))
        connection.request("POST", PATHS[dialect], body, {"Content-Type": "application/json"})
        early = b""
        answer = None
        if dialect in WITH_COMMENTS:
            answer = connection.getresponse()
            early = answer.read(2 * len(COMMENT))
        else:
            wait_for(lambda: room.core.model(model)["phase"] == "loading")
        room.core.backend.let_go(model)
        answer = answer or connection.getresponse()
        got = Got(answer.status, answer.getheaders(), early + answer.read())
        connection.close()
        read(got, dialect, stream=True)
        return got, early

    @pytest.mark.parametrize("dialect", WITH_COMMENTS)
    def test_comments_until_it_is_loaded(self, room: FaultRoom, loading: str, dialect: str) -> None:
        got, early = self.opened(room, loading, dialect)
        assert early == 2 * COMMENT
        assert (got.outcome, got.text) == (OK, TEXT)
        assert got.header("content-type") == "text/event-stream"
        assert room.record(got)["waited_ms"] > 0

    def test_nothing_where_a_comment_would_be_read_as_a_line(self, room: FaultRoom, loading: str) -> None:
        got, _ = self.opened(room, loading, "ollama")
        assert (got.outcome, got.text) == (OK, TEXT)

    @pytest.mark.parametrize("dialect", WITH_COMMENTS)
    def test_a_load_that_fails_ends_the_stream_in_order(self, room: FaultRoom, loading: str, dialect: str) -> None:
        room.core.backend.plan[loading] = Act.WAIT_AND_CRASH
        got, _ = self.opened(room, loading, dialect)
        assert got.outcome.startswith("cut ")
        assert got.ended
        assert "SIGSEGV" in got.message
        assert room.record(got)["status"] == 424

    @pytest.mark.parametrize("dialect", WITH_COMMENTS)
    def test_a_stand_in_answers_in_the_open_stream(self, room: FaultRoom, loading: str, dialect: str) -> None:
        room.core.backend.plan[loading] = Act.WAIT_AND_CRASH
        rules = {"fallbacks": [{"model": loading, "error": [room.model("sturdy")]}]}
        room.core.http.put("/api/routing", json=rules).raise_for_status()
        got, early = self.opened(room, loading, dialect)
        assert (early, got.outcome, got.text) == (2 * COMMENT, OK, TEXT)
        assert room.record(got)["tried"] == [loading]
        room.core.http.put("/api/routing", json={}).raise_for_status()

    def test_comments_stop_when_the_client_leaves(self, room: FaultRoom, loading: str) -> None:
        with asking(room, question("openai", loading, stream=True), "openai") as client:
            assert client.recv(100)
            wait_for(lambda: loading in [target.name for target in room.core.backend.loads])
        wait_for(lambda: loading in room.core.backend.cancelled)
        record = wait_for(lambda: latest(room, loading))
        assert record["status"] == 499


class TestLimits:
    @pytest.mark.parametrize(
        ("behaviour", "stream", "words"),
        [
            ("silent_before_headers", True, "did not begin to answer in time"),
            ("silent_before_headers", False, "took longer than a whole answer may take"),
            ("silent_after_3_tokens", True, "went silent in the middle of its answer"),
            ("never_ends", True, "took longer than a whole answer may take"),
        ],
    )
    def test_each_limit_is_told_by_its_name(
        self, hasty_room: FaultRoom, behaviour: str, stream: bool, words: str
    ) -> None:
        got = hasty_room.ask(behaviour, "openai", stream=stream)
        assert words in got.message
        assert words in hasty_room.record(got)["error"]

    def test_a_backend_that_takes_no_connections(self, room: FaultRoom) -> None:
        with contextlib.ExitStack() as sockets:
            deaf = sockets.enter_context(socket.socket())
            deaf.bind(("127.0.0.1", 0))
            deaf.listen(0)
            for _ in range(FULL_BACKLOG):
                waiting = sockets.enter_context(socket.socket())
                waiting.setblocking(False)
                waiting.connect_ex(deaf.getsockname())
            name = room.model("sturdy", NATIVE)
            room.core.backend.instances[name].base_url = f"http://127.0.0.1:{deaf.getsockname()[1]}"
            got = room.post(question(NATIVE, name, stream=True), NATIVE)
        assert got.outcome == "502 backend_unreachable"
        assert "did not answer in time" in got.message


class TestProfiles:
    @pytest.mark.parametrize("behaviour", ["silent_before_headers", "silent_after_headers", "silent_after_3_tokens"])
    def test_fail_fast_by_header(self, quick_room: FaultRoom, behaviour: str) -> None:
        got = quick_room.ask(behaviour, "openai", stream=True, x_quarterdeck_profile="fail-fast")
        assert got.outcome in ("504 backend_silent", "cut backend_silent")
        assert quick_room.upstream.left.acquire(timeout=SECONDS)

    def test_the_others_wait_meanwhile(self, quick_room: FaultRoom) -> None:
        room = quick_room
        model = room.model("silent_before_headers")
        asked = room.upstream.count(model)
        with ThreadPoolExecutor(1) as other, asking(room, question("openai", model, stream=True), "openai"):
            wait_for(lambda: room.upstream.count(model) == asked + 1)
            fast = other.submit(room.ask, model, "openai", stream=True, x_quarterdeck_profile="fail-fast").result(60)
            assert fast.outcome == "504 backend_silent"
            assert room.active() == 1

    def test_a_profile_that_nobody_knows(self, quick_room: FaultRoom) -> None:
        got = quick_room.ask("sturdy", "anthropic", stream=True, x_quarterdeck_profile="reckless")
        assert got.outcome == "400 unknown_profile"


class TestSound:
    def test_sound_that_breaks_off_is_not_passed_for_whole(self, room: FaultRoom) -> None:
        body = {"model": room.model("closes_after_3_tokens"), "input": "Hello", "voice": "any", "stream": False}
        connection = room.connect()
        connection.request("POST", "/v1/audio/speech", json.dumps(body), {"Content-Type": "application/json"})
        answer = connection.getresponse()
        with pytest.raises(Exception, match="IncompleteRead"):
            answer.read()
        connection.close()
        record = room.record(Got(answer.status, answer.getheaders()))
        assert record["status"] == 502
        wait_for(lambda: room.active() == 0)
