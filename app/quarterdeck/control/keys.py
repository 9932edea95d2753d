"""`/api/keys`: the API keys of clients."""

from __future__ import annotations

from fastapi import APIRouter, Response

from quarterdeck.control.services import Services
from quarterdeck.control.strict import StrictRoute
from quarterdeck.schemas.access import KeyCreate, KeyView, NewKey


def router(services: Services) -> APIRouter:
    """Routes of API keys. Names may contain slashes."""
    routes = APIRouter(prefix="/api/keys", tags=["keys"], route_class=StrictRoute)
    keys = services.keys

    @routes.get("")
    async def list_keys() -> list[KeyView]:
        """All keys, the oldest first; revoked ones too, and never their texts."""
        return keys.all()

    @routes.post("", status_code=201)
    async def add_key(new: KeyCreate, response: Response) -> NewKey:
        """Make a key. Its text is told here and never again."""
        response.headers["cache-control"] = "no-store"
        return await keys.add(new)

    @routes.delete("/{name:path}", status_code=204)
    async def revoke_key(name: str) -> Response:
        """End a key at once."""
        await keys.revoke(name)
        return Response(status_code=204)

    return routes
