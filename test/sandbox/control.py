"""The control API under /_control: what a test may see and steer.

It asks for no credentials and answers to this machine only.
"""

import re
import time
from decimal import Decimal, InvalidOperation

import jsonio
import lifecycle
import webhooks
from customhub_rules import unit_cost
from faults import BadRule
from store import APIS, Key, Wallet, apply_shape
from wire import Answer

STARTED = time.monotonic()


class Bad(Exception):
    """A request that the control API cannot follow; answered with 400 and the reason."""


class Missing(Exception):
    """Something that is not there; answered with 404."""


def answer(app, request):
    """The answer to a request under /_control."""
    peer = request.connection.peer[0]
    if not (peer.startswith("127.") or peer in ("::1", "::ffff:127.0.0.1")):
        return Answer(403, {"error": "the control API is for this machine only"})
    try:
        body = jsonio.loads(request.body) if request.body else None
        for method, path, handler in ROUTES:
            found = path.fullmatch(request.path[len("/_control"):])
            if found is not None and method == request.method:
                return Answer(200, handler(app, request, body, *found.groups()))
        return Answer(404, {"error": "no such control: %s %s" % (request.method, request.path)})
    except Missing as problem:
        return Answer(404, {"error": str(problem)})
    except (Bad, BadRule, ValueError, TypeError, KeyError, InvalidOperation, re.error) as problem:
        return Answer(400, {"error": "%s" % (problem or type(problem).__name__)})


def members(body, *known):
    """The body as an object with no other members than these."""
    body = body or {}
    if not isinstance(body, dict):
        raise Bad("the body must be a JSON object")
    for name in body:
        if name not in known:
            raise Bad("unknown member %s; known: %s" % (name, ", ".join(known)))
    return body


def amount(value):
    """Money or another number as Decimal, from a JSON number or a string."""
    number = Decimal(str(value))
    if not number.is_finite():
        raise Bad("not a number: %s" % value)
    return number


def get_health(app, _request, _body):
    return {"ok": True, "uptime": round(time.monotonic() - STARTED, 3), "ports": app.ports,
            "now": app.store.stamp()}


def post_reset(app, _request, body):
    body = members(body, "catalog")
    app.plan.replace([])
    app.release()
    if body.get("catalog"):
        app.store.reset_catalog()
    app.store.reset()
    app.journal.clear()
    return {"ok": True}


# Journal

def get_requests(app, request, _body):
    return app.journal.select(request.query)


def delete_requests(app, _request, _body):
    app.journal.clear()
    return {"ok": True}


def get_count(app, request, _body):
    return {"count": len(app.journal.select(request.query))}


def get_wait(app, request, _body):
    query = dict(request.query)
    count = int(query.pop("count", "1"))
    timeout = float(query.pop("timeout", "10"))
    answered = query.pop("answered", "false") == "true"
    found = app.journal.wait(count, query, timeout, answered)
    return {"count": found, "reached": found >= count}


# Orders

def show_order(order):
    """An order as it is stored."""
    items = []
    for item in order.items:
        shown = {name: value for name, value in item.items() if name != "variation"}
        if "variation" in item:
            shown["sku"] = item["variation"].sku
        items.append(shown)
    return {"id": order.id, "api": order.api, "key": order.key, "dealer": order.dealer,
            "number": order.number, "external_id": order.external_id, "state": order.state,
            "created_at": order.created_at, "changed_at": order.changed_at,
            "total": order.cost["grandTotal"], "cost": order.cost, "items": items,
            "body": order.body, "events": order.events, "shipments": order.shipments,
            "rejection": order.rejection, "cancelled_at": order.cancelled_at,
            "n_posts": order.n_posts, "requests": order.request_numbers,
            "idempotency_key": order.idempotency_key, "environment": order.environment}


def chosen(app, query):
    """The orders that a query names."""
    for name in query:
        if name not in ("api", "status", "external_id", "key"):
            raise Bad("unknown filter %s; known: api, status, external_id, key" % name)
    if query.get("api", APIS[0]) not in APIS:
        raise Bad("unknown api %s; known: %s" % (query["api"], ", ".join(APIS)))
    return [order for order in app.store.orders.values()
            if query.get("api", order.api) == order.api
            and query.get("status", order.state) == order.state
            and query.get("key", order.key) == order.key
            and ("external_id" not in query or query["external_id"] == order.external_id)]


def get_orders(app, request, _body):
    with app.store.lock:
        return [show_order(order) for order in chosen(app, request.query)]


def find_order(app, name):
    """An order by its id, number or external id."""
    order = app.store.orders.get(name)
    if order is None:
        order = next((order for order in app.store.orders.values()
                      if name in (order.number, order.external_id)), None)
    if order is None:
        raise Missing("no such order: %s" % name)
    return order


def get_order(app, _request, _body, name):
    with app.store.lock:
        return show_order(find_order(app, name))


