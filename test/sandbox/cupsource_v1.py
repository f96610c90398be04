"""Cup Source v1: GET /products, POST /orders, GET /orders/{id}/tracking.

Nothing makes POST /orders idempotent: each one that is processed is an order.
"""

import re
from decimal import Decimal

import cupsource_common
import lifecycle
from cupsource_common import (Checks, error, find_order, get_order, is_count, new_order,
                              order_fields, parse, positive, tracking_fields, wrap)
from jsonio import cents
from wire import Answer

API = "cupsource-v1"
GATE = cupsource_common
PER_PAGE = 20
PER_PAGE_MAX = 100


def squeeze(text):
    """'12 OZ' and '12oz' are the same capacity."""
    return text.replace(" ", "").lower()


def product_fields(store, product):
    """A product as v1 shows it, price and stock in the form that is set."""
    shape = store.settings["shape"]
    fields = {"id": product.id, "sku": product.sku, "name": product.name,
              "category": product.v1_category, "material": product.v1_material,
              "capacity": product.capacity}
    if shape["price"] == "pricing":
        fields["pricing"] = {"unit_price": product.price, "currency": "USD"}
    else:
        fields[shape["price"]] = product.price
        fields["currency"] = "USD"
    fields[shape["stock"]] = {
        "stock_status": product.stock_status, "in_stock": product.stock_status != "out_of_stock",
    }.get(shape["stock"], 0 if product.stock_status == "out_of_stock" else 1000 * product.oz)
    return fields


def get_products(store, request):
    """GET /products"""
    query = request.query
    page = positive(store, request, "page", 1)
    per_page = positive(store, request, "per_page", PER_PAGE, PER_PAGE_MAX)
    wanted = (query.get("category"), query.get("material"),
              squeeze(query["capacity"]) if "capacity" in query else None)

    def accept(product):
        return ((wanted[0] is None or product.v1_category == wanted[0])
                and (wanted[1] is None or product.v1_material == wanted[1])
                and (wanted[2] is None or product.capacity == wanted[2]))

    cups = store.cups
    indexes = cups.indexes(("v1", wanted), None if wanted == (None, None, None) else accept)
    rows = [product_fields(store, cups.product(index))
            for index in indexes[(page - 1) * per_page:page * per_page]]
    data = rows if store.settings["shape"]["list"] == "array" else {"products": rows}
    return Answer(200, {"success": True, "data": data,
                        "meta": {"page": page, "per_page": per_page, "total": len(indexes)}})


def post_order(store, request):
    """POST /orders"""
    if not request.key.billing_verified:
        return error(store, API, 403, "the account's billing is not verified")
    body = parse(store, request)
    checks = Checks()
    items = []
    for path, line in checks.lines(body, "items"):
        sku = checks.text(line, "sku", path + ".sku")
        product = store.cups.by_sku(sku) if sku else None
        if sku and product is None:
            checks.add(path + ".sku", "unknown SKU %s" % sku)
        quantity = line.get("qty")
        if not is_count(quantity) or quantity < 1:
            checks.add(path + ".qty", "must be a positive integer")
        elif product is not None:
            items.append({"sku": sku, "qty": quantity, "unit_price": product.price})
    address = checks.object(body, "shipping_address", "shipping_address")
    if address:
        for name in ("line1", "city", "state", "zip"):
            checks.text(address, name, "shipping_address." + name)
        for name in ("line2", "country", "name", "phone", "email"):
            checks.text(address, name, "shipping_address." + name, required=False)
    elif body.get("shipping_address") == {}:
        checks.add("shipping_address", "must not be empty")
    if checks.text(body, "currency", "currency") not in (None, "USD"):
        checks.add("currency", "only USD is supported")
    if checks.details:
        return error(store, API, 400, "check payload structure & required fields", checks.details)
    with store.lock:
        order = new_order(store, request, body)
        order.items = items
        total = sum((item["unit_price"] * item["qty"] for item in items), Decimal(0))
        order.cost = {"currency": "USD", "grandTotal": cents(total)}
        store.add_order(order)
        lifecycle.add_event(store, order, "submitted", "partner")
        return wrap(store, API, 201, {**order_fields(store, order), "items": items})


def get_tracking(store, request, order_id):
    """GET /orders/{id}/tracking"""
    with store.lock:
        order = find_order(store, request, order_id)
        lifecycle.tick(store, order)
        parcels = tracking_fields(store, order)
        if store.settings["shape"]["tracking"] == "object":
            parcels = parcels[-1]
        return wrap(store, request.api, 200, parcels)


ROUTES = (
    ("GET", re.compile(r"/v1/products"), get_products),
    ("POST", re.compile(r"/v1/orders"), post_order),
    ("GET", re.compile(r"/v1/orders/([^/]+)/tracking"), get_tracking),
    ("GET", re.compile(r"/v1/orders/([^/]+)"), get_order),
)
