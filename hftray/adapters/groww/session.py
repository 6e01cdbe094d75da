"""The access token: minted when it is first needed, shared by all callers, renewed in time.

Two flows, by what the credentials hold: a TOTP secret (`key_type: totp`), else the API secret
(`key_type: approval`: a checksum of secret and time; the key has to be approved every morning).
The token lives in memory only. Groww allows 150 mints a day, so failures are followed by growing
pauses in which callers get the last failure again, tokens that are refused one after the other
likewise, and `LoginPace` spreads what is left.
"""

import asyncio
import base64
import binascii
import contextlib
import hashlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from math import inf
from typing import Any

from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.twofactor.totp import TOTP

from hftray.adapters.groww.login_pace import LoginPace
from hftray.core.errors import BrokerUnavailable, ConfigError, HftrayError, RejectError
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


class _TooManyLogins(BrokerUnavailable):
    """Not a failure of Groww's, so the pause it asks for does not grow."""


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
        pace: LoginPace,
    ) -> None:
        self._pace = pace
        self._credentials = credentials
        self._mint = mint
        self._clock = clock
        self._wall = wall
        self._lock = asyncio.Lock()
        self._token: _Token | None = None
        self._refused = False  # the present token was answered 401
        self._unproven = False  # and it has not been let in yet
        self._renewal: asyncio.Task[None] | None = None
        self._failure: HftrayError | None = None
        self._failures = 0
        self._not_before = -inf

    @property
    def expiry(self) -> datetime | None:
        """When the present token ends; None without one, and where Groww did not say."""
        return self._token.expiry if self._token else None

    async def token(self) -> str:
        """A token that is good now. BrokerUnavailable, AccessDenied, ConfigError.

        When renewal is due the present token serves on until the new one is there, so that no
        order waits for a login.
        """
        token = self._usable()
        if token is None:
            async with self._lock:
                return (self._usable() or await self._renew()).text
        if self._due(token):
            self._renew_beside()
        return token.text

    async def replace(self, refused: str) -> str:
        """A token other than the one that was just answered 401.

        Whoever comes with an older token gets the present one; the first who comes with the
        present one has it replaced. BrokerUnavailable while replacing must pause.
        """
        if self._token is not None and self._token.text == refused:
            self._refused = True
        return await self.token()

    def accepted(self, token: str) -> None:
        """A call with this token was let in: should it be refused later, a new one will help."""
        if self._unproven and self._token is not None and self._token.text == token:
            self._unproven = False
            self._failures = 0
            self._not_before = -inf

    async def close(self) -> None:
        """End a renewal that is under way."""
        if self._renewal is not None:
            self._renewal.cancel()
            await asyncio.wait([self._renewal])

    def _usable(self) -> _Token | None:
        token = self._token
        if token is None or self._refused:
            return None
        return token if token.expiry is None or self._wall() < token.expiry else None

    def _due(self, token: _Token) -> bool:
        return token.renew_at is not None and self._wall() >= token.renew_at

    def _renew_beside(self) -> None:
        if self._clock() >= self._not_before and (self._renewal is None or self._renewal.done()):
            self._renewal = asyncio.get_running_loop().create_task(self._renew_in_time())

    async def _renew_in_time(self) -> None:
        async with self._lock:
            token = self._usable()
            if token is not None and self._due(token):
                with contextlib.suppress(HftrayError):  # logged; the present token serves on
                    await self._renew()

    async def _renew(self) -> _Token:
        if self._clock() < self._not_before:
            raise self._again()
        try:
            fields = await self._ask()
            token = self._read(fields)
        except HftrayError as error:
            if not isinstance(error, _TooManyLogins):
                self._pause(error)
            log.warning("no new access token", reason=str(error), pause=self._pause_left())
            raise
        # Until a call with it was let in, the new token is no proof that minting helps. The first
        # that is refused may have been ended by another login; it is replaced at once.
        self._pause(BrokerUnavailable("Groww refuses the access token it gave out last"), free=1)
        self._token, self._refused, self._unproven = token, False, True
        log.info("new session", expires=token.expiry and token.expiry.isoformat())
        return token

    async def _ask(self) -> Mapping[str, Any]:
        if (wait := self._pace.wait()) > 0:
            self._failure = _TooManyLogins("too many logins to Groww in a short time")
            self._not_before = self._clock() + wait
            raise self._again()
        try:
            credentials = await self._credentials()
        except RejectError as error:  # a user who is gone: no answer of Groww's to any call
            raise ConfigError(str(error)) from error
        self._pace.count()
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

    def _pause(self, failure: HftrayError, free: int = 0) -> None:
        self._failures += 1
        pause = min(_FIRST_PAUSE * 2.0 ** min(self._failures - 1, 16), _LONGEST_PAUSE)
        self._not_before = self._clock() + (pause if self._failures > free else 0.0)
        self._failure = failure

    def _pause_left(self) -> float:
        return round(max(0.0, self._not_before - self._clock()), 3)

    def _again(self) -> HftrayError:
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
