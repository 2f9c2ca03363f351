"""The pages: /login, /me, /support, /operator, and the files that they are made of.

A page is a frame in the reader's language, without anything about anybody: its modules ask the API for what it shows, with
the session's cookie. So no right is needed to read one. All files are read once, before the process serves anybody. It
does not know roles, tokens or subscribers.
"""

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.responses import RedirectResponse, Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from penstock.portal.languages import choose_language, read_languages

HERE = Path(__file__).parent
PAGES = ("login", "me", "support", "operator")
KINDS = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
}
LANGUAGE_COOKIE = "penstock_language"
LANGUAGE_S = 365 * 86_400
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}


@dataclass(frozen=True)
class StaticFile:
    """A file as it is sent. The mark changes with its bytes: a browser that has them is told so."""

    body: bytes
    kind: str
    mark: str


def add_pages(app: FastAPI) -> None:
    """Have the app serve the pages; they are no part of its API."""
    files, pages = read_static(), render_pages()
    app.add_api_route("/", _go_in, include_in_schema=False)
    for page in PAGES:
        app.add_api_route(f"/{page}", _serve_page(page, pages), include_in_schema=False)
    app.add_api_route("/static/{path:path}", partial(_serve_file, files), include_in_schema=False)


def render_pages() -> dict[tuple[str, str], str]:
    """Each page in each language."""
    environment = Environment(
        loader=FileSystemLoader(HERE / "templates"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    languages = read_languages()
    return {
        (page, code): environment.get_template(f"{page}.html.j2").render(
            page=page, language=code, offered=list(languages), t=language.say
        )
        for page in PAGES
        for code, language in languages.items()
    }


def read_static() -> dict[str, StaticFile]:
    """Every file below static/ by its path there; texts with those that code has."""
    bodies = {
        str(path.relative_to(HERE / "static")): path.read_bytes()
        for path in (HERE / "static").rglob("*")
        if path.suffix in KINDS
    }
    for code, language in read_languages().items():
        bodies[f"texts/{code}.json"] = json.dumps(language.texts, ensure_ascii=False, separators=(",", ":")).encode()
    return {
        path: StaticFile(body, KINDS[Path(path).suffix], f'"{sha256(body).hexdigest()[:20]}"')
        for path, body in bodies.items()
    }


async def _go_in() -> Response:
    return RedirectResponse("/login", 303)


def _serve_page(page: str, pages: dict[tuple[str, str], str]) -> Callable[[Request], Awaitable[Response]]:
    async def serve(request: Request) -> Response:
        asked = request.query_params.get("lang")
        accepted = request.headers.get("accept-language", "")
        code = choose_language(asked, request.cookies.get(LANGUAGE_COOKIE), accepted)
        headers = HEADERS | {"Content-Language": code, "Vary": "Accept-Language, Cookie", "Cache-Control": "no-store"}
        response = Response(pages[page, code], 200, headers, "text/html; charset=utf-8")
        if asked == code:
            response.set_cookie(LANGUAGE_COOKIE, code, LANGUAGE_S, httponly=True, samesite="lax")
        return response

    serve.__name__ = f"serve_{page}"
    return serve


async def _serve_file(files: dict[str, StaticFile], path: str, request: Request) -> Response:
    file = files.get(path)
    if file is None:
        return Response(f"there is no file {path}\n", 404, HEADERS, "text/plain; charset=utf-8")
    headers = HEADERS | {"ETag": file.mark, "Cache-Control": "no-cache"}
    if request.headers.get("if-none-match") == file.mark:
        return Response(None, 304, headers)
    return Response(file.body, 200, headers, file.kind)
