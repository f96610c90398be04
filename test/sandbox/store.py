"""The state of the sandbox: clock, settings, keys, tokens, orders, idempotency.

One lock, Store.lock, guards everything here but the catalogues, which have
their own.  It is held while a request is processed and never while one waits.
"""

import base64
import copy
import hashlib
import hmac
import json
import math
import threading
import time
from collections import deque
from datetime import datetime, timedelta, timezone
from decimal import Decimal

from catalog import CupCatalog, base36, mix
from models import HubCatalog

APIS = ("cupsource-v1", "cupsource-v2", "customhub-v1")
DOCUMENTED_LIMITS = {"cupsource-v1": 120, "cupsource-v2": 120, "customhub-v1": 60}
MINUTE = 60.0
IDEMPOTENCY_TTL = 90 * 86400
DEALER = "5b3b1f04-6c2d-4e8a-9f10-2a3b4c5d6e7f"
OTHER_DEALER = "6c4c2a15-7d3e-4f9b-8a21-3b4c5d6e7f80"
ALL_SCOPES = ("products_r", "orders_r", "orders_w")

# What the documents leave open, and what else a test may want: first the default.
SHAPES = {
    "envelope": ("data", "bare"),
    "case": ("snake", "camel"),
    "id": ("id", "order_id", "orderId"),
    "number": ("order_number", "orderNumber", "number"),
    "status": ("present", "absent"),
    "error": ("object", "string", "message", "empty"),
    "tracking": ("object", "list"),
    "price": ("unit_price", "price", "pricing"),
    "stock": ("stock_status", "stock", "inventory", "in_stock"),
    "list": ("array", "products"),
    "asset_id": ("asset_id", "id"),
}


def default_settings():
    """Settings as the documents and the command line's defaults have them."""
    return {
        "rate_limit": dict(DOCUMENTED_LIMITS),
        "minute": MINUTE,                   # the seconds in which it counts
        "retry_after": "seconds",           # or "date"
        "latency_ms": 0,
        "token_ttl": 86400,
        "lifecycle": "manual",              # or "auto"
        "step_seconds": 1,
        "order_status": False,              # GET /v1|v2/orders/{id}: False 404, True, 405
        "webhook_auto": True,
        "signature": {"encoding": "hex", "prefix": False},
        "shape": {name: values[0] for name, values in SHAPES.items()},
    }


def apply_shape(shape, text):
    """Apply "bare,camel,error=string" or a mapping to a shape; ValueError if unknown."""
    pairs = list(text.items()) if isinstance(text, dict) else []
    if isinstance(text, str):
        for word in filter(None, text.split(",")):
            name, equals, value = word.partition("=")
            if not equals:
                value = word
                name = next((n for n in ("envelope", "case") if word in SHAPES[n]), word)
            pairs.append((name, value))
    for name, value in pairs:
        if name not in SHAPES or value not in SHAPES[name]:
            raise ValueError("unknown shape %s=%s; known: %s" % (name, value, "; ".join(
                "%s=%s" % (n, "|".join(v)) for n, v in SHAPES.items())))
        shape[name] = value


class Key:
    """An account's credentials and what they may do."""

    def __init__(self, api, key, secret=None, dealer=None, scopes=ALL_SCOPES,
                 forbidden=False, billing_verified=True, rate_limit=None):
        self.api = api
        self.key = key
        self.secret = secret
        self.dealer = dealer or key
        self.scopes = tuple(scopes)
        self.forbidden = forbidden
        self.billing_verified = billing_verified
        self.rate_limit = rate_limit        # overrides the setting
        self.hits = deque()                 # times of the requests of the last minute


class Wallet:
    """A dealer's account; balance > 0 means that the dealer owes."""

    def __init__(self, balance="1240.50", credit_limit="1000000.00"):
        self.balance = Decimal(balance)
        self.credit_limit = Decimal(credit_limit)

    headroom = property(lambda self: self.credit_limit - self.balance)


class Order:
    """One order at any of the partners."""

    def __init__(self, api, key, dealer):
        self.api = api
        self.key = key
        self.dealer = dealer
        self.id = self.number = self.external_id = None
        self.state = None
        self.created_at = self.changed_at = 0.0
        self.body = None                    # the request's body, parsed
        self.items = []
        self.cost = None
        self.events = []
        self.shipments = []
        self.rejection = None
        self.cancelled_at = None
        self.debited = False
        self.n_posts = 1                    # POSTs with this external id that were answered
        self.request_numbers = []           # their numbers in the journal
        self.idempotency_key = None         # the header, which no document mentions
        self.environment = "production"


