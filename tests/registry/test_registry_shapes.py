"""The shape of a model from its files."""

from __future__ import annotations

from pathlib import Path

import pytest
from gguf_models import ARCHITECTURES, Recipe, facts, tensors, write_model
from gguf_writer import Tensor, gguf_bytes, write_sparse
from safetensors_writer import layer, whole, write_folder

from quarterdeck.errors import AppError
from quarterdeck.registry.shapes import shape_of
from quarterdeck.schemas.shape import ModelShape


def made(folder: Path, recipe: Recipe) -> ModelShape:
    return shape_of(write_model(folder / "made.gguf", recipe))


def changed(folder: Path, recipe: Recipe, **values: object) -> ModelShape:
    """The shape of a model with further keys of its architecture."""
    own = {f"{recipe.name}.{key.replace('__', '.')}": value for key, value in values.items()}
    path = write_sparse(folder / "changed.gguf", facts(recipe) | own, [Tensor("token_embd.weight", (256, 4096))],
                        architecture=recipe.name)  # fmt: skip
    return shape_of(path)


def test_a_dense_model(tmp_path: Path) -> None:
    shape = made(tmp_path, Recipe("llama", type="F16"))
    assert (shape.architecture, shape.layer_count, shape.embedding_length, shape.vocab_size) == ("llama", 4, 256, 4096)
    assert (shape.n_ctx_train, shape.tied, shape.cached) == (32768, False, True)
    assert shape.embedding_bytes == 256 * 4096 * 2
    assert shape.output_bytes == 256 * 4096 * 2 + 256 * 4
    first = shape.layers[0]
    assert (first.heads, first.kv_heads, first.key_values, first.value_values) == (8, 2, 64, 64)
    assert (first.ffn_length, first.window, first.state_values, first.experts) == (768, None, 0, 0)
    assert shape.weight_bytes < shape.file_bytes


def test_a_model_without_an_output_table_is_tied(tmp_path: Path) -> None:
    assert made(tmp_path, Recipe("llama", tied=True)).tied
    assert made(tmp_path, Recipe("gemma2")).tied


@pytest.mark.parametrize(("architecture", "period"), [("gemma2", 2), ("gemma3", 6)])
def test_every_so_many_layers_look_at_the_whole_context(architecture: str, period: int, tmp_path: Path) -> None:
    shape = made(tmp_path, Recipe(architecture, layers=12, window=512))
    assert [layer.window for layer in shape.layers] == [None if n % period == period - 1 else 512 for n in range(12)]


def test_a_stated_pattern_of_windows_wins(tmp_path: Path) -> None:
    listed = changed(tmp_path, Recipe("gemma3"), attention__sliding_window_pattern=[True, False, False, True])
    assert [layer.window for layer in listed.layers] == [512, None, None, 512]
    period = changed(tmp_path, Recipe("gemma3"), attention__sliding_window_pattern=2)
    assert [layer.window for layer in period.layers] == [512, None, 512, None]


def test_a_window_is_ignored_where_the_engine_ignores_it(tmp_path: Path) -> None:
    assert not changed(tmp_path, Recipe("qwen2"), attention__sliding_window=512).has_windows


def test_heads_that_differ_by_layer(tmp_path: Path) -> None:
    shape = changed(tmp_path, Recipe("llama"), attention__head_count_kv=[2, 4, 0, 1])
    assert [layer.key_values for layer in shape.layers] == [64, 128, 0, 32]
    assert not shape.layers[2].attends


def test_layers_that_share_the_cache_of_others_have_none(tmp_path: Path) -> None:
    shape = changed(tmp_path, Recipe("gemma3"), attention__shared_kv_layers=1)
    assert [layer.attends for layer in shape.layers] == [True, True, True, False]


def test_experts(tmp_path: Path) -> None:
    moe = made(tmp_path, Recipe("qwen2moe", experts=8, used=2, expert_ffn=256, ffn=768))
    assert (moe.experts_used, moe.expert_ffn_length, moe.shared_ffn_length) == (2, 256, 768)
    assert {layer.experts for layer in moe.layers} == {8}
    mixtral = made(tmp_path, Recipe("llama-moe", ffn=768))
    assert (mixtral.expert_ffn_length, mixtral.shared_ffn_length) == (768, 0)


def test_latent_attention_keeps_one_row_and_its_first_layer_is_dense(tmp_path: Path) -> None:
    shape = made(tmp_path, Recipe("deepseek2", latent=128, rope=32))
    assert {(layer.kv_heads, layer.key_values, layer.value_values) for layer in shape.layers} == {(1, 160, 0)}
    assert [layer.experts for layer in shape.layers] == [0, 8, 8, 8]


def test_recurrent_layers_keep_a_state_instead_of_a_cache(tmp_path: Path) -> None:
    pure = made(tmp_path, Recipe("mamba", conv=4, state=16))
    assert {(layer.state_values, layer.attends) for layer in pure.layers} == {(3 * 512 + 512 * 16, False)}
    mixed = made(tmp_path, Recipe("jamba", layers=8))
    assert [layer.attends for layer in mixed.layers] == [n % 4 == 3 for n in range(8)]
    assert all(bool(layer.state_values) != layer.attends for layer in mixed.layers)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_all_weights_have_a_place(architecture: str, tmp_path: Path) -> None:
    path = write_model(tmp_path / "made.gguf", Recipe(architecture))
    shape = shape_of(path)
    header = path.stat().st_size - shape.weight_bytes
    assert 0 < header < 200_000


