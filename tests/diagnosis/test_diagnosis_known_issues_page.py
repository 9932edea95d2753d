"""Pages of known issues in Markdown: what is read, what is refused and where, and that writing is the reverse."""

from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quarterdeck.diagnosis.known_issues import patterns
from quarterdeck.diagnosis.known_issues.page import read_page
from quarterdeck.diagnosis.known_issues.sections import slug
from quarterdeck.diagnosis.known_issues.writing import write_entry, write_page
from quarterdeck.schemas.known_issues import Combination, KnownIssue

PAGE = """\
# Compatibility

What we found so far.

## `teapot` boils over

The teapot has no lid.

It never had one.

### `teapot` x `stove` x `webui`

On the *large* flame it boils over:

- at once, or
- later.

### samovar × stove

It whistles.

#### At night

Louder.

### Workaround

1. Use the small flame.
2. Or a lid:

   ```
   teapot --lid on

   teapot --lid check
   ```

Then wait.

### Log lines

```
ERROR: boiling over [3]
```

- `/steam (?:left|lost) \\d+ times/`

## The kettle is slow

- Subject: kettle
- Versions: 1.0 to 1.4
- Still applies: no
- Checked: 2026-11-21
- Source: https://example.org/kettles?q=1
- Classes: `timeout_loading`, `other`

Workaround: use two kettles.
"""


def test_a_page_is_read() -> None:
    page = read_page(PAGE)
    assert page.problems == []
    teapot, kettle = page.issues
    assert teapot == KnownIssue(
        id="teapot-boils-over",
        title="`teapot` boils over",
        subject="teapot",
        cause="The teapot has no lid.\n\nIt never had one.",
        affected=[
            Combination(
                services=["teapot", "stove", "webui"],
                effect="On the *large* flame it boils over:\n\n- at once, or\n- later.",
            ),
            Combination(services=["samovar", "stove"], effect="It whistles.\n\n**At night**\n\nLouder."),
        ],
        workarounds=[
            "Use the small flame.",
            "Or a lid:\n\n```\nteapot --lid on\n\nteapot --lid check\n```",
            "Then wait.",
        ],
        signatures=[patterns.literal("ERROR: boiling over [3]"), r"steam (?:left|lost) \d+ times"],
        own=True,
    )
    assert kettle == KnownIssue(
        id="the-kettle-is-slow",
        title="The kettle is slow",
        subject="kettle",
        cause="",
        workarounds=["use two kettles."],
        versions="1.0 to 1.4",
        still_applies=False,
        checked=date(2026, 11, 21),
        source="https://example.org/kettles?q=1",
        classes=["timeout_loading", "other"],
        own=True,
    )


def test_what_was_read_is_written_and_read_again() -> None:
    issues = read_page(PAGE).issues
    assert read_page(write_page(issues)).issues == issues
    assert read_page(PAGE.replace("\n", "\r\n")).issues == issues


@pytest.mark.parametrize(
    ("text", "titles"),
    [
        ("# One\n\nCause.\n", ["One"]),
        ("# One\n\nCause.\n\n# Two\n\nCause.\n", ["One", "Two"]),
        ("# Page\n\n## One\n\nCause.\n\n## Two\n\nCause.\n", ["One", "Two"]),
        ("# One\n\nCause.\n\n## `a` x `b`\n\nEffect.\n", ["One"]),
        ("# Page\n\n### One\n\nCause.\n\n#### `a`\n\nEffect.\n\n### Two\n\nCause.\n", ["One", "Two"]),
        ("### One\n\nCause.\n\n#### Fix\n\nDo it.\n", ["One"]),
        ("One\n===\n\nCause.\n\nTwo\n===\n\nCause.\n", ["One", "Two"]),
        (
            "# Page\n\n## Engines\n\n### One\n\nC.\n\n#### `a` x `b`\n\nE.\n\n## Clients\n\n### Two\n\nC.\n",
            ["One", "Two"],
        ),
        ("```\n# no heading\n```\n", []),
        ("Only words.\n", []),
        ("", []),
    ],
)
def test_the_level_of_entries_is_found_out(text: str, titles: list[str]) -> None:
    page = read_page(text)
    assert [issue.title for issue in page.issues] == titles
    assert page.problems == []
    assert page.text == text


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("## Empty\n\n## Full\n\nCause.\n", 1, "neither a cause"),
        ("## A\n\nCause.\n\n- Checked: yesterday\n", 5, "yesterday"),
        ("## A\n\n- Subject: x\n- Still applies: perhaps\n", 4, "neither yes, no"),
        ("## A\n\nCause.\n\n- Classes: `gremlins`\n", 5, "gremlins"),
        ("## A\n\n- Id: Not An Id\n", 3, "small letters"),
        ("## A\n\nCause.\n\n### Log lines\n\n- `all is well`\n- `/(unclosed/`\n", 8, "regular expression"),
        ("## A\n\nCause.\n\n### Log lines\n\n- `/.*/`\n", 7, "every line"),
        ("## A\n\nCause.\n\n### Signature\n\n- `/(?:[ab]+)+cdef/`\n", 7, "very long"),
        ("## A\n\nCause.\n\n### Detection\n\nabc\n", 7, "4 characters"),
        ("## A\n\nCause.\n\n## B\n\nCause.\n\n## a!\n\nCause.\n", 9, "line 1"),
        ("## " + "long " * 100 + "\n\nCause.\n", 1, "longer"),
        ("##\n\nCause.\n", 1, "empty"),
    ],
)
def test_what_cannot_be_read_is_told_with_its_line(text: str, line: int, words: str) -> None:
    page = read_page(text, level=2)
    [problem] = page.problems
    assert problem.startswith(f"Line {line}: ")
    assert words in problem
    assert page.text == text