class Store:
    """Everything that a reset clears."""

    def __init__(self, options):
        self.options = options
        self.lock = threading.RLock()
        self.cups = self.hub = None
        self.outbox = None              # webhook events to deliver, once there is one
        self.reset_catalog()
        self.reset()

    def reset_catalog(self):
        """The catalogues as they were at the start."""
        options = self.options
        self.cups = CupCatalog(options["products"], options["seed"])
        self.hub = HubCatalog(options["models"], options["variations"], options["seed"])

    def reset(self):
        """Everything but the catalogues as it was at the start."""
        with self.lock:
            self.clock_offset = 0.0
            self.settings = copy.deepcopy(self.options["settings"])
            self.orders = {}                # id -> Order, in the order of their creation
            self.external_ids = {}          # (dealer, external id) -> [Order]
            self.idempotency = {}           # (dealer, external id) -> Remembered
            self.tokens = {}                # token -> (Key, expiry)
            self.counters = {}
            self.webhooks = {}              # id -> {url, events, secret, key}
            self.deliveries = []
            self.assets = {"art_9f3m2x": {"asset_id": "art_9f3m2x", "filename": "logo.pdf",
                                          "content_type": "application/pdf", "size": 48213,
                                          "sha256": None}}
            self.wallets = {DEALER: Wallet(), OTHER_DEALER: Wallet("0.00")}
            self.webhook_secret = "whsec_demo"
            self.keys = {}
            for key in (
                    Key("cupsource-v1", "cs_live_v1_demo"),
                    Key("cupsource-v1", "cs_live_forbidden", forbidden=True),
                    Key("cupsource-v1", "cs_live_unverified", billing_verified=False),
                    Key("cupsource-v2", "cs_live_sk_8f7d6c5b4a3e2d1f"),
                    Key("cupsource-v2", "cs_live_forbidden", forbidden=True),
                    Key("customhub-v1", "ek_live_demo", "esk_live_demo", DEALER),
                    Key("customhub-v1", "ek_live_readonly", "esk_live_readonly", DEALER,
                        ("products_r", "orders_r")),
                    Key("customhub-v1", "ek_live_noscope", "esk_live_noscope", DEALER, ()),
                    Key("customhub-v1", "ek_live_other", "esk_live_other", OTHER_DEALER)):
                self.keys[(key.api, key.key)] = key

    # Clock

    def now(self):
        """Seconds since 1970 by the sandbox's clock, which tests move forward."""
        return time.time() + self.clock_offset

    def stamp(self, seconds=None):
        """A time as CustomHub writes it: ISO 8601, UTC, whole seconds."""
        moment = datetime.fromtimestamp(self.now() if seconds is None else seconds, timezone.utc)
        return moment.strftime("%Y-%m-%dT%H:%M:%SZ")

    def date(self, days):
        """The date so many days from now."""
        moment = datetime.fromtimestamp(self.now(), timezone.utc) + timedelta(days=days)
        return moment.strftime("%Y-%m-%d")

    # Names

    def next_number(self, name, first=1):
        """The next number of a sequence."""
        with self.lock:
            self.counters[name] = self.counters.get(name, first - 1) + 1
            return self.counters[name]

    def next_uuid(self, name):
        """The next UUID of a sequence; the same at every run."""
        number = self.next_number("uuid/" + name)
        digest = hashlib.sha256(("%s/%d/%d" % (name, self.options["seed"], number)).encode())
        text = digest.hexdigest()
        return "%08x-%s-4%s-9%s-%s" % ((0x9B4F7E2A + number * 0x61C88647) & 0xFFFFFFFF,
                                       text[:4], text[4:7], text[7:10], text[10:22])

    def next_name(self, prefix, width=10):
        """The next opaque name with a prefix, like ord_... or art_..."""
        number = self.next_number("name/" + prefix)
        noise = mix(self.options["seed"], number) << 20
        return prefix + base36((noise + number) % 36 ** width, width)

    # Limits

    def take_allowance(self, key):
        """Count a request of this key; None, or the seconds to wait if there were too many.

        A sliding minute: refused requests do not count."""
        with self.lock:
            limit = key.rate_limit
            if limit is None:
                limit = self.settings["rate_limit"][key.api]
            if not limit:
                return None
            now = self.now()
            minute = self.settings["minute"]
            hits = key.hits
            while hits and hits[0] <= now - minute:
                hits.popleft()
            if len(hits) < limit:
                hits.append(now)
                return None
            return hits[len(hits) - limit] + minute - now

    def retry_after(self, seconds, form=None):
        """Retry-After in the form that is set: whole seconds or an HTTP date."""
        seconds = max(1, math.ceil(seconds))
        if (form or self.settings["retry_after"]) == "date":
            moment = datetime.fromtimestamp(math.ceil(self.now()) + seconds, timezone.utc)
            return moment.strftime("%a, %d %b %Y %H:%M:%S GMT")
        return str(seconds)

    # Tokens

    def issue_token(self, key):
        """A JWT for this key; (token, expiry)."""
        with self.lock:
            expiry = self.now() + self.settings["token_ttl"]
            claims = {"sub": key.key, "dealerId": key.dealer, "scope": " ".join(key.scopes),
                      "exp": int(expiry), "jti": self.next_number("token")}
            parts = [base64.urlsafe_b64encode(json.dumps(part, separators=(",", ":")).encode())
                     .rstrip(b"=") for part in ({"alg": "HS256", "typ": "JWT"}, claims)]
            signed = b".".join(parts)
            digest = hmac.new(b"sandbox", signed, hashlib.sha256).digest()
            token = (signed + b"." + base64.urlsafe_b64encode(digest).rstrip(b"=")).decode()
            self.tokens[token] = (key, expiry)
            return token, expiry

    def token_key(self, token):
        """The key that a token stands for, or None if it is unknown, expired or revoked."""
        with self.lock:
            key, expiry = self.tokens.get(token, (None, 0))
            return key if key is not None and self.now() < expiry else None

    # Orders

    def add_order(self, order):
        """Keep a new order."""
        with self.lock:
            order.created_at = order.changed_at = self.now()
            self.orders[order.id] = order
            if order.external_id is not None:
                self.external_ids.setdefault((order.dealer, order.external_id), []).append(order)

    def wallet(self, dealer):
        """The dealer's wallet; a new dealer owes nothing and has a million of credit."""
        with self.lock:
            if dealer not in self.wallets:
                self.wallets[dealer] = Wallet("0.00")
            return self.wallets[dealer]