def test_weights_that_are_stored_for_another_order_are_told_apart(tmp_path: Path) -> None:
    packed, plain = made(tmp_path, Recipe("llama", type="Q4_0")), made(tmp_path, Recipe("llama", type="Q8_0"))
    assert packed.layers[0].repacked_bytes > 0.9 * packed.layers[0].weight_bytes
    assert packed.output_repacked_bytes == 256 * 4096 * 18 // 32
    assert (plain.layers[0].repacked_bytes, plain.output_repacked_bytes) == (0, 0)


def test_a_split_model_is_the_sum_of_its_parts(tmp_path: Path) -> None:
    recipe = Recipe("llama", layers=2)
    whole_shape = made(tmp_path, recipe)
    every = list(tensors(recipe))
    for number, part in enumerate((every[:5], every[5:]), 1):
        own = {"split.no": number - 1, "split.count": 2} | (facts(recipe) if number == 1 else {})
        data = gguf_bytes(own, part, architecture="llama" if number == 1 else None)
        (tmp_path / f"m-{number:05d}-of-00002.gguf").write_bytes(data)
    split = shape_of(tmp_path / "m-00001-of-00002.gguf")
    assert split.layers == whole_shape.layers
    assert split.weight_bytes == whole_shape.weight_bytes
    (tmp_path / "m-00002-of-00002.gguf").unlink()
    with pytest.raises(AppError, match="missing"):
        shape_of(tmp_path / "m-00001-of-00002.gguf")


def test_a_header_that_lies_is_survived(tmp_path: Path) -> None:
    shape = changed(
        tmp_path, Recipe("llama"), block_count=1 << 30, attention__head_count=0, attention__head_count_kv=0,
        attention__key_length=True, feed_forward_length="many",
    )  # fmt: skip
    assert shape.layer_count == 4096
    assert not shape.layers[0].attends


def test_a_folder_of_safetensors(tmp_path: Path) -> None:
    shape = shape_of(write_folder(tmp_path))
    assert (shape.architecture, shape.layer_count, shape.embedding_length, shape.vocab_size) == ("llama", 2, 64, 100)
    assert (shape.n_ctx_train, shape.tied, shape.dtype, shape.quantization) == (2048, False, "bfloat16", "BF16")
    first = shape.layers[0]
    assert (first.heads, first.kv_heads, first.key_length, first.ffn_length) == (4, 2, 16, 128)
    assert first.weight_bytes == 2 * sum(s[0] * (s[1] if len(s) > 1 else 1) for _, s in layer(0).values())
    assert shape.embedding_bytes == 2 * 6400
    assert shape.weight_bytes == 2 * sum(s[0] * (s[1] if len(s) > 1 else 1) for _, s in whole().values())


def test_pictures_are_counted_apart(tmp_path: Path) -> None:
    both = {**whole(), **layer(0, prefix="vision_tower.encoder.layers")}
    shape = shape_of(write_folder(tmp_path, tensors=both))
    assert shape.projector_bytes == shape.layers[0].weight_bytes


@pytest.mark.parametrize(
    ("config", "kinds"),
    [
        ({"sliding_window": 512}, [512, 512]),
        ({"sliding_window": 512, "use_sliding_window": False}, [None, None]),
        ({"sliding_window": 512, "layer_types": ["sliding_attention", "full_attention"]}, [512, None]),
        ({"sliding_window": 512, "model_type": "gemma2"}, [512, None]),
        ({"sliding_window": 512, "sliding_window_pattern": 1}, [None, None]),
    ],
)
def test_windows_of_a_configuration(config: dict[str, object], kinds: list[int | None], tmp_path: Path) -> None:
    shape = shape_of(write_folder(tmp_path, config))
    assert [layer.window for layer in shape.layers] == kinds


def test_latent_experts_and_linear_layers_of_a_configuration(tmp_path: Path) -> None:
    latent = shape_of(write_folder(tmp_path / "a", {"kv_lora_rank": 512, "qk_rope_head_dim": 64}))
    assert (latent.layers[0].key_values, latent.layers[0].value_values) == (576, 0)
    moe = shape_of(write_folder(tmp_path / "b", {"num_experts": 64, "num_experts_per_tok": 8,
                                                 "moe_intermediate_size": 96}))  # fmt: skip
    assert (moe.experts_used, moe.expert_ffn_length, moe.layers[0].experts) == (8, 96, 64)
    linear = shape_of(write_folder(tmp_path / "c", {
        "layer_types": ["linear_attention", "full_attention"], "linear_num_value_heads": 4, "linear_value_head_dim": 16,
        "linear_key_head_dim": 16, "linear_num_key_heads": 2,
    }))  # fmt: skip
    assert [layer.attends for layer in linear.layers] == [False, True]
    assert linear.layers[0].state_values == 4 * (2 * 2 * 16 + 4 * 16) + 4 * 16 * 16
