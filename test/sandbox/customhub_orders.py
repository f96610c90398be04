"""CustomHub's orders: quote, create, get, list, cancel, designs.

externalOrderId is the idempotency key of a dealer.  What was answered to its
first POST is kept for 90 days, refusals included, and answered again to a body
that is equal byte for byte; then it is forgotten, though the order stays.
While the first POST is being processed every other one is turned away.
"""

import hashlib
from datetime import datetime

import lifecycle
from customhub_answers import Refused, error, invalid, ok, paging, parse
from customhub_rules import (MAX_DESIGNS, Checker, Invalid, check_designs, check_designs_form,
                             check_order, check_quote, compute_cost)
from store import IDEMPOTENCY_TTL, Order
from wire import Answer

STATUSES = ("ApprovalPending", "Approved", "Rejected", "Cancelled", "InProduction", "Shipped")
# What the document's list shows as status, beside productionStatus, once a parcel left.
SHIPPING_STATUS = "Progressing Shipment"


class Remembered:
    """What is known about an externalOrderId: in progress while status is None."""

    __slots__ = ("digest", "at", "status", "body", "order")

    def __init__(self, digest, at):
        self.digest = digest
        self.at = at
        self.status = self.body = self.order = None


def refusal(problem):
    """The answer to a body that breaks a rule."""
    return error(problem.code, problem.message, problem.details)


def post_quote(store, request):
    """POST /api/v1/orders/quote: neither stored nor checked against the wallet."""
    body = parse(request)
    try:
        items = check_quote(store.hub, body)
    except Invalid as problem:
        return refusal(problem)
    return ok({"computedCost": compute_cost(body, items, per_item=True)})


def post_order(store, request):
    """POST /api/v1/orders"""
    body = parse(request)
    external_id = body.get("externalOrderId")
    if not isinstance(external_id, str) or not 1 <= len(external_id) <= 100:
        raise invalid("externalOrderId", "must be a string of 1 to 100 characters")
    place = (request.key.dealer, external_id)
    digest = hashlib.sha256(request.body).digest()
    with store.lock:
        memories = store.idempotency
        known = memories.get(place)
        if known is not None and store.now() - known.at >= IDEMPOTENCY_TTL:
            known = None
        if known is not None:
            return repeat(request, known, digest)
        known = memories[place] = Remembered(digest, store.now())
    try:
        # The order is in flight as long as the answer is made to wait.
        request.connection.linger(request)
        with store.lock:
            answer = create(store, request, body, external_id, known)
            known.status, known.body = answer.status, answer.body
            return answer
    finally:
        if known.status is None:
            with store.lock:
                memories.pop(place, None)


def repeat(request, known, digest):
    """The answer to a further POST with an externalOrderId."""
    if known.status is None:
        return error("ORDER_CREATE_IN_PROGRESS",
                     "a concurrent request with the same externalOrderId is in flight")
    if known.digest != digest:
        return error("EXTERNAL_ORDER_ID_CONFLICT",
                     "externalOrderId was already used with a different body",
                     [{"field": "externalOrderId"}])
    if known.order is not None:
        known.order.n_posts += 1
        known.order.request_numbers.append(request.entry["n"])
    return Answer(known.status, known.body)


def create(store, request, body, external_id, known):
    """Check, price and store a new order; its answer."""
    try:
        items = check_order(store.hub, body)
    except Invalid as problem:
        return refusal(problem)
    cost = compute_cost(body, items)
    headroom = store.wallet(request.key.dealer).headroom
    if cost["grandTotal"] > headroom:
        return error("INSUFFICIENT_BALANCE", "wallet headroom of %s is below the order's total "
                     "of %s" % (headroom, cost["grandTotal"]))
    order = Order(request.api, request.key.key, request.key.dealer)
    order.id = store.next_uuid("order")
    order.number = "PO-%d" % store.next_number("hub order", 12345)
    order.external_id = external_id
    order.state = "ApprovalPending"
    order.body = body
    order.cost = cost
    order.idempotency_key = request.headers.get("idempotency-key")
    order.request_numbers.append(request.entry["n"])
    for item in items:
        item["id"] = store.next_uuid("item")
    order.items = items
    store.add_order(order)
    lifecycle.add_event(store, order, "created", "partner")
    known.order = order
    return ok({"orderId": order.id, "orderNumber": order.number, "externalOrderId": external_id,
               "status": order.state, "createdAt": store.stamp(order.created_at),
               "computedCost": cost}, 201)


def find(store, request, order_id):
    """The order if it is visible to this credential; Refused with 404."""
    order = store.orders.get(order_id.lower())
    if order is None or order.api != request.api or order.dealer != request.key.dealer:
        raise Refused(error("NOT_FOUND", "order not found"))
    return order


def rehosted(order, design):
    """A design as it is shown, at the storage that it was copied to."""
    shown = {name: value for name, value in design.items() if name != "price"}
    shown["url"] = "https://cdn.customhub.io/designs/%s/%s" % (
        order.id, design["url"].rpartition("/")[2])
    return shown


def item_fields(order, item):
    """An item of an order."""
    variation = item["variation"]
    return {"id": item["id"], "sku": variation.sku, "variationId": variation.id,
            "quantity": item["quantity"],
            "designs": [rehosted(order, design) for design in item["designs"]]}


