"""Pictures fetched by their address: only from where a stranger may send us, never too much, never for long."""

from __future__ import annotations

import base64
import contextlib
import ssl
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
import trustme
from aiohttp import web
from aiohttp.test_utils import TestServer
from hypothesis import given
from hypothesis import strategies as st
from mitigating import chat, mended, model, picture

from quarterdeck.errors import AppError
from quarterdeck.proxy.mitigations.fetching import MOST_FETCHED, Fetcher, is_public

PNG = b"\x89PNG\r\n\x1a\nrest"


class Pictures:
    """A small server of pictures; `asked` are the paths and host names that it was asked for."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []
        app = web.Application()
        app.router.add_get("/{path:.*}", self._answer)
        self.server = TestServer(app)

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server.port}{path}"

    async def _answer(self, request: web.Request) -> web.Response:
        self.asked.append((request.raw_path, request.host))
        answers: dict[str, dict[str, Any]] = {
            "text": {"body": b"<html>", "content_type": "text/html"},
            "large": {"body": bytes(5000), "content_type": "image/png"},
            "packed": {"body": PNG, "content_type": "image/png", "headers": {"Content-Encoding": "br"}},
            "gone": {"status": 404},
            "moved": {"status": 302, "headers": {"Location": "/cat.png?a=1"}},
            "around": {"status": 302, "headers": {"Location": "/around"}},
            "inside": {"status": 302, "headers": {"Location": "http://10.0.0.1/secret"}},
            "file": {"status": 302, "headers": {"Location": "file:///etc/passwd"}},
        }
        return web.Response(**answers.get(request.match_info["path"], {"body": PNG, "content_type": "image/png"}))


@pytest.fixture
async def site() -> AsyncIterator[Pictures]:
    pictures = Pictures()
    await pictures.server.start_server()
    yield pictures
    await pictures.server.close()


@contextlib.asynccontextmanager
async def fetcher(allowed: tuple[str, ...] = ("127.0.0.1",)) -> AsyncIterator[Fetcher]:
    async with aiohttp.ClientSession() as http:
        yield Fetcher(http, most_bytes=1000, allowed=allowed)


async def refusal(url: str, allowed: tuple[str, ...] = ("127.0.0.1",)) -> AppError:
    async with fetcher(allowed) as fetch:
        with pytest.raises(AppError) as caught:
            await fetch(url)
    return caught.value


async def test_a_picture_becomes_a_data_url(site: Pictures) -> None:
    async with fetcher() as fetch:
        assert (
            await fetch(site.url("/a%20b.png?x=%2F&y=1")) == f"data:image/png;base64,{base64.b64encode(PNG).decode()}"
        )
        assert await fetch("data:image/png;base64,AA==") == "data:image/png;base64,AA=="
    assert site.asked == [("/a%20b.png?x=%2F&y=1", f"127.0.0.1:{site.server.port}")]


async def test_a_redirect_is_followed_a_few_times(site: Pictures) -> None:
    async with fetcher() as fetch:
        assert (await fetch(site.url("/moved"))).startswith("data:image/png")
    assert [path for path, _ in site.asked] == ["/moved", "/cat.png?a=1"]
    assert (await refusal(site.url("/around"))).code == "image_not_fetched"
    assert len(site.asked) == 6


@pytest.mark.parametrize("path", ["/inside", "/file"])
async def test_a_redirect_is_no_way_around_the_rules(site: Pictures, path: str) -> None:
    assert (await refusal(site.url(path))).code == "image_not_fetched"
    assert len(site.asked) == 1


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "0.0.0.0", "2130706433", "[::ffff:127.0.0.1]", "127.1"])
async def test_this_machine_is_never_asked_unless_allowed(site: Pictures, host: str) -> None:
    error = await refusal(f"http://{host}:{site.server.port}/cat.png", allowed=())
    assert (error.code, error.status) == ("image_not_fetched", 400)
    assert site.asked == []


@pytest.mark.parametrize(
    "url",
    [
        "http://10.0.0.1/a", "http://192.168.1.1/a", "http://169.254.169.254/latest", "http://[fe80::1]/a",
        "http://100.64.0.1/", "file:///etc/passwd", "ftp://example.com/a.png", "http://user:pw@example.com/a",
        "http://", "http://[", "http://example.com:99999/", "gopher://127.0.0.1/", "http://a b/", "http://a\r\nX: y/",
        "http://nobody.invalid/a.png",
    ],
)  # fmt: skip
async def test_other_places_are_refused(url: str) -> None:
    assert (await refusal(url, allowed=())).code == "image_not_fetched"


@pytest.mark.parametrize(("path", "words"), [("/text", "text/html"), ("/packed", "no picture"), ("/gone", "404")])
async def test_only_a_picture_counts(site: Pictures, path: str, words: str) -> None:
    assert words in (await refusal(site.url(path))).sentence


async def test_a_large_picture_is_not_read_to_its_end(site: Pictures) -> None:
    assert (await refusal(site.url("/large"))).status == 413


async def test_a_request_may_not_name_too_many(site: Pictures) -> None:
    async with fetcher() as fetch:
        for number in range(MOST_FETCHED):
            await fetch(site.url(f"/{number}"))
        with pytest.raises(AppError):
            await fetch(site.url("/one-more"))


async def test_the_certificate_must_be_that_of_the_name() -> None:
    authority = trustme.CA()
    contexts = {}
    for name in ("localhost", "elsewhere.example"):
        contexts[name] = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        authority.issue_cert(name).configure_cert(contexts[name])
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    for name, works in (("localhost", True), ("elsewhere.example", False)):
        pictures = Pictures()
        server = TestServer(pictures.server.app, scheme="https")
        await server.start_server(ssl=contexts[name])
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trusting)) as http:
            fetch = Fetcher(http, most_bytes=1000, allowed=["localhost"])
            with contextlib.nullcontext() if works else pytest.raises(AppError):
                assert (await fetch(f"https://localhost:{server.port}/a.png")).startswith("data:")
        await server.close()


@given(st.ip_addresses())
def test_wrapped_addresses_are_judged_by_what_they_wrap(address: Any) -> None:
    if address.version == 4:
        inner = is_public(str(address))
        for wrapped in (f"::ffff:{address}", f"64:ff9b::{address}"):
            assert is_public(wrapped) == inner
    elif address.is_private or address.is_loopback or address.is_link_local or address.is_multicast:
        assert not is_public(str(address))


async def test_engines_on_this_machine_get_fetched_pictures(site: Pictures) -> None:
    asked = chat(("user", [picture(site.url("/cat.png")), picture(site.url("/cat.png"))]))
    for backend in ("ollama", "llama-server"):
        result = await mended(asked, model("seer", backend), image_hosts=["127.0.0.1"])
        assert result.applied == ["fetch-pictures"]
        parts = result.asked.fields["messages"][0]["content"]
        assert [part["image_url"]["url"][:15] for part in parts] == ["data:image/png;"] * 2
    assert len(site.asked) == 2, "the same picture is fetched once"
    with pytest.raises(AppError):
        await mended(asked, model("seer", "ollama"))
    assert not (await mended(asked, model("seer", "litellm"))).changed
    assert not (await mended(asked, model("seer", "ollama"), fetch_images=False)).changed
