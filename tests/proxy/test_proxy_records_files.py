"""Files of the access log: they follow each other by size, and none is lost or written over."""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quarterdeck.proxy.records.files import append_lines, rotate


def oldest_first(path: Path) -> list[Path]:
    numbered = [each for each in path.parent.iterdir() if each.stem == path.name]
    numbered.sort(key=lambda each: -int(each.suffix[1:]))
    return [*numbered, *([path] if path.exists() else [])]


@given(
    batches=st.lists(st.lists(st.integers(1, 120), max_size=12), max_size=12),
    max_bytes=st.integers(50, 300),
    keep=st.integers(0, 4),
)
def test_the_newest_lines_stay_in_order(batches: list[list[int]], max_bytes: int, keep: int) -> None:
    written: list[bytes] = []
    with TemporaryDirectory() as folder:
        path = Path(folder) / "log [1]*.jsonl"
        for sizes in batches:
            lines = [(f"{len(written) + index}".rjust(size, "_")).encode() + b"\n" for index, size in enumerate(sizes)]
            written += lines
            append_lines(path, lines, max_bytes=max_bytes, keep=keep)
        files = oldest_first(path)
        found = [line for file in files for line in file.read_bytes().splitlines(keepends=True)]
        assert found == written[len(written) - len(found) :]
        assert len(files) <= keep + 1
        if len(files) <= keep:
            assert found == written
        for file in files:
            content = file.read_bytes()
            assert len(content) <= max_bytes or content.count(b"\n") == 1


def test_two_rotations_in_one_moment_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "requests.jsonl"
    for number in range(3):
        path.write_bytes(b"%d\n" % number)
        rotate(path, 5)
    assert [(tmp_path / f"requests.jsonl.{number}").read_text() for number in (1, 2, 3)] == ["2\n", "1\n", "0\n"]


def test_fewer_files_are_kept_when_fewer_are_wanted(tmp_path: Path) -> None:
    path = tmp_path / "requests.jsonl"
    for number in range(6):
        append_lines(path, [b"%d\n" % number], max_bytes=1, keep=5)
    assert len(oldest_first(path)) == 6
    append_lines(path, [b"6\n"], max_bytes=1, keep=2)
    assert [file.read_text() for file in oldest_first(path)] == ["4\n", "5\n", "6\n"]


def test_files_of_others_are_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "requests.jsonl"
    for name in ("requests.jsonl.bak", "requests.jsonl.9x", "requests.json.9"):
        (tmp_path / name).write_text("mine")
    for _ in range(4):
        append_lines(path, [b"x\n"], max_bytes=1, keep=1)
    assert sorted(each.name for each in tmp_path.iterdir()) == [
        "requests.json.9", "requests.jsonl", "requests.jsonl.1", "requests.jsonl.9x", "requests.jsonl.bak",
    ]  # fmt: skip


def test_half_a_line_is_ended_first(tmp_path: Path) -> None:
    path = tmp_path / "requests.jsonl"
    path.write_bytes(b'{"half":')
    append_lines(path, [b'{"whole":1}\n'], max_bytes=1000, keep=1)
    assert path.read_bytes() == b'{"half":\n{"whole":1}\n'


@pytest.mark.skipif(os.name != "posix", reason="Permission bits are POSIX's.")
def test_only_the_owner_can_read(tmp_path: Path) -> None:
    path = tmp_path / "new" / "requests.jsonl"
    append_lines(path, [b"x\n"], max_bytes=1, keep=1)
    append_lines(path, [b"y\n"], max_bytes=1, keep=1)
    for file in oldest_first(path):
        assert file.stat().st_mode & 0o077 == 0