def test_one_bad_entry_does_not_spoil_the_others() -> None:
    page = read_page("## Bad\n\n- Checked: never\n\n## Good\n\nCause.\n")
    assert [issue.title for issue in page.issues] == ["Good"]
    assert len(page.problems) == 1


def test_a_list_in_the_cause_stays_apart_from_the_details() -> None:
    issue = KnownIssue(id="a", title="A", subject="b", cause="It is:\n\n- red\n- blue", own=True)
    assert read_page(write_entry(issue), level=2).issues == [issue]


def test_titles_of_any_script_have_an_id() -> None:
    assert slug("Ångström & Co. (v2)") == "angstrom-co-v2"
    assert slug("模型列表为空").startswith("issue-")
    assert slug("模型列表为空") != slug("模型列表")
    assert len(slug("x" * 300)) == 80


WORD = st.text("abcdefgxyzABÄß模0123456789.,:;()%&_~+=?!\"'", min_size=1, max_size=8)
PHRASE = st.lists(WORD, min_size=1, max_size=6).map(lambda words: "It " + " ".join(words) + ".")
TEXT = st.lists(PHRASE, min_size=1, max_size=3).map("\n\n".join)
NAME = st.text("abcdefghij-.", min_size=1, max_size=10).filter(lambda name: name.strip("."))
LINE = st.lists(WORD, min_size=1, max_size=6).map(lambda words: "ERROR " + " ".join(words))
STEP = st.one_of(TEXT, TEXT.map(lambda text: f"{text}\n\n```\ndo it\n\n  twice\n```"))
ISSUE = st.builds(
    KnownIssue,
    id=st.from_regex(r"[a-z0-9][a-z0-9-]{0,30}", fullmatch=True),
    title=PHRASE,
    subject=PHRASE,
    cause=TEXT,
    affected=st.lists(st.builds(Combination, services=st.lists(NAME, min_size=1, max_size=3), effect=TEXT), max_size=3),
    signatures=st.lists(LINE.map(patterns.literal), max_size=3),
    classes=st.lists(st.sampled_from(["other", "cuda_oom"]), max_size=2, unique=True),
    workarounds=st.lists(STEP, max_size=12),
    versions=st.one_of(st.just(""), PHRASE),
    still_applies=st.sampled_from([True, False, None]),
    checked=st.one_of(st.none(), st.dates(min_value=date(2000, 1, 1))),
    source=st.one_of(st.just(""), PHRASE),
    own=st.just(True),
)


@given(ISSUE)
def test_any_entry_can_be_written_and_read(issue: KnownIssue) -> None:
    page = read_page(write_entry(issue), level=2)
    assert (page.issues, page.problems) == ([issue], [])


@given(
    st.lists(
        st.sampled_from([*"#`-*>1.[]():x \n\t", "## ", "\n\n", "Workaround:", "```\n", "- Checked: "]), max_size=40
    )
)
def test_any_text_is_read_and_none_of_it_is_lost(pieces: list[str]) -> None:
    text = "".join(pieces)
    page = read_page(text)
    assert page.text == text
    lines = text.count("\n") + 1
    assert all(1 <= section.line <= lines for section in page.sections)


@given(st.text(max_size=60))
def test_a_literal_fits_its_own_text_and_is_written_back(text: str) -> None:
    pattern = patterns.literal(text)
    if len(" ".join(text.split())) >= 4 and len(pattern) <= patterns.LONGEST_PATTERN:
        patterns.checked(pattern)
    if text.strip():
        assert patterns.as_literal(pattern) == " ".join(text.split())
