"""Malformed requests over real connections: each is answered as HTTP wants it, or its connection ends."""

from __future__ import annotations

import http.client
import socket
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from malformed import Sent, requests
from malformed_room import MODELS, MalformedRoom, malformed_room
from malformed_verdict import faults
from scripted_core import wait_for
from valid_requests import ASKING, OTHERS

SECONDS = 20
LARGE = 64 * 1024


@pytest.fixture(scope="module")
def shared_room(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MalformedRoom]:
    with malformed_room(tmp_path_factory.mktemp("room")) as made:
        yield made


@pytest.fixture
def room(shared_room: MalformedRoom) -> Iterator[MalformedRoom]:
    yield shared_room
    wait_for(lambda: shared_room.running == 0)


def written(sent: Sent) -> bytes:
    """The request as it goes over the wire; a body in parts goes in chunks."""
    named = {name for name, _ in sent.headers}
    lines = [b"%s %s HTTP/1.1" % (sent.method.encode(), sent.target), b"connection: close"]
    lines += [] if b"host" in named else [b"host: localhost"]
    lines += [b"%s: %s" % header for header in sent.headers]
    body = sent.body
    if len(sent.parts) > 1 and b"content-length" not in named:
        lines.append(b"transfer-encoding: chunked")
        body = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in sent.parts if part) + b"0\r\n\r\n"
    elif b"content-length" not in named:
        lines.append(b"content-length: %d" % len(body))
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def faults_of(room: MalformedRoom, url: str, sent: Sent) -> list[str]:
    place = urlsplit(url)
    with socket.create_connection((place.hostname, place.port), timeout=SECONDS) as connection:
        try:
            connection.sendall(written(sent))
            if b"content-length" in dict(sent.headers):
                # More may have been announced than comes.
                connection.shutdown(socket.SHUT_WR)
            answer = http.client.HTTPResponse(connection, method=sent.method)
            answer.begin()
            body = answer.read()
        except (ConnectionError, http.client.BadStatusLine):
            # It waited for a body that did not come, or closed while we were writing.
            if b"content-length" in dict(sent.headers) or len(sent.body) > LARGE:
                return []
            raise
    headers = [(name.lower().encode(), value.encode("latin-1")) for name, value in answer.getheaders()]
    found = faults(sent.method, sent.path, answer.status, headers, body, room.secrets)
    complaints, room.engine.complaints = room.engine.complaints, []
    return found + complaints


@given(sent=requests((*ASKING, *OTHERS), MODELS))
@settings(
    max_examples=500,
    derandomize=True,
    database=None,
    phases=[Phase.generate, Phase.shrink],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_malformed_requests_are_answered_over_a_connection(room: MalformedRoom, sent: Sent) -> None:
    assert faults_of(room, room.core.public_url, sent) == []
