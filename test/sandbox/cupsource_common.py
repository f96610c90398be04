"""What the two Cup Source APIs share: credentials, errors, answers about orders.

The documents show neither an error's body nor the answer to a new order.  The
sandbox answers in the most likely form; store.SHAPES lists the other forms that
a test may switch to.
"""

import re

import jsonio
import lifecycle
from store import Order
from wire import Answer

# The status table of the v1 document, as codes.
CODES = {400: "bad_request", 401: "unauthorized", 402: "payment_required", 403: "forbidden",
         404: "not_found", 405: "method_not_allowed", 409: "conflict", 429: "rate_limited",
         500: "server_error", 503: "unavailable"}
MESSAGES = {400: "the request is not valid", 401: "invalid API key",
            403: "account lacks required permissions", 404: "endpoint or resource not found",
            405: "method not allowed", 429: "rate limit exceeded", 500: "internal server error",
            503: "service unavailable"}


def error(store, api, status, message=None, details=None, headers=None):
    """A refusal in the form that is set."""
    code = CODES.get(status, "error")
    message = message or MESSAGES.get(status, "request failed")
    form = store.settings["shape"]["error"]
    if form == "empty":
        return Answer(status, b"", headers)
    if form == "message":
        body = {"message": message}
    elif form == "string":
        body = {"error": message}
    else:
        body = {"error": {"code": code, "message": message, "details": details or []}}
        if api == "cupsource-v1":
            body = {"success": False, **body}
    return Answer(status, body, headers)


class Refused(Exception):
    """An error answer on its way out; carries the Answer."""

    def __init__(self, answer):
        super().__init__(answer.status)
        self.answer = answer


def authenticate(store, request):
    """The key of the Authorization header; Refused with 401."""
    scheme, _, secret = request.headers.get("authorization", "").partition(" ")
    key = store.keys.get((request.api, secret.strip())) if scheme.lower() == "bearer" else None
    if key is None:
        raise Refused(error(store, request.api, 401))
    return key


def authorize(store, request, _handler):
    """What the key must be allowed; Refused with 403."""
    if request.key.forbidden:
        raise Refused(error(store, request.api, 403))


def rate_limited(store, request, seconds):
    """The 429 answer."""
    return error(store, request.api, 429, headers={"Retry-After": store.retry_after(seconds)})


def fail(store, request, status, message=None):
    """An answer that the router or a fault asks for."""
    return error(store, request.api, status, message)


def positive(store, request, name, default, most=None):
    """A paging parameter: an integer from 1, clamped to most."""
    text = request.query.get(name)
    if text is None:
        return default
    if not re.fullmatch(r"[0-9]{1,9}", text) or int(text) < 1:
        raise Refused(error(store, request.api, 400, "%s must be a positive integer" % name,
                            [{"field": name, "message": "must be a positive integer"}]))
    return min(int(text), most) if most else int(text)


def parse(store, request):
    """The request's body as an object; Refused with 400."""
    try:
        body = jsonio.loads(request.body)
    except ValueError:
        raise Refused(error(store, request.api, 400, "the body is not valid JSON")) from None
    if not isinstance(body, dict):
        raise Refused(error(store, request.api, 400, "the body must be a JSON object"))
    return body


class Checks:
    """Collects what is wrong with a body; every problem names its field."""

    def __init__(self):
        self.details = []

    def add(self, field, message):
        """Note a problem."""
        self.details.append({"field": field, "message": message})

    def text(self, holder, name, path, required=True):
        """The text under name, or None; a required one must not be blank."""
        value = holder.get(name)
        if value is None and not required:
            return None
        if not isinstance(value, str):
            self.add(path, "is required" if value is None else "must be a string")
        elif required and not value.strip():
            self.add(path, "must not be empty")
        else:
            return value
        return None

    def object(self, holder, name, path, required=True):
        """The object under name; {} if it is absent or wrong."""
        value = holder.get(name)
        if isinstance(value, dict):
            return value
        if value is not None or required:
            self.add(path, "is required" if value is None else "must be an object")
        return {}

    def lines(self, holder, name):
        """The objects of a required, non-empty list, each with its path."""
        value = holder.get(name)
        if not isinstance(value, list) or not value:
            self.add(name, "must be a list with at least one item")
            return []
        found = []
        for place, line in enumerate(value):
            path = "%s[%d]" % (name, place)
            if isinstance(line, dict):
                found.append((path, line))
            else:
                self.add(path, "must be an object")
        return found


def is_count(value):
    """Whether a JSON value is an integer; true and false are not."""
    return type(value) is int


def camel(value):
    """The same value with camelCase names."""
    if isinstance(value, dict):
        return {camel_name(name): camel(member) for name, member in value.items()}
    if isinstance(value, list):
        return [camel(member) for member in value]
    return value


def camel_name(name):
    """order_number -> orderNumber"""
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


def wrap(store, api, status, data):
    """An answer about one object, in the envelope and case that are set."""
    shape = store.settings["shape"]
    if shape["case"] == "camel":
        data = camel(data)
    if shape["envelope"] == "bare":
        return Answer(status, data)
    if api == "cupsource-v1":
        return Answer(status, {"success": True, "data": data})
    return Answer(status, {"data": data})


def new_order(store, request, body):
    """A new order of this request; the caller fills in items and cost."""
    order = Order(request.api, request.key.key, request.key.dealer)
    order.id = store.next_name("ord_")
    order.number = "CS-%d" % store.next_number("cup order", 100001)
    order.state = "submitted"
    order.body = body
    order.idempotency_key = request.headers.get("idempotency-key")
    order.environment = request.headers.get("x-environment", "production")
    order.request_numbers.append(request.entry["n"])
    return order


def order_fields(store, order):
    """An order as Cup Source would show it."""
    shape = store.settings["shape"]
    fields = {shape["id"]: order.id, shape["number"]: order.number}
    if shape["status"] == "present":
        fields["status"] = order.state
    fields.update({
        "created_at": store.stamp(order.created_at),
        "currency": "USD",
        "total": order.cost["grandTotal"],
        "environment": order.environment,
    })
    if order.rejection:
        fields["rejection_reason"] = order.rejection["reason"]
    return fields


def tracking_fields(store, order):
    """Where the order's parcels are; before shipping everything but the status is null."""
    common = {"order_id": order.id, "status": order.state}
    if not order.shipments:
        return [{**common, "carrier": None, "tracking_number": None, "tracking_url": None,
                 "estimated_delivery": None, "signature_required": False}]
    return [{**common, "carrier": parcel["carrier"],
             "tracking_number": parcel["trackingNumber"],
             "tracking_url": parcel["trackingUrl"],
             "shipped_at": parcel["shippedAt"],
             "estimated_delivery": parcel.get("estimatedDelivery", store.date(3)),
             "signature_required": parcel.get("signatureRequired", False)}
            for parcel in order.shipments]


def find_order(store, request, order_id):
    """The order if it is this key's; Refused with 404."""
    order = store.orders.get(order_id)
    if order is None or order.api != request.api or order.key != request.key.key:
        raise Refused(error(store, request.api, 404, "no such order"))
    return order


def get_order(store, request, order_id):
    """GET /orders/{id}, which no document mentions: 404 unless it is switched on."""
    switch = store.settings["order_status"]
    if switch is False:
        return error(store, request.api, 404)
    if switch == 405:
        return error(store, request.api, 405)
    with store.lock:
        order = find_order(store, request, order_id)
        lifecycle.tick(store, order)
        return wrap(store, request.api, 200, {**order_fields(store, order), "items": order.items})
