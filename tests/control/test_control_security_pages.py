"""Which web pages may call: named origins in every spelling, “*” only with keys, preflights, live settings."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from access_room import TOKEN, access_room, bearer
from guarded import Answer, Guarded, guarded
from hypothesis import given
from hypothesis import strategies as st

from quarterdeck.control import origins
from quarterdeck.errors import AppError
from quarterdeck.settings import Settings

PAGE = "https://chat.example"
PREFLIGHT = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization, content-type"}


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Guarded]:
    with access_room(tmp_path, allowed_origins=[PAGE]) as room:
        async with guarded(room) as made:
            yield made


async def _ask(server: Guarded, origin: str, line: str = "GET /v1/models", **headers: str) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    answer = await server.ask(line, {"Origin": origin, **named})
    assert isinstance(answer, Answer)
    return answer


def _settings(server: Guarded, **values: Any) -> None:
    server.room.settings = Settings(**values)


@pytest.mark.parametrize(
    "entry",
    ["https://chat.example", "https://chat.example/", "HTTPS://Chat.Example", "https://chat.example:443",
     " https://chat.example ", "http://localhost:3000", "http://[::1]:3000", "http://192.168.1.5"],
)  # fmt: skip
def test_an_origin_may_be_written_in_many_ways(entry: str) -> None:
    settings = Settings(allowed_origins=[entry])
    origins.check(settings)
    assert origins.allowed(settings).exact == {entry.strip().lower().removesuffix("/").removesuffix(":443")}


@pytest.mark.parametrize(
    ("entries", "schemes", "word"),
    [
        (["app://x"], [], "scheme"),
        (["chat.example"], [], "scheme"),
        (["//chat.example"], [], "scheme"),
        (["//chat.example"], [""], "scheme"),
        (["ftp://chat.example"], ["app"], "scheme"),
        (["null"], [], "scheme"),
        (["javascript://x"], [], "scheme"),
        (["https://"], [], "not the address"),
        (["https:///path"], [], "not the address"),
        (["app://"], ["app"], "not the address"),
        (["https://chat.example/path"], [], "not the address"),
        (["https://chat.example?x"], [], "not the address"),
        (["https://user@chat.example"], [], "not the address"),
        (["https://chat.example:port"], [], "not the address"),
        (["https://chat.example:99999"], [], "not the address"),
        (["https://*.example"], [], "not the address"),
        (["https://chat .example"], [], "not the address"),
        (["https://chät.example"], [], "not the address"),
        (["http://["], [], "not the address"),
        (["*", "http://x"], [], "cannot stand beside"),
        (["http://x", "*"], [], "cannot stand beside"),
        (["https://chat.example"], ["a b"], "not the scheme"),
    ],
)
def test_an_origin_that_is_none_is_refused_with_the_reason(entries: list[str], schemes: list[str], word: str) -> None:
    settings = Settings(allowed_origins=entries, cors_custom_schemes=schemes)
    with pytest.raises(AppError) as refusal:
        origins.check(settings)
    assert refusal.value.code == "bad_setting"
    assert word in refusal.value.sentence
    if word == "scheme":
        assert "CORS_ALLOW_CUSTOM_SCHEME" in refusal.value.hint
    usable = origins.allowed(settings)
    assert not usable.any
    assert usable.exact <= {"http://x", "https://chat.example"}


@pytest.mark.parametrize("scheme", ["app", "App", "app://", " app "])
def test_a_further_scheme_is_allowed_when_it_is_named(scheme: str) -> None:
    settings = Settings(allowed_origins=["app://obsidian.md", ""], cors_custom_schemes=[scheme, ""])
    origins.check(settings)
    assert origins.allowed(settings).exact == {"app://obsidian.md"}


@given(entries=st.lists(st.text(max_size=30), max_size=4), schemes=st.lists(st.text(max_size=8), max_size=2))
def test_nothing_that_is_refused_allows_anything(entries: list[str], schemes: list[str]) -> None:
    settings = Settings(allowed_origins=entries, cors_custom_schemes=schemes)
    usable = origins.allowed(settings)
    for each in usable.exact:
        assert origins.of_browser(each) == each
        origins.check(Settings(allowed_origins=[each], cors_custom_schemes=schemes if "http" not in each else []))


@pytest.mark.parametrize("origin", [PAGE, "https://chat.example:443", "HTTPS://CHAT.EXAMPLE"])
async def test_the_named_page_may_read_answers(server: Guarded, origin: str) -> None:
    answer = await _ask(server, origin)
    assert answer.status == 200
    assert answer.headers["access-control-allow-origin"] == origin
    assert answer.headers["vary"] == "Origin"
    assert "x-quarterdeck-route" in answer.headers["access-control-expose-headers"]
    assert "access-control-allow-credentials" not in answer.headers


@pytest.mark.parametrize(
    "origin",
    ["https://evil.example", "http://chat.example", "https://chat.example:8443", "https://chat.example.evil", "null",
     "", "file://", "http://[", "https://chat.example, https://evil.example"],
)  # fmt: skip
async def test_other_pages_may_not_call(server: Guarded, origin: str) -> None:
    for line in ("GET /v1/models", "POST /v1/chat/completions", "GET /api/models", "GET /health", "GET /api/tags"):
        answer = await _ask(server, origin, line, Authorization=f"Bearer {TOKEN}")
        assert (answer.status, answer.code) == (403, "forbidden_origin")
        assert "access-control-allow-origin" not in answer.headers
    assert server.seen == []


async def test_a_preflight_is_answered_without_asking_the_application(server: Guarded) -> None:
    answer = await _ask(server, PAGE, "OPTIONS /v1/chat/completions", **PREFLIGHT)
    assert answer.status == 200
    assert answer.headers["access-control-allow-origin"] == PAGE
    assert "POST" in answer.headers["access-control-allow-methods"]
    assert answer.headers["access-control-allow-headers"] == "authorization, content-type"
    assert int(answer.headers["access-control-max-age"]) > 0
    assert answer.headers["content-length"] == "0"
    assert "access-control-allow-private-network" not in answer.headers
    private = await _ask(server, PAGE, "OPTIONS /v1/x", Access_Control_Request_Private_Network="true", **PREFLIGHT)
    assert private.headers["access-control-allow-private-network"] == "true"
    refused = await _ask(server, "https://evil.example", "OPTIONS /v1/chat/completions", **PREFLIGHT)
    assert (refused.status, "access-control-allow-origin" in refused.headers) == (403, False)
    assert server.seen == []


async def test_a_preflight_repeats_no_strange_headers(server: Guarded) -> None:
    strange = {**PREFLIGHT, "Access-Control-Request-Headers": "a;b=é"}
    assert "access-control-allow-headers" not in (await _ask(server, PAGE, "OPTIONS /v1/x", **strange)).headers


async def test_errors_can_be_read_by_the_page_too(server: Guarded) -> None:
    answer = await _ask(server, PAGE, "GET /api/models")
    assert answer.status == 401
    assert answer.headers["access-control-allow-origin"] == PAGE


async def test_any_page_only_once_there_are_keys(server: Guarded) -> None:
    _settings(server, allowed_origins=["*"])
    refused = await _ask(server, "https://evil.example")
    assert (refused.status, refused.code) == (403, "forbidden_origin")
    assert "API key" in refused.json["error"]["hint"]
    key = await server.room.add()
    without = await _ask(server, "https://evil.example")
    assert without.status == 401
    answer = await _ask(server, "https://evil.example", Authorization=f"Bearer {key}")
    assert answer.status == 200
    assert answer.headers["access-control-allow-origin"] == "*"
    assert "access-control-allow-credentials" not in answer.headers
    preflight = await _ask(server, "null", "OPTIONS /v1/x", **PREFLIGHT)
    assert (preflight.status, preflight.headers["access-control-allow-origin"]) == (200, "*")
    for line in ("GET /api/models", "OPTIONS /api/models"):
        control = await _ask(server, "https://evil.example", line, Authorization=f"Bearer {TOKEN}", **PREFLIGHT)
        assert control.status == 403


async def test_changed_settings_count_at_once(server: Guarded) -> None:
    _settings(server, allowed_origins=["https://other.example"], allowed_hosts=["Deck.lan"])
    assert (await _ask(server, PAGE)).status == 403
    assert (await _ask(server, "https://other.example")).status == 200
    assert (await server.ask(headers={"Host": "deck.LAN:8100"})).status == 200
    _settings(server)
    assert (await _ask(server, "https://other.example")).status == 403
    assert (await server.ask(headers={"Host": "deck.lan:8100"})).status == 403


async def test_its_own_pages_may_call(server: Guarded) -> None:
    answer = await server.ask(headers={"Host": f"localhost:{server.port}", "Origin": f"http://localhost:{server.port}"})
    assert answer.status == 200


@pytest.mark.parametrize("host", ["host.docker.internal:8100", "host.containers.internal", "127.0.0.1:1", "[::1]"])
async def test_names_that_only_this_machine_knows_are_its_own(server: Guarded, host: str) -> None:
    assert (await server.ask(headers={"Host": host, **bearer("EMPTY")})).status == 200
