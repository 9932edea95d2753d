"""The shape of a model: the plain numbers from which its memory follows. It never leaves the process."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property


@dataclass(frozen=True, slots=True)
class LayerShape:
    """One layer. `weight_bytes` as stored; lengths in values.

    A layer attends when it has KV heads; then each token costs `kv_heads × (key_length + value_length)` values of KV
    cache. A `latent` one (MLA) keeps one compressed row, of which the values are a part. `window` is the number of
    tokens that a sliding window looks back, or null. `state_values` is the constant state that a recurrent layer keeps
    for each sequence. `experts` counts those to choose from, 0 for a dense layer. Of the weights, `repacked_bytes` are
    stored in a way that llama.cpp copies into another order for the processor.
    """

    weight_bytes: int = 0
    repacked_bytes: int = 0
    heads: int = 0
    kv_heads: int = 0
    key_length: int = 0
    value_length: int = 0
    latent: bool = False
    window: int | None = None
    state_values: int = 0
    ffn_length: int = 0
    experts: int = 0

    @property
    def key_values(self) -> int:
        """Values per token in the K cache."""
        return self.kv_heads * self.key_length

    @property
    def value_values(self) -> int:
        """Values per token in the V cache."""
        return 0 if self.latent else self.kv_heads * self.value_length

    @property
    def attends(self) -> bool:
        return self.key_values > 0


@dataclass(frozen=True)
class ModelShape:
    """A model. Bytes as stored, lengths in values, context in tokens.

    `embedding_bytes` are what turns tokens into vectors, `output_bytes` everything after the last layer; a `tied` model
    uses the embeddings for both. `projector_bytes` belong to the part that looks at pictures. A model that is not
    `cached` (an encoder) keeps no KV cache. `inner_length` is the width of recurrent layers. Of the output table,
    `output_repacked_bytes` are copied for the processor. `quantization` and `dtype` are those of a safetensors
    model.
    """

    architecture: str
    layers: tuple[LayerShape, ...]
    embedding_length: int
    vocab_size: int
    embedding_bytes: int
    output_bytes: int
    file_bytes: int
    n_ctx_train: int | None = None
    tied: bool = False
    cached: bool = True
    projector_bytes: int = 0
    experts_used: int = 0
    expert_ffn_length: int = 0
    shared_ffn_length: int = 0
    inner_length: int = 0
    output_repacked_bytes: int = 0
    quantization: str | None = None
    dtype: str | None = None

    @cached_property
    def weight_bytes(self) -> int:
        """All weights of the language model."""
        return self.embedding_bytes + self.output_bytes + sum(layer.weight_bytes for layer in self.layers)

    @property
    def layer_count(self) -> int:
        return len(self.layers)

    @property
    def has_windows(self) -> bool:
        return any(layer.window for layer in self.layers)
