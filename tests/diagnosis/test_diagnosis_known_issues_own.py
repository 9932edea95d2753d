"""A person's own known issues: one file in the page's format, added to, taken from, and never spoilt."""

from __future__ import annotations

from pathlib import Path

import pytest

from quarterdeck.diagnosis.known_issues import catalogue
from quarterdeck.diagnosis.known_issues.catalogue import KnownIssues
from quarterdeck.diagnosis.known_issues.entries import builtin
from quarterdeck.diagnosis.known_issues.situations import Situation
from quarterdeck.errors import AppError

PAGE = """\
# Mine

## `teapot` boils over

It has no lid.

### `teapot` x `vllm`

It boils over.

### Workarounds

1. Use a lid.

### Log lines

- `boiling over`
"""
OTHER = "## Kettle\n\nIt is slow.\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "data" / "known-issues.md"


@pytest.fixture
def known(file: Path) -> KnownIssues:
    return KnownIssues(file)


def own(known: KnownIssues) -> list[str]:
    return [issue.id for issue in known.all() if issue.own]


def test_entries_are_added_kept_found_and_matched(known: KnownIssues, file: Path) -> None:
    answer = known.add(PAGE)
    assert (answer.added, answer.replaced, answer.problems) == (["teapot-boils-over"], [], [])
    known.add(OTHER)
    again = KnownIssues(file)
    assert own(again) == own(known) == ["teapot-boils-over", "kettle"]
    assert next(issue.id for issue in again.search("lid")) == "teapot-boils-over"
    [match] = again.match(Situation(lines=["WARN Boiling  over at 100 °C"]))
    assert match.issue_id == "teapot-boils-over"


def test_an_entry_of_the_same_id_is_replaced_where_it_stands(known: KnownIssues) -> None:
    known.add(PAGE + "\n" + OTHER)
    answer = known.add(PAGE.replace("no lid", "no lid at all"))
    assert (answer.added, answer.replaced) == ([], ["teapot-boils-over"])
    assert own(known) == ["teapot-boils-over", "kettle"]
    issue = known.get("teapot-boils-over")
    assert issue is not None
    assert issue.cause == "It has no lid at all."


def test_what_is_exported_can_be_imported(known: KnownIssues, tmp_path: Path) -> None:
    known.add(PAGE + OTHER)
    page = known.export()
    elsewhere = KnownIssues(tmp_path / "elsewhere.md")
    assert elsewhere.add(page).added == ["teapot-boils-over", "kettle"]
    assert [each for each in elsewhere.all() if each.own] == [each for each in known.all() if each.own]
    everything = known.export(own=False)
    assert all(f"## {entry.issue.title}\n" in everything for entry in builtin())
    assert "teapot" in everything


def test_an_empty_export_says_how_entries_are_written(known: KnownIssues, tmp_path: Path) -> None:
    page = known.export()
    assert "Each is a heading" in page
    answer = KnownIssues(tmp_path / "elsewhere.md").add(page)
    assert answer.added == []


def test_an_own_entry_stands_for_a_built_in_one(known: KnownIssues) -> None:
    known.add("## OptiLLM\n\n- Id: optillm-webui\n\nHere it works.\n")
    issue = known.get("optillm-webui")
    assert issue is not None
    assert (issue.own, issue.cause) == (True, "Here it works.")
    assert len(known.all()) == len(builtin())
    known.remove("optillm-webui")
    issue = known.get("optillm-webui")
    assert issue is not None
    assert not issue.own


def test_removing_takes_only_that_entry(known: KnownIssues, file: Path) -> None:
    known.add(PAGE + "\n" + OTHER)
    known.remove("teapot-boils-over")
    assert own(KnownIssues(file)) == ["kettle"]
    with pytest.raises(AppError) as gone:
        known.remove("teapot-boils-over")
    assert (gone.value.code, gone.value.status) == ("unknown_issue", 404)
    with pytest.raises(AppError) as fixed:
        known.remove("gemma-2-system-role")
    assert (fixed.value.code, fixed.value.status) == ("built_in_issue", 409)


