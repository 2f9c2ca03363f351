"""The app: routes, problems, what stands around them, and the OpenAPI. It binds no address and starts nothing."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute

from penstock import __version__
from penstock.portal import (
    live,
    routes_box,
    routes_captures,
    routes_choices,
    routes_events,
    routes_explain,
    routes_login,
    routes_policy,
    routes_subscribers,
    routes_tokens,
)
from penstock.portal.asgi import AddHeaders, AnswerDefects, EndAudit, KeepSlashes, LimitBody
from penstock.portal.caller import cookie, name_cookie
from penstock.portal.pages import add_pages
from penstock.portal.portal import Portal
from penstock.portal.problems import Problem, add_problems
from penstock.portal.roles import RULES
from penstock.portal.routing import PREFIX

OPEN = frozenset({"login"})
"""What needs no token."""

ROUTERS = (
    routes_login.open_router,
    routes_login.router,
    routes_box.router,
    live.router,
    routes_policy.router,
    routes_subscribers.router,
    routes_choices.router,
    routes_events.router,
    routes_explain.router,
    routes_captures.router,
    routes_tokens.router,
)

DESCRIPTION = """\
Penstock's API. Every call needs a token of `penstock token create`, as `Authorization: Bearer ...`; what it may do is its
role's. Ids of subscribers are one segment of a path: percent-encode what is in them. Errors are problems (RFC 9457)."""


def build_app(portal: Portal) -> FastAPI:
    """The app of a portal. Raises KeyError for an operation that has no row in `roles.RULES`."""
    app = FastAPI(
        title="Penstock",
        version=__version__,
        description=DESCRIPTION,
        docs_url=None,  # its page would need what other servers serve
        redoc_url=None,
        redirect_slashes=False,  # to where a header says
        openapi_url=f"{PREFIX}/openapi.json",
        separate_input_output_schemas=False,
    )
    app.state.portal = portal
    for router in ROUTERS:
        app.include_router(router)
    check_roles()
    add_pages(app)
    add_problems(app)
    app.add_middleware(AnswerDefects)
    app.add_middleware(LimitBody)
    app.add_middleware(EndAudit, audit=portal.audit)
    app.add_middleware(AddHeaders, is_tls=portal.settings.tls is not None)
    app.add_middleware(KeepSlashes)
    app.openapi = lambda: _build_openapi(app)  # type: ignore[method-assign]
    return app


def list_operations() -> list[APIRoute]:
    """The operations of the API."""
    return [route for router in ROUTERS for route in router.routes if isinstance(route, APIRoute)]


def check_roles() -> None:
    """Raise KeyError where an operation has no row, or a row no operation."""
    names = {route.operation_id for route in list_operations()}
    if different := names ^ (RULES.keys() | OPEN):
        raise KeyError(f"operations and `roles.RULES` differ: {sorted(map(str, different))}")


def _build_openapi(app: FastAPI) -> dict[str, Any]:
    if app.openapi_schema is None:
        document = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
        schemas = document["components"]["schemas"]
        problem = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas |= problem.pop("$defs", {}) | {"Problem": problem}
        for name in ("HTTPValidationError", "ValidationError"):
            schemas.pop(name, None)
        document["components"]["securitySchemes"][cookie.scheme_name]["name"] = name_cookie(app.state.portal)
        app.openapi_schema = document
    return app.openapi_schema
