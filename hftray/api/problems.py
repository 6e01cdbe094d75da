"""Every error as an RFC 9457 problem document; no answer ever shows a stack trace.

`type` stays "about:blank", which by the RFC means that the title is the status's own phrase.
"""

import json
import traceback
from collections.abc import Iterable, Sequence
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import ErrorDetails
from starlette.exceptions import HTTPException
from starlette.routing import compile_path

from hftray.api.headers import security_headers
from hftray.core.errors import (
    NotFound,
    RejectError,
    RetryError,
    StopError,
    UnknownOutcome,
)
from hftray.observe import logger, mask

log = logger("api")

MEDIA_TYPE = "application/problem+json"
RETRY_SECONDS = 5
MAX_ERRORS = 50
"""Wrong fields named in one answer, so that it stays smaller than the request."""

_RETRY_AFTER = {
    "Retry-After": {
        "description": "Whole seconds to wait",
        "required": True,
        "schema": {"type": "integer", "minimum": 1},
    }
}
_CHALLENGE = {
    "WWW-Authenticate": {
        "description": "How to authenticate",
        "required": True,
        "schema": {"type": "string"},
    }
}
HEADERS = {401: _CHALLENGE, 429: _RETRY_AFTER, 503: _RETRY_AFTER}
"""The headers that an error carries, as OpenAPI describes them."""


class FieldError(BaseModel):
    """What is wrong with one field."""

    field: str = Field(description="Dotted path, such as parameters.period")
    message: str


class Problem(BaseModel):
    """An error, as RFC 9457 describes it; `errors` comes with 422."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "type": "about:blank",
                "title": "Not Found",
                "status": 404,
                "detail": "no trade 7",
                "instance": "/api/trades/7",
            }
        }
    )

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    instance: str
    errors: list[FieldError] | None = None


class InvalidFields(Exception):
    """A well-formed request whose values make no sense; answered with 422."""

    def __init__(self, errors: Sequence[FieldError]) -> None:
        super().__init__("; ".join(f"{e.field}: {e.message}" for e in errors))
        self.errors = list(errors)

    @classmethod
    def single(cls, field: str, message: str) -> "InvalidFields":
        """One field is wrong."""
        return cls([FieldError(field=field, message=message)])


class ProblemResponse(JSONResponse):
    """A problem document; ASCII, so that whatever text it quotes can be sent."""

    media_type = MEDIA_TYPE

    def render(self, content: Any) -> bytes:
        """JSON with every other character escaped."""
        return json.dumps(content).encode("ascii")


def problem(
    path: str,
    status: int,
    detail: str,
    *,
    errors: Sequence[FieldError] | None = None,
    headers: dict[str, str] | None = None,
) -> ProblemResponse:
    """The response for one error at one path."""
    body = Problem(
        title=HTTPStatus(status).phrase,
        status=status,
        detail=mask(detail),
        instance=quote(path, errors="replace"),
        errors=list(errors) if errors is not None else None,
    )
    return ProblemResponse(body.model_dump(exclude_none=True), status, headers)


def field_errors(details: Iterable[ErrorDetails], prefix: str = "") -> list[FieldError]:
    """Pydantic's complaints, each under the name the caller used."""
    return [FieldError(field=_field_name(d, prefix), message=d["msg"]) for d in details]


def _field_name(detail: ErrorDetails, prefix: str) -> str:
    place = list(detail["loc"])
    if not prefix and len(place) > 1 and place[0] in ("body", "query", "path", "header"):
        place = place[1:] if detail["type"] != "json_invalid" else place[:1]
    return ".".join(str(part) for part in ([prefix] if prefix else []) + place)


async def _on_http(request: Request, error: Exception) -> ProblemResponse:
    assert isinstance(error, HTTPException)
    if error.status_code == HTTPStatus.BAD_REQUEST:
        # FastAPI's word for a body that is no text or nests too deeply, hence no JSON.
        return _unprocessable(request, [FieldError(field="body", message=error.detail)])
    headers = {name.lower(): value for name, value in (error.headers or {}).items()}
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        headers["allow"] = ", ".join(sorted(_allowed_methods(request, headers.get("allow", ""))))
    return problem(request.url.path, error.status_code, error.detail, headers=headers)


def _allowed_methods(request: Request, first_match: str) -> set[str]:
    """All methods of the path; the router itself knows only those of its first match."""
    methods = {"HEAD", *first_match.split(", ")} - {""}
    for path, operations in request.app.openapi()["paths"].items():
        if compile_path(path)[0].match(request.url.path):
            methods |= {verb.upper() for verb in operations}
    return methods


async def _on_validation(request: Request, error: Exception) -> ProblemResponse:
    assert isinstance(error, RequestValidationError)
    return _unprocessable(request, field_errors(error.errors()[:MAX_ERRORS]))


async def _on_invalid_fields(request: Request, error: Exception) -> ProblemResponse:
    assert isinstance(error, InvalidFields)
    return _unprocessable(request, error.errors)


def _unprocessable(request: Request, errors: list[FieldError]) -> ProblemResponse:
    names = ", ".join(dict.fromkeys(e.field for e in errors))
    return problem(request.url.path, 422, f"invalid: {names}", errors=errors)


async def _on_not_found(request: Request, error: Exception) -> ProblemResponse:
    return problem(request.url.path, 404, str(error))


async def _on_refused(request: Request, error: Exception) -> ProblemResponse:
    return problem(request.url.path, 409, str(error))


async def _on_retry(request: Request, error: Exception) -> ProblemResponse:
    # The message may name hosts and URLs, which are the operator's business: it is not shown.
    detail = f"{type(error).__name__}: nothing was done; try again in {RETRY_SECONDS} seconds"
    headers = {"Retry-After": str(RETRY_SECONDS)}
    return problem(request.url.path, 503, detail, headers=headers)


async def _on_unknown_outcome(request: Request, error: Exception) -> ProblemResponse:
    return problem(request.url.path, 504, f"{error}; look before trying again")


async def _on_fault(request: Request, error: Exception) -> ProblemResponse:
    # The outermost layer answers this one, outside the middleware that sets the headers.
    trace = "".join(traceback.format_exception(error))
    log.error("request failed", method=request.method, path=request.url.path, trace=trace)
    headers = security_headers(request.url.path)
    return problem(request.url.path, 500, "the server failed; its log says why", headers=headers)


def install(app: FastAPI) -> None:
    """Answer every error of this application with a problem document."""
    app.add_exception_handler(HTTPException, _on_http)
    app.add_exception_handler(RequestValidationError, _on_validation)
    app.add_exception_handler(InvalidFields, _on_invalid_fields)
    app.add_exception_handler(NotFound, _on_not_found)
    app.add_exception_handler(RejectError, _on_refused)
    app.add_exception_handler(StopError, _on_refused)
    app.add_exception_handler(RetryError, _on_retry)
    app.add_exception_handler(UnknownOutcome, _on_unknown_outcome)
    app.add_exception_handler(Exception, _on_fault)


def declared(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The OpenAPI entries of these errors, for a route's `responses`."""
    return {status: _declaration(status) for status in statuses}


def _declaration(status: int) -> dict[str, Any]:
    schema = {"$ref": "#/components/schemas/Problem"}
    entry: dict[str, Any] = {
        "description": HTTPStatus(status).phrase,
        "content": {MEDIA_TYPE: {"schema": schema}},
    }
    if status in HEADERS:
        entry["headers"] = HEADERS[status]
    return entry
