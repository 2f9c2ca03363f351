"""Small requests at a fixed rate, each on a new connection and each timed.

    python pace.py ADDRESS PORT HOST RATE COUNT
    {"request_p50": 43.1, "request_p99": 88.3, "whole_p50": 99.8, "whole_p99": 558, "late": 0.02}

`request`: from the first byte sent to the response. `whole`: from the connection's SYN, or from the moment it was due
when the one before took longer than its turn, so that a stall is felt by all that it delays. Microseconds.
`late`: the share of requests that were due before the one before had ended.
"""

import gc
import json
import socket
import sys
import time


def pace(address: str, port: int, request: bytes, rate: float, count: int) -> dict[str, float]:
    """Send `count` requests at `rate` a second; the figures."""
    wholes, requests, late = [], [], 0
    step_ns = int(1e9 / rate)
    due_ns = time.perf_counter_ns() + step_ns
    for _ in range(count):
        ahead_ns = due_ns - time.perf_counter_ns()
        if ahead_ns > 0:
            time.sleep(ahead_ns / 1e9)
            start_ns = time.perf_counter_ns()
        else:
            start_ns, late = due_ns, late + 1
        with socket.create_connection((address, port)) as channel:
            sent_ns = time.perf_counter_ns()
            channel.sendall(request)
            if not channel.recv(4096):
                raise ConnectionError("no response")
            end_ns = time.perf_counter_ns()
        wholes.append(end_ns - start_ns)
        requests.append(end_ns - sent_ns)
        due_ns += step_ns
    figures = {"late": late / count}
    for name, values in (("request", sorted(requests)), ("whole", sorted(wholes))):
        for percent in (50, 99):
            figures[f"{name}_p{percent}"] = values[count * percent // 100] / 1e3
    return figures


def main() -> None:
    """Warm up with a tenth, measure, print."""
    address, port, host, rate, count = sys.argv[1:]
    request = f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode()
    gc.disable()
    pace(address, int(port), request, float(rate), max(1, int(count) // 10))
    print(json.dumps(pace(address, int(port), request, float(rate), int(count))))


if __name__ == "__main__":
    main()
