"""Security headers: those that are set, valid or replaced by a safe value, never broken into two."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from access_room import access_room
from guarded import Guarded, guarded
from hypothesis import given
from hypothesis import strategies as st

from quarterdeck.control.headers import cache_header, security_headers
from quarterdeck.settings import Settings

NAMES = {
    "header_cache_control": "cache-control",
    "header_hsts": "strict-transport-security",
    "header_permissions_policy": "permissions-policy",
    "header_referrer_policy": "referrer-policy",
    "header_content_type_options": "x-content-type-options",
    "header_download_options": "x-download-options",
    "header_frame_options": "x-frame-options",
    "header_cross_domain_policies": "x-permitted-cross-domain-policies",
    "header_content_security_policy": "content-security-policy",
}


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Guarded]:
    with access_room(tmp_path) as room:
        async with guarded(room) as made:
            yield made


def _sent(setting: str, value: str) -> str | None:
    settings = Settings(**{setting: value})
    found = dict(security_headers(settings))
    if (cache := cache_header(settings)) is not None:
        found[cache[0]] = cache[1]
    assert set(found) <= {NAMES[setting].encode()}
    text = found.get(NAMES[setting].encode())
    return None if text is None else text.decode("ascii")


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("header_cache_control", "no-store, max-age=0"),
        ("header_cache_control", "private"),
        ("header_hsts", "max-age=31536000"),
        ("header_hsts", "max-age=63072000; includeSubDomains; preload"),
        ("header_permissions_policy", "camera=(),microphone=(self)"),
        ("header_permissions_policy", "fullscreen=*"),
        ("header_referrer_policy", "strict-origin-when-cross-origin"),
        ("header_content_type_options", "nosniff"),
        ("header_download_options", "noopen"),
        ("header_frame_options", "SAMEORIGIN"),
        ("header_cross_domain_policies", "master-only"),
        ("header_content_security_policy", "default-src 'self'; img-src *"),
    ],
)
def test_a_valid_value_is_sent_as_it_is(setting: str, value: str) -> None:
    assert _sent(setting, value) == value
    assert _sent(setting, f" {value} ") == value
    assert _sent(setting, "") is None


@pytest.mark.parametrize(
    ("setting", "value", "instead"),
    [
        ("header_cache_control", "what you like", "no-store, max-age=0"),
        ("header_hsts", "forever", "max-age=31536000;includeSubDomains"),
        ("header_permissions_policy", "camera", None),
        ("header_referrer_policy", "sometimes", "no-referrer"),
        ("header_content_type_options", "sniff", "nosniff"),
        ("header_download_options", "open", "noopen"),
        ("header_frame_options", "ALLOW-FROM https://x", "DENY"),
        ("header_cross_domain_policies", "some", "none"),
        ("header_content_security_policy", "default-src 'self'\r\nSet-Cookie: a=b", None),
    ],
)
def test_a_value_that_makes_no_sense_is_replaced(setting: str, value: str, instead: str | None) -> None:
    assert _sent(setting, value) == instead


@given(setting=st.sampled_from(sorted(NAMES)), value=st.text(max_size=60))
def test_no_value_breaks_a_header(setting: str, value: str) -> None:
    sent = _sent(setting, value)
    assert sent is None or (sent.isascii() and sent.isprintable() and sent)


async def test_answers_of_every_kind_carry_them(server: Guarded) -> None:
    assert not set(NAMES.values()) & set((await server.ask()).headers)
    server.room.settings = Settings(header_frame_options="x", header_cache_control="no-store", header_hsts="max-age=1")
    for line, status in (("GET /v1/models", 200), ("GET /api/models", 401), ("GET /health", 200)):
        answer = await server.ask(line)
        assert answer.status == status
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["strict-transport-security"] == "max-age=1"
        assert answer.headers["cache-control"] == "no-store"
    stream = await server.ask("GET /v1/stream")
    assert stream.headers["x-frame-options"] == "DENY"
    assert "cache-control" not in stream.headers
    assert stream.text == "data: 1\n\n"
    foreign = await server.ask(headers={"Host": "evil.example"})
    assert (foreign.status, foreign.headers["x-frame-options"]) == (403, "DENY")
