"""Cup Source v2: GET /products, POST /orders, POST /assets, POST /webhooks.

The document's spelling min_moz is the parameter's name: products whose minimum
order quantity is at least that.  As in v1, each POST /orders is an order.
"""

import base64
import binascii
import hashlib
import json
import re
from datetime import datetime
from decimal import Decimal

import cupsource_common
import lifecycle
import webhooks
from cupsource_common import (Checks, Refused, error, get_order, is_count, new_order,
                              order_fields, parse, positive, wrap)
from jsonio import cents
from wire import Answer

API = "cupsource-v2"
GATE = cupsource_common
LIMIT = 20
LIMIT_MAX = 100
# Makes a cursor's base64 end in "++//vg==", which does not survive a query
# string unless the client percent-encodes it.
CURSOR_TAIL = b"\xfb\xef\xff\xbe"
BOOLEANS = {"true": True, "1": True, "false": False, "0": False}


def make_cursor(index):
    """The token for the page after the product at index."""
    text = ('{"id":%d}' % index).encode()
    return base64.b64encode(text + b" " * (-len(text) % 3) + CURSOR_TAIL).decode()


def read_cursor(store, cursor):
    """The index in a cursor; Refused with 400.

    The document's own eyJpZCI6MTQyfQ==, without the tail, is understood too."""
    try:
        text = base64.b64decode(cursor, validate=True).removesuffix(CURSOR_TAIL)
        index = json.loads(text)["id"]
        if is_count(index) and index >= 0:
            return index
    except (binascii.Error, ValueError, KeyError, TypeError):
        pass
    raise Refused(error(store, API, 400, "invalid cursor",
                        [{"field": "cursor", "message": "is not a token of a previous response"}]))


def product_fields(product):
    """A product as the document shows it."""
    return {"id": product.id, "name": product.name, "sku": product.sku,
            "material": product.material, "certifications": list(product.certifications),
            "pricing": {"unit_price": product.price, "currency": "USD",
                        "min_order_qty": product.min_order_qty},
            "stock_status": product.stock_status, "lead_time_days": product.lead_time_days}


def get_products(store, request):
    """GET /products"""
    query = request.query
    limit = positive(store, request, "limit", LIMIT, LIMIT_MAX)
    least = positive(store, request, "min_moz", None)
    category = query.get("category")
    certified = None
    if "eco_certified" in query:
        certified = BOOLEANS.get(query["eco_certified"].lower())
        if certified is None:
            return error(store, API, 400, "eco_certified must be true or false",
                         [{"field": "eco_certified", "message": "must be true or false"}])

    def accept(product):
        return ((category is None or product.category == category)
                and (not certified or product.eco_certified)
                and (least is None or product.min_order_qty >= least))

    cups = store.cups
    plain = category is None and not certified and least is None
    indexes = cups.indexes(("v2", category, certified, least), None if plain else accept)
    start = 0
    if "cursor" in query:
        start = first_after(indexes, read_cursor(store, query["cursor"]))
    page = indexes[start:start + limit]
    more = start + limit < len(indexes)
    return Answer(200, {
        "data": [product_fields(cups.product(index)) for index in page],
        "pagination": {"total": len(indexes), "has_more": more,
                       "next_cursor": make_cursor(page[-1]) if more else None}})


def first_after(indexes, index):
    """The position of the first member greater than index; indexes are sorted."""
    low, high = 0, len(indexes)
    while low < high:
        middle = (low + high) // 2
        if indexes[middle] <= index:
            low = middle + 1
        else:
            high = middle
    return low


def check_time(checks, holder, name, path):
    """An optional ISO 8601 time."""
    text = checks.text(holder, name, path, required=False)
    if text is not None:
        try:
            datetime.fromisoformat(text)
        except ValueError:
            checks.add(path, "must be an ISO 8601 time")


