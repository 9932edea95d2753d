"""Keys at the door: which paths need one, from where, and how large a body they may bring."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from access_room import TOKEN, access_room, bearer
from guarded import Guarded, guarded, parsed

from quarterdeck.settings import Settings

MIB = 1024 * 1024
FROM_ELSEWHERE = {"X-Forwarded-For": "203.0.113.9"}


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Guarded]:
    with access_room(tmp_path, body_limit=1) as room:
        async with guarded(room) as made:
            yield made


@pytest.mark.parametrize("path", ["/", "/health", "/v1/health", "/version", "/api/version", "/openapi.json"])
async def test_whether_it_is_there_can_be_asked_without_a_key(server: Guarded, path: str) -> None:
    await server.room.add()
    assert (await server.ask(f"GET {path}")).status == 200


@pytest.mark.parametrize("path", ["/v1/models", "/v1/chat/completions", "/api/tags", "/api/chat", "/metrics", "/any"])
async def test_clients_need_a_key_once_there_is_one(server: Guarded, path: str) -> None:
    assert (await server.ask(f"POST {path}")).json["who"] is None
    key = await server.room.add()
    answer = await server.ask(f"POST {path}")
    assert answer.status == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert (await server.ask(f"POST {path}", bearer("EMPTY"))).status == 401
    assert (await server.ask(f"POST {path}", bearer(key))).json["who"] == "laptop"
    assert (await server.ask(f"POST {path}", {"x-api-key": key})).json["who"] == "laptop"
    assert (await server.ask(f"POST {path}", bearer(TOKEN))).status == 200
    await server.room.keys.revoke("laptop")
    assert (await server.ask(f"POST {path}", bearer(key))).json["who"] is None


@pytest.mark.parametrize("path", ["/api/models", "/api/keys", "/api/nothing", "/api/tags/x", "/%61pi/models", "/api/"])
async def test_control_needs_the_token_or_an_admin_key(server: Guarded, path: str) -> None:
    plain, admin = await server.room.add("plain"), await server.room.add("admin", admin=True)
    for headers, status in (
        ({}, 401), (bearer("EMPTY"), 401), (bearer(plain), 403), (bearer(admin), 200), (bearer(TOKEN), 200)
    ):  # fmt: skip
        answer = await server.ask(f"GET {path}", headers)
        assert answer.status == status
        assert not [text for text in (plain, admin, TOKEN) if text in answer.text and status != 200]


async def test_what_a_web_server_passes_on_is_not_from_here(server: Guarded) -> None:
    """A web server in front is on this machine, but those who call through it are not."""
    assert (await server.ask(headers=FROM_ELSEWHERE)).status == 401
    assert (await server.ask(headers={"X-Forwarded-For": "127.0.0.1, 203.0.113.9"})).status == 401
    assert (await server.ask(headers={"X-Forwarded-For": "junk"})).status == 401
    assert (await server.ask(headers={"X-Forwarded-For": "127.0.0.1, ::1"})).status == 200
    key = await server.room.add()
    assert (await server.ask(headers={**FROM_ELSEWHERE, **bearer(key)})).status == 200


async def test_a_wrong_key_is_not_repeated(server: Guarded, caplog: pytest.LogCaptureFixture) -> None:
    await server.room.add()
    for secret in ("qd-wrong-secret", "sk-something"):
        for path in ("/v1/models", "/api/models", "/api/tags"):
            answer = await server.ask(f"GET {path}", bearer(secret))
            assert answer.status == 401
            assert secret not in answer.text + str(answer.headers)
    assert "secret" not in caplog.text


async def test_a_body_that_says_how_large_it_is_is_refused_unread(server: Guarded) -> None:
    head = b"POST /v1/chat HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n"
    answer = parsed(await server.raw(head % (MIB + 1)))
    assert (answer.status, answer.code) == (413, "body_too_large")
    assert answer.headers["connection"] == "close"
    assert server.seen == []
    assert (await server.ask("POST /v1/chat", body=b"x" * MIB)).status == 200


async def test_a_body_in_chunks_is_counted(server: Guarded) -> None:
    head = b"POST /v1/chat HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunk = b"10000\r\n" + b"x" * 65536 + b"\r\n"
    fits = parsed(await server.raw(head, *[chunk] * 16, b"0\r\n\r\n"))
    assert fits.status == 200
    assert len(server.seen[0]["body"]) == MIB
    answer = parsed(await server.raw(head, *[chunk] * 17))
    assert (answer.status, answer.code) == (413, "body_too_large")
    assert len(server.seen) == 1


async def test_the_limit_follows_the_settings(server: Guarded) -> None:
    server.room.settings = Settings(body_limit=2)
    assert (await server.ask("POST /v1/chat", body=b"x" * (MIB + 1))).status == 200


async def test_files_of_models_are_as_large_as_they_are(server: Guarded) -> None:
    assert (await server.ask("POST /api/blobs/sha256:1", body=b"x" * (MIB + 1))).status == 200


async def test_many_callers_at_once(server: Guarded) -> None:
    key = await server.room.add()
    answers = await asyncio.gather(*(server.ask(headers=bearer(key) if n % 2 else {}) for n in range(40)))
    assert [answer.status for answer in answers] == [401, 200] * 20
