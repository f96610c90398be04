"""The fault plan: which requests a rule takes, and what each action does on the wire."""

import base64
import gzip
import http.client
import json
import socket
import time
import unittest

from harness import V1_KEY, SandboxTest, hub_order, v1_order

AUTHORIZED = "Authorization: Bearer " + V1_KEY
GET = ("GET /v1/products?per_page=1 HTTP/1.1\r\nHost: x\r\n%s\r\n\r\n" % AUTHORIZED).encode()


def post(body=None):
    """A raw POST /v1/orders."""
    text = json.dumps(body or v1_order())
    return ("POST /v1/orders HTTP/1.1\r\nHost: x\r\n%s\r\nContent-Length: %d\r\n\r\n%s"
            % (AUTHORIZED, len(text), text)).encode()


class Rules(SandboxTest):
    """Which requests a rule acts on"""

    def statuses(self, count, path="/products"):
        """The statuses of so many GETs."""
        return [self.v1("GET", path).status for _ in range(count)]

    def test_without_a_count_it_acts_always(self):
        self.faults({"action": "status", "status": 503})
        self.assertEqual(self.statuses(3), [503] * 3)

    def test_nth(self):
        self.faults({"action": "status", "nth": [1, 3]})
        self.assertEqual(self.statuses(4), [500, 200, 500, 200])

    def test_every(self):
        self.faults({"action": "status", "every": 2})
        self.assertEqual(self.statuses(4), [200, 500, 200, 500])

    def test_times_and_after(self):
        self.faults({"action": "status", "after": 1, "times": 2})
        self.assertEqual(self.statuses(5), [200, 500, 500, 200, 200])

    def test_probability_is_repeatable(self):
        runs = []
        for seed in (5, 5, 6):
            self.faults({"action": "status", "probability": 0.5, "seed": seed})
            runs.append(self.statuses(24))
        self.assertEqual(runs[0], runs[1])
        self.assertNotEqual(runs[0], runs[2])
        self.assertEqual(set(runs[0]), {200, 500})

    def test_api_method_and_path_select(self):
        self.faults({"action": "status", "api": "cupsource-v1", "method": "POST",
                     "path": "/orders$"})
        self.assertEqual(self.statuses(1), [200])
        self.assertEqual(self.v1("POST", "/orders", v1_order()).status, 500)
        self.assertEqual(self.hub("POST", "/orders", hub_order()).status, 201)

    def test_the_first_rule_that_acts_decides(self):
        self.faults({"action": "status", "status": 503, "nth": [2]},
                    {"action": "status", "status": 502})
        self.assertEqual(self.statuses(3), [502, 503, 502])
        self.assertEqual([(rule["matched"], rule["fired"])
                          for rule in self.control("GET", "/faults")], [(3, 1), (2, 2)])

    def test_the_journal_names_the_rule(self):
        self.faults({"action": "status", "name": "storm", "times": 1})
        self.statuses(2)
        self.assertEqual([(entry["fault"], entry["status"])
                          for entry in self.control("GET", "/requests")],
                         [("storm", 500), (None, 200)])
        self.assertEqual(self.count(fault="storm"), 1)

    def test_delete_ends_the_plan_and_lets_go_of_what_hangs(self):
        self.faults({"action": "hang"})
        join = self.in_background(self.raw, GET)
        self.until(lambda: self.count(fault="hang #1"))
        self.until(lambda: self.control("DELETE", "/faults") and join.over())
        self.assertEqual(join(), b"")
        self.assertEqual(self.statuses(1), [200])

    def test_rules_that_make_no_sense_are_refused_and_change_nothing(self):
        self.faults({"action": "status"})
        for rule in ({"action": "explode"}, {}, {"action": "reset", "status": 5},
                     {"action": "reset", "path": "("}, {"action": "reset", "every": 0},
                     {"action": "reset", "times": "x"}, {"action": "drip", "process": False},
                     "reset"):
            reply = self.control("POST", "/faults", [rule], status=400)
            self.assertTrue(reply["error"])
        self.assertEqual(self.statuses(1), [500])


