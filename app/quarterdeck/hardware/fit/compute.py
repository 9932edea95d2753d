"""The compute buffer of llama.cpp: the steps of its largest pass, laid out as the engine lays them out.

The steps follow the engine's own order for a decoder of the usual kind, with experts, latent attention or a recurrent
state where a layer has them. `tests/benchmarks/bench_estimate.py` compares the result with what the engine prints.
"""

from __future__ import annotations

from dataclasses import dataclass

from quarterdeck.hardware.fit.replay import Tape
from quarterdeck.schemas.shape import LayerShape, ModelShape

_F32 = 4
_INDEX = 8
# Every layer of one kind leaves the same gaps, so that the second one of it shows all there is.
_LAYERS_OF_A_KIND = 2


@dataclass(frozen=True, slots=True)
class Batch:
    """The largest pass. `tokens` are computed at once, `outputs` of them give logits.

    `cells` and `window_cells` are the sizes of the full and of the sliding KV cache of one stream of tokens.
    """

    tokens: int
    outputs: int
    cells: int
    window_cells: int
    flash: bool = True
    pooled: bool = False


def compute_bytes(shape: ModelShape, batch: Batch) -> int:
    """Bytes of the compute buffer of the device that runs all layers."""
    return _Pass(shape, batch).bytes()


def input_bytes(shape: ModelShape, batch: Batch) -> int:
    """Bytes that stay in main memory when a GPU runs all layers: what is filled in and the embedded tokens."""
    masks = batch.cells + (batch.window_cells if shape.has_windows else 0)
    return batch.tokens * (3 * shape.embedding_length * _F32 + masks * _mask_bytes(batch))


def _mask_bytes(batch: Batch) -> int:
    return 2 if batch.flash else 4


