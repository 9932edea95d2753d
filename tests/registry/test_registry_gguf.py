"""Reading GGUF headers: what a good file says, and what is said about each kind of bad file."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest
from gguf_writer import CHAT_FACTS, Tensor, gguf_bytes, pair, text
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quarterdeck.errors import AppError
from quarterdeck.registry.gguf import GgufHeader, read_header
from quarterdeck.registry.starter import starter_file

FUZZ = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def code_of(path: Path) -> AppError:
    with pytest.raises(AppError) as caught:
        read_header(path)
    assert path.name in caught.value.sentence
    assert caught.value.hint
    return caught.value


def written(tmp_path: Path, data: bytes, name: str = "model.gguf") -> Path:
    path = tmp_path / name
    path.write_bytes(data)
    return path


def head(tensors: int, keys: int, version: int = 3) -> bytes:
    return b"GGUF" + struct.pack("<IQQ", version, tensors, keys)


def test_reads_the_facts_of_a_model(tmp_path: Path) -> None:
    tensors = (Tensor("a", (64, 32), "F32"), Tensor("b", (256, 3), "Q4_K"), Tensor("c", (32, 5), "Q8_0"))
    data = gguf_bytes(CHAT_FACTS, tensors)
    header = read_header(written(tmp_path, data))
    assert header.version == 3
    assert header.architecture == "llama"
    assert header.name == "Tiny Chat"
    assert header.parameter_count == 64 * 32 + 256 * 3 + 32 * 5
    assert header.quantization == "Q8_0"
    assert header.context_length == 2048
    assert header.has_chat_template
    assert header.tensor_count == 3
    assert header.size_bytes == header.expected_size == len(data)


def test_quantization_is_that_of_most_bytes_when_the_file_does_not_name_it(tmp_path: Path) -> None:
    tensors = (Tensor("norm", (8,), "F32"), Tensor("a", (256, 100), "Q4_K"))
    assert read_header(written(tmp_path, gguf_bytes({}, tensors))).quantization == "Q4_K"


@pytest.mark.parametrize(("number", "word"), [(15, "Q4_K_M"), (1024 + 3, "Q4_1"), (999, "F32")])
def test_file_types(tmp_path: Path, number: int, word: str) -> None:
    assert read_header(written(tmp_path, gguf_bytes({"general.file_type": number}))).quantization == word


def test_alignment_of_the_file_is_respected(tmp_path: Path) -> None:
    tensors = (Tensor("a", (3,), "F32"), Tensor("b", (3,), "F32"))
    data = gguf_bytes({"general.alignment": 256}, tensors, alignment=256)
    assert read_header(written(tmp_path, data)).expected_size == len(data)


def test_blank_chat_template_is_none(tmp_path: Path) -> None:
    assert not read_header(written(tmp_path, gguf_bytes({"tokenizer.chat_template": " \n"}))).has_chat_template


def test_name_without_invisible_characters(tmp_path: Path) -> None:
    assert read_header(written(tmp_path, gguf_bytes({"general.name": "A\0B\nC" + "x" * 999}))).name == "ABC" + "x" * 197


def test_a_tensor_type_newer_than_the_table_is_accepted(tmp_path: Path) -> None:
    data = head(1, 1) + pair("general.architecture", "llama")
    data += text("a") + struct.pack("<IQIQ", 1, 64, 99, 0) + b"\0" * 64
    header = read_header(written(tmp_path, data))
    assert (header.parameter_count, header.quantization) == (64, None)


def test_starter_model() -> None:
    path = starter_file()
    if path is None:
        pytest.skip("the starter model is not installed")
    header = read_header(path)
    assert (header.architecture, header.quantization, header.context_length) == ("llama", "Q4_1", 8192)
    assert header.parameter_count == 134_515_008
    assert header.has_chat_template
    assert header.expected_size == header.size_bytes


def test_missing_file(tmp_path: Path) -> None:
    assert code_of(tmp_path / "none.gguf").code == "file_missing"
    assert code_of(written(tmp_path, b"x") / "below-a-file.gguf").code == "file_missing"


def test_impossible_names(tmp_path: Path) -> None:
    with pytest.raises(AppError) as caught:
        read_header(tmp_path / "a\0b.gguf")
    assert caught.value.code == "file_missing"
    assert code_of(tmp_path / ("x" * 300 + ".gguf")).code == "file_unreadable"


def test_folder(tmp_path: Path) -> None:
    error = code_of(tmp_path)
    assert error.code == "not_a_file"
    assert "folder" in error.sentence


def test_pipe(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.gguf")
    assert code_of(tmp_path / "pipe.gguf").code == "not_a_file"


def test_unreadable_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path, gguf_bytes())

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    error = code_of(path)
    assert error.code == "file_unreadable"
    assert "Permission denied" in error.sentence


def test_empty_file(tmp_path: Path) -> None:
    assert code_of(written(tmp_path, b"")).code == "empty_file"


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"<!DOCTYPE html><html>", "web page"),
        (b"\n  <HTML>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "Git LFS pointer"),
        (struct.pack("<Q", 40) + b'{"__metadata__":{"format":"pt"}}', "safetensors"),
        (b"PK\x03\x04\x14\0", "PyTorch"),
        (b"\x80\x02\x8a\x0a", "PyTorch"),
        (b"tjgg\x03\0\0\0", "old GGML"),
        (b"\x1f\x8b\x08\0", "compressed"),
        (b'{"error": "not found"}', "JSON"),
        (b"\0" * 4096, "zeros"),
    ],
)
def test_other_kinds_of_files(tmp_path: Path, data: bytes, kind: str) -> None:
    error = code_of(written(tmp_path, data))
    assert error.code == ("old_ggml" if kind == "old GGML" else "not_gguf")
    assert kind in error.sentence


@pytest.mark.parametrize("data", [b"G", b"GGU", b"MZ\x90\0", bytes(range(200))])
def test_unknown_bytes(tmp_path: Path, data: bytes) -> None:
    assert code_of(written(tmp_path, data)).code == "not_gguf"


@pytest.mark.parametrize("version", [0, 1, 4, 3 << 24])
def test_versions_that_are_not_read(tmp_path: Path, version: int) -> None:
    error = code_of(written(tmp_path, gguf_bytes(version=version)))
    assert error.code == "unsupported_gguf_version"
    assert ("big-endian" in error.sentence) == (version == 3 << 24)


def test_version_2_is_read(tmp_path: Path) -> None:
    assert read_header(written(tmp_path, gguf_bytes(version=2))).version == 2


def test_every_truncation_is_named(tmp_path: Path) -> None:
    data = gguf_bytes(CHAT_FACTS, (Tensor("a", (16,), "F32"), Tensor("b", (8,), "F32")))
    for size in range(4, len(data)):
        error = code_of(written(tmp_path, data[:size]))
        assert error.code in ("truncated_header", "truncated_file")


def test_truncated_file_names_both_sizes(tmp_path: Path) -> None:
    data = gguf_bytes(CHAT_FACTS)
    error = code_of(written(tmp_path, data[:-1000]))
    assert error.code == "truncated_file"
    assert f"{len(data):,}" in error.sentence
    assert f"{len(data) - 1000:,}" in error.sentence


HUGE = 2**63
DAMAGED = {
    "tensor count": head(HUGE, 0),
    "key count": head(0, HUGE),
    "length of a key": head(0, 1) + struct.pack("<Q", HUGE) + b"x",
    "length of a text": head(0, 1) + text("k") + struct.pack("<IQ", 8, HUGE) + b"x",
    "type of a value": head(0, 1) + text("k") + struct.pack("<I", 77),
    "list in a list": head(0, 1) + text("k") + struct.pack("<IIQ", 9, 9, 1),
    "length of a list": head(0, 1) + text("k") + struct.pack("<IIQ", 9, 8, HUGE),
    "no architecture": gguf_bytes(architecture=None),
    "architecture that is no text": gguf_bytes({"general.architecture": 7}, architecture=None),
    "alignment": gguf_bytes({"general.alignment": 33}),
    "dimensions": head(1, 1) + pair("general.architecture", "llama") + text("t") + struct.pack("<I", 9),
    "size of a tensor": head(1, 1)
    + pair("general.architecture", "llama")
    + text("t")
    + struct.pack("<IQQIQ", 2, HUGE, HUGE, 0, 0),
    "type of a tensor": head(1, 1)
    + pair("general.architecture", "llama")
    + text("t")
    + struct.pack("<IQIQ", 1, 4, 5000, 0),
}


@pytest.mark.parametrize("data", DAMAGED.values(), ids=DAMAGED.keys())
def test_absurd_headers(tmp_path: Path, data: bytes) -> None:
    assert code_of(written(tmp_path, data)).code == "corrupt_header"


def attempt(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    try:
        header = read_header(path)
    except AppError as error:
        assert error.sentence
    else:
        assert isinstance(header, GgufHeader)
        assert header.parameter_count < 2**63
        assert header.expected_size <= header.size_bytes


@FUZZ
@given(data=st.binary(max_size=2000), magic=st.booleans())
def test_arbitrary_bytes_give_an_error_or_a_header(tmp_path: Path, data: bytes, magic: bool) -> None:
    attempt(tmp_path / "fuzz.gguf", (b"GGUF\x03\0\0\0" if magic else b"") + data)


@FUZZ
@given(data=st.data())
def test_changed_files_give_an_error_or_a_header(tmp_path: Path, data: st.DataObject) -> None:
    file = bytearray(gguf_bytes(CHAT_FACTS, (Tensor("a", (32, 4), "Q8_0"), Tensor("b", (8,), "F32"))))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(4, len(file) - 1))
        file[at : at + 1] = data.draw(st.binary(min_size=0, max_size=9))
    attempt(tmp_path / "fuzz.gguf", bytes(file[: data.draw(st.integers(0, len(file)))]))
    attempt(tmp_path / "fuzz.gguf", bytes(file))
