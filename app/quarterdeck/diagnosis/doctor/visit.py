"""What is known of a connection while the doctor goes along it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from quarterdeck.diagnosis.doctor.addresses import Address
from quarterdeck.diagnosis.doctor.calling import Answer, Caller
from quarterdeck.diagnosis.doctor.secrets import clean_key
from quarterdeck.diagnosis.doctor.targets import Limits, Target


@dataclass(slots=True)
class Visit:
    """Each check reads what earlier ones found and adds its own.

    `api` is the base address of the OpenAI interface, such as http://127.0.0.1:8000/v1; `one_token_s` how long an
    answer of one token took; `repaired` the address that should be entered instead.
    """

    target: Target
    limits: Limits
    address: Address
    caller: Caller
    api: str = ""
    first: Answer | None = None
    listing: Answer | None = None
    models: list[dict[str, Any]] = field(default_factory=list)
    model: str = ""
    one_token_s: float = 0.0
    repaired: str | None = None

    @property
    def key(self) -> str:
        return clean_key(self.target.key)

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}"} if self.key else {}

    def at(self, url: str) -> str:
        """`url` with what the address has behind its question mark."""
        return f"{url}?{self.address.query}" if self.address.query else url
