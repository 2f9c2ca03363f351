"""A host in a log is told however the client wrote it."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from penstock.demo.servers import Server, hosts_seen, plain_host

LABELS = st.from_regex(r"[a-z0-9]{1,8}", fullmatch=True)
NAMES = st.lists(LABELS, min_size=1, max_size=5).map(".".join)


@given(NAMES, st.booleans(), st.sampled_from(["", ":80", ":8443"]), st.booleans())
def test_every_way_of_writing_gives_the_plain_name(name: str, dotted: bool, port: str, upper: bool) -> None:
    written = f" {name.upper() if upper else name}{'.' * dotted}{port} "
    assert plain_host(written) == name


def test_a_line_that_is_still_being_written_is_not_read(tmp_path: Path) -> None:
    log = tmp_path / "log"
    server = Server("none", 80, 443, log)
    log.write_text('{"host": "Good.example.test:80"}\n{"kind": "hello", "host": null}\n{"host": "ba')
    assert hosts_seen(server) == {"good.example.test"}
