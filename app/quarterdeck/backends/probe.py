"""Asking an address what answers there. Cheap, and never loads a model."""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import urlsplit

import aiohttp

from quarterdeck.backends.answers import LIMIT_SECONDS, Answers, Silence
from quarterdeck.backends.descriptions import MODELS, REFUSES_KEY, Description
from quarterdeck.backends.products import (
    FIRST_LOOK,
    GENERIC,
    UNKNOWN,
    Product,
    all_signs,
    recognise,
    speaks_openai,
)
from quarterdeck.schemas.backends import BackendKind, Owner, OwnerKind
from quarterdeck.schemas.discovery import FoundServer, ServerState

NOTHING = "nothing"
OTHER = UNKNOWN.name


async def probe(http: aiohttp.ClientSession, url: str, key: str | None = None) -> FoundServer:
    """What answers at the base address `url` (without /v1), at most three rounds of requests of 2 s each.

    Who owns the server is not asked here. Never raises for what a server does.
    """
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    answers = Answers(url)
    await answers.ask(http, FIRST_LOOK, headers)
    if not answers.any:
        return _silent(url, answers.silences)
    product = recognise(answers)
    if product is None and urlsplit(url).scheme == "http":
        # Servers behind TLS are gateways and clouds: they are not bothered with questions about local engines.
        await answers.ask(http, all_signs(), headers)
        product = recognise(answers)
    product = product or (GENERIC if speaks_openai(answers) else UNKNOWN)
    await answers.ask(http, product.look, headers)
    said = product.describe(answers, product.kind or BackendKind.OPENAI_COMPATIBLE)
    return _found(url, product, _with_key(said, answers) if key else said)


def _with_key(said: Description, answers: Answers) -> Description:
    refused = said.state is ServerState.UNKNOWN and answers[MODELS].status in (401, 403)
    return said._replace(detail=REFUSES_KEY) if refused else said


def _found(url: str, product: Product, said: Description) -> FoundServer:
    return FoundServer(
        url=url,
        product=product.name,
        kind=product.kind,
        title=product.title,
        state=said.state,
        version=said.version,
        detail=said.detail,
        owner=Owner(kind=OwnerKind.OTHER),
        models=list(said.models),
    )


def _silent(url: str, silences: Iterable[Silence]) -> FoundServer:
    why = min(silences, key=_TELLING.index)
    state = ServerState.DOWN if why in (Silence.REFUSED, Silence.UNREACHABLE) else ServerState.UNKNOWN
    return FoundServer(
        url=url, product=NOTHING, kind=None, title="Nothing", state=state, detail=_WHY[why].format(url=url),
        owner=Owner(kind=OwnerKind.OTHER),
    )  # fmt: skip


# What tells most comes first.
_TELLING = (Silence.GARBLED, Silence.NO_TLS, Silence.LATE, Silence.UNREACHABLE, Silence.REFUSED)
_WHY = {
    Silence.REFUSED: "Nothing listens at {url}.",
    Silence.UNREACHABLE: "{url} cannot be reached.",
    Silence.LATE: f"Something listens at {{url}}, but did not answer within {LIMIT_SECONDS:g} seconds.",
    Silence.GARBLED: "Something listens at {url}, but it does not speak HTTP.",
    Silence.NO_TLS: "No secure connection to {url} is possible: it speaks plain HTTP, or its certificate is not valid.",
}
