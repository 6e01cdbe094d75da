"""Who may log in to the loopback's live feed: tokens for keys, and the proof of owning the key.

A token is a NATS user token (JWT) for the public key it was asked for, signed by the feed's own
account. A login shows the token and signs the server's nonce. Keys are Ed25519, written as NATS
writes them: base32 of a prefix byte, the key and its CRC-16.
"""

import base64
import binascii
import json
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

_ACCOUNT, _USER = 0, 20 << 3  # prefix bytes: A..., U...
_KEY_LENGTH = 56  # characters


class LoginRefused(Exception):
    """The feed closes the connection; the text is what it says first."""


@dataclass(frozen=True, slots=True)
class Login:
    """A login that was let in."""

    public_key: str
    token_id: str
    expires: datetime


class FeedLogins:
    """Issues tokens and checks logins. `now` is market time, `lifetime` how long a token holds."""

    def __init__(
        self, now: Callable[[], datetime], lifetime: timedelta = timedelta(hours=24)
    ) -> None:
        self.subscription_id = secrets.token_hex(8)
        self.lifetime = lifetime
        self.issued: list[str] = []  # token ids
        self._now = now
        self._account = Ed25519PrivateKey.generate()
        self._revoked: set[str] = set()

    def create(self, body: Any) -> dict[str, str]:
        """The payload of the socket-token call. ValueError naming what is wrong with the body."""
        key = body.get("socketKey") if isinstance(body, Mapping) else None
        if not isinstance(key, str):
            raise ValueError("socketKey is required and must be text")
        read_key(key)
        now = self._now()
        token_id = secrets.token_hex(16)
        self.issued.append(token_id)
        claims = {
            "jti": token_id,
            "iat": int(now.timestamp()),
            "exp": int((now + self.lifetime).timestamp()),
            "iss": write_key(_ACCOUNT, self._account.public_key()),
            "sub": key,
            "nats": {"type": "user", "version": 2},
        }
        signed = f"{_pack({'typ': 'JWT', 'alg': 'ed25519-nkey'})}.{_pack(claims)}"
        token = f"{signed}.{_encode(self._account.sign(signed.encode()))}"
        return {"token": token, "subscriptionId": self.subscription_id}

    def check(self, options: Mapping[str, Any], nonce: str) -> Login:
        """Who is logging in with these CONNECT options. LoginRefused."""
        try:
            signed, _, signature = str(options.get("jwt")).rpartition(".")
            self._account.public_key().verify(_decode(signature), signed.encode())
            claims = json.loads(_decode(signed.partition(".")[2]))
            read_key(claims["sub"]).verify(_decode(str(options.get("sig"))), nonce.encode())
        except (InvalidSignature, ValueError) as error:
            raise LoginRefused("Authorization Violation") from error
        expires = datetime.fromtimestamp(claims["exp"], self._now().tzinfo)
        login = Login(claims["sub"], claims["jti"], expires)
        self.still_good(login)
        return login

    def still_good(self, login: Login) -> None:
        """LoginRefused when the token has ended or was taken back."""
        if login.token_id in self._revoked:
            raise LoginRefused("User Authentication Revoked")
        if self._now() >= login.expires:
            raise LoginRefused("User Authentication Expired")

    def revoke_all(self) -> None:
        """Take back every token issued so far."""
        self._revoked.update(self.issued)


def write_key(prefix: int, key: Ed25519PublicKey) -> str:
    """A public key as NATS writes it."""
    body = bytes([prefix]) + key.public_bytes_raw()
    return base64.b32encode(body + _crc(body)).decode()


def read_key(text: str) -> Ed25519PublicKey:
    """The public key of a user. ValueError when it is none."""
    if len(text) != _KEY_LENGTH or not text.startswith("U"):
        raise ValueError(f"socketKey must be a public user key: U and {_KEY_LENGTH - 1} more")
    raw = base64.b32decode(text)
    body, check = raw[:-2], raw[-2:]
    if body[0] != _USER or _crc(body) != check:
        raise ValueError("socketKey has a wrong checksum")
    return Ed25519PublicKey.from_public_bytes(body[1:])


def _crc(body: bytes) -> bytes:
    return binascii.crc_hqx(body, 0).to_bytes(2, "little")


def _pack(value: Mapping[str, Any]) -> str:
    return _encode(json.dumps(value, separators=(",", ":")).encode())


def _encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    """Base64 in either alphabet, padded or not. ValueError."""
    plain = text.rstrip("=").replace("+", "-").replace("/", "_")
    return base64.urlsafe_b64decode(plain + "=" * (-len(plain) % 4))
