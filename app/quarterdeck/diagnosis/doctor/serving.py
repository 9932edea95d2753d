"""Whether a language-model server answers at the address: HTTP, key, models."""

from __future__ import annotations

import difflib
from typing import Any

from quarterdeck.diagnosis.doctor.calling import Answer
from quarterdeck.diagnosis.doctor.catalogue import explain
from quarterdeck.diagnosis.doctor.certificates import speaks_tls
from quarterdeck.diagnosis.doctor.findings import Found, StepError, counted, failed, ok, skipped, warn
from quarterdeck.diagnosis.doctor.paths import is_locked
from quarterdeck.diagnosis.doctor.secrets import clean_key
from quarterdeck.diagnosis.doctor.visit import Visit

_LOST_FIX = (
    "Let the web server in front pass on the header Authorization "
    "(in nginx: proxy_set_header Authorization $http_authorization;)."
)


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


async def check_key(visit: Visit) -> Found:
    """Whether the key is needed, and accepted."""
    listing = visit.listing
    assert listing is not None
    if is_locked(listing):
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
    if listing.headers.get("WWW-Authenticate", "").lower().startswith("basic"):
        return failed(
            "front_password",
            "A web server in front wants a user name and a password, which programs with a key do not send.",
            "Leave the interface out of that, and let the key protect it (in nginx: auth_basic off;).",
        )
    if not visit.key:
        finding = f"The server wants an API key, and none was given.{said}"
        return failed("key_missing", finding, "Enter the API key of this server.")
    if told.code == "key_not_sent":
        finding = f"A key was sent, and the server says that none came: something in front of it takes it away.{said}"
        return failed("key_lost", finding, _LOST_FIX)
    code = "key_refused" if told.code.startswith("http_") else told.code
    return failed(code, f"The key is not accepted. {told.meaning}{said}", told.fix)


async def check_models(visit: Visit) -> Found:
    """Which models there are, and whether the wanted one is among them."""
    listing = visit.listing
    assert listing is not None
    if is_locked(listing):
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
