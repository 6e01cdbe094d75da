"""The access token: minted when it is first needed, shared by all callers, renewed in time.

Two flows, by what the credentials hold: a TOTP secret (`key_type: totp`), else the API secret
(`key_type: approval`: a checksum of secret and time; the key has to be approved every morning).
The token lives in memory only. Groww allows 150 mints a day, so failures are followed by growing
pauses in which callers get the last failure again, and a fresh token that is refused is not
replaced at once.
"""

import asyncio
import base64
import binascii
import hashlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from math import inf
from typing import Any

from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.twofactor.totp import TOTP

from hftray.core.errors import BrokerUnavailable, ConfigError, StopError
from hftray.core.session import IST
from hftray.observe import logger

log = logger("groww.session")

# A token is replaced this long before its end, or in the last tenth of a life shorter than that.
_RENEWAL_MARGIN = timedelta(minutes=5)
# After a mint that failed, or whose token was refused, none is tried for so long: first, at most
# (seconds). Doubles in between; 15 minutes keep a whole day of failures within 150 mints.
_FIRST_PAUSE = 5.0
_LONGEST_PAUSE = 900.0
_TOTP_DIGITS = 6
_TOTP_SECONDS = 30

Mint = Callable[[str, Mapping[str, Any]], Awaitable[Mapping[str, Any]]]
"""Sends the API key and the body of a token request and gives the answer's fields."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """A Groww API key and what proves it; the TOTP secret is used when both are there."""

    api_key: str = field(repr=False)
    api_secret: str | None = field(default=None, repr=False)
    totp_secret: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class _Token:
    text: str = field(repr=False)
    expiry: datetime | None
    renew_at: datetime | None


class Session:
    """Hands out the access token. `clock` is seconds for pauses, `wall` the time of day."""

    def __init__(
        self,
        credentials: Callable[[], Awaitable[Credentials]],
        mint: Mint,
        *,
        clock: Callable[[], float],
        wall: Callable[[], datetime],
    ) -> None:
        self._credentials = credentials
        self._mint = mint
        self._clock = clock
        self._wall = wall
        self._lock = asyncio.Lock()
        self._token: _Token | None = None
        self._refused: set[str] = set()  # the present token, when Groww does not take it
        self._failure: BrokerUnavailable | StopError | None = None
        self._failures = 0
        self._not_before = -inf

    @property
    def expiry(self) -> datetime | None:
        """When the present token ends; None without one, and where Groww did not say."""
        return self._token.expiry if self._token else None

    async def token(self) -> str:
        """A token that is good now. BrokerUnavailable, AccessDenied, ConfigError."""
        if (token := self._good()) is not None:
            return token
        async with self._lock:
            return self._good() or await self._renew()

    async def replace(self, refused: str) -> str:
        """A token other than the one that was just answered 401.

        Whoever comes with an older token gets the present one; the first who comes with the
        present one has it replaced. BrokerUnavailable while replacing must pause.
        """
        if self._token is not None and self._token.text == refused:
            self._refused = {refused}
        return await self.token()

    def accepted(self, token: str) -> None:
        """A call with this token was let in: the next renewal need not pause."""
        if self._token is not None and self._token.text == token:
            self._failures = 0
            self._failure = None
            self._not_before = -inf

    def _good(self) -> str | None:
        token = self._token
        if token is None or token.text in self._refused:
            return None
        now = self._wall()
        if token.renew_at is None or now < token.renew_at:
            return token.text
        # Renewal is due, but while it has to pause the old token does until its end.
        pausing = self._clock() < self._not_before
        return token.text if pausing and token.expiry is not None and now < token.expiry else None

    async def _renew(self) -> str:
        if self._clock() < self._not_before:
            raise self._again()
        try:
            fields = await self._ask()
            token = self._read(fields)
        except (BrokerUnavailable, StopError) as error:
            self._pause(error)
            log.warning("no new access token", reason=str(error), pause=self._pause_left())
            if (old := self._good()) is not None:
                return old
            raise
        # Until a call with it was let in, the new token is no proof that minting helps.
        self._pause(BrokerUnavailable("Groww refuses the access token it gave out last"))
        self._token = token
        self._refused = set()
        log.info("new session", expires=token.expiry and token.expiry.isoformat())
        return token.text

    async def _ask(self) -> Mapping[str, Any]:
        credentials = await self._credentials()
        return await self._mint(credentials.api_key, _proof(credentials, self._wall()))

    def _read(self, fields: Mapping[str, Any]) -> _Token:
        text = fields.get("token")
        if not isinstance(text, str) or not text:
            raise BrokerUnavailable("the token endpoint's answer holds no token")
        if fields.get("isActive") is False:
            log.warning("groww calls the new session inactive; is the key approved for today?")
        now = self._wall()
        expiry = _moment(fields.get("expiry"))
        if expiry is not None and expiry <= now:
            # A zone we misread, or a wrong clock here: renewing by it would never end.
            log.warning("the new token's expiry is past", expiry=expiry.isoformat())
            expiry = None
        if expiry is None:
            return _Token(text, None, None)
        return _Token(text, expiry, expiry - min(_RENEWAL_MARGIN, (expiry - now) / 10))

    def _pause(self, failure: BrokerUnavailable | StopError) -> None:
        self._failures += 1
        pause = min(_FIRST_PAUSE * 2.0 ** min(self._failures - 1, 16), _LONGEST_PAUSE)
        self._not_before = self._clock() + pause
        self._failure = failure

    def _pause_left(self) -> float:
        return round(max(0.0, self._not_before - self._clock()), 3)

    def _again(self) -> BrokerUnavailable | StopError:
        assert self._failure is not None  # set with _not_before
        return type(self._failure)(
            f"{self._failure}; the next attempt to log in is in {self._pause_left():.0f} seconds"
        )


def _proof(credentials: Credentials, now: datetime) -> dict[str, Any]:
    if credentials.totp_secret:
        return {"key_type": "totp", "totp": _totp(credentials.totp_secret, now)}
    if not credentials.api_secret:
        raise ConfigError("groww.api_secret: set it (GROWW_API_SECRET), or groww.totp_secret")
    # Groww accepts the time for ten minutes, so a clock may be that wrong.
    seconds = int(now.timestamp())
    checksum = hashlib.sha256(f"{credentials.api_secret}{seconds}".encode()).hexdigest()
    return {"key_type": "approval", "checksum": checksum, "timestamp": seconds}


def _totp(secret: str, now: datetime) -> str:
    text = secret.replace(" ", "").upper()
    try:
        key = base64.b32decode(text + "=" * (-len(text) % 8))
    except binascii.Error:
        raise ConfigError(
            "groww.totp_secret: not base32 (A-Z, 2-7); it is the text shown beside the QR code, "
            "not the API secret"
        ) from None
    # Groww's secrets need not have the 128 bits that RFC 4226 asks for.
    codes = TOTP(key, _TOTP_DIGITS, SHA1(), _TOTP_SECONDS, enforce_key_length=False)
    return codes.generate(int(now.timestamp())).decode()


def _moment(value: object) -> datetime | None:
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=IST)
