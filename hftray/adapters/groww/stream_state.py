"""What the live feed tells about itself, what it needs to log in, and how it may be set."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from importlib.util import find_spec
from typing import Protocol

HOW_TO_INSTALL = "the live feed needs `pip install 'hftray[groww]'`; until then prices are polled"
MOST_SUBSCRIPTIONS = 1000  # Groww's limit


def stream_available() -> bool:
    """Whether the extra `groww` is installed."""
    try:
        return all(find_spec(name) for name in ("nats", "nkeys", "aiohttp", "google.protobuf"))
    except ModuleNotFoundError:  # not even the package around google.protobuf
        return False


@dataclass(frozen=True, slots=True)
class SocketToken:
    """What a login needs: the feed's own token (JWT) and the name of the account's order news."""

    jwt: str = field(repr=False)
    subscription_id: str = field(repr=False)


class SocketTokens(Protocol):
    """Who asks Groww for the right to log in."""

    def session_mark(self) -> object:
        """Something that changes when the session behind the tokens is renewed."""
        ...

    async def socket_token(self, public_key: str) -> SocketToken:
        """A token for the owner of this key. RetryError, StopError, RejectError, UnknownOutcome."""
        ...


class StreamState(StrEnum):
    """What the live feed is doing."""

    UNAVAILABLE = "unavailable"  # the extra is not installed
    STOPPED = "stopped"
    CONNECTING = "connecting"
    CONNECTED = "connected"  # subscribed, nothing heard yet
    LIVE = "live"  # the only state in which there are quotes
    MUTE = "mute"  # silent while the market trades; lasts until a price comes again
    WAITING = "waiting"  # before the next attempt
    REFUSED = "refused"  # the account may not use it; the operator must act
    FAILED = "failed"  # a fault of ours ended it


@dataclass(frozen=True, slots=True)
class StreamOptions:
    """Seconds are those of the injected clock, except `timeout`.

    `mute_after`: silence, of all symbols together, that counts as mute while the market trades.
    `first_pause`, `longest_pause`: between attempts, doubling, less up to half at random.
    `settled_after`: how long a feed must have run for the pauses to start small again.
    `connects_an_hour`: more than that are never made in any sliding hour.
    `timeout`: real seconds a login or a subscription may take.
    """

    url: str
    mute_after: float = 30.0
    first_pause: float = 2.0
    longest_pause: float = 300.0
    settled_after: float = 60.0
    connects_an_hour: int = 20
    timeout: float = 10.0


@dataclass(frozen=True, slots=True)
class StreamHealth:
    """How the feed is. `note` says why it is in this state, and what it leaves to polling."""

    state: StreamState
    since: datetime
    subscribed: int
    last_message_at: datetime | None
    reconnects: int
    note: str
