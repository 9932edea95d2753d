"""JSON as an answer, whatever is in it."""

from __future__ import annotations

import json
from typing import Any

from starlette.responses import JSONResponse


class JsonAnswer(JSONResponse):
    """JSON in plain ASCII: half a character in a text of a client or a backend, which UTF-8 cannot hold, comes back."""

    def render(self, content: Any) -> bytes:
        return json.dumps(content, separators=(",", ":")).encode()
