"""What is sent to a backend for one request of a client."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace

from quarterdeck.backends.base import Instance
from quarterdeck.proxy.access.access import Principal
from quarterdeck.proxy.dialects.base import Asked, Dialect, Fields
from quarterdeck.proxy.media import FORM, replace_multipart_model
from quarterdeck.proxy.mitigations import Mitigated
from quarterdeck.proxy.upstreams.base import Upstream
from quarterdeck.proxy.upstreams.ollama import OllamaUpstream
from quarterdeck.proxy.upstreams.openai import OpenAIUpstream
from quarterdeck.schemas.backends import BackendKind
from quarterdeck.schemas.models import ModelView
from quarterdeck.schemas.requests import Operation

JSON = "application/json"

_OPENAI = OpenAIUpstream()
_OLLAMA = OllamaUpstream()
# How long a model stays is for the scheduler to say, who must know when it goes.
_STAYS = "keep_alive"
_OLLAMA_HAS = frozenset({Operation.CHAT, Operation.COMPLETION, Operation.EMBEDDINGS})


@dataclass(frozen=True, slots=True)
class Received:
    """A request as it came: `body` are the client's own bytes, `fields` the same as JSON (empty for a form)."""

    path: str
    body: bytes
    content_type: str
    fields: Fields
    asked: Asked
    needs: frozenset[str]
    principal: Principal


@dataclass(frozen=True, slots=True)
class Sent:
    """A request as it goes out. `straight`: the answer to it is what the client wants, byte for byte."""

    upstream: Upstream
    path: str
    body: bytes
    content_type: str
    dropped: list[str]
    straight: bool


def put(received: Received, dialect: Dialect, view: ModelView, instance: Instance, mitigated: Mitigated) -> Sent:
    """The request for `instance`: the client's own bytes if nothing has to be changed. Raises AppError (501)."""
    asked = mitigated.asked
    served = instance.served_id or view.name
    upstream = _upstream(dialect, asked, instance)
    alike = dialect.name == upstream.name and mitigated.repair_chunk is None and not mitigated.whole
    if received.content_type.startswith(FORM):
        form = received.body
        if served != asked.model:
            form = replace_multipart_model(form, received.content_type, served)
        return Sent(upstream, received.path, form, received.content_type, [], straight=True)
    if alike and upstream is _OLLAMA and not mitigated.changed:
        return _as_it_came(received, upstream, served)
    dropped = asked.dropped
    if _STAYS in asked.fields:
        fields = {name: value for name, value in asked.fields.items() if name != _STAYS}
        asked, dropped = replace(asked, fields=fields), [*dropped, _STAYS]
    question = upstream.ask(asked, BackendKind(view.backend), served)
    if mitigated.whole:
        question.fields = {name: value for name, value in question.fields.items() if name != "stream_options"}
        question.fields["stream"] = False
    same = question.fields is received.fields
    return Sent(
        upstream,
        question.path,
        received.body if same else _dump(question.fields),
        _content_type(received) if same else JSON,
        [*dropped, *question.dropped],
        straight=alike and question.path == received.path,
    )


def _as_it_came(received: Received, upstream: Upstream, served: str) -> Sent:
    """The client's own bytes, or its own fields with another name of the model."""
    dropped = [_STAYS] if _STAYS in received.fields else []
    body = received.body
    if served != received.asked.model or dropped:
        body = _dump({name: value for name, value in received.fields.items() if name != _STAYS} | {"model": served})
    return Sent(upstream, received.path, body, _content_type(received), dropped, straight=True)


def _upstream(dialect: Dialect, asked: Asked, instance: Instance) -> Upstream:
    """How to talk to `instance`: in Ollama's own words where it knows them and they are needed or already spoken."""
    able = _OLLAMA.name in instance.speaks and asked.operation in _OLLAMA_HAS
    return _OLLAMA if able and (dialect.name == _OLLAMA.name or _OLLAMA.needed_for(asked)) else _OPENAI


def _content_type(received: Received) -> str:
    """That of the client; some call JSON something else, which strict engines refuse."""
    return received.content_type if received.content_type.startswith(JSON) else JSON


def _dump(fields: Fields) -> bytes:
    return json.dumps(fields).encode()
