"""The command line. Each command imports what it needs when it runs: `penstock --help` compiles nothing.

Exit status: 0 done; 1 something is wrong and said in one line; 2 the command was held wrong.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

INSTALLATION = Path("/opt/penstock")

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="A transparent safe-browsing proxy for network operators: in line between two interfaces, it reads who each "
    "subscriber asks for and forwards the packet unchanged, or answers in the server's place.",
)
lists_app = typer.Typer(no_args_is_help=True, help="The lists of names.")
policy_app = typer.Typer(no_args_is_help=True, help="Policy as Python: an operator's project.")
cable_app = typer.Typer(no_args_is_help=True, help="The cable: it carries everything when nothing else does.")
subscribers_app = typer.Typer(no_args_is_help=True, help="Who is where, and what holds for whom.")
app.add_typer(lists_app, name="lists")
app.add_typer(policy_app, name="policy")
app.add_typer(subscribers_app, name="subscribers")
app.add_typer(cable_app, name="cable")
token_app = typer.Typer(no_args_is_help=True, help="Who may ask the API, and what.")
events_app = typer.Typer(no_args_is_help=True, help="The journal of refused requests.")
app.add_typer(token_app, name="token")
app.add_typer(events_app, name="events")

Ingress = Annotated[str, typer.Option("--ingress", metavar="IF", help="The interface towards the subscribers.")]
Egress = Annotated[str, typer.Option("--egress", metavar="IF", help="The interface towards the internet.")]
Config = Annotated[Path, typer.Option("--config", metavar="FILE", help="The configuration (see examples/inline.yaml).")]
Root = Annotated[Path, typer.Option("--root", metavar="DIR", help="Where the versions lie side by side.")]
MaybeConfig = Annotated[
    Path | None, typer.Option("--config", metavar="FILE", help="Whose register; default: the one that runs here.")
]
SubscriberId = Annotated[str, typer.Argument(metavar="ID")]
Scope = Annotated[
    str | None, typer.Option("--scope", metavar="NAME", help="Where addresses may repeat: which network.")
]
Project = Annotated[Path, typer.Argument(metavar="PROJECT", help="A Python file, or a package.")]
MaybeIngress = Annotated[str | None, typer.Option("--ingress", metavar="IF", help="Only the pair with this interface.")]


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Turn what a person can cure into one line (or a few, one per problem) and exit status 1."""
    from penstock.errors import PenstockError

    try:
        yield
    except PenstockError as error:
        typer.echo(f"penstock: {error}", err=True)
        raise typer.Exit(1) from None
    except PermissionError as error:
        typer.echo(f"penstock: {error.strerror}: run it as root", err=True)
        raise typer.Exit(1) from None


def _print_version(wanted: bool) -> None:
    if wanted:
        from penstock import __version__

        typer.echo(f"penstock {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="And exit.")
    ] = False,
) -> None:
    pass


@app.command()
def run(
    ingress: Ingress,
    egress: Egress,
    config: Config,
    ready_file: Annotated[Path | None, typer.Option(metavar="PATH", help="Touched once traffic is judged.")] = None,
    take_over: Annotated[
        bool, typer.Option("--take-over", help="Take the place of the `run` that is in line, without a gap.")
    ] = False,
) -> None:
    """Run in line between two interfaces until SIGTERM. SIGHUP reads lists and configuration again."""
    with one_line_errors():
        from penstock.line.privileges import keep_running_rights

        keep_running_rights(config)  # before NumPy is imported, which makes threads
        from penstock.line.inline import Pair
        from penstock.run import Run

        raise typer.Exit(Run(Pair(ingress, egress), config, ready_file, take_over).run())


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def upgrade(
    context: typer.Context,
    wheel: Annotated[Path, typer.Argument(metavar="WHEEL", help="The new version, as a file.")],
    root: Root = INSTALLATION,
    check: Annotated[bool, typer.Option(help="Have it check the machine and the configuration first.")] = True,
) -> None:
    """Install a version beside the one that runs, and have it take over. Further options are pip's."""
    with one_line_errors():
        from penstock.upgrade import upgrade

        upgrade(root, wheel, context.args, check, typer.echo)


@app.command()
def rollback(root: Root = INSTALLATION) -> None:
    """Have the version before the last upgrade take over again."""
    with one_line_errors():
        from penstock.upgrade import rollback

        rollback(root, typer.echo)


