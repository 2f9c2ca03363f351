"""Lists fetched from a real server: what is taken, what is refused and why, and what the server is asked."""

import gzip
import hashlib
import io
import os
import tarfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from penstock.control.configuration import Configuration
from penstock.control.lists.feed_cache import Feed, FeedError, Record, Version, find_feeds
from penstock.control.lists.fetch import fetch_version
from tests.control.lists.feed_server import Request, Site, closed_port, make_bomb, start_site, write_pair

LIST = b"one.example\ntwo.example\n"
BLANK = Record("")


@pytest.fixture
def site() -> Iterator[Site]:
    with start_site() as started:
        yield started


@pytest.fixture
def secure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """A site over TLS whose certificate is trusted."""
    certificate, key = write_pair(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with start_site(certificate, key) as started:
        yield started


def make_feed(directory: Path, url: str, timeout_s: int = 20, proxy: str | None = None, **terms: Any) -> Feed:
    document = {
        "lists": [{"category": "phishing", "url": url, **terms}],
        "feeds": {"directory": directory / "feeds", "timeout_s": timeout_s, "proxy": proxy},
    }
    (feed,) = find_feeds(Configuration.model_validate(document))
    return feed


def fetch(feed: Feed, directory: Path, record: Record = BLANK) -> Version | Record:
    return fetch_version(feed, record, directory / "new")


def fetch_content(feed: Feed, directory: Path) -> bytes:
    found = fetch(feed, directory)
    assert isinstance(found, Version)
    return found.place.read_bytes()


def refused(feed: Feed, directory: Path) -> str:
    """Why it is refused; nothing is left of it."""
    with pytest.raises(FeedError) as caught:
        fetch(feed, directory)
    assert not (directory / "new").exists()
    return str(caught.value)


# ---- what is taken ---------------------------------------------------------------------------------------------------
def test_a_list_is_fetched_with_what_is_known_of_it(site: Site, tmp_path: Path) -> None:
    feed = make_feed(tmp_path, site.serve("/list.txt", LIST, Last_Modified="Mon, 01 Jan 2024 00:00:00 GMT"))
    found = fetch(feed, tmp_path)
    assert isinstance(found, Version)
    assert found.place.read_bytes() == LIST
    assert found.record.sha256 == hashlib.sha256(LIST).hexdigest()
    assert (found.record.size_bytes, found.record.modified_ns) == (len(LIST), found.place.stat().st_mtime_ns)
    assert found.place.stat().st_mode & 0o777 == 0o600
    assert site.asked[0][1]["User-Agent"].startswith("penstock/")

    again = fetch(feed, tmp_path, found.record)
    assert isinstance(again, Record)
    assert again.checked_s > found.record.checked_s
    assert site.asked[1][1]["If-None-Match"] == found.record.etag
    assert site.asked[1][1]["If-Modified-Since"] == "Mon, 01 Jan 2024 00:00:00 GMT"
    assert not (tmp_path / "new").exists()

    site.serve("/list.txt", LIST + b"three.example\n")
    newer = fetch(feed, tmp_path, again)
    assert isinstance(newer, Version)
    assert newer.record.etag != again.etag


def test_a_server_without_conditions_sends_the_same_in_vain(site: Site, tmp_path: Path) -> None:
    feed = make_feed(tmp_path, site.answer("/list.txt", lambda request: request.say(200, LIST)))
    found = fetch(feed, tmp_path)
    assert isinstance(found, Version)
    assert isinstance(fetch(feed, tmp_path, found.record), Record)


def test_packed_on_the_way_and_packed_as_a_file(site: Site, tmp_path: Path) -> None:
    packed = gzip.compress(LIST)
    on_the_way = site.answer("/a", lambda request: request.say(200, packed, Content_Encoding="gzip"))
    assert fetch_content(make_feed(tmp_path, on_the_way), tmp_path) == LIST
    assert fetch_content(make_feed(tmp_path, site.serve("/a.gz", packed)), tmp_path) == packed


def send_in_chunks(request: Request) -> None:
    request.begin(200, Transfer_Encoding="chunked")
    for line in LIST.splitlines(keepends=True):
        request.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))
    request.wfile.write(b"0\r\n\r\n")


def test_chunks(site: Site, tmp_path: Path) -> None:
    assert fetch_content(make_feed(tmp_path, site.answer("/list.txt", send_in_chunks)), tmp_path) == LIST


def test_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "its list.txt"
    path.write_bytes(LIST)
    feed = make_feed(tmp_path, f"file://{tmp_path}/its%20list.txt")
    found = fetch(feed, tmp_path)
    assert isinstance(found, Version)
    assert found.place.read_bytes() == LIST
    assert isinstance(fetch(feed, tmp_path, found.record), Record)
    path.write_bytes(LIST * 2)
    assert isinstance(fetch(feed, tmp_path, found.record), Version)
    path.unlink()
    assert refused(feed, tmp_path) == f"{path}: No such file or directory"
    os.mkfifo(path)
    assert refused(feed, tmp_path) == f"{path}: is no file"


