"""Whether a language-model server answers at the address: HTTP, path, key, models."""

from __future__ import annotations

import difflib
from enum import Enum
from typing import Any, NamedTuple
from urllib.parse import urljoin, urlsplit

from quarterdeck.diagnosis.doctor.calling import Answer
from quarterdeck.diagnosis.doctor.catalogue import explain
from quarterdeck.diagnosis.doctor.certificates import speaks_tls
from quarterdeck.diagnosis.doctor.findings import Found, StepError, counted, failed, ok, skipped, warn
from quarterdeck.diagnosis.doctor.visit import Visit, clean_key

API = "/v1"
_LOCKED = (401, 403, 407)
_LOGIN = ("login", "signin", "sign-in", "oauth", "sso", "/auth")
_ELSEWHERE = ("/v1", "/openai/v1", "/api", "/api/v1", "/v1beta/openai", "/openai")


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


async def check_http(visit: Visit) -> Found:
    """Whether HTTP is spoken there at all, and how fast."""
    try:
        visit.first = await visit.caller.ask("GET", visit.address.root + "/")
    except StepError as trouble:
        if trouble.found.code in ("not_http", "closed_without_answer") and await _is_https(visit):
            return failed("scheme_https", "The server speaks https on this port, the address says http.", _https(visit))
        raise
    told = explain(visit.first.status, visit.first.text)
    if told.code == "scheme_https":
        return failed(told.code, told.meaning, _https(visit))
    seconds = visit.first.seconds
    if seconds > visit.limits.slow:
        return warn(
            "slow",
            f"The server needed {seconds:.1f} s for its first page.",
            "It is busy, or something on the way is slow: look at its load.",
        )
    return ok(f"It answers in {seconds * 1000:.0f} ms with status {visit.first.status}.")


async def _is_https(visit: Visit) -> bool:
    return visit.address.scheme == "http" and await speaks_tls(
        visit.address, visit.address.host, visit.limits.handshake
    )


def _https(visit: Visit) -> str:
    visit.repaired = visit.address.url.replace("http://", "https://", 1)
    return f"Use {visit.repaired}."


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
    visit.repaired = visit.at(found.api)
    if found.api == written + API:
        return _settle(
            visit,
            found,
            warn("missing_v1", "The interface is one step further, at /v1.", f"Most programs want {visit.repaired}."),
        )
    why = _reason(first)
    return _settle(
        visit,
        found,
        warn("wrong_path", f"The interface is not at {written}{why}, but at {found.api}.", f"Use {visit.repaired}."),
    )


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


def _kind(answer: Answer, field: str) -> Kind:
    if answer.status in _LOCKED:
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


async def check_key(visit: Visit) -> Found:
    """Whether the key is needed, and accepted."""
    listing = visit.listing
    assert listing is not None
    if listing.status in _LOCKED:
        return _locked(visit, listing)
    if listing.status >= 400:
        return skipped("The server did not come so far as to look at the key.")
    if not visit.key:
        return ok("The list of models needs no key.")
    if clean_key(visit.target.key) != visit.target.key:
        return warn(
            "key_form",
            "There are blanks, quotation marks or the word Bearer around the key.",
            "Enter the key alone. Without them it is accepted.",
        )
    bare = await visit.caller.ask("GET", visit.at(f"{visit.api}/models"))
    if bare.status in (401, 403):
        return ok("The key is accepted, and nothing is shown without it.")
    advice = "" if visit.address.is_loopback else "Check that chat needs the key: the network reaches this address."
    return ok("The list of models is shown without the key too, so it tells nothing of the key.", "open_list", advice)


def _locked(visit: Visit, listing: Answer) -> Found:
    told = explain(listing.status, listing.text)
    said = f" It says: {told.said}" if told.said else ""
    if told.code == "host_not_allowed":
        return failed(told.code, told.meaning + said, told.fix)
    if told.code == "http_403":
        return failed("forbidden", told.meaning + said, told.fix)
    if not visit.key:
        finding = f"The server wants an API key, and none was given.{said}"
        return failed("key_missing", finding, "Enter the API key of this server.")
    code = "key_refused" if told.code.startswith("http_") else told.code
    return failed(code, f"The key is not accepted. {told.meaning}{said}", told.fix)


async def check_models(visit: Visit) -> Found:
    """Which models there are, and whether the wanted one is among them."""
    listing = visit.listing
    assert listing is not None
    if listing.status in _LOCKED:
        return skipped("Not tried, because of “Key”.")
    if listing.status >= 400:
        told = explain(listing.status, listing.text)
        return failed(told.code, f"The list of models did not come: {told.meaning}", told.fix)
    visit.models = _entries(listing.json())
    if not visit.models:
        return failed(
            "no_models",
            "The server answers, and has no models.",
            "Load or download a model there. Of a gateway, check the configuration, and what the key may see.",
        )
    names = [model["id"] for model in visit.models]
    wanted = visit.target.model
    if not wanted:
        return ok(f"{counted(len(names), 'model')}: {_listed(names)}.")
    if wanted in names or f"{wanted}:latest" in names:
        return ok(f"{counted(len(names), 'model')}, and {wanted} is one of them.")
    near = difflib.get_close_matches(wanted, names, 1, 0.5)
    return failed(
        "model_unknown",
        f"There is no model {wanted}; the server has {_listed(names)}.",
        f"Ask for {near[0]}." if near else "Use one of these names exactly.",
    )


def _entries(body: Any) -> list[dict[str, Any]]:
    """The models with their name under `id`, whichever list it was."""
    rows = body if isinstance(body, list) else (body.get("data") or body.get("models") or [])
    named = ({**row, "id": str(row.get("id") or row.get("name") or "")} for row in rows if isinstance(row, dict))
    return [row for row in named if row["id"]]


def _listed(names: list[str]) -> str:
    shown = ", ".join(names[:5])
    return f"{shown} and {len(names) - 5} more" if len(names) > 5 else shown
