"""`penstock demo --full`: what an operator runs, with people behind it, and the pages to look at.

    1  the lab: three namespaces, servers, lists that are fetched, `penstock run` with examples/operator.yaml
    2  a BNG says by RADIUS who has come; what they chose they say by the API
    3  everybody visits everything: what came of it must be what his choices say
    4  the pages' addresses and tokens; people go on visiting until Ctrl-C

Knows the order, and what must come of it. Refuses to know how Penstock does it.
"""

import random
import signal
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import quote

import httpx
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from penstock.demo.box import BoxError
from penstock.demo.browser import open_browser
from penstock.demo.demo import complain, find_obstacle
from penstock.demo.door import Door
from penstock.demo.lab import build_lab, start_sessions
from penstock.demo.namespaces import TopologyError
from penstock.demo.operator import API_PORT, MANAGEMENT, ExampleError
from penstock.demo.people import (
    ADA,
    DOMAIN,
    KNOWN,
    PAUSE_MINUTES,
    PEOPLE,
    REFUSED,
    WENT_ON,
    Visit,
    list_habits,
    list_visits,
)
from penstock.demo.servers import ServerError
from penstock.demo.visitors import Visitors

SEED = 9
TOGETHER = 3  # visits at one time, once everything was seen
PAUSE_S = 1.0  # between them
ANSWER_S = 20.0  # from the start to the API's first answer
SEEN_S = 10.0  # from a session's start to its first visit by its rules
PAGES = (("operator", "/operator"), ("support", "/support"), ("selfcare", "/me"))


def run_full(console: Console, for_s: float | None) -> int:
    """Run it until Ctrl-C, or for so long once the pages are up; the exit status, as of `run_demo`."""
    if cure := find_obstacle():
        complain(console, cure)
        return 1
    is_up: list[bool] = []
    try:
        with tempfile.TemporaryDirectory(prefix="penstock-demo-") as directory, ExitStack() as open_things:
            complaint = _run(console, Path(directory), open_things, for_s, is_up)
    except (TopologyError, ServerError, BoxError, ExampleError) as error:
        complaint = str(error)
    except httpx.HTTPError as error:
        complaint = f"the API: {type(error).__name__}: {error}"
    except KeyboardInterrupt:
        console.print("Everything is taken down.")
        return 0 if is_up else 128 + signal.SIGINT
    if complaint:
        complain(console, complaint)
        return 1
    console.print("Everything is taken down.")
    return 0


def _run(console: Console, directory: Path, open_things: ExitStack, for_s: float | None, is_up: list[bool]) -> str:
    with console.status("An internet, lists that are fetched, and Penstock in line (the first start compiles it)"):
        lab = open_things.enter_context(build_lab(directory, PEOPLE))
        tokens = {role: lab.make_token(role, f"demo {role}", *_whose(role)) for role, _ in PAGES}
        door = open_things.enter_context(Door(lab.topology, "box", MANAGEMENT["box"], API_PORT))
        api = _ask_api(door.url, tokens["operator"])
        open_things.callback(api.close)
    with console.status("People come, choose, and visit everything"):
        start_sessions(lab, PEOPLE)
        await_people(api)
        choose(api)
        visitors = Visitors(lab)
        got = visitors.visit(list_visits())
        got |= visitors.visit([WENT_ON])
    if complaint := show_visits(console, got):
        return complaint
    show_pages(console, door.url, tokens)
    if open_browser(f"{door.url}/login?next=/operator"):
        console.print("A browser was asked to open the operator's page: it wants the operator's token.")
    is_up.append(True)
    return live_on(console, visitors, for_s)


def _whose(role: str) -> list[str]:
    return ["--subscriber", ADA.id] if role == "selfcare" else []


def _ask_api(url: str, token: str) -> httpx.Client:
    """A client of the API, once it answers. Raises httpx.HTTPError."""
    client = httpx.Client(
        base_url=f"{url}/api/v1", headers={"Authorization": f"Bearer {token}"}, timeout=ANSWER_S, trust_env=False
    )
    end_s = time.monotonic() + ANSWER_S
    while True:
        try:
            client.get("/status").raise_for_status()
            return client
        except httpx.HTTPError:
            if time.monotonic() > end_s:
                client.close()
                raise
            time.sleep(0.1)


