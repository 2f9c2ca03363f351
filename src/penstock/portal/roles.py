"""Who may do what: one row for each operation of the API, and an operation without a row is an error of the program.

operator   everything
support    what concerns one subscriber, whoever that is, and what is needed to understand it
selfcare   what concerns the subscriber of the token, and his devices, whose ids begin with his and a slash
"""

from dataclasses import dataclass

from penstock.portal.tokens import Role, Token

OPERATOR: frozenset[Role] = frozenset({"operator"})
STAFF: frozenset[Role] = OPERATOR | {"support"}
ALL: frozenset[Role] = STAFF | {"selfcare"}


@dataclass(frozen=True, slots=True)
class Rule:
    """Who may, and whether it is written down who did: what concerns subscribers, and what changes something."""

    roles: frozenset[Role]
    is_audited: bool = True
    of_one: bool = False
    """It concerns one subscriber."""
    is_costly: bool = False
    """It keeps the register or the lists busy: by tokens of his own a subscriber asks for it so often and no oftener."""


RULES = {
    "get_me": Rule(ALL, False),
    "logout": Rule(ALL),
    "get_status": Rule(STAFF, False),
    "set_switch": Rule(OPERATOR),
    "reload": Rule(OPERATOR),
    "get_counters": Rule(OPERATOR, False),
    "watch_live": Rule(OPERATOR, False),
    "list_profiles": Rule(STAFF, False),
    "list_services": Rule(ALL, False),
    "list_categories": Rule(STAFF, False),
    "list_lists": Rule(OPERATOR, False),
    "list_subscribers": Rule(STAFF),
    "find_subscriber": Rule(STAFF),
    "get_subscriber": Rule(STAFF, of_one=True),
    "change_subscriber": Rule(OPERATOR, of_one=True),
    "get_choices": Rule(ALL, of_one=True),
    "replace_choices": Rule(ALL, of_one=True, is_costly=True),
    "change_choices": Rule(ALL, of_one=True, is_costly=True),
    "pause": Rule(ALL, of_one=True, is_costly=True),
    "resume": Rule(ALL, of_one=True, is_costly=True),
    "grant_override": Rule(STAFF, of_one=True),
    "revoke_override": Rule(STAFF, of_one=True),
    "list_subscriber_events": Rule(ALL, of_one=True, is_costly=True),
    "get_week": Rule(ALL, of_one=True, is_costly=True),
    "explain": Rule(ALL, of_one=True, is_costly=True),
    "list_events": Rule(OPERATOR),
    "list_tokens": Rule(OPERATOR),
    "create_token": Rule(OPERATOR),
    "revoke_token": Rule(OPERATOR),
    "list_audit": Rule(OPERATOR),
    "start_capture": Rule(STAFF, of_one=True),
    "list_captures": Rule(STAFF, of_one=True),
    "get_capture": Rule(STAFF, of_one=True),
    "delete_capture": Rule(STAFF, of_one=True),
}
"""By the names of operations."""


def may(token: Token, operation: str, subscriber: str | None) -> bool:
    """May the owner of a token do that, with this subscriber where it concerns one?"""
    rule, own = RULES[operation], token.subscriber
    if token.role not in rule.roles:
        return False
    if token.role != "selfcare" or not rule.of_one:
        return True
    return own is not None and subscriber is not None and (subscriber == own or subscriber.startswith(f"{own}/"))
