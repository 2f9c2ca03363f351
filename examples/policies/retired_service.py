"""A service that was shut down: who still asks for its old names over HTTP is led to what took its place, page for page.

Over HTTPS nothing can be put in the place of a server, so there the old names are refused, and the browser says so at once
instead of waiting for a machine that is gone.
"""

from penstock.hooks import Request, Verdict, on_request

OLD = ["webmail.example.net", "mail.old-isp.example"]
PAGE = "https://mail.example.net"
MOVED = {"/": "/", "/login": "/", "/help": "/help/moving", "/password": "/account/password"}


@on_request(hosts=OLD, protocols=["http"])
def lead_to_successor(request: Request) -> Verdict:
    path = (request.path or "/").partition("?")[0]
    return Verdict.redirect(PAGE + MOVED.get(path, "/help/moving"))


@on_request(hosts=OLD, protocols=["tls", "quic"])
def refuse_what_is_gone(request: Request) -> Verdict:
    return Verdict.block("retired", f"{request.host} was shut down. Your mail is at {PAGE}.")
