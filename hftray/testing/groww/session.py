"""Keys and access tokens: both flows of Groww's token endpoint, expiry, subscription.

Tokens expire by market time (06:00 IST of the next day) or on command. Which clock a client's
checksum and TOTP come from is its own affair, so both are checked against the machine's clock
and against the market's, and either will do.
"""

import base64
import hashlib
import hmac
import struct
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from hftray.core.session import IST
from hftray.testing.groww.wire import Answer, gateway, stamp

_CHECKSUM_SECONDS = 600
_TOTP_SECONDS = 30
_TOTP_DIGITS = 6
_DAILY_END = timedelta(hours=6)


@dataclass(frozen=True, slots=True)
class Keys:
    """What a user of the loopback signs in with. Made up, good for nothing else."""

    api_key: str = "loopback-api-key"
    secret: str = field(default="loopback-api-secret", repr=False)
    totp_secret: str = field(default="JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP", repr=False)


def totp(secret: str, at: float) -> str:
    """The six digits of RFC 6238 (SHA-1, 30 seconds) for a base32 secret at epoch seconds."""
    key = base64.b32decode(secret.upper() + "=" * (-len(secret) % 8))
    digest = hmac.new(key, struct.pack(">Q", int(at) // _TOTP_SECONDS), hashlib.sha1).digest()
    offset = digest[-1] & 15
    (word,) = struct.unpack(">I", digest[offset : offset + 4])
    return f"{(word & 0x7FFFFFFF) % 10**_TOTP_DIGITS:0{_TOTP_DIGITS}d}"


def checksum(secret: str, timestamp: int | str) -> str:
    """SHA-256 of the secret followed by the epoch seconds as text, in hexadecimal."""
    return hashlib.sha256(f"{secret}{timestamp}".encode()).hexdigest()


class Sessions:
    """The tokens that were given out. Switches: see the attributes."""

    def __init__(
        self,
        keys: Keys,
        market_now: Callable[[], datetime],
        skew: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self.keys = keys
        self.approved = True
        """Whether the key and secret were approved today."""
        self.subscription = True
        """Whether the account pays for market data; without, data calls are refused."""
        self.newest_only = True
        """Whether a new token ends the ones before (not documented)."""
        self.lifetime: timedelta | None = None
        """Market time a token lives; None: until 06:00 IST."""
        self._market_now = market_now
        self._skew = skew
        self._tokens: dict[str, datetime] = {}
        self.minted = 0

    def mint(self) -> str:
        """A new token, without a call."""
        self.minted += 1
        now = self._market_now()
        if self.newest_only:
            self._tokens.clear()
        text = f"{self.keys.api_key}|{self.minted}"
        token = f"loopback.{hashlib.sha256(text.encode()).hexdigest()}"
        self._tokens[token] = now + self.lifetime if self.lifetime else _next_six(now)
        return token

    def expire(self) -> None:
        """End every token now."""
        self._tokens.clear()

    def valid(self, authorization: str) -> bool:
        """Whether an Authorization header carries a living token."""
        scheme, _, token = authorization.partition(" ")
        ends = self._tokens.get(token)
        return scheme.lower() == "bearer" and ends is not None and self._market_now() < ends

    def token_call(self, authorization: str, body: Any, style: str) -> Answer:
        """The token endpoint: the token, 400 with displayMessage, or 401."""
        if authorization.partition(" ")[2] != self.keys.api_key:
            return gateway(401, "Unauthorized", style)
        if not isinstance(body, Mapping):
            return _bad("the body must be a JSON object")
        kind = body.get("key_type")
        if kind == "approval":
            fault = self._approval_fault(body)
        elif kind == "totp":
            fault = self._totp_fault(body)
        else:
            return _bad("key_type must be approval or totp")
        if fault is not None:
            return _bad(fault)
        if kind == "approval" and not self.approved:
            return gateway(403, "API key is not approved for today", style)
        token = self.mint()
        return Answer(
            body={
                "token": token,
                "tokenRefId": f"ref-{self.minted}",
                "sessionName": "loopback",
                "expiry": stamp(self._tokens[token]),
                "isActive": True,
            }
        )

    def _approval_fault(self, body: Mapping[str, Any]) -> str | None:
        unknown = set(body) - {"key_type", "checksum", "timestamp"}
        sent = body.get("timestamp")
        if unknown or isinstance(sent, bool) or not str(sent).isdigit():
            return "timestamp must be epoch seconds" if not unknown else f"{min(unknown)}: unknown"
        if all(abs(now - int(str(sent))) > _CHECKSUM_SECONDS for now in self._clocks()):
            return "timestamp is older than 10 minutes"
        wanted = checksum(self.keys.secret, str(sent))
        if not hmac.compare_digest(str(body.get("checksum")).encode(), wanted.encode()):
            return "checksum does not match"
        return None

    def _totp_fault(self, body: Mapping[str, Any]) -> str | None:
        unknown = set(body) - {"key_type", "totp"}
        if unknown:
            return f"{min(unknown)}: unknown"
        # One step of clock difference either way, as RFC 6238 advises.
        moments = [now + step * _TOTP_SECONDS for now in self._clocks() for step in (-1, 0, 1)]
        codes = {totp(self.keys.totp_secret, moment) for moment in moments}
        return None if body.get("totp") in codes else "totp does not match"

    def _clocks(self) -> tuple[float, float]:
        return time.time() + self._skew(), self._market_now().timestamp() + self._skew()


def _next_six(now: datetime) -> datetime:
    midnight = datetime.combine(now.astimezone(IST).date(), datetime.min.time(), IST)
    today = midnight + _DAILY_END
    return today if now < today else today + timedelta(days=1)


def _bad(message: str) -> Answer:
    error = {"code": "GA001", "message": message, "displayMessage": message, "metadata": None}
    return Answer(400, {"status": "FAILURE", "error": error})
