"""HTTP/1.1 on one connection: read requests, write answers.

The standard library's http.server spends most of its time in the e-mail header
parser and cannot be made to misbehave on purpose; this one is small, quick and
leaves the last word about the bytes to the fault plan: an Answer may carry a
delivery, a function that writes to the socket instead of Connection.send().
"""

import gzip
import select
import socket
import ssl
import struct
import threading
from email.utils import formatdate
from http.client import responses as REASONS
from urllib.parse import parse_qsl, unquote

import jsonio

MAX_HEAD = 64 * 1024
MAX_BODY = 160 * 1024 * 1024
GZIP_FROM = 1024


class Malformed(Exception):
    """The request cannot be read; args are the status and a sentence."""


class Request:
    """One request as it arrived."""

    __slots__ = ("method", "target", "path", "query", "headers", "body", "http_version",
                 "connection", "number", "api", "key", "delay", "entry", "sent_bytes")

    def __init__(self, connection, number):
        self.connection = connection
        self.number = number            # place on its connection, from 1
        self.body = None                # bytes, or None if it was not read
        self.api = None
        self.key = None                 # the account's key, once it is authenticated
        self.delay = 0.0                # seconds that this answer has to wait
        self.entry = None               # the journal's entry
        self.sent_bytes = 0


class Answer:
    """What to send: a status and a body of bytes, text or any JSON value."""

    __slots__ = ("status", "body", "headers", "content_type", "delivery", "encoded")

    def __init__(self, status, body=b"", headers=None, content_type="application/json"):
        self.status = status
        self.body = body if isinstance(body, bytes) else jsonio.dumps(body).encode()
        self.headers = headers or {}
        self.content_type = content_type
        self.delivery = None            # function(connection, request, answer) -> keep open?
        self.encoded = False            # the body is already in its Content-Encoding