@app.command("compile")
def compile_code() -> None:
    """Compile everything for this machine now, so that no start has to."""
    with one_line_errors():
        from penstock.control.explain import compile_explain
        from penstock.engine import compile_path
        from penstock.line.directory import compile_directory
        from penstock.line.inline import compile_steer

        compile_path()
        compile_steer()
        compile_directory()
        compile_explain()


@app.command()
def replay(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A capture: pcap or pcapng, plain or gzip-compressed.")],
    config: Annotated[Path | None, typer.Option("--config", metavar="FILE", help="Whose policy to judge by.")] = None,
    verify_checksums: Annotated[bool, typer.Option(help="Drop segments with a wrong TCP checksum.")] = False,
    ledger: Annotated[bool, typer.Option(help="Print the ledger of verdicts and reasons on standard error.")] = False,
) -> None:
    """Judge a capture as if it came over the wire: one JSON line per request on standard output."""
    with one_line_errors():
        from penstock.replay import replay_capture

        raise typer.Exit(replay_capture(file, config, verify_checksums, ledger))


@app.command()
def explain(
    target: Annotated[str, typer.Argument(metavar="URL-OR-NAME")],
    subscriber: Annotated[str, typer.Option("--subscriber", metavar="ID", help="As in the configuration.")],
    config: Config,
) -> None:
    """What would happen to a request, and which rule, list and category decide it."""
    with one_line_errors():
        from penstock.explain import explain_target

        explain_target(target, subscriber, config)


@app.command()
def report(
    logs: Annotated[
        list[Path], typer.Argument(metavar="LOG...", help="Logs of events, plain or .gz; -: standard input.")
    ],
) -> None:
    """What services on trial would have refused, and what the others refused."""
    with one_line_errors():
        from penstock.report import print_report

        print_report(logs)


@app.command()
def check(
    ingress: Ingress,
    egress: Egress,
    config: Annotated[
        Path | None, typer.Option("--config", metavar="FILE", help="Check this configuration too.")
    ] = None,
) -> None:
    """Find what would break a box in line, and say the cure. Exit status 1 when something would."""
    with one_line_errors():
        from penstock.doctor import print_findings
        from penstock.line.inline import Pair

        raise typer.Exit(print_findings(Pair(ingress, egress), config))


@lists_app.command("build")
def build_lists(config: Config) -> None:
    """Build the names database from the configuration's lists. The old one stays until the new one is whole."""
    with one_line_errors():
        from penstock.control.lists.command import build_with_progress

        build_with_progress(config)


@lists_app.command("check")
def check_lists(config: Config, ingress: MaybeIngress = None) -> None:
    """Which of the last hour's requests a reload would refuse in addition. Exit status 1 when it would not be taken."""
    with one_line_errors():
        from penstock.control.lists.check import check_lists

        raise typer.Exit(check_lists(config, ingress))


@lists_app.command("fetch")
def fetch_lists(config: Config) -> None:
    """Fetch every list that has a `url` now, for the next build or start. Exit status 1 when one was refused."""
    with one_line_errors():
        from penstock.control.lists.feed_report import fetch_feeds

        raise typer.Exit(fetch_feeds(config))


@lists_app.command("status")
def show_lists(config: Config) -> None:
    """Every list that has a `url`: entries, when it was fetched, and what was refused. Exit status 1 when something was."""
    with one_line_errors():
        from penstock.control.lists.feed_report import print_feeds

        raise typer.Exit(print_feeds(config))


@subscribers_app.command("list")
def list_subscribers(
    prefix: Annotated[str, typer.Argument(metavar="[PREFIX]", help="Only ids that begin with it.")] = "",
    config: MaybeConfig = None,
    after: Annotated[str, typer.Option(metavar="ID", help="Only ids behind this one.")] = "",
    limit: Annotated[int, typer.Option(min=1, help="So many at most.")] = 100,
) -> None:
    """The subscribers that the register knows, in the order of their ids."""
    with one_line_errors():
        from penstock.control.subscribers.command import print_list

        print_list(config, prefix, after, limit)


@subscribers_app.command("show")
def show_subscriber(name: SubscriberId, config: MaybeConfig = None) -> None:
    """All that the register knows of one: what holds for him, where he is, and who said so."""
    with one_line_errors():
        from penstock.control.subscribers.command import print_subscriber

        print_subscriber(config, name)


@subscribers_app.command("find")
def find_subscriber(
    address: Annotated[str, typer.Argument(metavar="ADDRESS", help="192.0.2.1, 192.0.2.1:443 or [2001:db8::1]:443.")],
    config: MaybeConfig = None,
    scope: Scope = None,
) -> None:
    """Who is at an address (and port)."""
    with one_line_errors():
        from penstock.control.subscribers.command import print_owner

        print_owner(config, address, scope)


