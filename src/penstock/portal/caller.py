"""Who calls, and may they? Asked before every operation: the token or the session, the limits, the role, the audit.

A page's session (a cookie) changes something only from our own pages: with `Origin` of this very server, or the header
`X-Penstock`, which no other site can send. It does not know what the operations do.
"""

from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated
from urllib.parse import unquote, urlsplit

import structlog
from fastapi import Depends, Request, Security
from fastapi.security import APIKeyCookie, HTTPAuthorizationCredentials, HTTPBearer

from penstock.portal.journal import now_s
from penstock.portal.limits import find_network
from penstock.portal.portal import Here, Portal
from penstock.portal.problems import ProblemError
from penstock.portal.roles import RULES, Rule, may
from penstock.portal.tokens import Token

COOKIE = "penstock_session"
OWN_HEADER = "x-penstock"
SAFE = ("GET", "HEAD", "OPTIONS")
PATH_LIMIT, ID_LIMIT = 1000, 253  # characters of a row of the audit
UNAUTHORISED = "expected a token that holds: `Authorization: Bearer ...`"
FORBIDDEN = "this token is not for that"

log = structlog.get_logger()

bearer = HTTPBearer(auto_error=False, description="A token of `penstock token create`.")
cookie = APIKeyCookie(name=COOKIE, auto_error=False, description="The session of a page, opened by `login`.")
Bearer = Annotated[HTTPAuthorizationCredentials | None, Security(bearer)]
Cookie = Annotated[str | None, Security(cookie)]


@dataclass(frozen=True, slots=True)
class Caller:
    """Whose call it is."""

    token: Token
    address: str


def name_cookie(here: Portal) -> str:
    """The name of a session's cookie: over TLS one that no other server of the same domain can set."""
    return f"__Host-{COOKIE}" if here.settings.tls is not None else COOKIE


def authorise(request: Request, here: Here, bearer: Bearer, _: Cookie) -> Caller:
    """The caller, who may do what is asked. Raises ProblemError, DatabaseError."""
    session = request.cookies.get(name_cookie(here))
    address = request.client.host if request.client else "unknown"
    token = _find_token(request, here, bearer, session, address)
    operation = str(getattr(request.scope.get("route"), "operation_id", ""))
    rule, subscriber = RULES[operation], _find_subscriber(request)
    check_calls(here, token)
    request.state.is_staff = token.role != "selfcare"
    is_allowed = may(token, operation, subscriber)
    if (
        is_allowed
        and rule.is_costly
        and token.role == "selfcare"
        and (wait_s := here.costly.wait_s(token.subscriber)) > 0
    ):
        raise _too_many(wait_s, "this subscriber asks for that too often")
    if rule.is_audited or not is_allowed:
        request.state.audit_entry = _begin_audit(request, here, Caller(token, address), operation, subscriber, rule)
    if not is_allowed:
        raise ProblemError(403, FORBIDDEN)
    return Caller(token, address)


Known = Annotated[Caller, Depends(authorise)]


def _find_token(
    request: Request, here: Portal, bearer: HTTPAuthorizationCredentials | None, session: str | None, address: str
) -> Token:
    if bearer is None and not session:
        raise ProblemError(401, UNAUTHORISED, {"WWW-Authenticate": "Bearer"})
    check_failures(here, address)
    if bearer is not None:
        token = here.tokens.find(bearer.credentials, now_s())
    else:
        if request.method not in SAFE:
            check_origin(request)
        token = here.tokens.find_session(session or "", now_s())
    if token is None:
        if bearer is not None:  # a session that is over is no guess, and has pages that go on asking
            note_failure(here, address)
        raise ProblemError(401, UNAUTHORISED, {"WWW-Authenticate": "Bearer"})
    return token


def check_failures(here: Portal, address: str) -> None:
    """Raise the problem of an address from which too many wrong tokens came."""
    if (wait_s := here.failures.wait_s(find_network(address), 0)) > 0:
        raise _too_many(wait_s, "too many wrong tokens from this address")


def note_failure(here: Portal, address: str) -> None:
    """A wrong token came from this address."""
    here.failures.wait_s(find_network(address))
    log.warning("a wrong token", address=address)


def check_calls(here: Portal, token: Token) -> None:
    """Raise the problem of a token that calls too often."""
    if (wait_s := here.calls.wait_s(token.id)) > 0:
        raise _too_many(wait_s, "this token calls too often")


def check_origin(request: Request) -> None:
    """Raise the problem of a change that another site's page may have asked for."""
    origin, host = request.headers.get("origin"), request.headers.get("host")
    with suppress(ValueError):  # an origin that is none
        if request.headers.get(OWN_HEADER) or (origin and host and urlsplit(origin).netloc == host):
            return
    raise ProblemError(403, "expected `Origin` of this server, or the header `X-Penstock: 1`")


def _too_many(wait_s: float, detail: str) -> ProblemError:
    return ProblemError(429, detail, {"Retry-After": str(max(int(wait_s + 0.999), 1))})


def _find_subscriber(request: Request) -> str | None:
    """Whom it concerns, where it concerns one."""
    if (encoded := request.path_params.get("subscriber")) is not None:
        return unquote(encoded)
    said = request.query_params.getlist("subscriber")
    if len(said) > 1:
        raise ProblemError(422, "query.subscriber: expected once")
    return said[0] if said else None


def _begin_audit(
    request: Request, here: Portal, caller: Caller, operation: str, subscriber: str | None, rule: Rule
) -> int:
    query = f"?{request.url.query}" if request.url.query else ""
    return here.audit.begin(
        now_s(),
        caller.token.id,
        name=caller.token.name,
        role=caller.token.role,
        address=caller.address,
        operation=operation,
        method=request.method,
        path=(request.url.path + query)[:PATH_LIMIT],
        subscriber=subscriber[:ID_LIMIT] if rule.of_one and subscriber is not None else None,
    )
