"""One client of the loopback's live feed: the NATS text protocol inside a websocket.

Spoken are INFO, CONNECT, PING, PONG, SUB, UNSUB, MSG, +OK and -ERR. Publishing is refused, as the
feed's clients only read. A client must log in before anything else.
"""

import asyncio
import json
import re
import secrets
from collections.abc import Callable
from threading import Condition

from aiohttp import WSMessage, WSMsgType, web

from hftray.testing.groww.feed_login import FeedLogins, Login, LoginRefused

MOST_SUBSCRIPTIONS = 1000
# A client that reads too slowly is cut off, as NATS does, instead of filling our memory.
_LONGEST_QUEUE = 50_000
_MARKET = re.compile(r"/ld/(?:eq/(?:nse|bse)/(?:price|book)|indices/(?:nse|bse)/price)\.[\w-]+")


class FeedClient:
    """Reads a client's commands and sends it messages in order.

    All methods belong to the server's event loop. State changes under `changed`, which is notified
    of each command. `refuse` says whether logins are refused at the moment, `let_in` hears of
    those that are not.
    """

    def __init__(
        self,
        socket: web.WebSocketResponse,
        logins: FeedLogins,
        *,
        refuse: Callable[[], bool],
        changed: Condition,
        let_in: Callable[[Login], None],
    ) -> None:
        self.login: Login | None = None
        self.subscriptions: dict[str, str] = {}  # subscription's number: subject
        self.most = 0  # subscriptions at a time, the highest seen
        self.pongs = 0
        self._socket = socket
        self._logins = logins
        self._refuse = refuse
        self._changed = changed
        self._let_in = let_in
        self._nonce = secrets.token_urlsafe(11)
        self._verbose = False
        self._payload = 0  # bytes of a refused PUB still to come
        self._outgoing: asyncio.Queue[bytes | None] = asyncio.Queue()

    async def run(self) -> None:
        """Serve the client until either side ends the connection."""
        info = {
            "server_id": "hftray-loopback", "version": "2.10.0", "proto": 1, "headers": True,
            "max_payload": 1 << 20, "auth_required": True, "nonce": self._nonce,
        }  # fmt: skip
        self._send(f"INFO {json.dumps(info)}")
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._write())
            await self._read()
            self._outgoing.put_nowait(None)

    def publish(self, subject: str, payload: bytes) -> None:
        """Send a message to each of the client's subscriptions to the subject."""
        if self._outgoing.qsize() > _LONGEST_QUEUE:
            self.end("Slow Consumer")
            return
        for number, held in list(self.subscriptions.items()):
            if held == subject:
                head = f"MSG {subject} {number} {len(payload)}\r\n".encode()
                self._outgoing.put_nowait(head + payload + b"\r\n")

    def ping(self) -> None:
        """Ask for a PONG; `pongs` grows when it comes."""
        self._send("PING")

    def end(self, error: str) -> None:
        """Say an error and end the connection."""
        self.subscriptions.clear()
        self._send(f"-ERR '{error}'")
        self._outgoing.put_nowait(None)

    def expire(self) -> None:
        """End the connection if its token no longer holds."""
        if self.login is not None:
            try:
                self._logins.still_good(self.login)
            except LoginRefused as refusal:
                self.end(str(refusal))

    def _send(self, line: str) -> None:
        self._outgoing.put_nowait(f"{line}\r\n".encode())

    async def _write(self) -> None:
        while (data := await self._outgoing.get()) is not None:
            try:
                await self._socket.send_bytes(data)
            except ConnectionError:
                return  # the reader ends as well
        await self._socket.close()

    async def _read(self) -> None:
        held = b""
        async for message in self._socket:
            held = self._commands(held + _bytes(message))

    def _commands(self, data: bytes) -> bytes:
        """Obey every whole command; what is left of the data."""
        while True:
            if self._payload:
                if len(data) < self._payload:
                    return data
                data, self._payload = data[self._payload :], 0
            line, end, rest = data.partition(b"\r\n")
            if not end:
                return data
            data = rest
            with self._changed:
                self._obey(line.decode())
                self._changed.notify_all()

    def _obey(self, line: str) -> None:
        verb, _, text = line.partition(" ")
        words = text.split()
        match verb.upper():
            case "CONNECT":
                self._connect(text)
            case "PING":
                self._send("PONG")
            case "PONG":
                self.pongs += 1
            case "SUB" if len(words) in (2, 3) and self.login:
                self._subscribe(words[0], words[-1])
            case "UNSUB" if words and self.login:
                self.subscriptions.pop(words[0], None)
            case "PUB" if len(words) in (2, 3) and self.login and words[-1].isdigit():
                self._payload = int(words[-1]) + len(b"\r\n")
                self._send(f"-ERR 'Permissions Violation for Publish to \"{words[0]}\"'")
            case "SUB" | "UNSUB" | "PUB" if not self.login:
                self.end("Authorization Violation")
            case _:
                self.end("Unknown Protocol Operation")

    def _connect(self, text: str) -> None:
        try:
            options = json.loads(text)
            if self._refuse():
                raise LoginRefused("Authorization Violation")
            self.login = self._logins.check(options, self._nonce)
        except LoginRefused as refusal:
            self.end(str(refusal))
        except ValueError:
            self.end("Parser Error")
        else:
            self._let_in(self.login)
            if options.get("verbose"):
                self._send("+OK")

    def _subscribe(self, subject: str, number: str) -> None:
        own = f"stocks/order/updates.apex.{self._logins.subscription_id}"
        if subject != own and not _MARKET.fullmatch(subject):
            self._send(f"-ERR 'Permissions Violation for Subscription to \"{subject}\"'")
        elif len(self.subscriptions) >= MOST_SUBSCRIPTIONS:
            self._send("-ERR 'maximum subscriptions exceeded'")
        else:
            self.subscriptions[number] = subject
            self.most = max(self.most, len(self.subscriptions))


def _bytes(message: WSMessage) -> bytes:
    if message.type is WSMsgType.TEXT:
        return bytes(message.data, "utf-8")
    return bytes(message.data) if message.type is WSMsgType.BINARY else b""