def await_people(api: httpx.Client) -> None:
    """Wait until the register knows everybody. Raises ServerError, httpx.HTTPError."""
    end_s = time.monotonic() + SEEN_S
    for one in KNOWN:
        while api.get(_name(one.id)).status_code != 200 and time.monotonic() < end_s:
            time.sleep(0.1)
        _check(api.get(_name(one.id)))


def choose(api: httpx.Client) -> None:
    """What people say on their pages, and for whom there is no internet now. Raises ServerError, httpx.HTTPError."""
    for one in PEOPLE:
        if one.choices:
            _check(api.patch(f"{_name(one.id)}/choices", json=one.choices))
        if one.is_paused:
            _check(api.post(f"{_name(one.id)}/pause", json={"minutes": PAUSE_MINUTES}))


def _check(answer: httpx.Response) -> None:
    if answer.is_error:
        raise ServerError(
            f"the API: {answer.request.method} {answer.request.url.path}: {answer.status_code} {answer.text}"
        )


def _name(subscriber: str) -> str:
    return f"/subscribers/{quote(subscriber, safe='')}"


def show_visits(console: Console, got: dict[Visit, str]) -> str:
    """Print what came of all visits; the first thing that is wrong, or nothing."""
    table = Table(title=f"Who got what of *{DOMAIN}", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("site", no_wrap=True)
    for one in PEOPLE:
        table.add_column(one.id.replace("/", "/ ") + f"\n{one.profile}")
    rows: dict[str, dict[str, str]] = {}
    for visit, answer in got.items():
        if visit.family == 4:
            cells = rows.setdefault(visit.host.removesuffix(DOMAIN) + ", TLS" * (visit.scheme == "https"), {})
            before = cells.get(visit.person.id)
            cells[visit.person.id] = f"{before} " * bool(before) + _word_cell(visit, answer)
    for label, cells in rows.items():
        table.add_row(label, *(cells.get(one.id, "") for one in PEOPLE))
    console.print(table)
    for visit, answer in got.items():
        if answer != visit.expected:
            asked = f"{visit.person.id} asked for {visit.scheme}://{visit.host} over IPv{visit.family}"
            return f"{asked} and got {answer} where {visit.expected} was expected"
    return ""


def _word_cell(visit: Visit, answer: str) -> str:
    word = "went on" if visit.goes_on and answer == "site" else answer
    return f"[{'red' if answer != visit.expected else 'yellow' if answer in REFUSED else 'green'}]{word}[/]"


def show_pages(console: Console, url: str, tokens: dict[str, str]) -> None:
    """Print the pages' addresses, and the token of each. No line is cut: they are to be copied."""
    lines = [f"Go in at {url}/login by a token:", ""]
    for role, path in PAGES:
        whose = f"the subscriber {ADA.id}" if role == "selfcare" else role
        lines.append(f"  {url}{path:<10} {whose:<18} {tokens[role]}")
    lines += ["", f"The API: {url}/api/v1/openapi.json"]
    console.print("\n".join(lines), markup=False, highlight=False, soft_wrap=True)


def live_on(console: Console, visitors: Visitors, for_s: float | None) -> str:
    """Have people visit sites until Ctrl-C, or for so long; what went wrong, or nothing. Raises ServerError."""
    console.print("People go on visiting sites" + (": Ctrl-C ends it." if for_s is None else f" for {for_s:g} s."))
    habits, chance, counted = list_habits(), random.Random(SEED), Counter[str]()
    end_s = None if for_s is None else time.monotonic() + for_s
    while end_s is None or time.monotonic() < end_s:
        chosen = set(chance.sample(habits, TOGETHER))
        counted.update(visitors.visit(chosen).values())
        time.sleep(PAUSE_S if end_s is None else max(0.0, min(PAUSE_S, end_s - time.monotonic())))
    said = ", ".join(f"{count} {word}" for word, count in counted.most_common())
    console.print(f"In {for_s:g} s: {said or 'nothing'}.")
    return ""