def test_over_tls(secure: Site, tmp_path: Path) -> None:
    assert fetch_content(make_feed(tmp_path, secure.serve("/list.txt", LIST)), tmp_path) == LIST


def test_a_redirect_is_followed_without_the_credentials_of_another_server(site: Site, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("X-Key: 5ecret\n")
    with start_site() as other:
        target = other.serve("/there.txt", LIST)
        first = site.answer("/here.txt", lambda request: request.say(302, Location="/second.txt"))
        site.answer("/second.txt", lambda request: request.say(308, Location=target))
        found = fetch(make_feed(tmp_path, first, auth_file=secret), tmp_path)
        assert isinstance(found, Version)
        assert found.record.final_url == target
        assert [headers.get("X-Key") for _, headers in site.asked] == ["5ecret", "5ecret"]
        assert [headers.get("X-Key") for _, headers in other.asked] == [None]


def test_a_bare_secret_is_the_value_of_authorization(site: Site, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("Bearer abc.def==\n")
    fetch_content(make_feed(tmp_path, site.serve("/list.txt", LIST), auth_file=secret), tmp_path)
    assert site.asked[0][1]["Authorization"] == "Bearer abc.def=="


def test_a_proxy_is_asked_in_the_place_of_the_server(site: Site, tmp_path: Path) -> None:
    site.answer("http://lists.example.test/list.txt", lambda request: request.say(200, LIST))
    feed = make_feed(tmp_path, "http://lists.example.test/list.txt", proxy=site.url)
    assert fetch_content(feed, tmp_path) == LIST
    site.answer("lists.example.test:443", lambda request: request.say(403))
    assert "403" in refused(make_feed(tmp_path, "https://lists.example.test/list.txt", proxy=site.url), tmp_path)


def test_no_proxy_is_taken_from_the_environment(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{closed_port()}")
    assert fetch_content(make_feed(tmp_path, site.serve("/list.txt", LIST)), tmp_path) == LIST


@pytest.mark.parametrize(
    "text", ["{digest}\n", "{digest}  list.txt\n", "00{digest}\n{other}  other.txt\n{digest} *dir/list.txt\n",
             "SHA256 (other.txt) = {other}\nSHA256 (list.txt) = {digest}\n"],
)  # fmt: skip
def test_a_checksum_beside_the_list(site: Site, tmp_path: Path, text: str) -> None:
    digest, other = hashlib.sha256(LIST).hexdigest(), hashlib.sha256(b"").hexdigest()
    sums = site.serve("/SUMS", text.format(digest=digest, other=other).encode())
    url = site.serve("/list.txt", LIST)
    assert fetch_content(make_feed(tmp_path, url, checksum_url=sums), tmp_path) == LIST
    site.serve("/list.txt", LIST + b"evil.example\n")
    assert "wrong checksum" in refused(make_feed(tmp_path, url, checksum_url=sums), tmp_path)


def test_a_checksum_in_the_configuration(site: Site, tmp_path: Path) -> None:
    url, digest = site.serve("/list.txt", LIST), hashlib.sha256(LIST).hexdigest()
    assert fetch_content(make_feed(tmp_path, url, sha256=digest.upper()), tmp_path) == LIST
    assert "`sha256` says 0000" in refused(make_feed(tmp_path, url, sha256="0" * 64), tmp_path)


# ---- what is refused -------------------------------------------------------------------------------------------------
def stop_in_the_middle(request: Request) -> None:
    request.begin(200, Content_Length="1000")
    request.wfile.write(LIST)


def stop_within_a_chunk(request: Request) -> None:
    request.begin(200, Transfer_Encoding="chunked")
    request.wfile.write(b"100\r\none.example\n")


def send_without_end(request: Request) -> None:
    request.begin(200)
    for _ in range(1000):
        request.wfile.write(LIST * 1000)


def speak_nonsense(request: Request) -> None:
    request.wfile.write(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")


def pack_otherwise(request: Request) -> None:
    request.say(200, b"\x0b\x02\x80", Content_Encoding="br")


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (lambda request: request.say(500), "the server says 500 Internal Server Error"),
        (lambda request: request.say(404, b"no such list"), "the server says 404 Not Found"),
        (lambda request: request.say(204), "the server says 204 No Content"),
        (stop_in_the_middle, "it ends in the middle: 24 of 1,000 bytes came"),
        (stop_within_a_chunk, "it ends in the middle"),
        (lambda request: request.say(200, LIST * 1000), "too big: 24,000 bytes are announced, and `max_bytes` is 10,000"),
        (send_without_end, "too big: more than 10,000 bytes (`max_bytes`)"),
        (lambda request: request.say(200, make_bomb(1 << 20)), "gzip: it unpacks to more than 10,000 bytes"),
        (
            lambda request: request.say(200, make_bomb(1 << 20), Content_Encoding="gzip"),
            "gzip: it unpacks to more than 10,000 bytes",
        ),
        (
            lambda request: request.say(200, gzip.compress(make_bomb(1 << 22)), Content_Encoding="gzip"),
            "gzip: it unpacks to more than 10,000 bytes",
        ),
        (lambda request: request.say(200, gzip.compress(LIST)[:-4]), "gzip: damaged: it ends in the middle"),
        (lambda request: request.say(200, b"BZh91AY&SY"), "packed otherwise than by gzip"),
        (pack_otherwise, "the server sends the coding br, which was not asked for"),
        (lambda request: request.say(200, b"\n <!DOCTYPE html><p>Error"), "not a list: a web page, or XML"),
        (speak_nonsense, "no HTTP that can be read: BadStatusLine"),
        (lambda request: request.say(302, Location="/list.txt"), "more than 5 redirects"),
        (lambda request: request.say(302, Location="file:///etc/passwd"), "a redirect to something else than"),
        (lambda request: request.say(302, Location="ftp://a.example/"), "a redirect to something else than"),
    ],
)  # fmt: skip
def test_what_is_no_good_is_refused_with_its_reason(site: Site, tmp_path: Path, answer: Any, reason: str) -> None:
    feed = make_feed(tmp_path, site.answer("/list.txt", answer), max_bytes=10_000)
    assert refused(feed, tmp_path).startswith(reason)


def test_nobody_answers(tmp_path: Path) -> None:
    assert refused(make_feed(tmp_path, f"http://127.0.0.1:{closed_port()}/"), tmp_path) == "Connection refused"


def drip(request: Request) -> None:
    request.begin(200, Content_Length="1000")
    for _ in range(100):
        request.wfile.write(b"a")
        time.sleep(0.1)


def test_a_server_that_drips_is_left(site: Site, tmp_path: Path) -> None:
    begin_s = time.monotonic()
    feed = make_feed(tmp_path, site.answer("/list.txt", drip), timeout_s=2)
    assert refused(feed, tmp_path) == "it took longer than 2 s"
    assert time.monotonic() - begin_s < 8


def test_no_way_leads_from_https_to_http(secure: Site, site: Site, tmp_path: Path) -> None:
    target = site.serve("/list.txt", LIST)
    url = secure.answer("/list.txt", lambda request: request.say(302, Location=target))
    reason = refused(make_feed(tmp_path, url), tmp_path)
    assert reason == "a redirect from https to http, which anybody could have written: to 127.0.0.1"
    assert site.asked == []


def test_a_certificate_that_nobody_trusts(secure: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    reason = refused(make_feed(tmp_path, secure.serve("/list.txt", LIST)), tmp_path)
    assert reason.startswith("the server's certificate: ")


@pytest.mark.parametrize("content", [b"", b"two\nlines\n", b"X-Key: \xff\n"])
def test_a_secret_that_cannot_be_used_is_not_told(site: Site, tmp_path: Path, content: bytes) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(content)
    reason = refused(make_feed(tmp_path, site.serve("/list.txt", LIST), auth_file=secret), tmp_path)
    assert reason.startswith(f"auth_file: {secret}: ")
    assert "lines" not in reason
    assert site.asked == []


def test_the_checksum_is_gone(site: Site, tmp_path: Path) -> None:
    url = site.serve("/list.txt", LIST)
    feed = make_feed(tmp_path, url, checksum_url=f"{site.url}/SUMS")
    assert refused(feed, tmp_path) == "the checksum: the server says 404 Not Found"
    site.serve("/SUMS", b"no digest\n")
    assert refused(feed, tmp_path) == "the checksum: no SHA-256 digest of `list.txt`"


def test_a_record_without_its_list_is_no_condition(site: Site, tmp_path: Path) -> None:
    feed = make_feed(tmp_path, site.serve("/list.txt", LIST))
    found = fetch(feed, tmp_path)
    assert isinstance(found, Version)
    assert isinstance(fetch(feed, tmp_path, replace(found.record, etag="", sha256="")), Version)


def make_archive() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        member = tarfile.TarInfo("blacklists/phishing/domains")
        member.size = len(LIST)
        archive.addfile(member, io.BytesIO(LIST))
    return out.getvalue()


def test_an_archive_keeps_its_ending(site: Site, tmp_path: Path) -> None:
    archive = make_archive()
    feed = make_feed(tmp_path, site.serve("/lists/phishing.tar.gz", archive))
    assert feed.path.name.endswith("-phishing.tar.gz")
    assert feed.path.parent == tmp_path / "feeds"
    assert fetch_content(feed, tmp_path) == archive