class Actions(SandboxTest):
    """What each action does"""

    def orders(self):
        """How many orders the sandbox has."""
        return len(self.control("GET", "/orders"))

    def entry(self):
        """The journal's last entry, once its request is over."""
        self.control("GET", "/wait", query={"answered": "true", "count": 1})
        return self.control("GET", "/requests")[-1]

    def test_drop_before_closes_without_a_byte_and_without_an_order(self):
        self.faults({"action": "drop_before"})
        self.assertEqual(self.raw(post()), b"")
        self.assertEqual(self.orders(), 0)
        entry = self.entry()
        self.assertEqual((entry["status"], json.loads(entry["body"])), (None, v1_order()))

    def test_drop_before_may_leave_the_body_unread(self):
        self.faults({"action": "drop_before", "unread": True})
        # Broken pipe: its end has arrived before the reset.
        with self.assertRaises((ConnectionResetError, BrokenPipeError)):
            self.raw(post({"notes": "x" * 4_000_000}))
        self.assertIsNone(self.entry()["body"])

    def test_drop_after_closes_without_a_byte_and_with_an_order(self):
        self.faults({"action": "drop_after"})
        self.assertEqual(self.raw(post()), b"")
        self.assertEqual(self.orders(), 1)
        self.assertIsNone(self.entry()["status"])

    def test_reset(self):
        self.faults({"action": "reset"})
        with self.assertRaises(ConnectionResetError):
            self.raw(post())
        self.assertEqual(self.orders(), 0)

    def test_status_is_not_processed_and_status_after_is(self):
        self.faults({"action": "status", "status": 503, "headers": {"Retry-After": "7"}})
        reply = self.v1("POST", "/orders", v1_order())
        self.assertEqual((reply.status, reply.headers["retry-after"], self.orders()),
                         (503, "7", 0))
        self.faults({"action": "status_after", "status": 500})
        self.assertEqual((self.v1("POST", "/orders", v1_order()).status, self.orders()), (500, 1))

    def test_status_has_the_form_of_the_api_or_the_body_that_is_given(self):
        self.token()
        self.faults({"action": "status", "status": 500})
        self.assertEqual(self.hub("GET", "/models").code, "INTERNAL_ERROR")
        self.assertEqual(self.v1("GET", "/products").code, "server_error")
        self.faults({"action": "status", "status": 418, "body": {"price": 0.10}})
        self.assertEqual(self.v1("GET", "/products").body, b'{"price":0.1}')
        self.faults({"action": "status", "status": 418, "body": ""})
        self.assertEqual(self.v1("GET", "/products").body, b"")

    def test_rate_limited(self):
        for rule, expected in (({}, "1"), ({"retry_after": 3}, "3"), ({"retry_after": None}, None)):
            self.faults({"action": "rate_limited", **rule})
            reply = self.v1("GET", "/products")
            self.assertEqual((reply.status, reply.headers.get("retry-after")), (429, expected))
        for rule in ({"retry_after": "date"}, {"retry_after": 3, "form": "date"}):
            self.faults({"action": "rate_limited", **rule})
            self.assertRegex(self.v1("GET", "/products").headers["retry-after"], r"GMT$")

    def test_hang_answers_nothing_until_it_is_let_go(self):
        for action, orders in (("hang", 0), ("hang_after", 1)):
            self.control("DELETE", "/requests")
            self.faults({"action": action})
            join = self.in_background(self.raw, post())
            self.control("GET", "/wait", query={"count": 1, "method": "POST"})
            self.until(lambda: self.control("GET", "/requests")[0]["fault"])
            self.assertFalse(join.over())
            self.assertEqual(self.let_go(join), b"")
            self.assertEqual(self.orders(), orders)

    def test_hang_ends_when_the_client_leaves(self):
        self.faults({"action": "hang"})
        with socket.create_connection(("127.0.0.1", self.port)) as sock:
            sock.sendall(GET)
            self.control("GET", "/wait", query={"count": 1})
            self.assertIsNone(self.control("GET", "/requests")[0]["ms"])
        self.assertIsNotNone(self.entry()["ms"])

    def test_delay_is_processed_first_unless_it_is_said(self):
        self.faults({"action": "delay", "ms": 30})
        start = time.monotonic()
        self.assertEqual(self.v1("GET", "/products").status, 200)
        self.assertGreaterEqual(time.monotonic() - start, 0.03)
        for before, orders in ((False, 1), (True, 0)):
            self.control("POST", "/reset")
            self.faults({"action": "delay", "ms": 20000, "before": before})
            join = self.in_background(self.raw, post() + b"GET / HTTP/1.0\r\n\r\n")
            self.control("GET", "/wait", query={"count": 1, "method": "POST"})
            if orders:
                self.until(self.orders)
            self.assertEqual(self.orders(), orders)
            self.assertFalse(join.over())
            self.assertIn(b"201 Created", self.let_go(join))
            self.assertEqual(self.orders(), 1)

    def test_latency_is_for_every_answer(self):
        self.control("POST", "/settings", {"latency_ms": 20})
        start = time.monotonic()
        self.assertEqual(self.v1("GET", "/products").status, 200)
        self.assertGreaterEqual(time.monotonic() - start, 0.02)

    def test_drip(self):
        plain = self.v1("GET", "/products", query={"per_page": 1}).body
        self.faults({"action": "drip", "chunk": 60, "interval_ms": 5})
        start = time.monotonic()
        self.assertEqual(self.v1("GET", "/products", query={"per_page": 1}).body, plain)
        self.assertGreaterEqual(time.monotonic() - start, 0.005 * (len(plain) // 60))

    def test_truncate(self):
        self.faults({"action": "truncate", "bytes": 25})
        with self.assertRaises(http.client.IncompleteRead) as caught:
            self.v1("GET", "/products")
        self.assertEqual(len(caught.exception.partial), 25)

    def test_body(self):
        for text in ("{", '{"data":[{"unit_price":99999999999999999999999}]}', "\ufeff{}"):
            self.faults({"action": "body", "text": text})
            self.assertEqual(self.v1("GET", "/products").body, text.encode())
        self.faults({"action": "body", "base64": base64.b64encode(b"\xff\x00").decode(),
                     "content_type": "text/plain", "status": 201})
        reply = self.v1("GET", "/products")
        self.assertEqual((reply.status, reply.headers["content-type"], reply.body),
                         (201, "text/plain", b"\xff\x00"))

    def test_body_may_follow_processing(self):
        self.faults({"action": "body", "text": "<", "process": True, "status": 201})
        self.assertEqual(self.v1("POST", "/orders", v1_order()).body, b"<")
        self.assertEqual(self.orders(), 1)

    def test_raw(self):
        self.faults({"action": "raw", "base64": base64.b64encode(b"SMTP 220\r\n").decode()})
        self.assertEqual(self.raw(GET), b"SMTP 220\r\n")

    def test_redirect(self):
        self.faults({"action": "redirect", "location": "https://elsewhere.example/"})
        reply = self.v1("GET", "/products")
        self.assertEqual((reply.status, reply.headers["location"]),
                         (302, "https://elsewhere.example/"))

    def test_html(self):
        self.faults({"action": "html"})
        reply = self.v1("GET", "/products")
        self.assertEqual((reply.status, reply.headers["content-type"], reply.body[:15]),
                         (200, "text/html; charset=utf-8", b"<!DOCTYPE html>"))

    def test_nesting(self):
        self.faults({"action": "nesting", "depth": 10000})
        self.assertEqual(self.v1("GET", "/products").body, b"[" * 10000 + b"]" * 10000)

    def test_large_bodies_are_valid_json(self):
        for action in ("huge", "chunked_huge", "gzip_bomb"):
            self.faults({"action": action, "mbytes": 2})
            reply = self.v1("GET", "/products")
            body = reply.body
            if action == "gzip_bomb":
                self.assertLess(len(body), 10000)
                body = gzip.decompress(body)
            self.assertGreater(len(body), 2 << 20)
            self.assertEqual(json.loads(body), {"success": True, "data": []})
            self.assertEqual("transfer-encoding" in reply.headers, action == "chunked_huge")

    def test_close_idle_answers_and_closes_unannounced(self):
        self.faults({"action": "close_idle"})
        answer = self.raw(GET)
        self.assertTrue(answer.startswith(b"HTTP/1.1 200 OK\r\n"))
        self.assertNotIn(b"Connection: close", answer)

    def test_every_second_request_of_a_kept_connection_is_closed_unanswered(self):
        self.faults({"action": "close_every_second_unanswered"})
        connection = self.connect()
        self.assertEqual(self.v1("GET", "/products", connection=connection).status, 200)
        with self.assertRaises((http.client.RemoteDisconnected, ConnectionResetError)):
            self.v1("POST", "/orders", v1_order(), connection=connection)
        self.assertEqual(self.orders(), 0)
        self.assertEqual([entry["request_on_connection"]
                          for entry in self.control("GET", "/requests")], [1, 2])
        self.assertEqual(self.v1("POST", "/orders", v1_order()).status, 201)


if __name__ == "__main__":
    unittest.main()
