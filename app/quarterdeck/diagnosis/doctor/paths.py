"""Where on a server the interface is: as written, with or without /v1, or somewhere else."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple
from urllib.parse import urljoin, urlsplit

from quarterdeck.diagnosis.doctor.calling import Answer
from quarterdeck.diagnosis.doctor.catalogue import explain
from quarterdeck.diagnosis.doctor.findings import Found, failed, ok, warn
from quarterdeck.diagnosis.doctor.visit import Visit

API = "/v1"
_LOCKED = (401, 403, 407)
_OF_KEYS = ("key_refused", "key_malformed", "key_expired", "key_not_sent", "quota_used_up")
_LOGIN = ("login", "signin", "sign-in", "oauth", "sso", "/auth")
_ELSEWHERE = ("/v1", "/api", "/openai/v1", "/api/v1", "/v1beta/openai", "/openai")
_STRIPPED = warn(
    "front_takes_v1",
    "A web server in front takes the /v1 of the address away: the interface answers only where it stands twice.",
    "Let it pass the path on whole (in nginx: proxy_pass without a path, and no rewrite).",
)


class Kind(Enum):
    """What an answer to “which models have you?” is."""

    LIST = "list"
    LOCKED = "locked"
    REDIRECT = "redirect"
    PAGE = "page"
    NOTHING = "nothing"
    BROKEN = "broken"
    STRANGE = "strange"


class Try(NamedTuple):
    """A place where the models were asked for; `api` is the base address that belongs to it."""

    api: str
    answer: Answer
    kind: Kind


async def check_path(visit: Visit) -> Found:
    """Where the interface is: as written, with or without /v1, or somewhere else on that server."""
    written = visit.address.root + visit.address.path
    first = await _try(visit, written)
    if first.kind is Kind.REDIRECT:
        return _redirected(visit, first.answer)
    if first.kind in (Kind.LIST, Kind.LOCKED, Kind.BROKEN):
        return _settle(visit, first, ok(f"The models are listed at {written}/models."))
    if (ollama := await _ollama(visit, written)) is not None:
        return _settle(visit, ollama, ok(f"It is the address of an Ollama interface; OpenAI's is at {ollama.api}."))
    found = await _elsewhere(visit, written)
    if found is None:
        return _nowhere(visit, first)
    return _settle(visit, found, _moved(visit, first, found))


def _moved(visit: Visit, first: Try, found: Try) -> Found:
    """The interface is at `found`, not at `first`."""
    if found.api.endswith(API + API):
        return _STRIPPED
    visit.repaired = visit.at(found.api)
    if found.api == first.api + API:
        return warn("missing_v1", "The interface is one step further, at /v1.", f"Most programs want {visit.repaired}.")
    finding = f"The interface is not at {first.api}{_reason(first)}, but at {found.api}."
    return warn("wrong_path", finding, f"Use {visit.repaired}.")


async def _try(visit: Visit, api: str) -> Try:
    answer = await visit.caller.ask("GET", visit.at(f"{api}/models"), headers=visit.headers)
    return Try(api, answer, _kind(answer, "data"))


async def _ollama(visit: Visit, written: str) -> Try | None:
    base = written.removesuffix(API).removesuffix("/api")
    answer = await visit.caller.ask("GET", visit.at(f"{base}/api/tags"), headers=visit.headers)
    if _kind(answer, "models") is not Kind.LIST:
        return None
    listed = await _try(visit, base + API)
    return listed if listed.kind in (Kind.LIST, Kind.LOCKED) else Try(base + API, answer, Kind.LIST)


async def _elsewhere(visit: Visit, written: str) -> Try | None:
    """The first place with a list of models; where a key is missing, the first that asks for one."""
    parent = written.rpartition("/")[0] if visit.address.path else written
    places = [written + API, parent, *(visit.address.root + path for path in ("", *_ELSEWHERE))]
    locked = None
    for api in dict.fromkeys(place for place in places if place != written):
        found = await _try(visit, api)
        if found.kind is Kind.LIST:
            return found
        if found.kind is Kind.LOCKED and locked is None:
            locked = found
    return locked


def _settle(visit: Visit, found: Try, said: Found) -> Found:
    visit.api, visit.listing = found.api, found.answer
    return said


def _nowhere(visit: Visit, first: Try) -> Found:
    if first.kind is Kind.PAGE:
        told = explain(first.answer.status, first.answer.text)
        if told.code == "front_default_page":
            return failed(told.code, told.meaning, told.fix)
        return failed(
            "page_not_json",
            "A web page comes back where a list of models should: the address is that of a program with a window, "
            "or of a login page.",
            "Use the address of its interface; it often ends with /v1, or has a port of its own.",
        )
    if first.kind is Kind.STRANGE:
        return failed(
            "not_an_api",
            "What comes back is no list of models.",
            "Check that a language-model server listens on this port.",
        )
    said = explain(first.answer.status, first.answer.text)
    if said.code.startswith("http_"):
        return failed(
            "no_api",
            f"No list of models was found at this address or near it{_reason(first)}.",
            "Check the port, and the path that a web server in front passes on.",
        )
    return failed(said.code, said.meaning, said.fix)


def _redirected(visit: Visit, answer: Answer) -> Found:
    place = urljoin(visit.address.url + "/", answer.headers.get("Location", ""))
    if any(word in urlsplit(place).path.lower() for word in _LOGIN):
        return failed(
            "redirect_login",
            f"The server sends callers to a login page ({place}).",
            "Let programs with a key pass the login, or use an address behind it.",
        )
    better = place.partition("?")[0].rstrip("/").removesuffix("/models")
    visit.repaired = visit.at(better)
    if better == visit.address.url.replace("http://", "https://", 1):
        return failed(
            "redirect_https",
            "The server sends callers from http to https; questions get lost on the way.",
            f"Use {better}.",
        )
    return failed(
        "redirect",
        f"The server sends callers on to {better}; questions and keys get lost on the way.",
        f"Use {better}.",
    )


def _reason(first: Try) -> str:
    return f" (status {first.answer.status})" if first.kind is Kind.NOTHING else ""


def is_locked(answer: Answer) -> bool:
    """Refused for want of a good key; some gateways say so with a status of another meaning."""
    return answer.status in _LOCKED or (answer.status >= 400 and explain(answer.status, answer.text).code in _OF_KEYS)


def _kind(answer: Answer, field: str) -> Kind:
    if is_locked(answer):
        return Kind.LOCKED
    if answer.status < 300:
        return _kind_of_body(answer, field)
    if answer.status < 400:
        return Kind.REDIRECT
    if answer.status >= 500 or answer.status == 429:
        return Kind.BROKEN
    return Kind.PAGE if answer.is_page and answer.status != 404 else Kind.NOTHING


def _kind_of_body(answer: Answer, field: str) -> Kind:
    body = answer.json()
    rows = body.get(field, "") if isinstance(body, dict) else body
    # Some servers say null where they mean that there is none.
    if isinstance(rows, list) or (rows is None and body is not None):
        return Kind.LIST
    return Kind.PAGE if answer.is_page else Kind.STRANGE
