"""Who am I, and the sessions of pages: a token once, then a cookie that scripts cannot read and other sites cannot send."""

from typing import Annotated

from fastapi import APIRouter, Form, Request, Response

from penstock.portal.answers import Me, read_time
from penstock.portal.caller import Known, check_calls, check_failures, check_origin, name_cookie, note_failure
from penstock.portal.journal import now_s
from penstock.portal.portal import Here
from penstock.portal.problems import ProblemError
from penstock.portal.routing import COMMON, PREFIX, make_router
from penstock.portal.tokens import SESSION_S, Token

router = make_router("me")
open_router = APIRouter(prefix=PREFIX, tags=["me"], responses=COMMON)


def _describe(token: Token) -> Me:
    return Me(name=token.name, role=token.role, subscriber=token.subscriber, expires=read_time(token.expires_s))


@router.get("/me", operation_id="get_me")
def get_me(caller: Known) -> Me:
    """Whose token this is."""
    return _describe(caller.token)


@open_router.post("/login", operation_id="login")
def login(
    request: Request, response: Response, here: Here, token: Annotated[str, Form(min_length=1, max_length=200)]
) -> Me:
    """Open a session: the cookie stands for the token for 12 hours, or until `logout`."""
    address = request.client.host if request.client else "unknown"
    check_failures(here, address)
    if request.headers.get("origin"):
        check_origin(request)
    found = here.tokens.find(token.strip(), now_s())
    if found is None:
        note_failure(here, address)
        raise ProblemError(401, "no token that holds")
    check_calls(here, found)
    entry = here.audit.begin(
        now_s(),
        found.id,
        name=found.name,
        role=found.role,
        address=address,
        operation="login",
        method="POST",
        path=request.url.path,
        subscriber=None,
    )
    request.state.audit_entry = entry
    session = here.tokens.open_session(found, now_s())
    response.set_cookie(
        name_cookie(here),
        session,
        max_age=int(SESSION_S),
        path="/",
        secure=here.settings.tls is not None,
        httponly=True,
        samesite="strict",
    )
    return _describe(found)


@router.post("/logout", operation_id="logout", status_code=204)
def logout(request: Request, response: Response, here: Here, caller: Known) -> None:
    """End the session of the cookie."""
    name, is_secure = name_cookie(here), here.settings.tls is not None
    if session := request.cookies.get(name):
        here.tokens.close_session(session)
    response.delete_cookie(name, path="/", secure=is_secure, httponly=True, samesite="strict")
