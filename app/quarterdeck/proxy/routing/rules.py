"""The rules of a person about which model answers to which name: kept, checked and ready for use."""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING

from pydantic import ValidationError

from quarterdeck.errors import AppError
from quarterdeck.proxy.routing.checking import errors_of
from quarterdeck.registry.names import fold
from quarterdeck.schemas.requests import BalanceRule, CapabilityRule, FallbackRule, RoutingRules
from quarterdeck.storage.database import Database

if TYPE_CHECKING:
    from sqlmodel import Session

ANY_MODEL = "*"

_KEY = "routing_rules"

_log = logging.getLogger(__name__)


class RuleBook:
    """The rules in force. Core loop only; `open` before use. Do not change `current`: `replace` it."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.revision = 0
        """Grows with every change."""
        self._take(RoutingRules())

    async def open(self) -> None:
        """Read the rules that were kept. Those that can no longer be used are left aside and stay on disk."""
        stored = await self._database.run(_read)
        try:
            rules = RoutingRules.model_validate(stored or {})
            if wrong := errors_of(rules):
                raise ValueError(wrong[0].sentence)
        except (ValidationError, ValueError) as error:
            _log.warning("the routing rules that were kept cannot be used: %s", error)
            return
        self._take(rules)

    async def replace(self, rules: RoutingRules) -> None:
        """Put these in the place of all rules. AppError `bad_rules` (400) names in `details` what is wrong."""
        if wrong := errors_of(rules):
            raise AppError(
                "bad_rules",
                wrong[0].sentence,
                wrong[0].hint,
                details={"problems": [problem.model_dump() for problem in wrong]},
            )
        await self._database.run(lambda session: _write(session, rules))
        self._take(rules)

    def _take(self, rules: RoutingRules) -> None:
        self.current = rules
        self.revision += 1
        self.capabilities: dict[str, CapabilityRule] = {fold(rule.name): rule for rule in rules.capabilities}
        self.balance: dict[str, BalanceRule] = {fold(rule.name): rule for rule in rules.balance}
        self.fallbacks: dict[str, FallbackRule] = {fold(rule.model): rule for rule in rules.fallbacks}
        self.patterns = [(re.compile(rule.pattern), rule) for rule in rules.patterns]


def _read(session: Session) -> object:
    from quarterdeck.storage.tables import Memory

    stored = session.get(Memory, _KEY)
    return None if stored is None else stored.value


def _write(session: Session, rules: RoutingRules) -> None:
    from quarterdeck.storage.tables import Memory, now

    session.merge(Memory(key=_KEY, value=rules.model_dump(mode="json"), changed_at=now()))
