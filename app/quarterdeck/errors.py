"""Errors that people see: a stable code, a sentence and a hint. Every surface renders the same three."""

from __future__ import annotations

from collections.abc import Mapping


class AppError(Exception):
    """A known failure of the environment or of a request (never a defect of ours).

    `code` is stable and machine-readable, `sentence` says what happened and why, `hint` what to do about it,
    `status` is the HTTP status under which `/api` and `/v1` answer it, `details` carries extra JSON fields.
    """

    def __init__(
        self,
        code: str,
        sentence: str,
        hint: str = "",
        *,
        status: int = 400,
        details: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(sentence)
        self.code = code
        self.sentence = sentence
        self.hint = hint
        self.status = status
        self.details: dict[str, object] = dict(details or {})

    def as_dict(self) -> dict[str, object]:
        """The body of an `/api` error answer: `detail`, `code`, `hint` and the extra fields."""
        return {"detail": self.sentence, "code": self.code, "hint": self.hint, **self.details}


class ConfigError(AppError):
    """A load_config that cannot be used; `line` and `column` are 1-based, 0 where they are not known.

    `option` names the option at fault, where there is one.
    """

    def __init__(
        self, code: str, sentence: str, hint: str = "", *, line: int = 0, column: int = 0, option: str = ""
    ) -> None:
        details: dict[str, object] = {"line": line, "column": column} if line else {}
        super().__init__(code, sentence, hint, status=400, details=details | ({"option": option} if option else {}))
        self.line = line
        self.column = column
        self.option = option
