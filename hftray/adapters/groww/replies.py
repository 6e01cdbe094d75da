"""What an answer of Groww means, by its HTTP status and its GA code, never by its text.

    answer                                      a question        an order
    429                                         BrokerUnavailable BrokerUnavailable
    401 (after the token was replaced once)     BrokerUnavailable BrokerUnavailable
    403, GA005                                  AccessDenied      AccessDenied
    404, GA004 (as JSON)                        NotFound          NotFound
    GA007                                       DuplicateReference
    GA001, GA006, other 4xx (as JSON)           GrowwRefused      GrowwRefused
    5xx, 3xx, 408, 409, GA000, GA003,
      a failure without a known code            BrokerUnavailable UnknownOutcome
    not JSON, success without a payload         UnreadableReply   UnknownOutcome

An "order" here is every POST: it may have been taken although its answer is of no use. A 404 or
another 4xx that is not JSON comes from something between us and Groww, so it proves nothing.
"""

import json
from collections.abc import Mapping
from typing import Any, NoReturn

import httpx

from hftray.adapters.groww.errors import (
    AccessDenied,
    DuplicateReference,
    GrowwRefused,
    UnreadableReply,
)
from hftray.core.errors import BrokerUnavailable, NotFound, UnknownOutcome
from hftray.observe import mask

_REFUSED = {"GA001", "GA006"}
_NOT_FOUND = "GA004"
_DENIED = "GA005"
_DUPLICATE = "GA007"
_UNCERTAIN = {"GA000", "GA003"}
_UNCERTAIN_STATUS = {408, 409}
_LONGEST_TEXT = 200

_CHECK = (
    "check at groww.in/trade-api/api-keys that the key is active and approved for today, that the "
    "API subscription is paid, and that orders come from the registered static IP"
)


def read_reply(response: httpx.Response, what: str) -> Any:
    """The payload of an answer, or the error it stands for (the table above).

    `what` names the request in messages, such as "POST /order/create".
    """
    posted = response.request.method == "POST"
    body = _json(response)
    code, text = _failure(body, response.request.headers.get("Authorization", ""))
    told = f"{what} was answered {response.status_code}" + (f" {code}" if code else "") + text
    if response.status_code in (401, 429):
        raise _denied(told) if code == _DENIED else BrokerUnavailable(told)
    if response.status_code == 403:
        raise _denied(told)
    if response.status_code >= 500 or response.status_code in _UNCERTAIN_STATUS:
        _uncertain(told, posted=posted)
    if body is None:
        _unreadable(f"{told} with something that is not JSON", posted=posted)
    if response.is_success and not _failed(body):
        return _payload(body, told, posted=posted)
    _raise_failure(response, code, told, posted=posted)


def _raise_failure(response: httpx.Response, code: str, told: str, *, posted: bool) -> NoReturn:
    if code == _DENIED:
        raise _denied(told)
    if code == _DUPLICATE:
        raise DuplicateReference(told, code, response.status_code)
    if code == _NOT_FOUND or (response.status_code == 404 and code not in _UNCERTAIN):
        raise NotFound(told)
    if code in _REFUSED or (response.is_client_error and code not in _UNCERTAIN):
        raise GrowwRefused(told, code, response.status_code)
    _uncertain(told, posted=posted)


def _denied(told: str) -> AccessDenied:
    return AccessDenied(f"{told}; {_CHECK}")


def _uncertain(told: str, *, posted: bool) -> NoReturn:
    raise UnknownOutcome(told) if posted else BrokerUnavailable(told)


def _unreadable(told: str, *, posted: bool) -> NoReturn:
    raise UnknownOutcome(told) if posted else UnreadableReply(told)


def _json(response: httpx.Response) -> Any:
    try:
        return json.loads(response.content)
    except ValueError:
        return None


def _failed(body: Any) -> bool:
    return isinstance(body, Mapping) and body.get("status") == "FAILURE"


def _failure(body: Any, authorization: str) -> tuple[str, str]:
    """The code of a failure and its text for a message; both may be empty."""
    error = body.get("error") if isinstance(body, Mapping) else None
    if not isinstance(error, Mapping):
        return "", ""
    code = error.get("code")
    text = error.get("message") or error.get("displayMessage")
    # Should the text quote the token, it is not ours to pass on.
    bare = str(text or "").replace(authorization.removeprefix("Bearer ") or "\0", "***")
    shown = f" ({mask(bare)[:_LONGEST_TEXT]})" if bare else ""
    return (str(code)[:20] if code is not None else ""), shown


def _payload(body: Any, told: str, *, posted: bool) -> Any:
    if isinstance(body, Mapping):
        if body.get("payload") is not None:
            return body["payload"]
        # The official client takes a body without an envelope as it is.
        if "payload" not in body and "status" not in body:
            return body
    _unreadable(f"{told} without a payload", posted=posted)
