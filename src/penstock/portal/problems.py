"""Every error as a problem, RFC 9457: what is wrong, in words for people, and which field where it is one.

It knows the errors of the layers below by kind, and which status each has.
"""

from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from penstock.errors import PenstockError

MEDIA_TYPE = "application/problem+json"
ERRORS_TOLD, WHERE_LIMIT = 20, 200
ABSENT = "a part of the box does not answer now: nothing was changed; ask again"


class Wrong(BaseModel):
    """One thing that was said wrongly."""

    where: str
    """The part of the request, and the field in it, such as `body.choices.allow.0`."""
    what: str


class Problem(BaseModel):
    """Why a call was not answered as asked, as RFC 9457 has it."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    errors: list[Wrong] = []


class ProblemError(PenstockError):
    """A call that cannot be answered as asked."""

    def __init__(self, status: int, detail: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status, self.detail, self.headers = status, detail, headers or {}


def build_response(
    status: int, detail: str, headers: dict[str, str] | None = None, errors: list[Wrong] | None = None
) -> JSONResponse:
    """A problem as a response."""
    problem = Problem(title=HTTPStatus(status).phrase, status=status, detail=detail, errors=errors or [])
    return JSONResponse(problem.model_dump(), status, headers, MEDIA_TYPE)


def add_problems(app: FastAPI) -> None:
    """Have every error of the app answered as a problem."""
    app.add_exception_handler(ProblemError, _answer_problem)
    app.add_exception_handler(HTTPException, _answer_http)
    app.add_exception_handler(RequestValidationError, _answer_validation)
    app.add_exception_handler(PenstockError, _answer_unavailable)


def _answer_problem(request: Request, error: Any) -> JSONResponse:
    return build_response(error.status, error.detail, error.headers)


def _answer_http(request: Request, error: Any) -> JSONResponse:
    details = {404: "there is nothing at this address", 405: "that method is not for this address"}
    detail = details.get(error.status_code) or str(error.detail)
    return build_response(error.status_code, detail, dict(error.headers or {}))


def _answer_validation(request: Request, error: Any) -> JSONResponse:
    told = error.errors()[:ERRORS_TOLD]
    wrong = [Wrong(where=".".join(map(str, one["loc"]))[:WHERE_LIMIT], what=str(one["msg"])) for one in told]
    return build_response(422, "; ".join(f"{one.where}: {one.what}" for one in wrong[:5]), errors=wrong)


def _answer_unavailable(request: Request, error: Any) -> JSONResponse:
    """A part of the box that does not answer, or a file that cannot be used now: which, is for those who look after it."""
    detail = str(error) if getattr(request.state, "is_staff", False) else ABSENT
    return build_response(503, detail, {"Retry-After": "5"})