def get_order(store, request, order_id):
    """GET /api/v1/orders/{orderId}"""
    with store.lock:
        order = find(store, request, order_id)
        lifecycle.tick(store, order)
        body = order.body
        data = {"orderId": order.id, "orderNumber": order.number,
                "externalOrderId": order.external_id, "productionStatus": order.state,
                "createdAt": store.stamp(order.created_at),
                "shippingAddress": body["shippingAddress"],
                # Without a billing address the shipping address is copied.
                "billingAddress": body.get("billingAddress") or body["shippingAddress"],
                "customer": body.get("customer"),
                "isGift": bool(body.get("isGift")), "isRush": bool(body.get("isRush")),
                "items": [item_fields(order, item) for item in order.items],
                "shipments": order.shipments, "computedCost": order.cost,
                "events": order.events}
        if order.rejection:
            data["rejection"] = order.rejection
        if order.cancelled_at:
            data["cancelledAt"] = order.cancelled_at
        return ok(data)


def read_since(text):
    """The time of the since parameter; Refused with 400.

    An offset's plus sign that the client did not percent-encode arrives as a
    space and is refused, as it would be anywhere."""
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is not None and "T" in text:
            return moment.timestamp()
    except ValueError:
        pass
    raise invalid("since", "must be an ISO 8601 time with offset")


def matches_status(order, status):
    """The filter takes the production status; Shipped also once a parcel left."""
    return order.state == status or (status == "Shipped" and bool(order.shipments))


def list_fields(store, order):
    """A row of the list."""
    status = order.state
    if order.shipments and status != "Shipped":
        status = SHIPPING_STATUS
    return {"orderId": order.id, "externalOrderId": order.external_id, "status": status,
            "productionStatus": order.state, "itemCount": len(order.items),
            "total": order.cost["grandTotal"], "createdAt": store.stamp(order.created_at),
            "lastShippedAt": order.shipments[-1]["shippedAt"] if order.shipments else None}


def get_orders(store, request):
    """GET /api/v1/orders, newest first"""
    query = request.query
    page, size = paging(request)
    status = query.get("status")
    if status is not None and status not in STATUSES:
        raise invalid("status", "must be one of " + ", ".join(STATUSES))
    since = read_since(query["since"]) if "since" in query else None
    with store.lock:
        if "externalOrderId" in query:
            found = store.external_ids.get((request.key.dealer, query["externalOrderId"]), [])
        else:
            found = store.orders.values()
        mine = [order for order in found
                if order.api == request.api and order.dealer == request.key.dealer]
        for order in mine:
            lifecycle.tick(store, order)
        # createdAt is shown in whole seconds, so since compares whole seconds.
        mine = [order for order in mine if (status is None or matches_status(order, status))
                and (since is None or int(order.created_at) >= since)]
        mine.reverse()
        start = (page - 1) * size
        return ok({"orders": [list_fields(store, order) for order in mine[start:start + size]],
                   "pagination": {"page": page, "pageSize": size, "totalCount": len(mine),
                                  "hasMore": start + size < len(mine)}})


def delete_order(store, request, order_id):
    """DELETE /api/v1/orders/{orderId}: while ApprovalPending; twice is as good as once."""
    with store.lock:
        order = find(store, request, order_id)
        if order.state == "ApprovalPending":
            order.state = "Cancelled"
            order.cancelled_at = store.stamp()
            lifecycle.add_event(store, order, "cancelled", "partner")
        elif order.state != "Cancelled":
            return error("ORDER_NOT_CANCELLABLE", "order is %s; contact your account team"
                         % order.state)
        return ok({"orderId": order.id, "status": order.state,
                   "cancelledAt": order.cancelled_at})


def post_designs(store, request, order_id, item_id):
    """POST /api/v1/orders/{orderId}/items/{itemId}/designs"""
    body = parse(request)
    with store.lock:
        order = find(store, request, order_id)
        item = next((item for item in order.items if item["id"] == item_id.lower()), None)
        if item is None:
            return error("NOT_FOUND", "item not found")
        if order.state != "ApprovalPending":
            return error("ORDER_NOT_MUTABLE", "order is %s and cannot be changed" % order.state)
        check = Checker()
        try:
            designs = check_designs_form(check, body, "designs", True, required=True)
            check.raise_first()
            zones = {zone["code"]: zone for zone in store.hub.placements(item["variation"].model)}
            added = check_designs(check, zones, designs, True)
            check.raise_first()
        except Invalid as problem:
            return refusal(problem)
        # A design whose placement is already used replaces the existing one.
        merged = {design["placement"]: design for design in item["designs"]}
        merged.update({design["placement"]: design for design in added})
        others = sum(len(other["designs"]) for other in order.items if other is not item)
        if others + len(merged) > MAX_DESIGNS:
            return error("VALIDATION_ERROR", "request body failed validation",
                         [{"field": "designs",
                           "message": "at most %d designs in an order" % MAX_DESIGNS}])
        item["designs"] = list(merged.values())
        order.cost = compute_cost(order.body, order.items)
        lifecycle.add_event(store, order, "designs_updated", "partner")
        return ok({"orderId": order.id, "itemId": item["id"],
                   "designs": [rehosted(order, design) for design in item["designs"]],
                   "computedCost": order.cost})
