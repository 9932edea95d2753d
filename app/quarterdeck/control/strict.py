"""Routes of the control API that read JSON as the clients' routes do: nothing that could not be stored or answered."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute

from quarterdeck.proxy.reading import decoded

_HALF = re.compile(rb"\\u[dD][89a-fA-F]")
"""Where half a character might be; also where a whole one is written as two."""


class StrictRoute(APIRoute):
    """For the `route_class` of routers. A body that is not well is answered with 400."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def strict(request: Request) -> Response:
            return await handle(_StrictRequest(request.scope, request.receive))

        return strict


class _StrictRequest(Request):
    async def json(self) -> Any:
        """Raises json.JSONDecodeError, for which the framework has an answer."""
        body = await self.body()
        try:
            value = decoded(body)
            if _HALF.search(body):
                json.dumps(value, ensure_ascii=False).encode()
        except json.JSONDecodeError:
            raise
        except UnicodeEncodeError:
            raise json.JSONDecodeError("a text holds half a character", "", 0) from None
        except RecursionError:
            raise json.JSONDecodeError("it is nested too deeply", "", 0) from None
        except ValueError as error:
            raise json.JSONDecodeError(str(error), "", 0) from None
        return value
