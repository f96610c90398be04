"""What the sandbox's own tests share: a sandbox in this process, and a client."""

import http.client
import json
import socket
import threading
import time
import unittest
from decimal import Decimal
from urllib.parse import urlencode

import server

V1_KEY = "cs_live_v1_demo"
V2_KEY = "cs_live_sk_8f7d6c5b4a3e2d1f"
CUP_ADDRESS = {"line1": "123 Commerce Way", "city": "Portland", "state": "OR", "zip": "97201"}
HUB_ADDRESS = {"name": "Jane Doe", "street1": "123 Main St", "city": "Brooklyn", "state": "NY",
               "zip": "11201", "country": "US"}


class Reply:
    """An answer: status, headers with lower-case names, body and its JSON."""

    def __init__(self, status, headers, body):
        self.status = status
        self.headers = {name.lower(): value for name, value in headers}
        self.body = body

    @property
    def json(self):
        """The body, its fractions as Decimal."""
        return json.loads(self.body, parse_float=Decimal)

    @property
    def data(self):
        """The member data of the body."""
        return self.json["data"]

    @property
    def code(self):
        """The error's code."""
        return self.json["error"]["code"]

    @property
    def fields(self):
        """The fields that the error's details name."""
        return [entry["field"] for entry in self.json["error"]["details"]]


class SandboxTest(unittest.TestCase):
    """A test with a sandbox that is as new before each test function."""

    options = ()
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        parsed = server.parser().parse_args(["--rate-limit", "0", *cls.options])
        cls.app, cls.listeners, cls.ready = server.start(parsed)
        cls.port = cls.ready["port"]

    @classmethod
    def tearDownClass(cls):
        for listener in cls.listeners:
            listener.close()
        cls.app.release()

    def setUp(self):
        self.connections = []
        self.control("POST", "/reset", {"catalog": True})
        self.tokens = {}

    def tearDown(self):
        self.app.plan.replace([])
        self.app.release()
        for connection in self.connections:
            connection.close()

    def connect(self):
        """A new kept connection."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        self.connections.append(connection)
        return connection

    def send(self, method, path, body=None, headers=None, query=None, connection=None):
        """One request; body may be bytes, text or a JSON value."""
        headers = dict(headers or {})
        if query:
            path += "?" + urlencode(query)
        if body is not None and not isinstance(body, (bytes, str)):
            body = json.dumps(body)
            headers.setdefault("Content-Type", "application/json")
        own = connection is None
        connection = connection or http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            return Reply(response.status, response.getheaders(), response.read())
        finally:
            if own:
                connection.close()

    def control(self, method, path, body=None, query=None, status=200):
        """A call of the control API."""
        reply = self.send(method, "/_control" + path, body, query=query)
        self.assertEqual(reply.status, status, reply.body)
        return reply.json

    def v1(self, method, path, body=None, key=V1_KEY, **more):
        """A request to Cup Source v1."""
        return self.send(method, "/v1" + path, body, {"Authorization": "Bearer " + key}, **more)

    def v2(self, method, path, body=None, key=V2_KEY, headers=None, **more):
        """A request to Cup Source v2."""
        return self.send(method, "/v2" + path, body,
                         {"Authorization": "Bearer " + key, **(headers or {})}, **more)

    def token(self, key="ek_live_demo"):
        """A token for this CustomHub key, kept for the test."""
        if key not in self.tokens:
            reply = self.send("POST", "/api/PartnerAuthentication/auth", {
                "apiKey": key, "secretKey": "esk" + key[2:]})
            self.assertEqual(reply.status, 200, reply.body)
            self.tokens[key] = reply.json["accessToken"]
        return self.tokens[key]

    def hub(self, method, path, body=None, key="ek_live_demo", **more):
        """A request to CustomHub."""
        return self.send(method, "/api/v1" + path, body,
                         {"Authorization": "Bearer " + self.token(key)}, **more)

    def faults(self, *rules):
        """Set the fault plan."""
        return self.control("POST", "/faults", list(rules))

    def count(self, **query):
        """How many requests arrived."""
        return self.control("GET", "/count", query=query)["count"]

    def in_background(self, function, *arguments, **named):
        """Call function in a thread; a function that joins and gives its result."""
        result = []
        thread = threading.Thread(target=lambda: result.append(function(*arguments, **named)),
                                  daemon=True)
        thread.start()

        def join():
            thread.join(10)
            self.assertFalse(thread.is_alive(), "no answer")
            return result[0]

        join.over = lambda: not thread.is_alive()
        return join

    def let_go(self, join):
        """Release what hangs or waits until the background call is over; its result."""
        self.until(lambda: self.app.release() or join.over())
        return join()

    def until(self, condition, seconds=10):
        """Wait until condition() holds."""
        deadline = time.monotonic() + seconds
        while not condition():
            self.assertLess(time.monotonic(), deadline, "waited in vain")
            threading.Event().wait(0.002)

    def raw(self, data, timeout=10):
        """Send bytes; all bytes until the sandbox closes."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=timeout) as sock:
            sock.sendall(data)
            parts = []
            while True:
                part = sock.recv(65536)
                if not part:
                    return b"".join(parts)
                parts.append(part)


def hub_order(external_id="shopify-1234", **changes):
    """The document's order."""
    return {"externalOrderId": external_id,
            "shippingAddress": {**HUB_ADDRESS, "phone": "+1-555-0100", "email": "jane@example.com"},
            "customer": {"name": "Jane Doe", "email": "jane@example.com"},
            "items": [{"sku": "BC-3001-L-BLACK", "quantity": 1, "designs": [design()]}],
            **changes}


def design(placement="width1", width=11.0, height=11.0,
           url="https://cdn.partner.com/designs/abc.png", **more):
    """The document's design."""
    return {"url": url, "placement": placement, "widthInches": width, "heightInches": height,
            **more}


def v1_order(**changes):
    """The v1 document's order."""
    return {"items": [{"sku": "CS-8OZ-ECO", "qty": 5000}, {"sku": "CS-DOME-LID", "qty": 5000}],
            "shipping_address": CUP_ADDRESS, "currency": "USD", **changes}


def v2_order(**changes):
    """The v2 document's order."""
    return {"line_items": [{"product_id": "prod_8x92k4m", "quantity": 5000}],
            "custom_branding": {"asset_id": "art_9f3m2x", "print_method": "flexography",
                                "proof_approval_deadline": "2025-04-15T00:00:00Z"},
            "shipping": {"method": "freight_pallet",
                         "address": {"line1": "123 Warehouse Blvd", "city": "Portland",
                                     "state": "OR", "postal_code": "97201", "country": "US"}},
            "billing": {"po_number": "PO-2025-0892", "net_terms": "30"}, **changes}