@subscribers_app.command("set")
def set_subscriber(
    name: SubscriberId,
    config: MaybeConfig = None,
    profile: Annotated[str | None, typer.Option(metavar="NAME", help="One of the configuration's profiles.")] = None,
    fail: Annotated[str | None, typer.Option(metavar="open|closed", help="While nobody judges.")] = None,
    packets_per_s: Annotated[int | None, typer.Option(min=0, help="His budget; 0: none of his own.")] = None,
    pause: Annotated[str | None, typer.Option(metavar="DURATION", help="30m, 8h, 2d; `on` for good, or `off`.")] = None,
    address: Annotated[
        list[str] | None,
        typer.Option(metavar="A", help="Where he is: an address, a prefix, 203.0.113.1:1024-2047; `none`. Repeatable."),
    ] = None,
    scope: Scope = None,
    service: Annotated[
        list[str] | None, typer.Option(metavar="NAME=on|off|profile", help="A service of his. Repeatable.")
    ] = None,
    allow: Annotated[list[str] | None, typer.Option(metavar="NAME", help="Never refused to him. Repeatable.")] = None,
    deny: Annotated[list[str] | None, typer.Option(metavar="NAME", help="Refused to him. Repeatable.")] = None,
    no_allow: Annotated[list[str] | None, typer.Option(metavar="NAME", help="On his list no more.")] = None,
    no_deny: Annotated[list[str] | None, typer.Option(metavar="NAME", help="The same.")] = None,
    zone: Annotated[str | None, typer.Option(metavar="ZONE", help="Europe/Madrid; `none`: `register.zone`.")] = None,
    safe_search: Annotated[str | None, typer.Option(metavar="LEVEL", help="off, moderate, strict; or `none`.")] = None,
    youtube: Annotated[str | None, typer.Option(metavar="LEVEL", help="The same.")] = None,
) -> None:
    """Say what is to hold for a subscriber from now on. It holds over restarts, and wins over the configuration."""
    with one_line_errors():
        from penstock.control.subscribers.choices_command import build_words
        from penstock.control.subscribers.command import set_subscriber

        names = (allow or [], deny or [], no_allow or [], no_deny or [])
        chosen = build_words(service or [], *names, zone=zone, safe_search=safe_search, youtube=youtube)
        set_subscriber(
            config, name, pause,
            profile=profile, fail=fail, packets_per_s=packets_per_s, addresses=address or None, scope=scope, **chosen,
        )  # fmt: skip


@subscribers_app.command("choices")
def show_choices(
    name: SubscriberId,
    config: MaybeConfig = None,
    file: Annotated[str | None, typer.Option(metavar="F", help="Set all of them: JSON; `-`: standard input.")] = None,
) -> None:
    """What a subscriber chose, as JSON: services, names of his own, schedules. With --file, set it."""
    with one_line_errors():
        from penstock.control.subscribers.command import print_his_choices, set_choices

        if file is not None:
            set_choices(config, name, file)
        else:
            print_his_choices(config, name)


@token_app.command("create")
def create_token(
    config: Config,
    role: Annotated[str, typer.Option(metavar="operator|support|selfcare", help="What it is for.")],
    name: Annotated[str, typer.Option(metavar="NAME", help="Whose it is, for the audit.")] = "",
    subscriber: Annotated[str | None, typer.Option(metavar="ID", help="With selfcare: whose choices.")] = None,
    days: Annotated[
        int | None, typer.Option(min=1, max=3650, help="For how long; default: until it is revoked.")
    ] = None,
) -> None:
    """Make a token. It is printed once, and kept as a hash."""
    with one_line_errors():
        from penstock.portal.command import create_token, parse_role

        create_token(config, parse_role(role), name or role, subscriber, days)


@token_app.command("list")
def list_tokens(config: Config) -> None:
    """All tokens, as far as anybody knows them."""
    with one_line_errors():
        from penstock.portal.command import list_tokens

        list_tokens(config)


@token_app.command("revoke")
def revoke_token(token: Annotated[int, typer.Argument(metavar="TOKEN", help="Its number.")], config: Config) -> None:
    """Have a token hold no more, from the next call on."""
    with one_line_errors():
        from penstock.portal.command import revoke_token

        revoke_token(config, token)


