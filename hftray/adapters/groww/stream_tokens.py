"""Tokens for the live feed, asked for over the REST connection's session."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Protocol

from hftray.adapters.groww.errors import UnreadableReply
from hftray.adapters.groww.stream_state import SocketToken


class StreamLogins(Protocol):
    """What is needed of a Groww connection."""

    @property
    def token_expiry(self) -> datetime | None:
        """When the session's token ends."""
        ...

    async def stream_token(self, socket_key: str) -> Any:
        """The payload of Groww's answer to a public key."""
        ...


class ConnectionTokens:
    """A `SocketTokens` over a connection."""

    def __init__(self, connection: StreamLogins) -> None:
        self._connection = connection

    def session_mark(self) -> object:
        """The end of the session's token, which moves when the token is renewed."""
        return self._connection.token_expiry

    async def socket_token(self, public_key: str) -> SocketToken:
        """See `SocketTokens`; an answer without what a login needs is an UnreadableReply."""
        payload = await self._connection.stream_token(public_key)
        fields = payload if isinstance(payload, Mapping) else {}
        jwt, subscription_id = fields.get("token"), fields.get("subscriptionId")
        if not isinstance(jwt, str) or not jwt:
            raise UnreadableReply("live feed: the answer has no token")
        if not isinstance(subscription_id, str) or not subscription_id.replace("-", "").isalnum():
            raise UnreadableReply("live feed: the answer has no subscriptionId")
        return SocketToken(jwt, subscription_id)
