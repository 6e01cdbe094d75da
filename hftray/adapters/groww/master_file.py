"""The instrument list kept on disk: one download a trading day, an older copy when that fails.

The file's name holds the day it was fetched for. Groww renews the list in the morning, so a day
here begins at 08:00 IST. A download takes the place of the old copy only once it has been read to
its end and holds shares.
"""

import asyncio
import contextlib
import os
import tempfile
from collections.abc import Callable
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import BinaryIO

import httpx

from hftray.adapters.groww.errors import UnreadableReply
from hftray.adapters.groww.master import Master, read_master
from hftray.core.errors import BrokerUnavailable
from hftray.core.session import IST
from hftray.observe import logger

log = logger("groww.master")

_DAY_BEGINS = timedelta(hours=8)
_NAME = "instruments-{day}.csv"
# About 24 MB; a slow line needs longer than an API call may take.
_DOWNLOAD_SECONDS = 120.0
# After a failed download the stale copy serves this long before the next attempt.
_RETRY_AFTER = timedelta(minutes=10)


class MasterFile:
    """The day's instrument list from memory, disk, or the network, in this order.

    `now` gives market time. The folder is made when needed.
    """

    def __init__(
        self,
        url: str,
        folder: Path,
        now: Callable[[], datetime],
        *,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._url = url
        self._folder = folder
        self._now = now
        self._transport = transport
        self._lock = asyncio.Lock()
        self._master: Master | None = None
        self._next_try: datetime | None = None
        self._reason = ""

    async def load(self) -> Master:
        """The list of the present day, or with a logged warning the newest older one.

        BrokerUnavailable when there is none and it cannot be fetched.
        """
        async with self._lock:
            now = self._now()
            day = (now.astimezone(IST) - _DAY_BEGINS).date()
            if self._master is not None and self._master.day >= day:
                return self._master
            if self._master is not None and self._next_try is not None and now < self._next_try:
                return self._master
            self._master = await self._todays(day) or await self._older(day, now)
            return self._master

    async def _todays(self, day: date) -> Master | None:
        path = self._folder / _NAME.format(day=day)
        if path.exists() and (master := await _read(path, day)) is not None:
            return master
        try:
            master = await self._download(path, day)
        except (BrokerUnavailable, OSError) as error:
            log.warning("no new instrument list", day=day.isoformat(), reason=str(error))
            self._reason = str(error)
            return None
        for old in self._folder.glob(_NAME.format(day="*")):
            if old != path:
                old.unlink(missing_ok=True)
        log.info("instrument list fetched", day=day.isoformat(), shares=len(master.shares))
        return master

    async def _older(self, day: date, now: datetime) -> Master:
        self._next_try = now + _RETRY_AFTER
        if self._master is not None:
            return self._master
        for path in sorted(self._folder.glob(_NAME.format(day="*")), reverse=True):
            kept = _day_of(path)
            if kept is not None and (master := await _read(path, kept)) is not None:
                log.warning("an older instrument list serves", of=kept.isoformat())
                return master
        raise BrokerUnavailable(f"no instrument list for {day}: {self._reason}")

    async def _download(self, path: Path, day: date) -> Master:
        await asyncio.to_thread(self._folder.mkdir, parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix="instruments-", suffix=".part", dir=self._folder)
        part = Path(name)
        try:
            with os.fdopen(handle, "wb") as file:
                async with asyncio.timeout(_DOWNLOAD_SECONDS):
                    await self._fetch(file)
            master = await asyncio.to_thread(_parse, part, day)
            part.replace(path)
        except (TimeoutError, httpx.HTTPError, UnicodeDecodeError) as error:
            raise BrokerUnavailable(f"{self._url}: {type(error).__name__} {error}") from None
        finally:
            part.unlink(missing_ok=True)
        return master

    async def _fetch(self, file: BinaryIO) -> None:
        async with (
            httpx.AsyncClient(transport=self._transport, follow_redirects=True) as client,
            client.stream("GET", self._url) as response,
        ):
            if response.status_code != 200:
                raise BrokerUnavailable(f"{self._url}: {response.status_code}")
            async for block in response.aiter_bytes():
                file.write(block)


async def _read(path: Path, day: date) -> Master | None:
    try:
        return await asyncio.to_thread(_parse, path, day)
    except (OSError, UnicodeDecodeError, UnreadableReply) as error:
        log.warning("an instrument list on disk cannot be read", file=path.name, reason=str(error))
        return None


def _parse(path: Path, day: date) -> Master:
    with path.open(encoding="utf-8-sig", newline="") as lines:
        return read_master(lines, day)


def _day_of(path: Path) -> date | None:
    with contextlib.suppress(ValueError):
        return date.fromisoformat(path.stem.removeprefix("instruments-"))
    return None
