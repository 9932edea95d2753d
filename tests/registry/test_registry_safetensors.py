"""Folders of safetensors: what they say, and a sentence for everything that can be wrong with them."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors_writer import CONFIG, layer, safetensors_bytes, whole, write_folder

from quarterdeck.errors import AppError
from quarterdeck.registry.safetensors import read_folder
from quarterdeck.registry.safetensors_file import read_tensors


def refusal(folder: Path) -> AppError:
    with pytest.raises(AppError) as caught:
        read_folder(folder)
    assert caught.value.sentence
    assert caught.value.hint
    return caught.value


def test_a_whole_folder(tmp_path: Path) -> None:
    header = read_folder(write_folder(tmp_path / "tiny"))
    assert (header.architecture, header.model_class) == ("llama", "LlamaForCausalLM")
    assert (header.quantization, header.dtype, header.context_length) == ("BF16", "bfloat16", 2048)
    assert header.parameter_count == sum(
        shape[0] * (shape[1] if len(shape) > 1 else 1) for _, shape in whole().values()
    )
    assert header.size_bytes == (tmp_path / "tiny" / "model.safetensors").stat().st_size
    assert header.has_chat_template
    assert not header.embeds
    assert not header.has_vision


def test_parts_named_by_the_index_are_read_and_others_are_not(tmp_path: Path) -> None:
    folder = write_folder(tmp_path)
    (folder / "model.safetensors").unlink()
    names = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    for number, name in enumerate(names):
        (folder / name).write_bytes(safetensors_bytes(layer(number)))
    (folder / "consolidated.safetensors").write_bytes(safetensors_bytes(whole()))
    index = {f"model.layers.{number}.mlp.up_proj.weight": name for number, name in enumerate(names)}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))
    header = read_folder(folder)
    assert [file.name for file in header.files] == names
    assert header.tensor_count == 18


def test_the_same_weights_in_another_layout_count_once(tmp_path: Path) -> None:
    folder = write_folder(tmp_path)
    (folder / "consolidated.safetensors").write_bytes(safetensors_bytes(whole()))
    assert [file.name for file in read_folder(folder).files] == ["model.safetensors"]


@pytest.mark.parametrize(
    ("quantization", "word"),
    [
        ({"quant_method": "awq", "bits": 4}, "AWQ-4bit"),
        ({"quant_method": "gptq", "bits": 8}, "GPTQ-8bit"),
        ({"quant_method": "fp8"}, "FP8"),
        ({"quant_method": "bitsandbytes", "load_in_4bit": True}, "BNB-4bit"),
        ({"quant_method": "bitsandbytes", "load_in_8bit": True}, "BNB-8bit"),
        ({"quant_method": "mxfp4"}, "MXFP4"),
        ({"quant_method": "compressed-tensors", "config_groups": {"g": {"weights": {"num_bits": 4}}}},
         "compressed-tensors-4bit"),
        ({"quant_method": "a-new-one"}, "a-new-one"),
        ("nonsense", "BF16"),
    ],
)  # fmt: skip
def test_how_the_weights_are_quantised(quantization: object, word: str, tmp_path: Path) -> None:
    folder = write_folder(tmp_path, {"quantization_config": quantization})
    assert read_folder(folder).quantization == word


def test_packed_weights_count_as_the_parameters_they_hold(tmp_path: Path) -> None:
    tensors = {
        "model.layers.0.mlp.up_proj.qweight": ("I32", (64, 16)),
        "model.layers.0.mlp.up_proj.scales": ("F16", (1, 128)),
        "model.layers.0.mlp.up_proj.qzeros": ("I32", (1, 16)),
        "model.norm.weight": ("F16", (64,)),
    }
    folder = write_folder(tmp_path, {"quantization_config": {"quant_method": "awq", "bits": 4}}, tensors)
    assert read_folder(folder).parameter_count == 64 * 128 + 64


def test_the_language_part_of_a_model_that_sees_pictures(tmp_path: Path) -> None:
    text = {"max_position_embeddings": 4096, "dtype": "float16"}
    config = {
        "model_type": "gemma3", "architectures": ["Gemma3ForConditionalGeneration"], "dtype": None,
        "text_config": text, "vision_config": {"hidden_size": 10}, "max_position_embeddings": None,
    }  # fmt: skip
    header = read_folder(write_folder(tmp_path, config))
    assert (header.context_length, header.dtype, header.has_vision) == (4096, "float16", True)


def test_a_model_that_makes_vectors(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, {"architectures": ["BertModel"], "model_type": "bert"}, template=False)
    header = read_folder(folder)
    assert header.embeds
    assert not header.has_chat_template


def test_a_chat_template_in_a_file_of_its_own(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, template=False)
    assert not read_folder(folder).has_chat_template
    (folder / "tokenizer_config.json").write_text("<html>")
    assert not read_folder(folder).has_chat_template
    (folder / "chat_template.jinja").write_text("{{ messages }}")
    assert read_folder(folder).has_chat_template


def test_folders_that_hold_no_model(tmp_path: Path) -> None:
    assert refusal(tmp_path / "nowhere").code == "file_missing"
    assert refusal(tmp_path).code == "empty_folder"
    (tmp_path / "notes.txt").write_text("hello")
    assert refusal(tmp_path).code == "config_missing"
    assert refusal(tmp_path / "notes.txt").code == "not_a_folder"
    (tmp_path / "adapter_config.json").write_text("{}")
    assert refusal(tmp_path).code == "not_a_model"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty"),
        ("nonsense", "not valid JSON"),
        ('{"model_type": "llama",', "line 1"),
        ("<!DOCTYPE html><html>", "a web page"),
        ("version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer"),
        ("[1, 2]", "does not hold a JSON object"),
        ("[" * 100_000, "nested too deeply"),
        ("{}", "does not name the architecture"),
    ],
)
def test_a_configuration_that_cannot_be_read(text: str, said: str, tmp_path: Path) -> None:
    folder = write_folder(tmp_path)
    (folder / "config.json").write_text(text)
    assert said in refusal(folder).sentence


@pytest.mark.parametrize(
    ("data", "code", "said"),
    [
        (b"", "empty_file", "is empty"),
        (b"<!DOCTYPE html><html><body>sign in", "not_safetensors", "a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "not_safetensors", "Git LFS pointer"),
        (b"GGUF\x03\x00\x00\x00", "not_safetensors", "GGUF"),
        (bytes(100), "not_safetensors", "zeros"),
        (b"garbage garbage garbage", "corrupt_header", "does not begin"),
        (struct.pack("<Q", 1 << 40) + b"{}", "corrupt_header", "does not begin"),
        (struct.pack("<Q", 5000) + b'{"a":', "truncated_header", "in the middle of its header"),
        (struct.pack("<Q", 5) + b'{"a":', "corrupt_header", "not valid JSON"),
        (struct.pack("<Q", 9) + b'{"a": [1]}', "corrupt_header", ""),
        (safetensors_bytes(whole())[:-10], "truncated_file", "promises"),
        (safetensors_bytes({}), "no_tensors", "no weights"),
    ],
)
def test_a_weight_file_that_cannot_be_read(data: bytes, code: str, said: str, tmp_path: Path) -> None:
    folder = write_folder(tmp_path)
    (folder / "model.safetensors").write_bytes(data)
    error = refusal(folder)
    assert error.code == code
    assert said in error.sentence


@pytest.mark.parametrize(
    "entry",
    [
        {"dtype": "F32", "shape": [4], "data_offsets": [0, 8]},
        {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]},
        {"dtype": "F32", "shape": [1 << 60, 1 << 60], "data_offsets": [0, 4]},
        {"dtype": "F32", "shape": [1], "data_offsets": [4, 0]},
        {"dtype": 3, "shape": [1], "data_offsets": [0, 4]},
        [],
    ],
)
def test_a_tensor_that_cannot_be_is_refused(entry: object, tmp_path: Path) -> None:
    head = json.dumps({"t": entry}).encode()
    path = tmp_path / "model.safetensors"
    path.write_bytes(struct.pack("<Q", len(head)) + head + bytes(16))
    with pytest.raises(AppError, match="cannot be true"):
        read_tensors(path)


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused_with_a_sentence(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.mktemp("any") / "model.safetensors"
    for content in (data, struct.pack("<Q", len(data)) + data):
        path.write_bytes(content)
        try:
            read_tensors(path)
        except AppError as error:
            assert error.sentence


def test_missing_parts_are_named(tmp_path: Path) -> None:
    folder = write_folder(tmp_path)
    (folder / "model.safetensors").rename(folder / "model-00001-of-00003.safetensors")
    error = refusal(folder)
    assert error.code == "part_missing"
    assert "model-00002-of-00003.safetensors" in error.sentence
    (folder / "model-00002-of-00003.safetensors").symlink_to(folder / "gone")
    assert "00002-of-00003" in refusal(folder).sentence


def test_folders_with_other_weights_say_which(tmp_path: Path) -> None:
    folder = write_folder(tmp_path)
    (folder / "model.safetensors").unlink()
    assert "no weights" in refusal(folder).sentence
    (folder / "pytorch_model.bin").touch()
    assert "PyTorch" in refusal(folder).sentence
    (folder / "model.gguf").touch()
    assert "GGUF" in refusal(folder).sentence


@pytest.mark.parametrize("weight_map", [{}, None, {"t": "../../etc/passwd"}])
def test_an_index_that_cannot_be_used(weight_map: object, tmp_path: Path) -> None:
    folder = write_folder(tmp_path)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    assert refusal(folder).code == "bad_index"


def test_a_number_that_is_none_is_not_taken_for_a_context(tmp_path: Path) -> None:
    for value in (True, -1, "2048", 1 << 60):
        assert read_folder(write_folder(tmp_path, {**CONFIG, "max_position_embeddings": value})).context_length is None
