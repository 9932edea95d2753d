"""How one setting is declared."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


def setting(
    default: Any,
    *,
    label: str,
    text: str,
    group: str,
    restart: bool = False,
    secret: bool = False,
    also: tuple[str, ...] = (),
    **limits: Any,
) -> Any:
    """Declare one setting; `also` names environment variables that are accepted besides our own."""
    extra: dict[str, Any] = {
        "label": label, "group": group, "restart": restart, "secret": secret, "also": list(also),
    }  # fmt: skip
    return Field(default, description=text, json_schema_extra=extra, validate_default=True, **limits)


class Group(BaseModel):
    """Settings that belong together; immutable."""

    model_config = ConfigDict(frozen=True, extra="forbid")
