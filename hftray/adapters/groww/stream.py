"""The live feed under our own supervision: prices that are pushed, for as long as they come.

It is an addition to polling, never a condition for trading: nothing here raises into its owner. A
feed that is away, silent or refused shows no quotes, says so in `health`, and is tried again at a
growing distance. Every connection gets a new key and a new token, so one that ended with the day,
or was refused, is never used twice.

Needs the extra `groww`; without it the state is `unavailable` and everything else works.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING

from hftray.adapters.groww.stream_pace import ConnectPace
from hftray.adapters.groww.stream_quotes import Heard, PriceUpdate, QuoteBook, StreamKey
from hftray.adapters.groww.stream_state import (
    HOW_TO_INSTALL,
    MOST_SUBSCRIPTIONS,
    SocketTokens,
    StreamHealth,
    StreamOptions,
    StreamState,
    stream_available,
)
from hftray.core.errors import HftrayError, StopError
from hftray.observe import logger
from hftray.ports_source import Quote

if TYPE_CHECKING:
    from hftray.adapters.groww.stream_link import StreamLink

log = logger("groww.stream")

_WITHOUT_PRICES = (StreamState.CONNECTING, StreamState.CONNECTED, StreamState.WAITING)
_LOOKS = 3  # looks at the silence within the time that counts as mute


class GrowwStream:
    """Keeps one connection to the live feed and the newest quotes it brought.

    All methods belong to the event loop that `start` was called in. `now` gives market time,
    `in_session` whether any of the symbols trades then, `sleep` waits seconds of that clock,
    `chance` gives a number in [0, 1). `on_order_update` hears that an order (groww_order_id)
    changed, and not how: the feed's figures have no stated unit. `on_change` is called after each
    new price and each change of state. Both callbacks must be quick.
    """

    def __init__(
        self,
        options: StreamOptions,
        tokens: SocketTokens,
        *,
        now: Callable[[], datetime],
        in_session: Callable[[datetime], bool],
        on_order_update: Callable[[str], None] | None = None,
        on_change: Callable[[], None] = lambda: None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._options = options
        self._tokens = tokens
        self._now = now
        self._in_session = in_session
        self._on_order_update = on_order_update
        self._on_change = on_change
        self._sleep = sleep
        self._pace = ConnectPace(options, chance)
        self._book = QuoteBook()
        self._left_out = ""
        self._task: asyncio.Task[None] | None = None
        self._poked = asyncio.Event()
        self._watch_changed = False
        self._renewal = ""
        self._mark: object = None
        self._connections = 0
        self._subscribed = 0
        self._heard_at: datetime | None = None
        self._heard_here = False
        self._silent = False
        self._quiet_since = self._since = now()
        self._state, self._note = StreamState.STOPPED, ""
        if not stream_available():
            self._state, self._note = StreamState.UNAVAILABLE, HOW_TO_INSTALL

    def watch(self, keys: Mapping[str, StreamKey]) -> None:
        """Stream these symbols, now or once started; what exceeds Groww's limit is left to polling.

        ValueError when two symbols have one key.
        """
        room = MOST_SUBSCRIPTIONS - (self._on_order_update is not None)
        taken = dict(list(keys.items())[:room])
        self._book.watch(taken)
        beyond = len(keys) - len(taken)
        self._left_out = f"{beyond} symbols beyond Groww's limit are polled" if beyond else ""
        self._watch_changed = True
        self._poked.set()

    def start(self) -> None:
        """Connect and stay connected; nothing when it runs already or cannot run."""
        if self._task is None and self._state is not StreamState.UNAVAILABLE:
            self._set(StreamState.CONNECTING)
            self._task = asyncio.get_running_loop().create_task(self._supervise())
            self._task.add_done_callback(self._ended)

    async def stop(self) -> None:
        """Disconnect. Nothing is heard afterwards; `start` may follow."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
            self._silent = False
            self._set(StreamState.STOPPED)

    def renew(self, reason: str) -> None:
        """Log in anew with new credentials; a renewed session is noticed without being told."""
        self._renewal = reason
        self._poked.set()

    def newest(self) -> Mapping[str, Quote]:
        """The newest quote of each symbol that was heard of on the present connection.

        Empty unless the feed is live: an old price must not pass for the newest one.
        """
        return self._book.quotes() if self._state is StreamState.LIVE else {}

    def health(self) -> StreamHealth:
        """How the feed is at this moment."""
        return StreamHealth(
            state=self._state,
            since=self._since,
            subscribed=self._subscribed,
            last_message_at=self._heard_at,
            reconnects=max(0, self._connections - 1),
            note="; ".join(filter(None, (self._note, self._left_out))),
        )

    async def _supervise(self) -> None:
        while True:
            if (rest := self._pace.until_allowed(self._now())) > 0:
                self._set(StreamState.WAITING, f"{self._note}; too many connections in an hour")
                await self._pause(rest, patient=True)
            try:
                reason, refused = await self._connection(), False
            except HftrayError as error:
                reason, refused = str(error), isinstance(error, StopError)
            if self._renewal:
                self._set(StreamState.CONNECTING, reason)
                continue
            pause = self._pace.pause(hopeless=refused)
            self._set(StreamState.REFUSED if refused else StreamState.WAITING, reason)
            log.warning("live feed down", reason=reason, pause_seconds=round(pause, 1))
            await self._pause(pause)

    async def _connection(self) -> str:
        """One connection from its login to its end; why it ended. HftrayError."""
        from hftray.adapters.groww.stream_link import SocketKey, StreamLink

        begun = self._now()
        self._pace.attempt(begun)
        self._renewal, self._heard_here = "", False
        self._set(StreamState.CONNECTING, self._note)
        link = StreamLink(self._take, self._on_order_update)
        try:
            key = SocketKey()
            token = await self._tokens.socket_token(key.public)
            self._mark = self._tokens.session_mark()
            await link.open(self._options.url, key, token, self._options.timeout)
            self._connections += 1
            return await self._serve(link)
        finally:
            self._book.forget()
            self._subscribed = 0
            self._pace.ended(self._now() - begun, self._heard_here)
            await link.close()

    async def _serve(self, link: "StreamLink") -> str:
        self._quiet_since = self._now()
        await self._subscribe(link)
        self._set(StreamState.CONNECTED, link.refused)
        while True:
            self._poked.clear()
            if link.closed.is_set():
                return link.reason
            if self._tokens.session_mark() != self._mark:
                self.renew("the session was renewed")
            if self._renewal:
                return self._renewal
            if self._watch_changed:
                await self._subscribe(link)
            if self._is_mute():
                return self._note
            await _first(
                self._sleep(self._options.mute_after / _LOOKS),
                self._poked.wait(),
                link.closed.wait(),
            )

    async def _subscribe(self, link: "StreamLink") -> None:
        self._watch_changed = False
        keys = self._book.keys
        await link.subscribe(keys, self._options.timeout)
        self._subscribed = len(keys)

    def _is_mute(self) -> bool:
        now = self._now()
        if not self._subscribed or not self._in_session(now):
            self._quiet_since = now
            if self._silent:
                self._silent = False
                self._set(StreamState.CONNECTED)
        quiet = (now - self._quiet_since).total_seconds()
        if quiet < self._options.mute_after:
            return False
        self._silent = True
        self._set(StreamState.MUTE, f"no price for {quiet:.0f} seconds of the session")
        return True

    def _take(self, key: StreamKey, update: PriceUpdate) -> None:
        now = self._now()
        heard = self._book.take(key, update, now)
        if heard in (Heard.UNSOUND, Heard.UNKNOWN):
            return  # says nothing of the market, so it is silence
        self._heard_at = self._quiet_since = now
        self._heard_here = True
        self._silent = False
        if self._state is not StreamState.LIVE:
            self._set(StreamState.LIVE)
        elif heard is Heard.NEW:
            self._on_change()

    async def _pause(self, seconds: float, *, patient: bool = False) -> None:
        """Wait; unless patient, only until the credentials are renewed."""
        if seconds <= 0:
            return
        sleeping = asyncio.ensure_future(self._sleep(seconds))
        try:
            while not sleeping.done() and (patient or not self._renewal):
                self._poked.clear()
                await _first(sleeping, self._poked.wait())
        finally:
            sleeping.cancel()

    def _set(self, state: StreamState, note: str = "") -> None:
        if self._silent and state in _WITHOUT_PRICES:
            state = StreamState.MUTE
        if state is not self._state:
            log.info("live feed", state=state, note=note)
            self._state, self._since = state, self._now()
        self._note = note
        self._on_change()

    def _ended(self, task: asyncio.Task[None]) -> None:
        if task.cancelled():
            return
        log.error("live feed ended by a fault of ours", error=repr(task.exception()))
        self._task, self._silent = None, False
        self._set(StreamState.FAILED, "ended by a fault, see the log; prices are polled")


async def _first(*awaited: Awaitable[object]) -> None:
    """Until the first is done; those that became tasks here are ended."""
    tasks = [asyncio.ensure_future(one) for one in awaited]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task, one in zip(tasks, awaited, strict=True):
            if task is not one:
                task.cancel()
