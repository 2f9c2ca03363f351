"""nginx, Apache and Node as operators meet them, each with a log that names the host of every request."""

from pathlib import Path

from penstock.demo.servers import Certificate, Server, start_program
from penstock.demo.topology import Topology

NGINX = """daemon off; pid {here}/nginx.pid; worker_processes 1;
events {{ worker_connections 4096; }}
http {{
    log_format hosts escape=json '{{"host":"$http_host","judged":"$host","sni":"$ssl_server_name","line":"$request"}}';
    access_log {log} hosts;
    client_max_body_size 0; client_body_temp_path {here}/temp; proxy_temp_path {here}/temp; fastcgi_temp_path {here}/temp;
    uwsgi_temp_path {here}/temp; scgi_temp_path {here}/temp;
    large_client_header_buffers 16 16k; keepalive_requests 1000000; keepalive_timeout 600;
    server {{
        listen [::]:{http} ipv6only=off backlog=4096; listen [::]:{https} ssl ipv6only=off backlog=4096;
        ssl_certificate {pair.certificate}; ssl_certificate_key {pair.key}; ssl_ecdh_curve {curve};
        ssl_protocols TLSv1.2 TLSv1.3;
        location / {{ default_type text/plain; return 200 "This is $host.\\n"; }}
    }}
}}
"""
APACHE = """ServerRoot {here}
PidFile {here}/apache.pid
ServerName apache.example.test
User www-data
Group www-data
DefaultRuntimeDir {here}
Mutex file:{here}
Listen [::]:{http}
Listen [::]:{https} https
{modules}
LogFormat "{{\\"host\\":\\"%{{Host}}i\\",\\"judged\\":\\"%V\\",\\"line\\":\\"%r\\"}}" hosts
CustomLog {log} hosts
ErrorLog /dev/null
KeepAlive On
MaxKeepAliveRequests 0
UseCanonicalName Off
SSLSessionCache none
DocumentRoot {here}/pages
<VirtualHost *:{https}>
    SSLEngine on
    SSLCertificateFile {pair.certificate}
    SSLCertificateKeyFile {pair.key}
    CustomLog {log} hosts
</VirtualHost>
"""
APACHE_MODULES = ("mpm_event", "authz_core", "dir", "ssl", "socache_shmcb")
NODE = """
const fs = require('fs'), http = require('http'), https = require('https');
const [, , httpPort, httpsPort, certificate, key, log] = process.argv;
const note = entry => fs.appendFileSync(log, JSON.stringify(entry) + '\\n');
const serve = (request, response) => {
  note({host: request.headers.host || '', hosts: request.rawHeaders, line: request.method + ' ' + request.url});
  let size = 0;
  request.on('data', piece => { size += piece.length; });
  request.on('end', () => response.end(`This is ${request.headers.host}, ${size} bytes.\\n`));
};
const pair = {cert: fs.readFileSync(certificate), key: fs.readFileSync(key)};
const plain = http.createServer(serve), secure = https.createServer(pair, serve);
plain.on('clientError', (error, socket) => socket.destroy());
plain.listen(+httpPort, '::');
secure.listen(+httpsPort, '::');
"""


def start_nginx(
    topology: Topology, here: Path, pair: Certificate, *, http: int = 81, https: int = 444, curve: str = "auto"
) -> Server:
    """nginx; with a `curve` that the client's first key share lacks, every TLS 1.3 handshake takes a HelloRetryRequest."""
    server = Server("nginx", http, https, here / f"nginx-{http}.log")
    configuration = here / f"nginx-{http}.conf"
    content = NGINX.format(here=here, log=server.log, http=http, https=https, pair=pair, curve=curve)
    configuration.write_text(content)
    return start_program(topology, server, ["nginx", "-c", configuration, "-p", here, "-e", "stderr"])


def start_apache(topology: Topology, here: Path, pair: Certificate, *, http: int = 82, https: int = 445) -> Server:
    """Apache httpd."""
    server = Server("Apache", http, https, here / "apache.log")
    (here / "pages").mkdir()
    (here / "pages" / "index.html").write_text("This is Apache.\n")
    modules = "\n".join(f"LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so" for name in APACHE_MODULES)
    configuration = here / "apache.conf"
    configuration.write_text(
        APACHE.format(here=here, log=server.log, http=http, https=https, pair=pair, modules=modules)
    )
    return start_program(topology, server, ["apache2", "-DFOREGROUND", "-f", configuration])


def start_node(topology: Topology, here: Path, pair: Certificate, *, http: int = 83, https: int = 446) -> Server:
    """Node's own http and https servers."""
    server = Server("Node", http, https, here / "node.log")
    program = here / "node_site.cjs"
    program.write_text(NODE)
    words = [str(http), str(https), pair.certificate, pair.key, server.log]
    return start_program(topology, server, ["node", program, *words])
