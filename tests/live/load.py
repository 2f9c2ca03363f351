"""A steady load: new connections with one request each, at a fixed rate, each timed.

    python -m tests.live.load ADDRESS PORT HOST RATE SECONDS [SOURCE]

It ends early on SIGTERM. Prints a JSON line when it begins and one at the end: {"asked": [[start_s, delay_s, what], ...]},
`what` being the first line of the response, or the error that broke the connection; times are of the monotonic clock.
"""

import asyncio
import json
import signal
import sys
import time
from dataclasses import dataclass, field

PATIENCE_S = 10.0


@dataclass
class Load:
    """One run and what came of each request."""

    address: str
    port: int
    host: str
    rate: float
    duration_s: float
    source: str | None = None
    asked: list[tuple[float, float, str]] = field(default_factory=list)
    stops: bool = False

    async def run(self) -> None:
        """Start each request when it is due, whatever became of those before."""
        begin_s = time.monotonic()
        async with asyncio.TaskGroup() as group:
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, self.stop)
            for number in range(int(self.rate * self.duration_s)):
                if self.stops:
                    break
                ahead_s = begin_s + number / self.rate - time.monotonic()
                if ahead_s > 0.0005:
                    await asyncio.sleep(ahead_s)
                group.create_task(self._ask())

    def stop(self) -> None:
        """Begin no more requests."""
        self.stops = True

    async def _ask(self) -> None:
        start_s = time.monotonic()
        try:
            what = await asyncio.wait_for(self._exchange(), PATIENCE_S)
        except (OSError, asyncio.IncompleteReadError, TimeoutError) as error:
            what = f"broken: {error or type(error).__name__}"
        self.asked.append((start_s, time.monotonic() - start_s, what))

    async def _exchange(self) -> str:
        local = (self.source, 0) if self.source else None
        reader, writer = await asyncio.open_connection(self.address, self.port, local_addr=local)
        try:
            writer.write(f"GET / HTTP/1.1\r\nHost: {self.host}\r\nConnection: close\r\n\r\n".encode())
            first = await reader.readuntil(b"\r\n")
            await reader.read()
            return first.decode().strip()
        finally:
            writer.close()


def main() -> None:
    """Run the load that the arguments name."""
    address, port, host, rate, duration_s, *source = sys.argv[1:]
    load = Load(address, int(port), host, float(rate), float(duration_s), *source)
    print(json.dumps({"begin_s": time.monotonic()}), flush=True)
    asyncio.run(load.run())
    print(json.dumps({"asked": load.asked}), flush=True)


if __name__ == "__main__":
    main()
