"""Node's server (llhttp) as an oracle, one process for a batch of streams: which hosts does it hand to a handler?"""

import base64
import json
import re
import shutil
import subprocess

from tests.request.http_cpython import bare

NODE = shutil.which("node")

SCRIPT = r"""
const http = require('http'), { Duplex } = require('stream');
const lenient = process.argv[1] === 'lenient';
const serve = (bytes) => new Promise((over) => {
  const seen = [];
  const note = (request) => seen.push([request.url, request.rawHeaders]);
  const server = http.createServer({ insecureHTTPParser: lenient, requireHostHeader: false,
                                     requestTimeout: 0, headersTimeout: 0, connectionsCheckingInterval: 2 ** 30 });
  server.on('request', (request, response) => { note(request); request.resume(); response.end(); });
  server.on('upgrade', (request, socket) => { note(request); socket.destroy(); });
  server.on('connect', (request, socket) => { note(request); socket.destroy(); });
  server.on('clientError', (error, socket) => socket.destroy());
  const socket = new Duplex({ read() {}, write(chunk, encoding, done) { done(); } });
  server.emit('connection', socket);
  socket.push(bytes);
  socket.push(null);
  setTimeout(() => { socket.destroy(); server.close(); over(seen); }, 15);
});
let text = '';
process.stdin.on('data', (part) => text += part).on('end', async () => {
  const streams = JSON.parse(text).map((stream) => Buffer.from(stream, 'base64'));
  console.log(JSON.stringify(await Promise.all(streams.map(serve))));
  process.exit(0);
});
"""


def requests_served(streams: list[bytes], lenient: bool) -> list[list[tuple[str, list[str]]]]:
    """For each stream the target and raw fields (name, value, name, ...) of each request for which a handler ran."""
    assert NODE is not None
    text = json.dumps([base64.b64encode(stream).decode() for stream in streams])
    mode = "lenient" if lenient else "strict"
    done = subprocess.run(
        [NODE, "-e", SCRIPT, mode], input=text, capture_output=True, text=True, check=True, timeout=120
    )
    return [[(target, fields) for target, fields in seen] for seen in json.loads(done.stdout)]


def hosts_of(seen: list[tuple[str, list[str]]]) -> list[bytes]:
    """The hosts of these requests, bare."""
    hosts = []
    for target, fields in seen:
        absolute = re.match(r"[A-Za-z][A-Za-z0-9+.-]*://([^/?#]*)", target)
        hosts += [bare(absolute[1])] if absolute else []
        hosts += [bare(value) for name, value in zip(fields[::2], fields[1::2], strict=True) if name.lower() == "host"]
    return [host for host in hosts if host]
