"""Addresses of servers as people write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quarterdeck.backends.addresses import (
    Address,
    aliased,
    base_url,
    is_loopback,
    is_this_machine,
    ollama_url,
    parse,
    port_of,
)
from quarterdeck.errors import AppError


@pytest.mark.parametrize(
    ("written", "base"),
    [
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000"),
        (" http://127.0.0.1:8000/v1/ ", "http://127.0.0.1:8000"),
        ("127.0.0.1:8000", "http://127.0.0.1:8000"),
        ("http://0.0.0.0:8000/v1", "http://127.0.0.1:8000"),
        ("http://[::]:8000", "http://127.0.0.1:8000"),
        ("http://[::1]:8000/v1", "http://[::1]:8000"),
        ("https://api.openai.com/v1", "https://api.openai.com"),
        ("https://api.openai.com/v1/chat/completions", "https://api.openai.com"),
        ("http://localhost:1234/v1/models", "http://localhost:1234"),
        ("https://gateway.example/team/v1/", "https://gateway.example/team"),
        ("HTTP://LocalHost:1234", "http://localhost:1234"),
    ],
)
def test_one_form_for_all_ways_to_write_an_address(written: str, base: str) -> None:
    assert base_url(written) == base


@pytest.mark.parametrize(
    ("written", "base"),
    [
        ("0.0.0.0:11434", "http://127.0.0.1:11434"),
        ("0.0.0.0", "http://127.0.0.1:11434"),
        ("imageworks-ollama", "http://imageworks-ollama:11434"),
        ("http://localhost:11434/api/tags", "http://localhost:11434"),
        ("http://localhost:11434/api/", "http://localhost:11434"),
        ("https://ollama.example", "https://ollama.example"),
    ],
)
def test_ollama_hosts_get_their_port(written: str, base: str) -> None:
    assert ollama_url(written) == base


@pytest.mark.parametrize("written", ["", "  ", "ftp://host", "http://", "http://host:port", "http://host:99999", "a b"])
def test_what_is_no_address_is_refused(written: str) -> None:
    with pytest.raises(AppError) as error:
        base_url(written)
    assert error.value.code == "bad_address"


def test_a_query_stays_with_the_address() -> None:
    address = parse("https://x.openai.azure.com/openai/v1?api-version=preview")
    assert address == Address("https://x.openai.azure.com/openai", "/v1", {"api-version": "preview"})
    assert address.api == "https://x.openai.azure.com/openai/v1"


def test_loopback_gets_another_name_where_one_is_set() -> None:
    assert aliased("http://127.0.0.1:8000", "host.docker.internal") == "http://host.docker.internal:8000"
    assert aliased("http://localhost/x", "gateway") == "http://gateway/x"
    assert aliased("http://[::1]:8000", "fd00::1") == "http://[fd00::1]:8000"
    assert aliased("http://gpu-box:8000", "gateway") == "http://gpu-box:8000"
    assert aliased("http://127.0.0.1:8000", "") == "http://127.0.0.1:8000"


def test_what_is_on_this_machine() -> None:
    assert is_loopback("http://127.0.0.2:80")
    assert is_loopback("http://ollama.localhost:80")
    assert not is_loopback("http://192.0.2.1:80")
    assert is_this_machine("http://gateway.lan:1", alias="Gateway.lan")
    assert is_this_machine("http://host.docker.internal:1")
    assert not is_this_machine("https://api.openai.com")
    assert (port_of("https://a"), port_of("http://a"), port_of("http://a:5")) == (443, 80, 5)


@given(
    st.sampled_from(["http", "https"]),
    st.from_regex(r"[a-z][a-z0-9-]{0,20}[a-z0-9]", fullmatch=True),
    st.integers(1, 65535),
    st.sampled_from(["", "/", "/v1", "/v1/"]),
)
def test_reading_an_address_twice_changes_nothing(scheme: str, host: str, port: int, tail: str) -> None:
    base = base_url(f"{scheme}://{host}:{port}{tail}")
    assert base == base_url(base) == f"{scheme}://{host}:{port}"
