"""Lines, rings and files of logs."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from quarterdeck.backends import logs
from quarterdeck.backends.logs import LINE_LIMIT, LineSplitter, LogBook, LogFiles, clean, guess_level

PIECES = st.lists(
    st.sampled_from([b"\n", b"\r", b"\r\n", "ä€😀".encode(), b"\xff\xfe", b"x" * (LINE_LIMIT - 2), b"\x1b[31mred"])
    | st.binary(max_size=12),
    max_size=12,
)


def split(data: bytes, cuts: list[int]) -> list[str]:
    splitter, lines = LineSplitter(), []
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    for start, end in itertools.pairwise(edges):
        lines += splitter.feed(data[start:end])
    return lines + splitter.finish()


@given(PIECES.map(b"".join), st.lists(st.integers(0, 100_000), max_size=8))
@example(("€" * LINE_LIMIT).encode(), [LINE_LIMIT, LINE_LIMIT + 1])
@example(b"x" * (2 * LINE_LIMIT), [1, LINE_LIMIT])
def test_lines_do_not_depend_on_the_chunks(data: bytes, cuts: list[int]) -> None:
    assert split(data, cuts) == split(data, [])


@given(st.text(alphabet=st.characters(exclude_characters="\r\n", exclude_categories=["Cs"])).filter(len))
def test_a_line_comes_back_as_it_was(text: str) -> None:
    assert "".join(split(text.encode() + b"\n", [])) == text


@given(st.text("a€😀", min_size=1).map(lambda text: text * 3000))
def test_an_overlong_line_is_cut_between_characters_and_loses_nothing(text: str) -> None:
    lines = split(text.encode(), [])
    assert "".join(lines) == text
    assert all(len(line.encode()) <= LINE_LIMIT for line in lines)


def test_what_has_no_end_yet_is_held_back_within_bounds() -> None:
    splitter = LineSplitter()
    given_back = sum(len(line) for _ in range(100) for line in splitter.feed(b"y" * 1000))
    assert 100_000 - given_back <= LINE_LIMIT
    assert splitter.finish()
    assert splitter.finish() == []


def test_carriage_returns_end_lines_and_empty_lines_are_left_out() -> None:
    assert split(b"10 %\r50 %\r100 %\r\n\n\r\ndone", []) == ["10 %", "50 %", "100 %", "done"]


def test_bytes_that_are_no_utf8_are_shown_as_such() -> None:
    assert split(b"caf\xe9\n", []) == ["caf�"]


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("\x1b[1;31mred\x1b[0m plain", "red plain"),
        ("\x1b]0;title\x07text", "text"),
        ("\x1b]0;title\x1b\\text", "text"),
        ("\x1b[?25lhidden cursor\x1b[2K", "hidden cursor"),
        ("tab\tstays, bell\x07 goes", "tab\tstays, bell goes"),
        ("line\r\n", "line"),
    ],
)
def test_terminal_codes_are_removed(raw: str, shown: str) -> None:
    assert clean(raw) == shown


@pytest.mark.parametrize("secret", ["sk-abcdefgh12345678", "hf_AbCdEfGhIjKlMnOp", "eyJhbGciOiJIUzI1NiJ9.e30.abc"])
def test_secrets_are_masked(secret: str) -> None:
    line = clean(f"Authorization: Bearer {secret} token={secret if '_' in secret or '-' in secret else ''}")
    assert secret not in line
    assert "Bearer …" in line


@pytest.mark.parametrize("text", ["disk-identifier is fine", "running task-scheduler_now", "ab_hf_something_long"])
def test_ordinary_words_are_not_taken_for_secrets(text: str) -> None:
    assert clean(text) == text


def test_an_overlong_text_is_cut() -> None:
    assert clean("z" * (LINE_LIMIT + 5)) == "z" * LINE_LIMIT + "…"


@pytest.mark.parametrize(
    ("text", "level"),
    [
        ("0.00.123.456 E llama_load: failed", "error"),
        ("0.00.1 W something", "warning"),
        ("0.00.1 D detail", "debug"),
        ("2026-01-01 CRITICAL out of memory", "error"),
        ("WARN: careful", "warning"),
        ("no word of it", "info"),
        ("x" * 200 + " ERROR", "info"),
    ],
)
def test_the_level_is_the_one_the_engine_wrote(text: str, level: str) -> None:
    assert guess_level(text) == level


def test_the_ring_keeps_the_newest_lines_and_counts_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "RING_LINES", 10)
    book = LogBook("engine")
    book.add([f"line {number}" for number in range(1, 26)])
    assert [line.number for line in book.tail(100)] == list(range(16, 26))
    assert [line.text for line in book.tail(2)] == ["line 24", "line 25"]
    assert book.tail(0) == []


def test_listeners_hear_every_batch_once() -> None:
    heard: list[tuple[str, list[str]]] = []
    book = LogBook("engine", on_lines=lambda source, lines: heard.append((source, [line.text for line in lines])))
    book.add(["a", "b"])
    book.add([])
    assert heard == [("engine", ["a", "b"])]


def test_lines_are_written_with_time_and_level(tmp_path: Path) -> None:
    files = LogFiles(tmp_path / "logs")
    LogBook("engine", files).add(["100 % loaded"], "info")
    files.close()
    [line] = (tmp_path / "logs" / "engine.log").read_text(encoding="utf-8").splitlines()
    assert line.endswith(" INFO 100 % loaded")


def test_files_rotate_and_old_ones_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "FILE_BYTES", 1000)
    monkeypatch.setattr(logs, "FILE_COUNT", 3)
    files = LogFiles(tmp_path)
    LogBook("engine", files).add([f"line {number} " + "x" * 80 for number in range(100)])
    files.close()
    written = sorted(tmp_path.iterdir())
    assert [file.name for file in written] == ["engine.log", "engine.log.1", "engine.log.2"]
    assert all(file.stat().st_size <= 1000 for file in written)
    assert "line 99 " in written[0].read_text(encoding="utf-8")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full: a full disk is not tested")
def test_a_full_disk_costs_lines_of_the_file_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "engine.log").symlink_to("/dev/full")
    files = LogFiles(tmp_path)
    full, other = LogBook("engine", files), LogBook("other", files)
    full.add(["lost in the file"])
    other.add(["kept"])
    files.close()
    assert [line.text for line in full.tail(1)] == ["lost in the file"]
    assert "kept" in (tmp_path / "other.log").read_text(encoding="utf-8")


def test_a_folder_that_cannot_be_made_breaks_nothing(tmp_path: Path) -> None:
    (tmp_path / "logs").write_text("a file where the folder should be", encoding="utf-8")
    files = LogFiles(tmp_path / "logs")
    book = LogBook("engine", files)
    book.add(["still in the ring"])
    files.close()
    assert book.tail(1)[0].text == "still in the ring"
