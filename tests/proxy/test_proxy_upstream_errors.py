"""Errors of backends in words for people."""

from __future__ import annotations

import json
from email.utils import formatdate
from time import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from json_shapes import values
from recorded_answers import recorded_answers

from quarterdeck.proxy.upstreams.errors import error_within, upstream_error
from quarterdeck.schemas.backends import BackendKind


@pytest.mark.parametrize(
    ("name", "title", "status", "message"),
    [
        ("ollama", "tools api/chat", 400, "registry.ollama.ai/library/smollm2:latest does not support tools"),
        ("ollama", "tools v1", 400, "registry.ollama.ai/library/smollm2:latest does not support tools"),
        ("ollama", "unknown model api/chat", 404, 'model "nope" not found, try pulling it first'),
        ("ollama", "unknown path", 404, "404 page not found"),
        ("vllm", "wrong model", 404, "The model `nope-7b` does not exist. Valid aliases: smollm2."),
        ("vllm", "unknown path", 404, "Not Found"),
        ("vllm", "prompt too long (3000 words)", 400, "This model's maximum context length is 1024 tokens."),
        ("llamacpp", "prompt too long (3000 words)", 400, "request (3031 tokens) exceeds the available context size"),
        ("llamacpp", "embeddings", 501, "This server does not support embeddings. Start it with `--embeddings`"),
        ("llamacpp", "image content", 500, "image input is not supported"),
    ],
)
def test_recorded_errors_keep_their_words_and_status(name: str, title: str, status: int, message: str) -> None:
    recorded_status, body = recorded_answers(name)[title]
    error = upstream_error(recorded_status, body, BackendKind.VLLM)
    assert (error.code, error.status) == ("upstream_error", status)
    assert error.sentence.startswith(message)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"error": {"error": "inner"}}', "inner"),
        (b'{"error": {"message": {"detail": "deep"}}}', "deep"),
        (b'{"detail": [{"loc": ["body", "messages"], "msg": "Field required"}]}', "body.messages: Field required"),
        (b'{"detail": [{"msg": "a"}, {"msg": "b"}]}', "a; b"),
        (b'{"message": "plain"}', "plain"),
        (b'"just text"', "just text"),
        (b"just\n  text", "just text"),
        (b"<html><head><title>502 Bad Gateway</title></head><body>x</body></html>", "502 Bad Gateway"),
        (b"<p>Sorry,<br>no</p>", "Sorry, no"),
        (b"<!doctype html><style>p{}</style><p>gone</p>", "gone"),
        (b"", "VLLM answered 500 without a reason."),
        (b"{}", "VLLM answered 500 without a reason."),
        (b"\xff\xfe", "\ufffd\ufffd"),
    ],
)
def test_the_message_is_found_wherever_it_is(body: bytes, message: str) -> None:
    assert upstream_error(500, body, BackendKind.VLLM).sentence.lower() == message.lower()


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key_is_ours_and_not_the_client_s(status: int) -> None:
    body = b'{"error": {"message": "Incorrect API key provided: sk-abcdef1234567890. Bearer abcdefgh12"}}'
    error = upstream_error(status, body, BackendKind.LITELLM)
    assert (error.status, error.details["upstream_status"]) == (502, status)
    assert "refused the key that Quarterdeck has" in error.sentence
    assert "API key provided" in error.sentence
    assert "abcdef" not in str(error.as_dict())


@pytest.mark.parametrize("status", [200, 304, 302, 99, 999])
def test_what_is_no_error_status_is_a_bad_gateway(status: int) -> None:
    assert upstream_error(status, b"x").status == 502


@pytest.mark.parametrize(
    ("header", "message", "seconds"),
    [
        ("7", "", 7),
        ("1.5", "", 1.5),
        (None, "Please try again in 20s.", 20),
        (None, "Rate limit reached, try again in 340ms", 0.34),
        (None, "retry after 2 minutes", 120),
        ("soon", "", None),
        (None, "slow down", None),
    ],
)
def test_how_long_to_wait(header: str | None, message: str, seconds: float | None) -> None:
    body = json.dumps({"error": message}).encode()
    error = upstream_error(429, body, BackendKind.LITELLM, retry_after=header)
    assert (error.status, error.details.get("retry_after")) == (429, seconds)
    assert "retry_after" not in upstream_error(400, body, retry_after=header).details


def test_a_date_to_come_back_at() -> None:
    error = upstream_error(503, b"", retry_after=formatdate(time() + 60, usegmt=True))
    assert error.details["retry_after"] == pytest.approx(60, abs=5)
    assert upstream_error(503, b"", retry_after=formatdate(time() - 60)).details["retry_after"] == 0


def test_type_and_code_stay_for_programs() -> None:
    status, body = recorded_answers("llamacpp")["prompt too long (3000 words)"]
    details = upstream_error(status, body).details
    assert details["upstream_type"] == "exceed_context_size_error"
    assert details["upstream_code"] == 400


def test_a_very_long_message_is_cut() -> None:
    assert len(upstream_error(500, b"x" * 100_000).sentence) < 3000


def test_an_answer_without_an_error_is_none() -> None:
    assert error_within({"choices": [], "error": None}) is None
    found = error_within({"error": {"message": "x", "code": "429"}})
    assert found is not None
    assert found.status == 429


@given(st.integers(0, 1000), values, st.none() | st.text(max_size=9))
def test_whatever_a_backend_says_becomes_an_error(status: int, body: Any, header: str | None) -> None:
    for text in (json.dumps(body), json.dumps({"error": body}), str(body)):
        error = upstream_error(status, text.encode("utf-8", "replace"), retry_after=header)
        assert 400 <= error.status <= 599
        assert error.sentence
        json.dumps(error.details)
    error_within({"error": body})


@given(st.binary(max_size=200))
def test_any_bytes_are_an_error(body: bytes) -> None:
    assert upstream_error(500, body).sentence