def post_advance(app, _request, body, name):
    body = members(body, "to", "reason", "shipment")
    with app.store.lock:
        order = find_order(app, name)
        entered = lifecycle.advance(app.store, order, body.get("to"), body.get("shipment"),
                                    body.get("reason"))
        return {"id": order.id, "state": order.state, "entered": entered}


def post_advance_all(app, request, body):
    body = members(body, "to", "reason", "shipment")
    moved = []
    with app.store.lock:
        for order in chosen(app, request.query):
            if order.state in lifecycle.ENDS:
                continue
            lifecycle.advance(app.store, order, body.get("to"), body.get("shipment"),
                              body.get("reason"))
            moved.append({"id": order.id, "state": order.state})
    return moved


# Catalogue, clock, settings

def post_catalog(app, _request, body):
    body = members(body, "reprice", "reprice_print", "reprice_fraction", "api", "rename",
                   "change", "remove", "restore", "add", "add_models")
    cups, hub = app.store.cups, app.store.hub
    unknown = []
    changed = []
    for sku, price in body.get("reprice", {}).items():
        if not cups.change(sku, price=amount(price)) and not hub.reprice(sku, amount(price)):
            unknown.append(sku)
    for code, places in body.get("reprice_print", {}).items():
        for placement, methods in places.items():
            for method, price in methods.items():
                if not hub.reprice_print(code, placement, method, amount(price)):
                    unknown.append("%s/%s/%s" % (code, placement, method))
    for sku, name in body.get("rename", {}).items():
        if not cups.change(sku, name=name) and not hub.rename(sku, name):
            unknown.append(sku)
    for sku, fields in body.get("change", {}).items():
        members(fields, "stock_status", "lead_time_days", "min_order_qty")
        if not cups.change(sku, **fields):
            unknown.append(sku)
    if "reprice_fraction" in body:
        fraction = float(body["reprice_fraction"])
        if body.get("api", "cupsource") != "customhub-v1":
            changed += cups.reprice_fraction(fraction)
        if body.get("api", "customhub-v1") == "customhub-v1":
            changed += hub.reprice_fraction(fraction)
    for member, removed in (("remove", True), ("restore", False)):
        for name in body.get(member, []):
            if not cups.set_removed(name, removed) and not hub.set_removed(name, removed):
                unknown.append(name)
    cups.add(int(body.get("add", 0)))
    hub.size += int(body.get("add_models", 0))
    if unknown:
        raise Bad("unknown: %s" % ", ".join(unknown))
    return {"changed": changed, "products": cups.size - len(cups.removed),
            "models": hub.size - len(hub.removed_models)}


def get_costs(app, _request, _body):
    """What a quote says of one item: [SKU, placement, method, unitCost] of all that are priced."""
    hub = app.store.hub
    rows = []
    for model in hub.models():
        prints = [(None, None, [])]
        prints += [(zone["code"], offer["code"], [offer])
                   for zone in hub.placements(model) for offer in zone["printMethods"]]
        for variation in hub.variations(model):
            if variation.priced:
                rows += [[variation.sku, placement, method,
                          unit_cost({"variation": variation, "designs": designs})]
                         for placement, method, designs in prints]
    return rows


def post_clock(app, _request, body):
    body = members(body, "advance_seconds")
    with app.store.lock:
        app.store.clock_offset += float(body.get("advance_seconds", 0))
        return {"now": app.store.stamp(), "offset": app.store.clock_offset}


def set_rate_limit(settings, value):
    """One limit for all APIs, or one for each that is named."""
    if isinstance(value, dict):
        for api, limit in members(value, *APIS).items():
            settings["rate_limit"][api] = int(limit)
    else:
        settings["rate_limit"] = {api: int(value) for api in APIS}


def change_settings(store, body):
    """Apply members of the settings; all are checked by their own kind."""
    settings = store.settings
    for name, value in body.items():
        if name == "rate_limit":
            set_rate_limit(settings, value)
        elif name == "shape":
            apply_shape(settings["shape"], value)
        elif name == "signature":
            value = members(value, "encoding", "prefix")
            if value.get("encoding", "hex") not in ("hex", "base64"):
                raise Bad("signature.encoding must be hex or base64")
            settings["signature"].update(value)
        elif name == "wallet":
            change_wallet(store, value)
        elif name == "webhook_secret":
            store.webhook_secret = str(value)
        elif name in ("lifecycle", "retry_after"):
            allowed = {"lifecycle": ("manual", "auto"), "retry_after": ("seconds", "date")}[name]
            if value not in allowed:
                raise Bad("%s must be %s" % (name, " or ".join(allowed)))
            settings[name] = value
        elif name == "order_status":
            if value not in (True, False, 405):
                raise Bad("order_status must be true, false or 405")
            settings[name] = value
        elif name == "webhook_auto":
            settings[name] = bool(value)
        else:
            settings[name] = float(value)