def post_order(store, request):
    """POST /orders"""
    body = parse(store, request)
    checks = Checks()
    items = []
    for path, line in checks.lines(body, "line_items"):
        product_id = checks.text(line, "product_id", path + ".product_id")
        product = store.cups.by_id(product_id) if product_id else None
        if product_id and product is None:
            checks.add(path + ".product_id", "unknown product %s" % product_id)
        quantity = line.get("quantity")
        if not is_count(quantity) or quantity < 1:
            checks.add(path + ".quantity", "must be a positive integer")
        elif product is not None and quantity < product.min_order_qty:
            checks.add(path + ".quantity", "is below the minimum order quantity of %d"
                       % product.min_order_qty)
        elif product is not None:
            items.append({"product_id": product_id, "sku": product.sku, "quantity": quantity,
                          "unit_price": product.price})
    branding = checks.object(body, "custom_branding", "custom_branding", required=False)
    if branding:
        asset = checks.text(branding, "asset_id", "custom_branding.asset_id")
        if asset and asset not in store.assets:
            checks.add("custom_branding.asset_id", "unknown asset %s" % asset)
        checks.text(branding, "print_method", "custom_branding.print_method", required=False)
        check_time(checks, branding, "proof_approval_deadline",
                   "custom_branding.proof_approval_deadline")
    shipping = checks.object(body, "shipping", "shipping")
    checks.text(shipping, "method", "shipping.method", required=False)
    address = checks.object(shipping, "address", "shipping.address")
    for name in ("line1", "city", "state", "postal_code", "country"):
        checks.text(address, name, "shipping.address." + name)
    if isinstance(address.get("country"), str) and not re.fullmatch("[A-Z]{2}", address["country"]):
        checks.add("shipping.address.country", "must be an ISO 3166-1 alpha-2 code")
    billing = checks.object(body, "billing", "billing", required=False)
    checks.text(billing, "po_number", "billing.po_number", required=False)
    terms = checks.text(billing, "net_terms", "billing.net_terms", required=False)
    if terms is not None and not re.fullmatch("[0-9]{1,3}", terms):
        checks.add("billing.net_terms", "must be a number of days")
    if checks.details:
        return error(store, API, 400, "the order is not valid", checks.details)
    with store.lock:
        order = new_order(store, request, body)
        order.items = items
        order.external_id = billing.get("po_number")
        total = sum((item["unit_price"] * item["quantity"] for item in items), Decimal(0))
        order.cost = {"currency": "USD", "grandTotal": cents(total)}
        store.add_order(order)
        lifecycle.add_event(store, order, "submitted", "partner")
        if branding:
            webhooks.announce(store, order)         # the proof awaits approval
        return wrap(store, API, 201, {**order_fields(store, order), "line_items": items})


def multipart_file(content_type, body):
    """(filename, content type, data) of the first file in a multipart body, or None."""
    found = re.search(r'boundary="?([^";]+)"?', content_type)
    if found is None:
        return None
    for part in body.split(b"--" + found.group(1).encode())[1:-1]:
        head, blank, data = part.partition(b"\r\n\r\n")
        head = head.decode("utf-8", "replace")
        name = re.search(r'filename="([^"]*)"', head)
        if blank and name and data.endswith(b"\r\n"):
            kind = re.search(r"(?im)^content-type:\s*(\S+)", head)
            return (name.group(1), kind.group(1) if kind else "application/octet-stream",
                    data[:-2])
    return None


def post_asset(store, request):
    """POST /assets: multipart/form-data with a file, or the file itself as the body."""
    content_type = request.headers.get("content-type", "")
    if content_type.lower().startswith("multipart/form-data"):
        file = multipart_file(content_type, request.body)
        if file is None:
            return error(store, API, 400, "the form has no file",
                         [{"field": "file", "message": "is required"}])
    elif content_type.lower().startswith("application/json"):
        return error(store, API, 400, "an asset is sent as multipart/form-data or as it is")
    else:
        file = ("asset", content_type or "application/octet-stream", request.body)
    if not file[2]:
        return error(store, API, 400, "the file is empty",
                     [{"field": "file", "message": "must not be empty"}])
    with store.lock:
        asset_id = store.next_name("art_", 6)
        asset = {"asset_id": asset_id, "filename": file[0], "content_type": file[1],
                 "size": len(file[2]), "sha256": hashlib.sha256(file[2]).hexdigest()}
        store.assets[asset_id] = asset
        shown = dict(asset)
        shown = {store.settings["shape"]["asset_id"]: shown.pop("asset_id"), **shown}
        return wrap(store, API, 201, shown)


def post_webhook(store, request):
    """POST /webhooks"""
    body = parse(store, request)
    checks = Checks()
    url = checks.text(body, "url", "url")
    if url and not webhooks.acceptable(url):
        checks.add("url", "must be an https URL")
    events = body.get("events", [])
    if not isinstance(events, list) or not all(isinstance(e, str) and e for e in events):
        checks.add("events", "must be a list of event types")
    if checks.details:
        return error(store, API, 400, "the webhook is not valid", checks.details)
    with store.lock:
        hook_id = store.next_name("wh_", 8)
        store.webhooks[hook_id] = {"id": hook_id, "url": url, "events": events or ["*"],
                                   "active": True, "created_at": store.stamp()}
        return wrap(store, API, 201, dict(store.webhooks[hook_id]))


ROUTES = (
    ("GET", re.compile(r"/v2/products"), get_products),
    ("POST", re.compile(r"/v2/orders"), post_order),
    ("GET", re.compile(r"/v2/orders/([^/]+)"), get_order),
    ("POST", re.compile(r"/v2/assets"), post_asset),
    ("POST", re.compile(r"/v2/webhooks"), post_webhook),
)
