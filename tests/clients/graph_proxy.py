"""A proxy for clients that call https://graph.microsoft.com and cannot use another address.

The client uses it as HTTPS_PROXY and trusts its certificate authority. The proxy answers CONNECT, speaks TLS as
graph.microsoft.com, and sends each request to the service. It answers the questions about groups and assignment
filters itself, also in the steps of a $batch, because the service has no directory.
"""

import contextlib
import datetime
import http.client
import json
import ssl
import threading
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

HOST = "graph.microsoft.com"
GROUPS = "groups"
FILTERS = "deviceManagement/assignmentFilters"
# Headers that belong to one connection, and those that the proxy writes itself.
OWN_HEADERS = {"connection", "content-length", "host", "keep-alive", "proxy-connection", "transfer-encoding"}


class Directory:
    """The groups and assignment filters of the tenant: name to id."""

    def __init__(self, groups, filters):
        self.collections = {GROUPS: groups, FILTERS: filters}

    def answer(self, method, url):
        """Returns the status and the body of the answer, or None when the service must answer."""
        split = urllib.parse.urlsplit(url)
        path = split.path.strip("/")
        for version in ("beta/", "v1.0/"):
            path = path.removeprefix(version)
        for collection, names in self.collections.items():
            if path == collection or path.startswith(f"{collection}/"):
                assert method == "GET", f"{method} {url}: the stand-in only reads"
                return self.read(names, path.removeprefix(collection).strip("/"), urllib.parse.parse_qs(split.query))
        return None

    @staticmethod
    def read(names, key, options):
        rows = [{"id": id, "displayName": name, "groupTypes": []} for name, id in names.items()]
        if key:
            row = next((row for row in rows if row["id"] == key), None)
            return (200, row) if row else (404, {"error": {"code": "Request_ResourceNotFound", "message": key}})
        if "$filter" in options:
            field, operator, value = options["$filter"][0].split(" ", 2)
            assert (field.lower(), operator) == ("displayname", "eq"), options
            rows = [row for row in rows if row["displayName"] == value[1:-1].replace("''", "'")]
        return 200, {"value": rows}


class Proxy(BaseHTTPRequestHandler):
    """One connection of a client. `server` has the service's address, the directory and the TLS context."""

    protocol_version = "HTTP/1.1"

    def do_CONNECT(self):
        assert self.path == f"{HOST}:443", f"a request for {self.path}"
        self.send_response(200)
        self.end_headers()
        self.connection = self.server.tls.wrap_socket(self.connection, server_side=True)
        self.rfile = self.connection.makefile("rb")
        self.wfile = self.connection.makefile("wb", buffering=0)
        self.close_connection = False

    def forward(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        status, headers, answer = self.answer(body)
        with self.server.lock:
            self.server.requests.append((self.command, self.path, status))
        self.send_response_only(status)
        for name, value in headers:
            if name.lower() not in OWN_HEADERS:
                self.send_header(name, value)
        if status != 204:
            self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    do_GET = do_POST = do_PATCH = do_DELETE = forward

    def answer(self, body):
        own = self.server.directory.answer(self.command, self.path)
        if own:
            return own[0], [("Content-Type", "application/json")], json.dumps(own[1]).encode()
        if not self.path.endswith("/$batch"):
            return self.ask_service(body)
        return self.answer_batch(json.loads(body)["requests"])

    def answer_batch(self, steps):
        """Answers the steps about the directory, and asks the service for the others."""
        own = [(step, self.server.directory.answer(step["method"], step["url"])) for step in steps]
        responses = [
            {"id": str(step["id"]), "status": answer[0], "headers": {}, "body": answer[1]}
            for step, answer in own
            if answer
        ]
        others = [step for step, answer in own if not answer]
        if others:
            status, headers, answer = self.ask_service(json.dumps({"requests": others}).encode())
            if status != 200:
                return status, headers, answer
            responses += json.loads(answer)["responses"]
        return 200, [("Content-Type", "application/json")], json.dumps({"responses": responses}).encode()

    def ask_service(self, body):
        headers = {name: value for name, value in self.headers.items() if name.lower() not in OWN_HEADERS}
        headers |= {"Host": HOST, "X-Forwarded-Proto": "https", "X-Forwarded-Host": HOST}
        with contextlib.closing(http.client.HTTPConnection(self.server.service, timeout=60)) as connection:
            connection.request(self.command, self.path, body or None, headers)
            answer = connection.getresponse()
            return answer.status, answer.getheaders(), answer.read()

    def log_message(self, *_):
        pass


def certificate(folder):
    """Writes a certificate authority and a certificate of graph.microsoft.com; returns the path of the authority."""

    def sign(subject, public_key, issuer, issuer_key, extensions):
        now = datetime.datetime.now(datetime.timezone.utc)
        builder = x509.CertificateBuilder(
            issuer_name=issuer,
            subject_name=subject,
            public_key=public_key,
            serial_number=x509.random_serial_number(),
            not_valid_before=now - datetime.timedelta(hours=1),
            not_valid_after=now + datetime.timedelta(days=1),
        )
        for extension, is_critical in extensions:
            builder = builder.add_extension(extension, is_critical)
        return builder.sign(issuer_key, hashes.SHA256())

    def name(text):
        return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])

    authority_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    authority_name = name("authority of the test")
    key_id = x509.SubjectKeyIdentifier.from_public_key(authority_key.public_key())
    usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
    authority = sign(
        authority_name,
        authority_key.public_key(),
        authority_name,
        authority_key,
        [(x509.BasicConstraints(True, None), True), (usage, True), (key_id, False)],
    )
    leaf = sign(
        name(HOST),
        key.public_key(),
        authority_name,
        authority_key,
        [
            (x509.SubjectAlternativeName([x509.DNSName(HOST)]), False),
            (x509.BasicConstraints(False, None), True),
            (x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(key_id), False),
        ],
    )
    folder = Path(folder)
    pem = serialization.Encoding.PEM
    (folder / "authority.pem").write_bytes(authority.public_bytes(pem))
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "graph.pem").write_bytes(leaf.public_bytes(pem) + private)
    return folder / "authority.pem"


@contextlib.contextmanager
def running(service, directory, folder):
    """Runs the proxy in front of `service` (host:port). Yields the server and the settings of the client's process."""
    authority = certificate(folder)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Proxy)
    server.service, server.directory, server.requests, server.lock = service, directory, [], threading.Lock()
    server.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.tls.load_cert_chain(Path(folder) / "graph.pem")
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        proxy = f"http://127.0.0.1:{server.server_port}"
        yield server, {"HTTPS_PROXY": proxy, "REQUESTS_CA_BUNDLE": str(authority), "NO_PROXY": ""}
    finally:
        server.shutdown()
        server.server_close()