class Connection:
    """Reads from and writes to one client; runs in a thread of its own."""

    def __init__(self, sock, peer, number, answer, clock, stopping):
        self.sock = sock
        self.peer = peer
        self.number = number
        self.answer = answer            # function(request) -> Answer
        self.clock = clock              # function() -> seconds since 1970
        self.stopping = stopping        # event: let go of everything that hangs
        self.buffer = bytearray()
        self.requests = 0

    tls = property(lambda self: isinstance(self.sock, ssl.SSLSocket))

    def run(self):
        """Serve until one side has enough."""
        try:
            while self.serve_one():
                pass
        except (OSError, ssl.SSLError):
            pass
        finally:
            self.close()

    def serve_one(self):
        """Read one request, answer it; False when the connection is over."""
        try:
            request = self.read_request()
            if request is None:
                return False
            answer = self.answer(request)
        except Malformed as problem:
            status, sentence = problem.args
            self.sock.sendall(self.render(Answer(status, {"error": sentence}), None, True))
            return False
        if answer.delivery is not None:
            return answer.delivery(self, request, answer)
        return self.send(request, answer)

    # Reading

    def fill(self):
        """Take in what the client sent next; False at the end of the stream."""
        data = self.sock.recv(65536)
        self.buffer += data
        return bool(data)

    def read_request(self):
        """The head of the next request, or None if the client has closed."""
        while True:
            end = self.buffer.find(b"\r\n\r\n")
            if end >= 0:
                break
            if len(self.buffer) > MAX_HEAD:
                raise Malformed(431, "request head too large")
            if not self.fill():
                return None
        lines = self.buffer[:end].decode("latin-1").split("\r\n")
        del self.buffer[:end + 4]
        self.requests += 1
        request = Request(self, self.requests)
        try:
            request.method, request.target, request.http_version = lines[0].split(" ")
        except ValueError:
            raise Malformed(400, "malformed request line") from None
        headers = {}
        for line in lines[1:]:
            name, colon, value = line.partition(":")
            if not colon or name != name.strip():
                raise Malformed(400, "malformed header")
            name = name.lower()
            value = value.strip()
            headers[name] = headers[name] + ", " + value if name in headers else value
        request.headers = headers
        path, _, query = request.target.partition("?")
        request.path = unquote(path)
        request.query = dict(parse_qsl(query, keep_blank_values=True)) if query else {}
        return request

    def read_body(self, request):
        """Read the request's body, by its length or in chunks."""
        headers = request.headers
        if headers.get("expect", "").lower() == "100-continue" and not self.buffer:
            self.sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        if headers.get("transfer-encoding", "").lower() == "chunked":
            request.body = self.read_chunks()
            return
        length = headers.get("content-length", "0")
        if not (length.isascii() and length.isdigit()):
            raise Malformed(400, "malformed Content-Length")
        if int(length) > MAX_BODY:
            raise Malformed(413, "request body too large")
        request.body = self.take(int(length))

    def take(self, length):
        """Exactly length bytes of the stream."""
        while len(self.buffer) < length:
            if not self.fill():
                raise Malformed(400, "request body ends early")
        data = bytes(self.buffer[:length])
        del self.buffer[:length]
        return data

    def take_line(self):
        """The next line of the stream, without its end."""
        while True:
            end = self.buffer.find(b"\r\n")
            if end >= 0:
                break
            if len(self.buffer) > MAX_HEAD or not self.fill():
                raise Malformed(400, "malformed chunk")
        line = bytes(self.buffer[:end])
        del self.buffer[:end + 2]
        return line

    def read_chunks(self):
        """A chunked body; trailers are read and forgotten."""
        parts = []
        total = 0
        while True:
            try:
                size = int(self.take_line().split(b";")[0], 16)
            except ValueError:
                raise Malformed(400, "malformed chunk size") from None
            if size == 0:
                while self.take_line():
                    pass
                return b"".join(parts)
            total += size
            if total > MAX_BODY:
                raise Malformed(413, "request body too large")
            parts.append(self.take(size))
            if self.take_line():
                raise Malformed(400, "malformed chunk end")

    # Writing

    def head(self, answer, length, extra=()):
        """Status line and headers; length is None for a chunked body."""
        lines = ["HTTP/1.1 %d %s" % (answer.status, REASONS.get(answer.status, "Unknown")),
                 "Date: " + formatdate(self.clock(), usegmt=True),
                 "Content-Type: " + answer.content_type]
        if length is None:
            lines.append("Transfer-Encoding: chunked")
        else:
            lines.append("Content-Length: %d" % length)
        lines += ["%s: %s" % pair for pair in answer.headers.items()]
        lines += extra
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")

    def encode(self, request, answer):
        """Compress the body if the client takes it and it is worth it."""
        if (request is not None and not answer.encoded and len(answer.body) > GZIP_FROM
                and "gzip" in request.headers.get("accept-encoding", "")):
            answer.body = gzip.compress(answer.body, 5, mtime=0)
            answer.headers["Content-Encoding"] = "gzip"
            answer.headers["Vary"] = "Accept-Encoding"
        answer.encoded = True

    def render(self, answer, request, closing):
        """The whole answer as bytes."""
        self.encode(request, answer)
        extra = ("Connection: close",) if closing else ()
        return self.head(answer, len(answer.body), extra) + answer.body

    def wants_close(self, request):
        """Whether the client asked to close after this answer."""
        token = request.headers.get("connection", "").lower()
        return token == "close" or (request.http_version == "HTTP/1.0" and token != "keep-alive")

    def send(self, request, answer):
        """Send the answer as it is, in one piece; True to keep the connection."""
        closing = self.wants_close(request)
        self.sock.sendall(self.render(answer, request, closing))
        return not closing

    def linger(self, request):
        """Wait as long as this answer has to, once; nothing may be locked."""
        delay, request.delay = request.delay, 0.0
        if delay > 0:
            self.stopping().wait(delay)

    def hang(self):
        """Neither read nor answer until the client leaves or the sandbox lets go."""
        released = self.stopping()
        while not released.is_set():
            readable, _, _ = select.select([self.sock], [], [], 0.05)
            if readable:
                try:
                    if not self.fill():
                        return
                except OSError:
                    return

    def reset(self):
        """Close with RST instead of FIN."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def close(self):
        """Close without any TLS good-bye, as a dying server does."""
        try:
            self.sock.close()
        except OSError:
            pass


class Listener:
    """One port; a thread accepts, and each connection gets a thread."""

    counter = 0
    counter_lock = threading.Lock()

    def __init__(self, host, port, answer, clock, stopping, context=None):
        self.answer = answer
        self.clock = clock
        self.stopping = stopping
        self.context = context
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.socket = socket.socket(family, socket.SOCK_STREAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind((host, port))
        self.socket.listen(512)
        self.port = self.socket.getsockname()[1]
        self.thread = threading.Thread(target=self.accept_forever, daemon=True)

    def start(self):
        """Begin to accept."""
        self.thread.start()

    def accept_forever(self):
        """Accept until the socket is closed."""
        while True:
            try:
                sock, peer = self.socket.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(sock, peer), daemon=True).start()

    def serve(self, sock, peer):
        """Shake hands and serve one client."""
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with Listener.counter_lock:
            Listener.counter += 1
            number = Listener.counter
        if self.context is not None:
            try:
                sock = self.context.wrap_socket(sock, server_side=True)
            except (OSError, ssl.SSLError):
                sock.close()
                return
        Connection(sock, peer, number, self.answer, self.clock, self.stopping).run()

    def close(self):
        """Stop accepting."""
        try:
            self.socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.socket.close()