@events_app.command("export")
def export_events(
    config: Config,
    begin: Annotated[
        str | None, typer.Option("--from", metavar="TIME", help="2026-11-26, or with a time; UTC.")
    ] = None,
    end: Annotated[str | None, typer.Option("--to", metavar="TIME", help="Up to here; default: now.")] = None,
    output: Annotated[Path | None, typer.Option(metavar="FILE", help="A new file; default: standard output.")] = None,
) -> None:
    """Events as JSON lines with pseudonyms for subscribers and without addresses. Each export has pseudonyms of its own."""
    with one_line_errors():
        from penstock.portal.command import export_events

        export_events(config, begin, end, output)


@policy_app.command("show")
def show_policy(project: Project) -> None:
    """Which hooks a project declares, what reaches them, and where they stand."""
    with one_line_errors():
        from penstock.control.hooks.command import show_project

        show_project(project)


@policy_app.command("test")
def test_policy(
    project: Project,
    recording: Annotated[Path, typer.Argument(metavar="RECORDED.json", help="Lines of the event log, or like it.")],
    budget_ms: Annotated[int, typer.Option(min=1, max=80, help="As `policy.budget_ms`.")] = 50,
    memory_mb: Annotated[int, typer.Option(min=64, help="As `policy.memory_mb`.")] = 256,
) -> None:
    """What a project says of recorded requests. Exit status 1 when a line expects something else, or a hook fails."""
    with one_line_errors():
        from penstock.control.hooks.command import try_project

        raise typer.Exit(try_project(project, recording, budget_ms, memory_mb))


@app.command()
def status(ingress: MaybeIngress = None) -> None:
    """The switch, the packet process, flows, and the ledger of every packet's verdict."""
    with one_line_errors():
        from penstock.status import print_status

        raise typer.Exit(print_status(ingress))


@app.command()
def off(ingress: MaybeIngress = None) -> None:
    """The emergency switch: the cable carries everything, nothing is judged."""
    _switch(False, ingress)


@app.command()
def on(ingress: MaybeIngress = None) -> None:
    """Judge again after `off`."""
    _switch(True, ingress)


def _switch(wanted: bool, ingress: str | None) -> None:
    with one_line_errors():
        from penstock.status import set_switch

        for line in set_switch(wanted, ingress):
            typer.echo(line)


@cable_app.command("up")
def cable_up(ingress: Ingress, egress: Egress) -> None:
    """Lay the cable between two interfaces. It stays until `cable down` or until the interfaces go."""
    with one_line_errors():
        from penstock.line.inline import Pair, raise_cable
        from penstock.line.pins import Pins, find_root

        raise_cable(Pair(ingress, egress), Pins(ingress, egress, find_root()))


@cable_app.command("free")
def cable_free(ingress: Ingress, egress: Egress) -> None:
    """Bring up a side that a run which was killed left down because the other had no carrier. Changes nothing else."""
    with one_line_errors():
        from penstock.line.handover import take_lock
        from penstock.line.inline import Pair, free_held
        from penstock.line.pins import Pins, find_root

        pins = Pins(ingress, egress, find_root(mount=False))
        if pins.directory.exists() and take_lock(pins) is not None:  # else there is a run, which knows what it holds
            for name in free_held(Pair(ingress, egress), pins):
                typer.echo(f"{name} is up again")


@cable_app.command("down")
def cable_down(ingress: Ingress, egress: Egress) -> None:
    """Take the cable and everything pinned away: nothing crosses any more."""
    with one_line_errors():
        from penstock.line.inline import Pair, lower_cable
        from penstock.line.pins import Pins, find_root

        if not lower_cable(Pair(ingress, egress), Pins(ingress, egress, find_root(mount=False))):
            typer.echo(f"penstock: there is no cable between {ingress} and {egress}", err=True)
            raise typer.Exit(1)


@app.command()
def demo(
    full: Annotated[
        bool, typer.Option("--full", help="A whole operator's: RADIUS, lists, API, and pages to look at.")
    ] = False,
    for_s: Annotated[
        float | None, typer.Option("--for", min=0, metavar="SECONDS", help="With --full: not until Ctrl-C.")
    ] = None,
) -> None:
    """Three network namespaces, real servers and real clients: see it protect one subscriber and leave another alone."""
    from rich.console import Console

    if full:
        from penstock.demo.full import run_full

        raise typer.Exit(run_full(Console(), for_s))
    from penstock.demo.demo import run_demo

    raise typer.Exit(run_demo(Console()))


def main() -> Any:
    """The entry point."""
    return app(prog_name="penstock") if sys.argv[0].endswith("__main__.py") else app()