def change_wallet(store, value):
    """Set a dealer's balance or credit limit; by default those of the demo key."""
    value = members(value, "key", "balance", "credit_limit")
    key = store.keys.get(("customhub-v1", value.get("key", "ek_live_demo")))
    if key is None:
        raise Bad("no such key: %s" % value.get("key"))
    wallet = store.wallet(key.dealer)
    wallet.balance = amount(value.get("balance", wallet.balance))
    wallet.credit_limit = amount(value.get("credit_limit", wallet.credit_limit))


def post_settings(app, _request, body):
    body = members(body, "rate_limit", "minute", "retry_after", "latency_ms", "token_ttl", "lifecycle",
                   "step_seconds", "order_status", "webhook_auto", "signature", "shape",
                   "wallet", "webhook_secret")
    with app.store.lock:
        change_settings(app.store, body)
        return app.store.settings


def get_settings(app, _request, _body):
    return app.store.settings


# Credentials

def post_keys(app, _request, body):
    body = members(body, "api", "key", "secret", "dealer", "scopes", "forbidden",
                   "billing_verified", "rate_limit", "balance", "credit_limit")
    if body.get("api") not in APIS or not isinstance(body.get("key"), str):
        raise Bad("api (%s) and key are required" % ", ".join(APIS))
    fields = {name: value for name, value in body.items()
              if name not in ("balance", "credit_limit")}
    with app.store.lock:
        key = app.store.keys[(body["api"], body["key"])] = Key(**fields)
        if "balance" in body or "credit_limit" in body:
            app.store.wallets[key.dealer] = Wallet(str(body.get("balance", "0.00")),
                                                   str(body.get("credit_limit", "1000000.00")))
    return {"ok": True}


def delete_key(app, _request, _body, api, name):
    with app.store.lock:
        key = app.store.keys.pop((api, name), None)
        if key is None:
            raise Missing("no such key: %s" % name)
        app.store.tokens = {token: entry for token, entry in app.store.tokens.items()
                            if entry[0] is not key}
    return {"ok": True}


def post_revoke(app, _request, _body):
    with app.store.lock:
        revoked = len(app.store.tokens)
        app.store.tokens.clear()
    return {"revoked": revoked}


# Faults

def get_faults(app, _request, _body):
    return app.plan.show()


def post_faults(app, _request, body):
    app.plan.replace([body] if isinstance(body, dict) else body)
    return app.plan.show()


def delete_faults(app, _request, _body):
    app.plan.replace([])
    app.release()
    return {"ok": True}


# Webhooks

def get_webhooks(app, _request, _body):
    return {"webhooks": list(app.store.webhooks.values()), "deliveries": app.store.deliveries}


def post_emit(app, _request, body):
    body = members(body, "order", "type", "data", "signature", "deliver", "times")
    store = app.store
    order = find_order(app, body["order"]) if "order" in body else None
    payload = webhooks.make_event(store, order, body.get("type"), body.get("data"))
    form = {**store.settings["signature"], **body.get("signature", {})}
    signature = webhooks.sign(store.webhook_secret, payload, form["encoding"], form["prefix"])
    results = []
    if body.get("deliver"):
        for _ in range(int(body.get("times", 1))):
            results += webhooks.deliver(store, payload, jsonio.loads(payload)["type"], signature)
    return {"payload": payload.decode(), "signature": signature, "header": webhooks.HEADER,
            "deliveries": results}


def post_sign(app, _request, body):
    body = members(body, "payload", "secret", "encoding", "prefix")
    secret = body.get("secret", app.store.webhook_secret)
    return {"signature": webhooks.sign(secret, body["payload"].encode(),
                                       body.get("encoding", "hex"), body.get("prefix", False))}


ROUTES = tuple((method, re.compile(path), handler) for method, path, handler in (
    ("GET", "/health", get_health),
    ("POST", "/reset", post_reset),
    ("GET", "/requests", get_requests),
    ("DELETE", "/requests", delete_requests),
    ("GET", "/count", get_count),
    ("GET", "/wait", get_wait),
    ("GET", "/orders", get_orders),
    ("POST", "/orders/advance_all", post_advance_all),
    ("GET", "/orders/([^/]+)", get_order),
    ("POST", "/orders/([^/]+)/advance", post_advance),
    ("POST", "/catalog", post_catalog),
    ("GET", "/costs", get_costs),
    ("POST", "/clock", post_clock),
    ("GET", "/settings", get_settings),
    ("POST", "/settings", post_settings),
    ("POST", "/keys", post_keys),
    ("DELETE", "/keys/([^/]+)/([^/]+)", delete_key),
    ("POST", "/tokens/revoke", post_revoke),
    ("GET", "/faults", get_faults),
    ("POST", "/faults", post_faults),
    ("DELETE", "/faults", delete_faults),
    ("GET", "/webhooks", get_webhooks),
    ("POST", "/webhooks/emit", post_emit),
    ("POST", "/webhooks/sign", post_sign),
))
