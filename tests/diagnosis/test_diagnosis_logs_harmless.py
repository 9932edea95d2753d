"""Lines of servers that are well, with the words of failures in them: none is taken for one, alone or at the end."""

from __future__ import annotations

from pathlib import Path

import pytest

from quarterdeck.diagnosis.matcher import diagnose_log

LINES = (Path(__file__).parent / "logs" / "harmless.txt").read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize("line", LINES)
def test_a_harmless_line_is_no_failure(line: str) -> None:
    found = diagnose_log([line])
    assert found.kind == "healthy", found


def test_nor_are_all_of_them_together() -> None:
    found = diagnose_log(LINES)
    assert found.kind == "healthy", found
