"""`penstock check`: what would break a box in line, found before it does, each with its cure."""

import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyroute2 import IPRoute
from rich.console import Console

from penstock.compile.native import cache_directory
from penstock.control.configuration import load_configuration
from penstock.errors import PenstockError
from penstock.kernel import bpf
from penstock.line.inline import SIDES, Pair, check_kernel
from penstock.line.links import find_faults, find_pair_faults, parse_link
from penstock.line.pins import Pins, find_root


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    what: str
    problem: str = ""
    cure: str = ""

    @property
    def is_good(self) -> bool:
        return not self.problem


def _check_system() -> Iterator[Finding]:
    try:
        check_kernel()
        yield Finding("kernel with tcx")
    except PenstockError as error:
        yield Finding("kernel with tcx", str(error), "boot Linux 6.6 or later")
    try:
        yield Finding(f"bpffs at {find_root(mount=False)}")
    except PenstockError:
        yield Finding("bpffs", "not mounted (`penstock run` mounts it)", "mount -t bpf bpf /sys/fs/bpf")
    if cache_directory() is None:
        yield Finding("compile cache", "no writable place: every start compiles", "make /var/cache/penstock writable")
    else:
        yield Finding("compile cache")


def _check_interface(link: Any, name: str, addresses: list[str], owned: Callable[[], set[int]]) -> Iterator[Finding]:
    if link["flags"] & 1 == 0:
        yield Finding(f"{name} up", "it is down", f"ip link set {name} up")
    for fault in find_faults(parse_link(link)):
        yield Finding(*fault)
    if addresses:
        yield Finding(
            f"{name} without addresses", f"it has {', '.join(addresses)}: the cable takes what is sent to them",
            f"ip address flush dev {name}",
        )  # fmt: skip
    foreign = [number for number in bpf.query_tcx(link["index"]) if number not in owned()]
    if foreign:
        yield Finding(
            f"{name} alone on its hook", f"other tcx programs are attached (ids {foreign})",
            "detach them, or make sure that they only look",
        )  # fmt: skip
    yield Finding(f"{name} looked at")


def _owned_programs(pins: Pins) -> set[int]:
    owned = set()
    for side in ("ingress", "egress"):
        for kind in ("cable", "steer"):
            link = pins.open(f"{kind}_{side}")
            if link is not None:
                owned.add(bpf.link_program(link))
    return owned


def _who_may_write(path: Path) -> str:
    """Who besides root and us may change a file, or put another one under its name; empty for nobody."""
    for part in (path, path.absolute().parent):
        status = part.stat()
        if status.st_uid not in (0, os.geteuid()):
            return f"user {status.st_uid} owns {part}"
        if stat.S_ISDIR(status.st_mode) and status.st_mode & stat.S_ISVTX:
            continue  # as /tmp: nobody can replace another's file there
        if status.st_mode & stat.S_IWOTH:
            return f"everybody may write {part}"
        if status.st_mode & stat.S_IWGRP and status.st_gid:
            return f"group {status.st_gid} may write {part}"
    return ""


def check_configuration(path: Path) -> Iterator[Finding]:
    """Is it right, and root's alone to write?"""
    try:
        load_configuration(path)
    except PenstockError as error:
        yield Finding("configuration", str(error), "mend the lines named")
        return
    yield Finding(f"configuration {path}")
    writer = _who_may_write(path)
    # It names files that root writes (the log, the database) and one that subscribers see (the page).
    cure = f"chown root and chmod go-w {path} and its directory"
    yield Finding("configuration for root alone to write", writer, cure)


def find_problems(pair: Pair, configuration_path: Path | None) -> Iterator[Finding]:
    """Everything that is looked at, in order. Raises LineError when an interface is not there."""
    yield from _check_system()
    pins = Pins(pair.ingress, pair.egress, find_root(mount=False))
    with IPRoute() as route:
        links = {side: route.get_links(pair.ifindex(side))[0] for side in SIDES}
        for side, link in links.items():
            addresses = [
                address.get_attr("IFA_ADDRESS")
                for address in route.get_addr(index=link["index"])
                if not str(address.get_attr("IFA_ADDRESS")).startswith("fe80:")
            ]
            name = pair.name(side)
            yield from _check_interface(link, name, addresses, lambda: _owned_programs(pins))
    faults = [Finding(*fault) for fault in find_pair_faults(*(parse_link(links[side]) for side in SIDES))]
    yield from faults or [Finding("equal MTUs")]
    if configuration_path is not None:
        yield from check_configuration(configuration_path)


def print_findings(pair: Pair, configuration_path: Path | None) -> int:
    """Print every finding. Exit status 1 when one is a problem."""
    console, bad = Console(), 0
    for finding in find_problems(pair, configuration_path):
        if finding.is_good:
            console.print(f"[green]good[/] {finding.what}")
        else:
            bad += 1
            console.print(f"[red]bad [/] {finding.what}: {finding.problem}", soft_wrap=True)
            console.print(f"     cure: {finding.cure}", markup=False, soft_wrap=True)
    return 1 if bad else 0