class _Pass:
    def __init__(self, shape: ModelShape, batch: Batch) -> None:
        self._shape = shape
        self._batch = batch
        self._tape = Tape()
        self._rows = batch.tokens

    def bytes(self) -> int:
        tape, batch = self._tape, self._batch
        width = self._row(self._shape.embedding_length)
        tokens, mixed_tokens = tape.input(batch.tokens * 4), tape.input(batch.tokens * 4)
        # The engine lays out all ways in which a batch may come: as vectors (never read in this one), and mixed.
        tape.input(width)
        mixed_vectors, mixed_places = tape.input(width), tape.input(batch.tokens * _INDEX)
        self._positions = tape.input(batch.tokens * 4)
        self._key_places = tape.input(batch.tokens * _INDEX)
        self._value_places = tape.input(batch.tokens * _INDEX * (1 if batch.flash else self._widest_value()))
        self._masks = self._make_masks()
        self._wanted = tape.input(batch.outputs * 4)
        current = tape.new(width, tokens)
        # The result of the mixed way is never freed, because nobody reads it.
        further = tape.new(width, mixed_tokens)
        tape.view(tape.new(width, mixed_vectors), further, mixed_places)
        layers = _telling(self._shape.layers)
        for number, layer in enumerate(layers):
            current = self._layer(layer, current, last=number == len(layers) - 1)
        normed = tape.over(tape.new(self._row(self._shape.embedding_length), current), kept=batch.pooled)
        if self._shape.cached:
            tape.new(self._row(self._shape.vocab_size), normed, kept=True)
        return tape.high_water()

    def _widest_value(self) -> int:
        """Without flash attention values are stored one by one, each with a place of its own."""
        return max((layer.value_values for layer in self._shape.layers), default=1) or 1

    def _row(self, width: int) -> int:
        return width * self._rows * _F32

    def _make_masks(self) -> dict[bool, int]:
        """The masks of the full and of the windowed layers."""
        tape, batch = self._tape, self._batch
        each = batch.tokens * _mask_bytes(batch)
        kinds = sorted({layer.window is not None for layer in self._shape.layers if layer.heads})
        return {kind: tape.input((batch.window_cells if kind else batch.cells) * each) for kind in kinds}

    def _layer(self, layer: LayerShape, before: int, *, last: bool) -> int:
        tape, width = self._tape, self._shape.embedding_length
        self._rows = self._batch.tokens
        # A file may tell of neither: its layers then mix nothing.
        mixed = normed = tape.over(tape.new(self._row(width), before))
        if layer.state_values:
            mixed = self._recurrent(layer, normed)
        if layer.heads:
            mixed = self._attention(layer, normed)
        if last:
            self._rows = self._batch.outputs
            mixed = tape.new(self._row(width), mixed, self._wanted)
            before = tape.new(self._row(width), before, self._wanted)
        added = tape.over(mixed, before)
        if not layer.ffn_length and not layer.experts:
            return added
        normed = tape.over(tape.new(self._row(width), added))
        return tape.over(self._experts(normed) if layer.experts else self._gated(layer.ffn_length, normed), added)

    def _attention(self, layer: LayerShape, normed: int) -> int:
        tape, batch = self._tape, self._batch
        query = tape.view(tape.new(self._row(layer.heads * layer.key_length), normed))
        query = tape.over(query, self._positions)
        value = tape.view(tape.new(self._row(layer.value_values), normed))
        key = tape.view(tape.new(self._row(layer.key_values), normed))
        key = tape.over(key, self._positions)
        tape.stored(key, self._key_places)
        tape.stored(value, self._value_places)
        mask = self._masks[layer.window is not None]
        result = self._row(layer.heads * layer.value_length)
        if batch.flash:
            mixed = tape.new(result, tape.view(query), mask)
        else:
            cells = batch.cells if layer.window is None else batch.window_cells
            scores = tape.over(tape.new(self._row(cells * layer.heads), tape.view(query)), mask)
            mixed = tape.new(result, tape.view(tape.new(result, scores)))
        return tape.new(self._row(self._shape.embedding_length), tape.view(mixed))

    def _recurrent(self, layer: LayerShape, normed: int) -> int:
        tape, inner = self._tape, self._shape.inner_length or self._shape.embedding_length
        both = tape.new(self._row(2 * inner), normed)
        rolled = tape.new(self._row(inner) + layer.state_values * _F32, tape.view(both))
        convolved = tape.over(tape.new(self._row(inner), rolled))
        steps = tape.new(self._row(inner), convolved)
        scanned = tape.new(self._row(inner) + layer.state_values * _F32, steps, convolved)
        gated = tape.new(self._row(inner), tape.view(both), tape.view(scanned))
        return tape.new(self._row(self._shape.embedding_length), gated)

    def _gated(self, inner: int, normed: int) -> int:
        tape = self._tape
        gate = tape.new(self._row(inner), normed)
        up = tape.new(self._row(inner), normed)
        return tape.new(self._row(self._shape.embedding_length), tape.new(self._row(inner), gate, up))

    def _experts(self, normed: int) -> int:
        tape, shape = self._tape, self._shape
        used, inner = max(shape.experts_used, 1), shape.expert_ffn_length
        layer = max(layer.experts for layer in shape.layers)
        scores = tape.over(tape.new(self._row(layer), normed))
        chosen = tape.view(tape.new(self._row(layer), scores))
        weights = tape.new(self._row(used), scores, chosen)
        seen = tape.view(normed)
        up = tape.new(self._row(used * inner), seen, chosen)
        gate = tape.new(self._row(used * inner), seen, chosen)
        results = tape.new(
            self._row(used * shape.embedding_length), tape.new(self._row(used * inner), gate, up), chosen
        )
        weighted = tape.over(results, weights)
        mixed = tape.view(weighted)
        for number in range(1, used):
            mixed = self._add_expert(mixed, tape.view(weighted), first=number == 1)
        if shape.shared_ffn_length:
            mixed = tape.over(mixed, self._gated(shape.shared_ffn_length, normed))
        return mixed

    def _add_expert(self, mixed: int, further: int, *, first: bool) -> int:
        if first:
            return self._tape.new(self._row(self._shape.embedding_length), mixed, further)
        return self._tape.over(mixed, further)


def _telling(layers: tuple[LayerShape, ...]) -> list[LayerShape]:
    """The layers that show how large the buffer becomes: some of each kind, and the last one."""
    seen: dict[tuple[object, ...], int] = {}
    telling = []
    for number, layer in enumerate(layers):
        kind = (layer.heads, layer.key_values, layer.window, layer.ffn_length, layer.experts, layer.state_values)
        seen[kind] = seen.get(kind, 0) + 1
        if seen[kind] <= _LAYERS_OF_A_KIND or number == len(layers) - 1:
            telling.append(layer)
    return telling
