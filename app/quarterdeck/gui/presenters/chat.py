"""The figures of one streamed answer. Times are seconds of a monotonic clock given by the caller."""

from __future__ import annotations

from typing import Any, NamedTuple

from quarterdeck.gui.presenters import text


class Piece(NamedTuple):
    """What one chunk of a stream adds: visible text, and whether the model is thinking aloud."""

    words: str
    thinking: bool
    tokens: int | None


def piece(chunk: dict[str, Any]) -> Piece:
    """Read a chat completion chunk; `tokens` is the engine's own count where it is told."""
    choices = chunk.get("choices") or [{}]
    delta = choices[0].get("delta") or {}
    usage = chunk.get("usage") or {}
    thought = delta.get("reasoning_content") or delta.get("reasoning")
    return Piece(delta.get("content") or "", bool(thought), usage.get("completion_tokens"))


class ChatFigures:
    """Measures time to first token and tokens per second while an answer arrives."""

    def __init__(self, sent_at: float) -> None:
        self._sent_at = sent_at
        self._first_at: float | None = None
        self._last_at = sent_at
        self._pieces = 0
        self._counted: int | None = None

    def take(self, piece: Piece, now: float) -> None:
        if piece.words or piece.thinking:
            self._pieces += 1
            self._last_at = now
            if self._first_at is None:
                self._first_at = now
        if piece.tokens is not None:
            self._counted = piece.tokens

    @property
    def tokens(self) -> int:
        """The engine's count where it told one, else the number of pieces, which is one a token at most engines."""
        return self._counted if self._counted is not None else self._pieces

    @property
    def first_token_s(self) -> float | None:
        return None if self._first_at is None else self._first_at - self._sent_at

    @property
    def tokens_per_second(self) -> float | None:
        """The rate after the first token; None before there are two."""
        if self._first_at is None or self.tokens < 2 or self._last_at <= self._first_at:
            return None
        return (self.tokens - 1) / (self._last_at - self._first_at)

    def line(self) -> str:
        """The figures in words; empty before the first token."""
        if self.first_token_s is None:
            return ""
        parts = [f"First token after {_short(self.first_token_s)}"]
        if self.tokens_per_second is not None:
            parts.append(f"{self.tokens_per_second:.1f} tokens/s")
        parts.append("1 token" if self.tokens == 1 else f"{self.tokens} tokens")
        return " · ".join(parts)


def _short(seconds: float) -> str:
    return f"{round(seconds * 1000)} ms" if seconds < 1 else text.duration(seconds)
