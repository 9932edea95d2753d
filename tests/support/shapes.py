"""Shapes of models for tests of the fit arithmetic."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import strategies as st

from quarterdeck.hardware.fit.room import Card, Room
from quarterdeck.schemas.shape import LayerShape, ModelShape

GIB, MIB = 1 << 30, 1 << 20


def dense(
    layers: int = 32,
    *,
    embedding: int = 4096,
    heads: int = 32,
    kv_heads: int = 8,
    head: int = 128,
    ffn: int = 14336,
    vocabulary: int = 128_256,
    layer_bytes: int = 218 * MIB,
    context: int = 131_072,
    window: int | None = None,
    tied: bool = False,
) -> ModelShape:
    """A model of the usual kind, by default like an 8B one whose weights take 8 bits."""
    layer = LayerShape(
        weight_bytes=layer_bytes, heads=heads, kv_heads=kv_heads, key_length=head, value_length=head, window=window,
        ffn_length=ffn,
    )  # fmt: skip
    table = vocabulary * embedding
    return ModelShape(
        architecture="llama",
        layers=(layer,) * layers,
        embedding_length=embedding,
        vocab_size=vocabulary,
        embedding_bytes=table,
        output_bytes=0 if tied else table,
        file_bytes=layers * layer_bytes + table * (1 if tied else 2),
        n_ctx_train=context,
        tied=tied,
    )


def room(free: float | None, *, total: float = 24, host_free: float = 32, host_total: float = 64) -> Room:
    """A machine with one card, or none; GiB."""
    cards = () if free is None else (Card(round(total * GIB), round(free * GIB)),)
    return Room(cards, round(host_free * GIB), round(host_total * GIB))


@st.composite
def small_shapes(draw: st.DrawFn) -> ModelShape:
    """Models of some layers, dense or with windows or experts."""
    kv_heads = draw(st.sampled_from((1, 2, 4, 8)))
    shape = dense(
        draw(st.integers(1, 6)),
        embedding=draw(st.sampled_from((256, 512, 1024))),
        heads=kv_heads * draw(st.sampled_from((1, 2, 4))),
        kv_heads=kv_heads,
        head=draw(st.sampled_from((32, 64, 128))),
        ffn=256 * draw(st.integers(1, 12)),
        vocabulary=draw(st.sampled_from((1024, 32000, 151_936))),
        layer_bytes=draw(st.integers(1, 64)) * MIB,
        context=draw(st.sampled_from((2048, 8192, 40960))),
        tied=draw(st.booleans()),
    )
    kind = draw(st.sampled_from(("dense", "windows", "experts")))
    if kind == "windows":
        layers = tuple(replace(layer, window=512 if n % 2 else None) for n, layer in enumerate(shape.layers))
        return replace(shape, layers=layers)
    if kind == "experts":
        layers = tuple(replace(layer, experts=8) for layer in shape.layers)
        return replace(shape, layers=layers, experts_used=2, expert_ffn_length=512)
    return shape
