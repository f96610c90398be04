"""The program: command line, start and end, TLS, HTTP as such, many clients."""

import gzip
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import unittest

import store
import tls
import wire
from harness import V1_KEY, SandboxTest, v1_order

PROGRAM = os.path.join(os.path.dirname(os.path.abspath(__file__)), "server.py")


class Program(unittest.TestCase):
    """server.py as a process"""

    def start(self, *options):
        """The process and its line."""
        process = subprocess.Popen([sys.executable, PROGRAM, *options], stdin=subprocess.PIPE,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.addCleanup(process.communicate)
        self.addCleanup(process.kill)
        return process, json.loads(process.stdout.readline())

    def run_it(self, *options):
        """The finished process."""
        return subprocess.run([sys.executable, PROGRAM, *options], stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=10, check=False)

    def test_one_line_then_service_until_the_parent_is_gone(self):
        process, line = self.start("--parent")
        self.assertEqual(list(line), ["port", "pid"])
        self.assertEqual(line["pid"], process.pid)
        socket.create_connection(("127.0.0.1", line["port"]), timeout=10).close()
        process.stdin.close()
        self.assertEqual(process.wait(10), 0)
        self.assertEqual(process.stdout.read(), "")
        with self.assertRaises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", line["port"]), timeout=10)
        process.stdin = None

    def test_signals_end_it_even_with_a_client_that_hangs(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            process, line = self.start()
            with socket.create_connection(("127.0.0.1", line["port"]), timeout=10) as client:
                client.sendall(b"GET /v1/prod")
                process.send_signal(number)
                self.assertEqual(process.wait(10), 0)

    def test_options_reach_the_apis(self):
        with tempfile.TemporaryDirectory() as directory:
            plan = os.path.join(directory, "plan.json")
            log = os.path.join(directory, "log")
            with open(plan, "w", encoding="utf-8") as file:
                file.write('[{"action": "status", "status": 503, "nth": [2]}]')
            _, line = self.start("--products", "7", "--faults", plan, "--log", log, "--shape",
                                 "bare,error=string")
            test = SandboxTest()
            test.port = line["port"]
            self.assertEqual(test.v1("GET", "/products").json["meta"]["total"], 7)
            reply = test.v1("GET", "/products")
            self.assertEqual((reply.status, reply.json), (503, {"error": "service unavailable"}))
            with open(log, encoding="utf-8") as file:
                self.assertRegex(file.read(), r"\A1 cupsource-v1 GET /v1/products -> 200 [\d.]+ ms"
                                 r"\n2 cupsource-v1 GET /v1/products -> 503 [\d.]+ ms "
                                 r"\(fault: status #1\)\n\Z")

    def test_help_names_every_option_shape_action_and_key(self):
        text = self.run_it("--help").stdout
        for word in ("--port", "--tls DIR", "--products", "--models", "--variations", "--seed",
                     "--rate-limit", "--retry-after-date", "--latency-ms", "--token-ttl",
                     "--lifecycle", "--step-seconds", "--order-status", "--faults", "--log",
                     "--parent", "ek_live_demo", V1_KEY, "drop_after", "gzip_bomb",
                     *store.SHAPES):
            self.assertIn(word, text)
        self.assertLessEqual(max(map(len, text.splitlines())), 110)

    def test_wrong_options_are_refused_with_a_reason(self):
        for options, reason in ((("--shape", "boxed"), "unknown shape"),
                                (("--faults", "/nonexistent"), "No such file"),
                                (("--lifecycle", "fast"), "invalid choice"),
                                (("--port", "99999"), "port")):
            done = self.run_it(*options)
            self.assertNotEqual(done.returncode, 0)
            self.assertIn(reason, done.stderr)
            self.assertNotIn("Traceback", done.stderr)


class Tls(SandboxTest):
    """https, and the certificates that must not be accepted"""

    @classmethod
    def setUpClass(cls):
        cls.directory = tempfile.TemporaryDirectory()
        cls.options = ("--tls", cls.directory.name, "--tls-wrong-port", "--tls-expired-port",
                       "--tls-untrusted-port")
        super().setUpClass()

    @classmethod
    def tearDownClass(cls):
        super().tearDownClass()
        cls.directory.cleanup()

    def get(self, port, name="localhost"):
        """GET over TLS with the CA of the sandbox; the answer's first line."""
        context = ssl.create_default_context(cafile=self.ready["ca_file"])
        with socket.create_connection(("127.0.0.1", port), timeout=10) as plain:
            with context.wrap_socket(plain, server_hostname=name) as sock:
                sock.sendall(b"GET /v1/products HTTP/1.1\r\nAuthorization: Bearer "
                             + V1_KEY.encode() + b"\r\nConnection: close\r\n\r\n")
                return sock.makefile("rb").readline()

    def test_the_right_certificate_by_name_and_by_address(self):
        for name in ("localhost", "127.0.0.1"):
            self.assertEqual(self.get(self.ready["tls_port"], name), b"HTTP/1.1 200 OK\r\n")
        self.assertEqual([entry["tls"] for entry in self.control("GET", "/requests")],
                         [True, True])

    def test_the_wrong_ones(self):
        for name, reason in (("wrong", "Hostname mismatch"), ("expired", "certificate has expired"),
                             ("untrusted", "unable to get local issuer")):
            with self.assertRaises(ssl.SSLCertVerificationError) as caught:
                self.get(self.ready["tls_%s_port" % name])
            self.assertIn(reason, str(caught.exception))
        self.assertEqual(self.count(), 0)

    def test_keys_are_for_their_owner_only_and_made_once(self):
        key = os.path.join(self.directory.name, "server.key")
        self.assertEqual(os.stat(key).st_mode & 0o777, 0o600)
        before = os.stat(key).st_mtime_ns
        tls.context(self.directory.name, "server")
        self.assertEqual(os.stat(key).st_mtime_ns, before)

    def test_plain_http_at_the_tls_port_harms_nobody(self):
        with socket.create_connection(("127.0.0.1", self.ready["tls_port"]), timeout=10) as sock:
            sock.sendall(b"GET / HTTP/1.1\r\n\r\n")
            try:
                self.assertNotIn(b"HTTP/", sock.recv(100))      # a TLS alert, or nothing
            except ConnectionResetError:
                pass
        self.assertEqual(self.get(self.ready["tls_port"]), b"HTTP/1.1 200 OK\r\n")


class Http(SandboxTest):
    """HTTP as such"""

    def ask(self, head, body=b""):
        """A raw request with the key, closed afterwards."""
        return self.raw(head.encode() + b"\r\nAuthorization: Bearer " + V1_KEY.encode()
                        + b"\r\nConnection: close\r\n\r\n" + body)

    def test_one_connection_serves_many_requests(self):
        connection = self.connect()
        for _ in range(3):
            self.assertEqual(self.v1("GET", "/products", connection=connection).status, 200)
        entries = self.control("GET", "/requests")
        self.assertEqual(len({entry["connection"] for entry in entries}), 1)
        self.assertEqual([entry["request_on_connection"] for entry in entries], [1, 2, 3])

    def test_pipelined_requests_are_answered_in_order(self):
        one = b"GET /v1/products?page=%d HTTP/1.1\r\nAuthorization: Bearer " + V1_KEY.encode()
        answer = self.raw(one % 2 + b"\r\n\r\n" + one % 3 + b"\r\nConnection: close\r\n\r\n")
        self.assertEqual(answer.count(b"HTTP/1.1 200 OK"), 2)
        self.assertLess(answer.index(b'"page":2'), answer.index(b'"page":3'))

    def test_a_chunked_body(self):
        text = json.dumps(v1_order()).encode()
        body = b"".join(b"%x\r\n%s\r\n" % (len(text[i:i + 50]), text[i:i + 50])
                        for i in range(0, len(text), 50)) + b"0\r\n\r\n"
        answer = self.ask("POST /v1/orders HTTP/1.1\r\nTransfer-Encoding: chunked", body)
        self.assertTrue(answer.startswith(b"HTTP/1.1 201 Created\r\n"), answer)

    def test_expect_is_answered_before_the_body(self):
        text = json.dumps(v1_order()).encode()
        with socket.create_connection(("127.0.0.1", self.port), timeout=10) as sock:
            sock.sendall(b"POST /v1/orders HTTP/1.1\r\nAuthorization: Bearer " + V1_KEY.encode()
                         + b"\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(text))
            self.assertEqual(sock.recv(100), b"HTTP/1.1 100 Continue\r\n\r\n")
            sock.sendall(text)
            self.assertTrue(sock.recv(100).startswith(b"HTTP/1.1 201 Created\r\n"))

    def test_answers_over_a_kilobyte_are_compressed_for_who_takes_it(self):
        plain = self.v1("GET", "/products")
        packed = self.send("GET", "/v1/products", headers={
            "Authorization": "Bearer " + V1_KEY, "Accept-Encoding": "deflate, gzip"})
        self.assertEqual(packed.headers["content-encoding"], "gzip")
        self.assertEqual(gzip.decompress(packed.body), plain.body)
        small = self.send("GET", "/v1/products?per_page=1", headers={
            "Authorization": "Bearer " + V1_KEY, "Accept-Encoding": "gzip"})
        self.assertNotIn("content-encoding", small.headers)

    def test_http_1_0_is_answered_and_closed(self):
        answer = self.raw(b"GET /v1/products HTTP/1.0\r\nAuthorization: Bearer "
                          + V1_KEY.encode() + b"\r\n\r\n")
        self.assertIn(b"\r\nConnection: close\r\n", answer)

    def test_what_is_no_http_is_refused(self):
        for data, status in ((b"\r\n\r\n", 400), (b"GET /\r\n\r\n", 400),
                             (b"GET / HTTP/1.1\r\nno colon\r\n\r\n", 400),
                             (b"GET / HTTP/1.1\r\nA: " + b"x" * 200000, 431),
                             (b"POST /v1/orders HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400),
                             (b"POST /v1/orders HTTP/1.1\r\nContent-Length: 999999999999\r\n\r\n",
                              413),
                             (b"POST /v1/orders HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
                              b"x\r\n", 400)):
            with self.subTest(data[:40]):
                with socket.create_connection(("127.0.0.1", self.port), timeout=10) as sock:
                    sock.sendall(data)
                    self.assertIn(b"HTTP/1.1 %d " % status, sock.recv(65536))

    def test_sixty_four_connections_at_once(self):
        barrier = threading.Barrier(64)
        statuses = []

        def client():
            with socket.create_connection(("127.0.0.1", self.port), timeout=10) as sock:
                barrier.wait(10)
                for _ in range(5):
                    statuses.append(post_order(sock))

        threads = [threading.Thread(target=client, daemon=True) for _ in range(64)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
        self.assertEqual(statuses, [b"HTTP/1.1 201 Created"] * 320)
        self.assertEqual(len({o["id"] for o in self.control("GET", "/orders")}), 320)

    def test_a_bug_in_the_sandbox_is_a_500_not_a_silence(self):
        original = wire.Connection.linger
        self.addCleanup(setattr, wire.Connection, "linger", original)
        self.addCleanup(setattr, sys, "stderr", sys.stderr)

        def broken(_connection, _request):
            raise ZeroDivisionError

        with open(os.devnull, "w", encoding="utf-8") as quiet:
            sys.stderr = quiet
            wire.Connection.linger = broken
            self.assertEqual(self.v1("GET", "/products").status, 500)


def post_order(sock):
    """Post an order over a kept connection; the status line of the answer."""
    text = json.dumps(v1_order()).encode()
    sock.sendall(b"POST /v1/orders HTTP/1.1\r\nAuthorization: Bearer " + V1_KEY.encode()
                 + b"\r\nContent-Length: %d\r\n\r\n" % len(text) + text)
    answer = b""
    while b"\r\n\r\n" not in answer:
        answer += sock.recv(65536)
    head, _, body = answer.partition(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
    while len(body) < length:
        body += sock.recv(65536)
    return head.split(b"\r\n")[0]


if __name__ == "__main__":
    unittest.main()
