"""Webhooks of Cup Source v2: registration, signatures, delivery."""

import base64
import hashlib
import hmac
import json
import threading
import unittest
from http.server import BaseHTTPRequestHandler, HTTPServer

from harness import SandboxTest, v2_order


class Receiver(BaseHTTPRequestHandler):
    """Keeps what is posted to it."""

    def do_POST(self):
        """Take a payload."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        with self.server.arrived:
            self.server.received.append((self.headers["X-CupSource-Signature"], body))
            self.server.arrived.notify_all()
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_):
        """Say nothing."""


class Webhooks(SandboxTest):
    """POST /webhooks and what follows"""

    def setUp(self):
        super().setUp()
        self.receiver = HTTPServer(("127.0.0.1", 0), Receiver)
        self.receiver.received = []
        self.receiver.arrived = threading.Condition()
        threading.Thread(target=self.receiver.serve_forever, args=(0.01,), daemon=True).start()
        self.url = "http://127.0.0.1:%d/hook" % self.receiver.server_port

    def tearDown(self):
        self.receiver.shutdown()
        self.receiver.server_close()
        super().tearDown()

    def received(self, count):
        """The payloads and signatures, once so many have come."""
        with self.receiver.arrived:
            self.assertTrue(self.receiver.arrived.wait_for(
                lambda: len(self.receiver.received) >= count, 10))
            return [(signature, json.loads(body)) for signature, body in self.receiver.received]

    def register(self, **changes):
        """Register the receiver."""
        return self.v2("POST", "/webhooks", {"url": self.url, **changes})

    def test_registration(self):
        reply = self.register(events=["production.milestone"])
        self.assertEqual((reply.status, reply.data["url"], reply.data["events"],
                          reply.data["active"]),
                         (201, self.url, ["production.milestone"], True))
        self.assertRegex(reply.data["id"], "^wh_")
        for body in ({}, {"url": 1}, {"url": "ftp://x"}, {"url": "http://partner.example/x"},
                     {"url": "https://x", "events": "all"}, {"url": "https://x", "events": [1]}):
            self.assertEqual(self.v2("POST", "/webhooks", body).status, 400, body)
        self.assertEqual(self.v2("POST", "/webhooks", {"url": "https://erp.example/hook"}).status,
                         201)

    def test_events_follow_the_order_signed_and_in_order(self):
        self.register()
        order_id = self.v2("POST", "/orders", v2_order()).data["id"]
        self.control("POST", "/orders/%s/advance" % order_id, {"to": "delivered"})
        events = self.received(4)
        self.assertEqual([(event["type"], event["data"]["order_status"]) for _, event in events], [
            ("proof.review", "submitted"), ("production.milestone", "in_production"),
            ("logistics.update", "shipped"), ("logistics.update", "delivered")])
        self.assertEqual({event["data"]["order_id"] for _, event in events}, {order_id})
        self.assertEqual(len({event["id"] for _, event in events}), 4)
        self.assertEqual(events[2][1]["data"]["carrier"], "USPS")
        for signature, body in self.receiver.received:
            self.assertEqual(signature,
                             hmac.new(b"whsec_demo", body, hashlib.sha256).hexdigest())

    def test_only_wanted_events_are_delivered(self):
        self.register(events=["logistics.update"])
        order_id = self.v2("POST", "/orders", v2_order()).data["id"]
        self.control("POST", "/orders/%s/advance" % order_id, {"to": "shipped"})
        self.assertEqual([event["type"] for _, event in self.received(1)], ["logistics.update"])

    def test_every_form_of_the_signature(self):
        order_id = self.v2("POST", "/orders", v2_order()).data["id"]
        for encoding in ("hex", "base64"):
            for prefix in (False, True):
                event = self.control("POST", "/webhooks/emit", {
                    "order": order_id, "signature": {"encoding": encoding, "prefix": prefix}})
                digest = hmac.new(b"whsec_demo", event["payload"].encode(), hashlib.sha256)
                expected = (digest.hexdigest() if encoding == "hex"
                            else base64.b64encode(digest.digest()).decode())
                self.assertEqual(event["signature"], ("sha256=" if prefix else "") + expected)
        self.assertEqual(event["header"], "X-CupSource-Signature")

    def test_emit_makes_what_a_test_asks_for_and_delivers_it_twice(self):
        self.register()
        order_id = self.v2("POST", "/orders", v2_order(custom_branding=None)).data["id"]
        event = self.control("POST", "/webhooks/emit", {
            "order": order_id, "type": "carbon.offset", "data": {"kg": 5}, "deliver": True,
            "times": 2})
        self.assertEqual([entry["status"] for entry in event["deliveries"]], [204, 204])
        first, second = self.received(2)
        self.assertEqual(first, second)
        self.assertEqual((first[1]["type"], first[1]["data"]["kg"]), ("carbon.offset", 5))

    def test_sign_signs_anything_with_any_secret(self):
        signature = self.control("POST", "/webhooks/sign", {"payload": "x", "secret": "other"})
        self.assertEqual(signature, {"signature": hmac.new(b"other", b"x",
                                                           hashlib.sha256).hexdigest()})

    def test_a_receiver_that_is_away_is_noted(self):
        self.v2("POST", "/webhooks", {"url": "http://127.0.0.1:1/none"})
        event = self.control("POST", "/webhooks/emit", {"type": "x", "deliver": True})
        self.assertIsNone(event["deliveries"][0]["status"])
        self.assertTrue(event["deliveries"][0]["error"])
        self.assertEqual(self.control("GET", "/webhooks")["deliveries"], event["deliveries"])


if __name__ == "__main__":
    unittest.main()
