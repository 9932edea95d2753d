"""Shares requests among models by weight, evenly and not by chance."""

from __future__ import annotations

from collections.abc import Mapping


class Shares:
    """Whose turn it is, for each name. The turns of any stretch of requests are as near to the weights as can be."""

    def __init__(self) -> None:
        self._credit: dict[str, dict[str, float]] = {}

    def draw(self, name: str, weights: Mapping[str, float]) -> str:
        """The next of the models for `name`; weights are above 0. Models that come and go in between are fine."""
        before = self._credit.get(name, {})
        credit = {model: before.get(model, 0.0) + weight for model, weight in weights.items()}
        chosen = max(credit, key=lambda model: credit[model])
        credit[chosen] -= sum(weights.values())
        self._credit[name] = credit
        return chosen

    def peek(self, name: str, weights: Mapping[str, float]) -> str:
        """Whose turn it would be; takes no turn."""
        before = self._credit.get(name, {})
        return max(weights, key=lambda model: before.get(model, 0.0) + weights[model])

    def forget(self) -> None:
        """The rules have changed."""
        self._credit.clear()