def test_what_was_written_by_hand_stays_as_it_is(known: KnownIssues, file: Path) -> None:
    file.parent.mkdir()
    by_hand = (
        "# My notes\n\nNot an entry.\n\n## Broken\n\n- Checked: never\n\n[link]: https://x.example\n\n"
        "## Kettle\n\n<!-- why? -->\nIt is slow.\n"
    )
    file.write_text(by_hand, encoding="utf-8")
    assert own(known) == ["kettle"]
    assert known.problems == ["Line 7: “never” is not a date such as 2026-11-21."]
    known.add(PAGE)
    assert file.read_text(encoding="utf-8").startswith(by_hand)
    known.remove("teapot-boils-over")
    assert file.read_text(encoding="utf-8").rstrip() == by_hand.rstrip()


@pytest.mark.parametrize(
    ("page", "line"),
    [
        ("Nothing but words.", 1),
        ("", 1),
        ("# Only a title", 1),
        ("## Good\n\nCause.\n\n## Bad\n\n- Checked: never\n", 7),
        ("## Open\n\nIt prints\n\n<!-- and then\n", 1),
        ("## Open\n\n### `a` x `b`\n\n```\nno end\n\n## swallowed\n", 1),
    ],
)
def test_a_bad_page_is_told_and_loses_nothing(known: KnownIssues, file: Path, page: str, line: int) -> None:
    known.add(PAGE)
    before = file.read_text(encoding="utf-8")
    answer = known.add(page)
    [problem] = answer.problems
    assert problem.startswith(f"Line {line}: ")
    assert file.read_text(encoding="utf-8").startswith(before.rstrip())
    assert own(known)[0] == "teapot-boils-over"
    assert "good" in own(known) or answer.added == []


def test_a_file_with_an_open_block_is_not_added_to(known: KnownIssues, file: Path) -> None:
    file.parent.mkdir()
    text = "## Kettle\n\nIt is slow.\n\n```\nno end\n"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(AppError) as refused:
        known.add(PAGE)
    assert refused.value.code == "known_issues_unreadable"
    assert file.read_text(encoding="utf-8") == text
    assert own(known) == ["kettle"]


def test_a_file_that_cannot_be_read(known: KnownIssues, file: Path) -> None:
    file.parent.mkdir()
    file.write_bytes(b"## A\n\n\xff\xfe")
    assert [issue.id for issue in known.all()] == [entry.issue.id for entry in builtin()]
    assert known.match(Situation(known_issue="optillm-webui")) != []
    for work in (lambda: known.search(""), known.export, lambda: known.add(PAGE), lambda: known.remove("a")):
        with pytest.raises(AppError) as refused:
            work()
        assert refused.value.code == "known_issues_unreadable"
    assert file.read_bytes() == b"## A\n\n\xff\xfe"


def test_a_file_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "no folder").write_text("")
    known = KnownIssues(tmp_path / "no folder" / "known-issues.md")
    with pytest.raises(AppError) as refused:
        known.add(PAGE)
    assert refused.value.code in ("known_issues_unreadable", "known_issues_unwritable")


def test_a_page_that_is_too_long(known: KnownIssues, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogue, "MOST_TEXT", 10)
    with pytest.raises(AppError) as refused:
        known.add(PAGE)
    assert (refused.value.code, refused.value.status) == ("page_too_long", 413)


def test_a_file_that_is_edited_meanwhile_is_read_again(known: KnownIssues, file: Path) -> None:
    known.add(PAGE)
    file.write_text(file.read_text(encoding="utf-8") + "\n## By hand\n\nCause.\n", encoding="utf-8")
    assert own(known) == ["teapot-boils-over", "by-hand"]
    file.write_text("## Only this\n\nCause.\n", encoding="utf-8")
    known.add(OTHER)
    assert own(known) == own(KnownIssues(file)) == ["only-this", "kettle"]
    file.unlink()
    assert own(known) == []
