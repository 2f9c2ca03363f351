"""Tokens and the audit: who may ask, and who did."""

from typing import Annotated, Any

from fastapi import Path, Query

from penstock.portal.answers import (
    ID_PATTERN,
    AuditEntry,
    AuditSeen,
    TokenMade,
    TokenSeen,
    TokensSeen,
    TokenTold,
    read_time,
)
from penstock.portal.journal import now_s, stamp_time
from penstock.portal.portal import Here
from penstock.portal.problems import ProblemError
from penstock.portal.routing import NOT_FOUND, make_router
from penstock.portal.tokens import DAY_S, Token, TokenError

router = make_router("tokens")


@router.get("/tokens", operation_id="list_tokens")
def list_tokens(here: Here) -> TokensSeen:
    """All tokens, as far as anybody knows them."""
    return TokensSeen(tokens=[TokenSeen(**_describe(token)) for token in here.tokens.list_all()])


@router.post("/tokens", operation_id="create_token", status_code=201)
def create_token(here: Here, made: TokenMade) -> TokenTold:
    """A new token. Its text is in this answer and nowhere else."""
    expires_s = None if made.days is None else now_s() + made.days * DAY_S
    try:
        text, token = here.tokens.create(made.name, made.role, made.subscriber, expires_s, now_s())
    except TokenError as error:
        raise ProblemError(422, f"body.subscriber: {error}") from None
    return TokenTold(**_describe(token), token=text)


@router.delete("/tokens/{token}", operation_id="revoke_token", status_code=204, responses=NOT_FOUND)
def revoke_token(here: Here, token: Annotated[int, Path(ge=0, le=1 << 62)]) -> None:
    """Have a token, and the sessions opened with it, hold no more."""
    if not here.tokens.revoke(token):
        raise ProblemError(404, "there is no such token")


@router.get("/audit", operation_id="list_audit")
def list_audit(
    here: Here,
    before: Annotated[int | None, Query(ge=0, le=1 << 62)] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
    subscriber: Annotated[str | None, Query(pattern=ID_PATTERN)] = None,
) -> AuditSeen:
    """Who changed or looked at what, the latest first."""
    entries = []
    for entry in here.audit.list_entries(before, limit, subscriber):
        entries.append(
            AuditEntry(
                id=entry.id,
                time=stamp_time(entry.at_s),
                token=entry.token,
                token_name=entry.name,
                role=entry.role,
                address=entry.address,
                operation=entry.operation,
                method=entry.method,
                path=entry.path,
                subscriber=entry.subscriber,
                status=entry.status,
            )
        )
    return AuditSeen(entries=entries, next_before=entries[-1].id if len(entries) == limit else None)


def _describe(token: Token) -> dict[str, Any]:
    return {
        "id": token.id,
        "name": token.name,
        "role": token.role,
        "subscriber": token.subscriber,
        "created": stamp_time(token.created_s),
        "expires": read_time(token.expires_s),
        "last_used": read_time(token.used_s),
    }
