"""What a fake core knows of its clients: requests, keys, routes and how to connect."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from pydantic import BaseModel

from quarterdeck.schemas.access import (
    ConnectGuide,
    ConnectStep,
    ConnectTest,
    KeyCreate,
    KeyView,
    NewKey,
    ProxySnippet,
)
from quarterdeck.schemas.models import ModelView
from quarterdeck.schemas.requests import (
    Captured,
    MitigationView,
    RequestDetail,
    RequestView,
    RouteReport,
    RouteStep,
    RoutingRules,
    RoutingState,
    RuleProblem,
)

Answer = tuple[int, Any]


def make_request(number: int, **fields: Any) -> RequestView:
    from fake_core import NOW

    base: dict[str, Any] = {
        "id": f"r{number}", "at": NOW + timedelta(seconds=number), "path": "/v1/chat/completions", "model": "qwen3-8b",
        "asked": "qwen3-8b", "route": "exact", "backend": "embedded", "status": 200, "stream": True,
        "total_ms": 2400.0, "first_token_ms": 180.0, "waited_ms": 2.0, "tokens_per_second": 41.5,
        "prompt_tokens": 120, "completion_tokens": 96,
    }  # fmt: skip
    return RequestView(**(base | fields))


def captured(text: str) -> Captured:
    return Captured(text=text, size=len(text.encode()))


def make_guides() -> list[ConnectGuide]:
    return [
        ConnectGuide(client="openai", title="openai (Python)", dialect="openai",
                     fields={"Base URL": "http://127.0.0.1:8100/v1", "API key": "EMPTY", "Model": "qwen3-8b"},
                     snippet='client = OpenAI(base_url="http://127.0.0.1:8100/v1", api_key="EMPTY")',
                     notes=["Any text does as the key while there is no API key."]),
        ConnectGuide(client="open-webui-ollama", title="Open WebUI (Ollama)", dialect="ollama",
                     fields={"Ollama API": "http://127.0.0.1:8100"}),
    ]  # fmt: skip


class FakeClients:
    """Answers from plain attributes that a test sets."""

    def __init__(self) -> None:
        self.requests: list[RequestView] = []
        self.details: dict[str, RequestDetail] = {}
        self.keys: dict[str, KeyView] = {}
        self.guides = make_guides()
        self.test = ConnectTest(client="openai", ok=True, steps=[
            ConnectStep(title="Address", ok=True, sentence="It answers at http://127.0.0.1:8100."),
        ])  # fmt: skip
        self.snippets = [ProxySnippet(server="nginx", text="location / { proxy_buffering off; }"),
                         ProxySnippet(server="caddy", text="reverse_proxy 127.0.0.1:8100")]  # fmt: skip
        self.rules = RoutingRules()
        self.problems: list[RuleProblem] = []
        self.default_model = ""
        self.report: RouteReport | None = None

    def mitigations(self, model: ModelView) -> list[MitigationView]:
        policy = model.client_policy
        return [
            MitigationView(title="System prompt", sentence="Chats get the saved one.", on=bool(policy.system_prompt)),
            MitigationView(title="Fold the system role", sentence="It is folded.", on=bool(policy.fold_system)),
        ]

    def answer(self, method: str, parts: list[str], body: Any) -> Answer:
        match (method, *parts):
            case ("GET", "requests"):
                return 200, _dump(self.requests)
            case ("GET", "requests", identity) if identity in self.details:
                return 200, self.details[identity].model_dump(mode="json")
            case ("GET", "connect"):
                return 200, _dump(self.guides)
            case ("POST", "connect", "test"):
                return 200, self.test.model_dump(mode="json")
            case ("GET", "snippets"):
                return 200, _dump(self.snippets)
            case (_, "keys", *name):
                return self._keys(method, name, body)
            case (_, "routing", *_):
                return self._routing(method, parts, body)
        return 404, {"detail": f"There is nothing at /api/{'/'.join(parts)}.", "code": "not_found", "hint": ""}

    def _keys(self, method: str, name: list[str], body: Any) -> Answer:
        from fake_core import NOW

        match method, name:
            case "GET", []:
                return 200, _dump(self.keys.values())
            case "POST", []:
                new = KeyCreate.model_validate(body)
                if new.name in self.keys:
                    return 409, {"detail": f"There is already a key named “{new.name}”.", "code": "key_exists",
                                 "hint": "Choose another name."}  # fmt: skip
                view = KeyView(**new.model_dump(), begins_with="qd-abcde", created_at=NOW)
                self.keys[new.name] = view
                return 200, NewKey(key="qd-abcdefghijkl", view=view).model_dump(mode="json")
            case "DELETE", [known] if known in self.keys:
                self.keys[known] = self.keys[known].model_copy(update={"revoked_at": NOW})
                return 200, self.keys[known].model_dump(mode="json")
        return 404, {"detail": "There is no such key.", "code": "unknown_key", "hint": ""}

    def _routing(self, method: str, parts: list[str], body: Any) -> Answer:
        match (method, *parts):
            case ("POST", "routing", "test"):
                return 200, self._report(body).model_dump(mode="json")
            case ("PUT", "routing"):
                self.rules = RoutingRules.model_validate(body)
        state = RoutingState(rules=self.rules, problems=self.problems, default_model=self.default_model)
        return 200, state.model_dump(mode="json")

    def _report(self, body: dict[str, Any]) -> RouteReport:
        if self.report is not None:
            return self.report
        name = body["model"]
        down = name in body["down"]
        return RouteReport(
            asked=name, rule=None if down else "exact", model=None if down else name,
            backend=None if down else "embedded", tried=[] if down else [name],
            steps=[RouteStep(rule="exact", fits=not down, sentence=f"A model is named “{name}”.")],
            problem=f"{name} is down, and nothing stands in for it." if down else None,
        )  # fmt: skip


def _dump(items: Iterable[BaseModel]) -> list[Any]:
    return [item.model_dump(mode="json") for item in items]
