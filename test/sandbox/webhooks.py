"""Signed events of Cup Source v2.

The document says: HMAC-SHA256 over the payload with the webhook secret, in the
header X-CupSource-Signature, for production milestones, proof reviews and
logistics.  It names neither the event types nor the encoding of the signature;
both can be chosen.
"""

import base64
import hashlib
import hmac
import http.client
import queue
import threading
from urllib.parse import urlsplit

import jsonio

HEADER = "X-CupSource-Signature"
# The state that an order entered, and the event that tells of it.
EVENTS = {
    "submitted": ("proof.review", {"proof_status": "awaiting_approval"}),
    "in_production": ("production.milestone", {"milestone": "printing_started"}),
    "shipped": ("logistics.update", {"logistics_status": "in_transit"}),
    "delivered": ("logistics.update", {"logistics_status": "delivered"}),
    "rejected": ("proof.review", {"proof_status": "rejected"}),
    "cancelled": ("production.milestone", {"milestone": "cancelled"}),
}
LOOPBACK = ("127.0.0.1", "localhost", "::1")


def acceptable(url):
    """Whether a webhook may point there: https, or http to this machine."""
    parts = urlsplit(url)
    return bool(parts.hostname) and (
        parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in LOOPBACK))


def sign(secret, payload, encoding="hex", prefix=False):
    """The signature of a payload of bytes."""
    digest = hmac.new(secret.encode(), payload, hashlib.sha256).digest()
    text = base64.b64encode(digest).decode() if encoding == "base64" else digest.hex()
    return "sha256=" + text if prefix else text


def make_event(store, order, kind=None, data=None):
    """The payload, as bytes, of an event about an order (or about none)."""
    fields = {}
    if order is not None:
        default_kind, more = EVENTS.get(order.state, ("production.milestone", {}))
        kind = kind or default_kind
        fields = {"order_id": order.id, "order_number": order.number,
                  "order_status": order.state}
        if kind == default_kind:
            fields.update(more)
        if kind == "logistics.update" and order.shipments:
            parcel = order.shipments[-1]
            fields.update({"carrier": parcel["carrier"],
                           "tracking_number": parcel["trackingNumber"],
                           "tracking_url": parcel["trackingUrl"],
                           "estimated_delivery": store.date(3)})
    fields.update(data or {})
    return jsonio.dumps({"id": store.next_name("evt_"), "type": kind or "production.milestone",
                         "created_at": store.stamp(), "data": fields}).encode()


def deliver(store, payload, kind, signature):
    """Post a payload to every webhook that wants it; one result for each."""
    results = []
    for hook in list(store.webhooks.values()):
        if "*" not in hook["events"] and kind not in hook["events"]:
            continue
        parts = urlsplit(hook["url"])
        result = {"webhook": hook["id"], "url": hook["url"], "type": kind, "status": None,
                  "error": None}
        # https receivers are outside of what the sandbox vouches for: loopback http only.
        if parts.scheme != "http":
            result["error"] = "not delivered: only http on this machine is"
        else:
            connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=5)
            try:
                target = parts.path or "/"
                if parts.query:
                    target += "?" + parts.query
                connection.request("POST", target, payload, {
                    "Content-Type": "application/json", HEADER: signature})
                result["status"] = connection.getresponse().status
            except (OSError, http.client.HTTPException) as problem:
                result["error"] = str(problem) or type(problem).__name__
            finally:
                connection.close()
        store.deliveries.append(result)
        results.append(result)
    return results


def announce(store, order):
    """Tell the registered webhooks what became of an order: in the background, in order."""
    if order.api != "cupsource-v2" or not store.webhooks or not store.settings["webhook_auto"]:
        return
    payload = make_event(store, order)
    form = store.settings["signature"]
    signature = sign(store.webhook_secret, payload, form["encoding"], form["prefix"])
    kind = jsonio.loads(payload)["type"]
    with store.lock:
        if store.outbox is None:
            store.outbox = queue.SimpleQueue()
            threading.Thread(target=carry, args=(store, store.outbox), daemon=True).start()
        store.outbox.put((payload, kind, signature))


def carry(store, outbox):
    """Deliver what is announced, for ever."""
    while True:
        deliver(store, *outbox.get())
