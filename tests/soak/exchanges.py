"""What the soak's clients do over TCP: one function for each kind of exchange.

Each takes a Session and returns when every byte was compared; it raises Broken, an error of the socket, or Refused.
Refuses to know when it runs and how often: `mix.py` says that.
"""

import asyncio
import time

from tests.soak.payload import build_payload, compare, cut_pieces, word_receipt
from tests.soak.session import PATIENCE_S, Broken, Channel, Refused, Session

HTTP_PORT, HTTPS_PORT = 8000, 8443
CLOSE = "Connection: close"
UPGRADE = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: c29haw==")


async def close_http(session: Session) -> None:
    """One request on a connection of its own."""
    async with session.connect(HTTP_PORT) as channel:
        await channel.fetch(session.chance.randrange(20_000), "bytes", CLOSE)
        await channel.expect_end()


async def close_https(session: Session) -> None:
    """The same inside TLS."""
    async with session.connect(HTTPS_PORT, tls=True) as channel:
        await channel.fetch(session.chance.randrange(20_000), "bytes", CLOSE)
        await channel.expect_end()


async def _speak(session: Session, channel: Channel) -> None:
    for _ in range(session.chance.randrange(3, 9)):
        if session.chance.random() < 0.3:
            content = build_payload(session.chance.getrandbits(40), session.chance.randrange(1, 5_000))
            await channel.give(content, [content])
        else:
            how = session.chance.choice(("bytes", "chunks"))
            await channel.fetch(session.chance.randrange(10_000), how)
        await asyncio.sleep(session.remains_s(session.chance.random()))


async def keep_http(session: Session) -> None:
    """Requests with pauses on one connection, some of them with a body."""
    async with session.connect(HTTP_PORT) as channel:
        await _speak(session, channel)


async def keep_https(session: Session) -> None:
    """The same inside TLS."""
    async with session.connect(HTTPS_PORT, tls=True) as channel:
        await _speak(session, channel)


async def download(session: Session) -> None:
    """A large response, with a length or in chunks."""
    async with session.connect(HTTP_PORT) as channel:
        await channel.fetch(session.chance.randrange(100_000, 1_500_000), session.chance.choice(("bytes", "chunks")))


async def paced_download(session: Session) -> None:
    """A response that takes its time: faults fall into it."""
    async with session.connect(HTTP_PORT) as channel:
        await channel.fetch(int(200_000 * session.remains_s(session.chance.uniform(4, 20))) + 1, "paced")


async def upload(session: Session) -> None:
    """A body with its length, as fast as it goes."""
    content = build_payload(session.seed, session.chance.randrange(10_000, 800_000))
    async with session.connect(HTTP_PORT) as channel:
        await channel.give(content, cut_pieces(session.seed, content, 6))


async def chunked_upload(session: Session) -> None:
    """A chunked body, whose every byte is read on the way."""
    content = build_payload(session.seed, session.chance.randrange(1_000, 100_000))
    async with session.connect(HTTP_PORT) as channel:
        await channel.give(content, cut_pieces(session.seed, content, 12), chunked=True)


async def slow_upload(session: Session) -> None:
    """A body that takes its time, chunked or not: faults fall into it."""
    content = build_payload(session.seed, session.chance.randrange(20_000, 200_000))
    pieces = cut_pieces(session.seed, content, 20)
    pause_s = session.remains_s(session.chance.uniform(3, 12)) / len(pieces)
    async with session.connect(HTTP_PORT) as channel:
        await channel.give(content, pieces, chunked=session.chance.random() < 0.5, pause_s=pause_s)


async def start_echo(channel: Channel) -> None:
    """Upgrade the connection."""
    await channel.ask("/echo", *UPGRADE)
    status, _ = await channel.read_head()
    if status != 101:
        raise Broken(f"no upgrade, status {status}")


async def echo_once(session: Session, channel: Channel) -> None:
    """Bytes there and back on an upgraded connection."""
    content = build_payload(session.chance.getrandbits(40), session.chance.randrange(1, 3_000))
    begin_s = time.monotonic()
    await channel.send(content)
    async with asyncio.timeout(PATIENCE_S):
        found = await channel.reader.readexactly(len(content))
    session.note_wait(begin_s)
    session.received_bytes += len(found)
    if difference := compare(content, found):
        raise Broken(f"after the upgrade {difference}")


async def upgrade(session: Session) -> None:
    """An upgraded connection with bytes both ways for some seconds."""
    async with session.connect(HTTP_PORT) as channel:
        await start_echo(channel)
        for _ in range(session.chance.randrange(4, 20)):
            await echo_once(session, channel)
            await asyncio.sleep(session.remains_s(session.chance.uniform(0, 0.8)))


async def idle(session: Session, pause_s: float) -> None:
    """A connection that stands the whole run and speaks once in a long while: HTTP, HTTPS, or upgraded."""
    form = session.chance.choice(("http", "https", "echo"))
    async with session.connect(HTTPS_PORT if form == "https" else HTTP_PORT, tls=form == "https") as channel:
        if form == "echo":
            await start_echo(channel)
        while session.remains_s(1):
            if form == "echo":
                await echo_once(session, channel)
            else:
                await channel.fetch(session.chance.randrange(3_000))
            await asyncio.sleep(session.remains_s(pause_s * session.chance.uniform(0.7, 1.3)))


async def listed_later(session: Session) -> None:
    """A listed name on a connection on which an allowed one was served."""
    async with session.connect(HTTP_PORT) as channel:
        await channel.fetch(session.chance.randrange(3_000))
        await asyncio.sleep(session.remains_s(session.chance.uniform(0, 3)))
        seed = session.chance.getrandbits(40)
        try:
            await channel.ask(f"/bytes/{seed}/100", host=session.listed)
            await channel.take(build_payload(seed, 100))
        except (OSError, EOFError) as error:
            raise Refused(f"ended: {error}") from None


async def curl(session: Session) -> None:
    """curl, over HTTP or HTTPS, up or down."""
    tls, up = session.chance.random() < 0.5, session.chance.random() < 0.4
    seed, size = session.chance.getrandbits(40), session.chance.randrange(1, 300_000)
    content = build_payload(seed, size)
    port = HTTPS_PORT if tls else HTTP_PORT
    there = f"[{session.server}]" if ":" in session.server else session.server
    words = ["-q", "-sS", "--max-time", str(PATIENCE_S), "--interface", session.source, "-k"]
    words += ["--local-port", str(port_from)] if (port_from := session.draw_port()) else []
    words += ["--connect-to", f"::{there}:"]
    words += ["--data-binary", "@-", "-H", "Expect:"] if up else []
    url = f"{'https' if tls else 'http'}://{session.host}:{port}/{'take' if up else f'bytes/{seed}/{size}'}"
    pipe = asyncio.subprocess.PIPE
    program = await asyncio.create_subprocess_exec("curl", *words, url, stdin=pipe, stdout=pipe, stderr=pipe)
    found, complaint = await program.communicate(content if up else b"")
    if program.returncode:
        raise Broken(f"curl ended with status {program.returncode}: {complaint.decode().strip()}")
    session.sent_bytes += len(content) if up else 0
    session.received_bytes += len(found)
    if difference := compare(word_receipt(content) if up else content, found):
        raise Broken(f"curl: {difference}")
