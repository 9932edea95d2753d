"""Makes small GGUF models of several architectures that the real engine loads. Their weights are a hole in the file."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gguf_writer import Tensor, write_sparse

NORMAL_TOKEN, UNKNOWN_TOKEN, CONTROL_TOKEN, BYTE_TOKEN = 1, 2, 3, 6
EXPERTS = ("llama-moe", "qwen2moe", "qwen3moe", "deepseek2")
ARCHITECTURES = ("llama", "qwen2", "qwen3", "gemma2", "gemma3", *EXPERTS, "mamba", "jamba")
# Of these the engine takes the length of a head from the width of the model.
NO_HEAD_LENGTH = ("qwen2", "qwen2moe", "jamba")


@dataclass(frozen=True)
class Recipe:
    """The dimensions of a model to make. `type` is how its matrices are stored."""

    architecture: str = "llama"
    layers: int = 4
    embedding: int = 256
    heads: int = 8
    kv_heads: int = 2
    head_dim: int = 32
    ffn: int = 768
    vocabulary: int = 4096
    context: int = 32768
    window: int = 512
    experts: int = 8
    used: int = 2
    expert_ffn: int = 256
    latent: int = 128
    query_rank: int = 192
    rope: int = 32
    conv: int = 4
    state: int = 16
    tied: bool = False
    type: str = "Q8_0"

    @property
    def name(self) -> str:
        return self.architecture.removesuffix("-moe")


def random_recipe(source: random.Random, architecture: str) -> Recipe:
    """A recipe with random dimensions that fit together, for a file of some ten to hundred MiB."""
    head_dim = source.choice((32, 64, 128))
    kv_heads = source.choice((1, 2, 4, 8))
    heads = kv_heads * source.choice((1, 2, 4))
    embedding = source.choice((256, 512, 768, 1024))
    if architecture in NO_HEAD_LENGTH:
        embedding = heads * head_dim
    return Recipe(
        architecture=architecture,
        layers=source.choice((4, 6, 8, 12)),
        embedding=embedding,
        heads=heads,
        kv_heads=kv_heads,
        head_dim=head_dim,
        ffn=256 * source.randint(2, 12),
        vocabulary=source.choice((4096, 16384, 32000, 65536)),
        window=source.choice((256, 512, 1024, 4096)),
        experts=source.choice((4, 8, 16)),
        used=source.choice((1, 2, 4)),
        expert_ffn=256 * source.randint(1, 4),
        tied=source.random() < 0.5 and architecture != "qwen2moe",
        type=source.choice(("F16", "Q8_0", "Q4_0")),
    )


def write_model(path: Path, recipe: Recipe) -> Path:
    """Write the model that `recipe` describes to `path`."""
    return write_sparse(path, facts(recipe), list(tensors(recipe)), architecture=recipe.name)


def facts(recipe: Recipe) -> dict[str, object]:
    """The key-value pairs of the model, with a vocabulary of its size."""
    own: dict[str, object] = {
        "context_length": recipe.context,
        "embedding_length": recipe.embedding,
        "block_count": recipe.layers,
        "feed_forward_length": recipe.ffn,
        "attention.head_count": recipe.heads,
        "attention.head_count_kv": recipe.kv_heads,
        "attention.key_length": recipe.head_dim,
        "attention.value_length": recipe.head_dim,
        "attention.layer_norm_rms_epsilon": 1e-5,
        "rope.dimension_count": recipe.head_dim,
        "vocab_size": recipe.vocabulary,
        **_special(recipe),
    }
    return {
        "general.name": f"Made {recipe.architecture}",
        **{f"{recipe.name}.{key}": value for key, value in own.items()},
        **_tokenizer(recipe.vocabulary),
    }


def _special(recipe: Recipe) -> dict[str, object]:
    experts = {"expert_count": recipe.experts, "expert_used_count": recipe.used}
    state = {
        "ssm.conv_kernel": recipe.conv,
        "ssm.inner_size": 2 * recipe.embedding,
        "ssm.state_size": recipe.state,
        "ssm.time_step_rank": max(recipe.embedding // 16, 1),
    }
    match recipe.architecture:
        case "gemma2":
            return {
                "attention.sliding_window": recipe.window,
                "attn_logit_softcapping": 50.0,
                "final_logit_softcapping": 30.0,
            }
        case "gemma3":
            return {"attention.sliding_window": recipe.window, "rope.freq_base": 1e6}
        case "llama-moe":
            return experts
        case "qwen2moe":
            return {
                **experts,
                "expert_feed_forward_length": recipe.expert_ffn,
                "expert_shared_feed_forward_length": recipe.ffn,
            }
        case "qwen3moe":
            return {**experts, "expert_feed_forward_length": recipe.expert_ffn}
        case "deepseek2":
            return {
                **experts,
                "leading_dense_block_count": 1,
                "expert_feed_forward_length": recipe.expert_ffn,
                "expert_shared_count": 1,
                "expert_weights_scale": 1.0,
                "attention.head_count_kv": 1,
                "attention.kv_lora_rank": recipe.latent,
                "attention.q_lora_rank": recipe.query_rank,
                "attention.key_length": recipe.latent + recipe.rope,
                "attention.value_length": recipe.latent,
                "attention.key_length_mla": recipe.head_dim + recipe.rope,
                "attention.value_length_mla": recipe.head_dim,
                "rope.dimension_count": recipe.rope,
            }
        case "mamba":
            return {**state, "attention.head_count": 0, "attention.head_count_kv": 0, "feed_forward_length": 0}
        case "jamba":
            pattern = [recipe.kv_heads if _attends(layer) else 0 for layer in range(recipe.layers)]
            return {**state, "attention.head_count_kv": pattern}
    return {}


def _attends(layer: int) -> bool:
    """Every fourth layer of the mixed model attends, the others keep a constant state."""
    return layer % 4 == 3


def _tokenizer(size: int) -> dict[str, object]:
    special = ["<unk>", "<s>", "</s>"]
    of_bytes = [f"<0x{value:02X}>" for value in range(256)]
    words = [f"▁w{number}" for number in range(size - len(special) - len(of_bytes))]
    types = [UNKNOWN_TOKEN, CONTROL_TOKEN, CONTROL_TOKEN, *[BYTE_TOKEN] * 256, *[NORMAL_TOKEN] * len(words)]
    return {
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.tokens": special + of_bytes + words,
        "tokenizer.ggml.scores": [0.0] * 259 + [-float(number) for number in range(len(words))],
        "tokenizer.ggml.token_type": types,
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
        "tokenizer.ggml.unknown_token_id": 0,
    }


def tensors(recipe: Recipe) -> Iterator[Tensor]:
    """The tensors of the model."""
    width = recipe.embedding
    yield Tensor("token_embd.weight", (width, recipe.vocabulary), recipe.type)
    yield Tensor("output_norm.weight", (width,))
    if not recipe.tied and recipe.architecture not in ("gemma2", "gemma3"):
        yield Tensor("output.weight", (width, recipe.vocabulary), recipe.type)
    for layer in range(recipe.layers):
        for tensor in _layer(recipe, layer):
            ending = "" if "." in tensor.name else ".weight"
            yield tensor._replace(name=f"blk.{layer}.{tensor.name}{ending}".removesuffix("."))


def _layer(recipe: Recipe, layer: int) -> Iterator[Tensor]:
    yield Tensor("attn_norm", (recipe.embedding,))
    match recipe.architecture:
        case "mamba":
            yield from _state_space(recipe)
            return
        case "jamba" if not _attends(layer):
            yield from _state_space(recipe)
        case "deepseek2":
            yield from _latent_attention(recipe)
        case _:
            yield from _attention(recipe)
    yield Tensor("ffn_norm", (recipe.embedding,))
    if recipe.architecture in EXPERTS and not (recipe.architecture == "deepseek2" and layer == 0):
        yield from _experts(recipe)
    else:
        yield from _gated("", recipe.embedding, recipe.ffn, recipe.type)


def _attention(recipe: Recipe) -> Iterator[Tensor]:
    width, queries = recipe.embedding, recipe.heads * recipe.head_dim
    keys = recipe.kv_heads * recipe.head_dim
    yield Tensor("attn_q", (width, queries), recipe.type)
    yield Tensor("attn_k", (width, keys), recipe.type)
    yield Tensor("attn_v", (width, keys), recipe.type)
    yield Tensor("attn_output", (queries, width), recipe.type)
    if recipe.architecture in ("qwen2", "qwen2moe"):
        yield Tensor("attn_q.bias", (queries,))
        yield Tensor("attn_k.bias", (keys,))
        yield Tensor("attn_v.bias", (keys,))
    if recipe.architecture in ("qwen3", "qwen3moe", "gemma3"):
        yield Tensor("attn_q_norm", (recipe.head_dim,))
        yield Tensor("attn_k_norm", (recipe.head_dim,))
    if recipe.architecture in ("gemma2", "gemma3"):
        yield Tensor("post_attention_norm", (width,))
        yield Tensor("post_ffw_norm", (width,))


def _latent_attention(recipe: Recipe) -> Iterator[Tensor]:
    width, key = recipe.embedding, recipe.head_dim + recipe.rope
    yield Tensor("attn_q_a", (width, recipe.query_rank), recipe.type)
    yield Tensor("attn_q_a_norm", (recipe.query_rank,))
    yield Tensor("attn_q_b", (recipe.query_rank, recipe.heads * key), recipe.type)
    yield Tensor("attn_kv_a_mqa", (width, recipe.latent + recipe.rope), recipe.type)
    yield Tensor("attn_kv_a_norm", (recipe.latent,))
    yield Tensor("attn_k_b", (recipe.head_dim, recipe.latent, recipe.heads), recipe.type)
    yield Tensor("attn_v_b", (recipe.latent, recipe.head_dim, recipe.heads), recipe.type)
    yield Tensor("attn_output", (recipe.heads * recipe.head_dim, width), recipe.type)


def _state_space(recipe: Recipe) -> Iterator[Tensor]:
    width, inner = recipe.embedding, 2 * recipe.embedding
    rank = max(width // 16, 1)
    yield Tensor("ssm_in", (width, 2 * inner), recipe.type)
    yield Tensor("ssm_conv1d", (recipe.conv, inner))
    yield Tensor("ssm_conv1d.bias", (inner,))
    yield Tensor("ssm_x", (inner, rank + 2 * recipe.state), recipe.type)
    yield Tensor("ssm_dt", (rank, inner))
    yield Tensor("ssm_dt.bias", (inner,))
    yield Tensor("ssm_a.", (recipe.state, inner))
    yield Tensor("ssm_d.", (inner,))
    yield Tensor("ssm_out", (inner, width), recipe.type)
    if recipe.architecture == "jamba":
        yield Tensor("ssm_dt_norm", (rank,))
        yield Tensor("ssm_b_norm", (recipe.state,))
        yield Tensor("ssm_c_norm", (recipe.state,))


def _experts(recipe: Recipe) -> Iterator[Tensor]:
    width, inner, many = recipe.embedding, _expert_ffn(recipe), recipe.experts
    yield Tensor("ffn_gate_inp", (width, many))
    yield Tensor("ffn_gate_exps", (width, inner, many), recipe.type)
    yield Tensor("ffn_down_exps", (inner, width, many), recipe.type)
    yield Tensor("ffn_up_exps", (width, inner, many), recipe.type)
    if recipe.architecture == "qwen2moe":
        yield Tensor("ffn_gate_inp_shexp", (width,))
        yield from _gated("_shexp", width, recipe.ffn, recipe.type)
    if recipe.architecture == "deepseek2":
        yield from _gated("_shexp", width, recipe.expert_ffn, recipe.type)


def _expert_ffn(recipe: Recipe) -> int:
    return recipe.ffn if recipe.architecture == "llama-moe" else recipe.expert_ffn


def _gated(suffix: str, width: int, inner: int, kind: str) -> Iterator[Tensor]:
    yield Tensor(f"ffn_gate{suffix}", (width, inner), kind)
    yield Tensor(f"ffn_up{suffix}", (width, inner), kind)
    yield Tensor(f"ffn_down{suffix}", (inner, width), kind)
