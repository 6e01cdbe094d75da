"""One connection to the live feed: NATS inside a websocket, opened once and never reopened.

nats-py would reconnect with the credentials it was given, which end with the day, so its own
reconnecting is off and `stream` opens a new link with new credentials instead. Key and token live
in memory only. Needs the extra `groww`.
"""

import asyncio
import base64
import os
from collections.abc import Callable, Collection

import aiohttp
import nacl.signing
import nats.errors
import nkeys
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from hftray.adapters.groww.stream_quotes import PriceUpdate, StreamKey
from hftray.adapters.groww.stream_state import SocketToken
from hftray.adapters.groww.stream_wire import (
    orders_subject,
    price_subject,
    read_order_id,
    read_price,
)
from hftray.core.errors import BrokerUnavailable, DataError
from hftray.observe import logger

log = logger("groww.stream")

PING_SECONDS = 20  # a connection that answers two of them in a row with silence is given up
_FAULTS = (nats.errors.Error, aiohttp.ClientError, OSError)  # OSError: TimeoutError as well


class SocketKey:
    """A fresh key pair (Ed25519, NATS user key) that signs one login."""

    def __init__(self) -> None:
        raw = os.urandom(32)
        self._pair = nkeys.KeyPair(
            keys=nacl.signing.SigningKey(raw), seed=nkeys.encode_seed(raw, nkeys.PREFIX_BYTE_USER)
        )

    @property
    def public(self) -> str:
        """The public half as NATS writes it (U...)."""
        key: bytes = self._pair.public_key
        return key.decode()

    def sign(self, nonce: str) -> bytes:
        """The signature of a server's nonce, base64."""
        return base64.b64encode(self._pair.sign(nonce.encode()))


class StreamLink:
    """One login. `closed` is set when the connection is over, `reason` then says why.

    `refused` is what the server does not let us have, in its words.
    """

    def __init__(
        self,
        on_price: Callable[[StreamKey, PriceUpdate], None],
        on_order: Callable[[str], None] | None,
    ) -> None:
        self.closed = asyncio.Event()
        self.reason = ""
        self.refused = ""
        self._on_price = on_price
        self._on_order = on_order
        self._client = Client()
        self._begun = False
        self._connecting = True
        self._cause: Exception | None = None
        self._keys: dict[str, StreamKey] = {}
        self._orders = ""
        self._held: dict[str, Subscription] = {}

    async def open(self, url: str, key: SocketKey, token: SocketToken, timeout: float) -> None:
        """Log in. BrokerUnavailable when there is no connection at the end."""
        if self._on_order is not None:
            self._orders = orders_subject(token.subscription_id)
        self._begun = True
        try:
            async with asyncio.timeout(timeout):
                await self._client.connect(
                    url,
                    allow_reconnect=False,
                    user_jwt_cb=lambda: bytearray(token.jwt.encode()),
                    signature_cb=key.sign,
                    ping_interval=PING_SECONDS,
                    connect_timeout=max(1, int(timeout)),
                    error_cb=self._on_error,
                    closed_cb=self._on_closed,
                )
        except _FAULTS as error:
            raise BrokerUnavailable(f"live feed: {_reason(error)}") from error
        self._connecting = False

    async def subscribe(self, keys: Collection[StreamKey], timeout: float) -> None:
        """Hear of exactly these instruments, and of our orders, once the server has read that.

        BrokerUnavailable when the connection ends meanwhile.
        """
        self._keys = {price_subject(key): key for key in keys}
        wanted = [*([self._orders] if self._orders else []), *self._keys]
        try:
            for subject in self._held.keys() - wanted:
                await self._held.pop(subject).unsubscribe()
            for subject in wanted:
                if subject not in self._held:
                    self._held[subject] = await self._client.subscribe(subject, cb=self._heard)
            # nats-py's PING overtakes the subscriptions it still holds; the second one cannot.
            for _ in range(2):
                await self._client.flush(max(1, int(timeout)))
        except _FAULTS as error:
            raise BrokerUnavailable(f"live feed: {self.reason or _reason(error)}") from error

    async def close(self) -> None:
        """End the connection; nothing is heard afterwards."""
        self._connecting = False
        self._held.clear()
        if self._begun:
            await self._client.close()

    async def _heard(self, message: Msg) -> None:
        subject = message.subject
        try:
            if subject in self._keys:
                self._on_price(self._keys[subject], read_price(message.data))
            elif subject == self._orders and self._on_order is not None:
                order = read_order_id(message.data)
                if order is not None:
                    self._on_order(order)
        except DataError as error:
            log.warning("live feed message left out", subject=_public(subject), reason=str(error))

    async def _on_error(self, error: Exception) -> None:
        if self._connecting:
            raise error  # or nats-py would try again, once for ever
        if isinstance(error, nats.errors.UnexpectedEOF):
            # What the server said before it closed; the end of the stream will replace it.
            self._cause = self._client.last_error
        text = _public(_reason(error))
        if "permissions violation" in text:
            self.refused = text
        log.warning("live feed error", reason=text)

    async def _on_closed(self) -> None:
        error = self._cause or self._client.last_error
        self.reason = _public(_reason(error)) if error else "closed by the server"
        self.closed.set()


def _reason(error: BaseException) -> str:
    return str(error) or type(error).__name__


def _public(text: str) -> str:
    """The text without the subscription id, which is as good as a name of the account."""
    head, mark, _ = text.partition("stocks/order/updates.")
    return f"{head}{mark}***" if mark else text
