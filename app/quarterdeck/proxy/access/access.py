"""Who may use the address of the clients, and for what."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any

from quarterdeck.errors import AppError
from quarterdeck.proxy.access import profiles
from quarterdeck.proxy.access.keys import KeyStore
from quarterdeck.proxy.access.limiting import UNLIMITED, Admission, Limiter, is_limited
from quarterdeck.schemas.access import KeyView, Profile
from quarterdeck.settings import Settings

PROFILE_HEADER = "x-quarterdeck-profile"
_IN_SCOPE = "quarterdeck.principal"


@dataclass(frozen=True, slots=True)
class Principal:
    """Who sent a request: the owner of a key, or somebody on this machine (`name` is None).

    Empty `models` means all of them; limits of None are none.
    """

    name: str | None
    admin: bool
    models: frozenset[str]
    profile: Profile
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    concurrency: int | None = None

    def may_use(self, model: str) -> bool:
        return not self.models or model in self.models

    def require(self, model: str) -> None:
        """Raises AppError `model_forbidden` (403) for a model that this key is not for."""
        if not self.may_use(model):
            raise AppError(
                "model_forbidden",
                f"The API key “{self.name}” is not for the model “{model}”.",
                f"It is for {', '.join(sorted(self.models))}.",
                status=403,
                details={"models": sorted(self.models)},
            )

    def require_admin(self) -> None:
        """Raises AppError `forbidden` (403) for a key that may not change models or settings."""
        if self.name is not None and not self.admin:
            raise AppError(
                "forbidden",
                f"The API key “{self.name}” may use models, but not change anything.",
                "Use an admin key.",
                status=403,
            )


def keep_principal(scope: MutableMapping[str, Any], principal: Principal) -> None:
    """Note with a request who sent it."""
    scope[_IN_SCOPE] = principal


def principal_of(scope: Mapping[str, Any]) -> Principal:
    """Who sent a request that the guard let through."""
    principal = scope[_IN_SCOPE]
    assert isinstance(principal, Principal)
    return principal


class Access:
    """Knows callers by their key, and counts what they ask. Core loop only; `keys` is open.

    `token` is the local token: who has it owns the machine, so it opens everything.
    """

    def __init__(self, keys: KeyStore, settings: Callable[[], Settings], *, token: str = "") -> None:
        self.keys = keys
        self.profiles = profiles.Profiles(settings)
        self._settings = settings
        self._token = token.encode()
        self._principals: dict[tuple[str | None, bool, str], Principal] = {}
        self._made_of: tuple[Settings, int] | None = None
        self._limiter: Limiter | None = None

    def check(self, headers: Mapping[str, str], *, loopback_bind: bool) -> Principal:
        """Who sends `headers` (their names in any case). `loopback_bind`: only this machine can reach the address.

        Raises AppError `unauthorized` (401), or `unknown_profile` (400) for the header x-quarterdeck-profile.
        """
        wanted = headers.get(PROFILE_HEADER)
        texts = list(_credentials(headers))
        if any(self._is_token(text) for text in texts):
            return self._somebody(admin=True, profile=wanted or profiles.DEFAULT)
        if loopback_bind and not self.keys.exist:
            return self._somebody(admin=False, profile=wanted or profiles.DEFAULT)
        for text in texts:
            view = self.keys.find(text)
            if view is not None:
                self.keys.used(view)
                return self._owner(view, wanted or view.profile)
        raise self._refusal(texts)

    def check_control(self, headers: Mapping[str, str]) -> Principal:
        """Who may use the control API: the local token or an admin key. Raises AppError 401 or 403."""
        for text in _credentials(headers):
            if self._is_token(text):
                return self._somebody(admin=True, profile=profiles.DEFAULT)
            view = self.keys.find(text)
            if view is not None:
                self.keys.used(view)
                principal = self._owner(view, view.profile)
                principal.require_admin()
                return principal
        raise AppError(
            "unauthorized",
            "This address needs the local token.",
            "Send “Authorization: Bearer …” with the text of the file “token” in the data folder, or an admin key.",
            status=401,
        )

    def admit(self, principal: Principal, tokens: int = 0) -> Admission:
        """Let a request in that asks about `tokens`; release what is returned at its end.

        Raises AppError `rate_limited` (429) with `retry_after` in seconds.
        """
        if not is_limited(principal):
            return UNLIMITED
        if self._limiter is None:
            self._limiter = Limiter()
        return self._limiter.admit(principal, tokens)

    def spent(self, principal: Principal, tokens: int) -> None:
        """Count `tokens` of an answer, and those of its question that `admit` did not know of."""
        if self._limiter is not None:
            self._limiter.spent(principal, tokens)

    def _is_token(self, text: str) -> bool:
        return bool(self._token) and hmac.compare_digest(text.encode("utf-8", "surrogateescape"), self._token)

    def _somebody(self, *, admin: bool, profile: str) -> Principal:
        known = self._remembered().get((None, admin, profile))
        if known is None:
            known = Principal(None, admin, frozenset(), self.profiles.get(profile))
            self._principals[None, admin, profile] = known
        return known

    def _owner(self, view: KeyView, profile: str) -> Principal:
        known = self._remembered().get((view.name, view.admin, profile))
        if known is None:
            known = Principal(
                view.name, view.admin, frozenset(view.models), self.profiles.get(profile),
                view.requests_per_minute, view.tokens_per_minute, view.concurrency,
            )  # fmt: skip
            self._principals[view.name, view.admin, profile] = known
        return known

    def _remembered(self) -> dict[tuple[str | None, bool, str], Principal]:
        made_of = self._made_of
        if made_of is None or made_of[0] is not self._settings() or made_of[1] != self.keys.version:
            self._made_of = (self._settings(), self.keys.version)
            self._principals = {}
        return self._principals

    def _refusal(self, texts: list[str]) -> AppError:
        known = next((view for text in texts if (view := self.keys.known(text)) is not None), None)
        if known is not None and known.revoked_at is not None:
            sentence = f"The API key “{known.name}” was revoked."
        elif known is not None:
            sentence = f"The API key “{known.name}” has expired."
        elif any(texts):
            sentence = "This API key is not known."
        else:
            sentence = "This address needs an API key."
        return AppError(
            "unauthorized",
            sentence,
            "Make one on the Connect page or with `quarterdeck keys add NAME`, and send it as "
            "“Authorization: Bearer …” or “x-api-key: …”.",
            status=401,
        )


def _credentials(headers: Mapping[str, str]) -> Iterator[str]:
    """What was sent as a key: Bearer as OpenAI's clients do, x-api-key as Anthropic's."""
    scheme, _, text = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and text.strip():
        yield text.strip()
    text = headers.get("x-api-key", "").strip()
    if text:
        yield text
