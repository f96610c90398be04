"""CustomHub v1: credentials, tokens, models and the wallet; its routes.

Orders are in customhub_orders.py, their rules in customhub_rules.py.
"""

import re
from datetime import datetime, timezone

import customhub_answers
import customhub_orders as orders
from customhub_answers import API, AUTH_PATH, error, ok, paging, parse
from models import MODEL_TAG, make_id
from wire import Answer

GATE = customhub_answers
def post_auth(store, request):
    """POST /api/PartnerAuthentication/auth"""
    body = parse(request)
    missing = [name for name in ("apiKey", "secretKey")
               if not isinstance(body.get(name), str) or not body[name]]
    if missing:
        return error("VALIDATION_ERROR", "request body failed validation",
                     [{"field": name, "message": "is required"} for name in missing])
    key = store.keys.get((API, body["apiKey"]))
    if key is None or key.secret != body["secretKey"]:
        return error("UNAUTHORIZED", "invalid API key or secret")
    token, expiry = store.issue_token(key)
    moment = datetime.fromtimestamp(int(expiry), timezone.utc)
    return Answer(200, {"accessToken": token, "refreshToken": store.next_uuid("refresh"),
                        "expired": moment.isoformat()})


def cheapest_print(zones):
    """The lowest print price of any placement: what unitPrice adds to the blank."""
    return min(offer["price"] for zone in zones for offer in zone["printMethods"])


def model_summary(hub, model):
    """A row of the list."""
    code, _ = hub.code(model)
    copy = hub.describe(model)
    variations = hub.variations(model)
    priced = [variation for variation in variations if variation.priced]
    prices = None
    if priced:
        blank = min(variation.blank_cost for variation in priced)
        unit = (min(variation.blank_cost + variation.handling_fee for variation in priced)
                + cheapest_print(hub.placements(model)))
        prices = {"currency": "USD", "fromUnitPrice": unit, "fromListPrice": unit,
                  "fromBlankCost": blank, "pricedVariationCount": len(priced)}
    return {"id": make_id(model, MODEL_TAG), "code": code, "name": copy["name"],
            "brand": copy["brand"],
            "primaryImageUrl": "https://cdn.customhub.io/%s-front.jpg" % code.lower(),
            "listPrice": 0, "price": 0, "pricing": prices, "variationCount": len(variations),
            "isFeatured": model % 10 == 9}


def get_models(store, request):
    """GET /api/v1/models"""
    page, size = paging(request)
    hub = store.hub
    found = hub.models()
    search = request.query.get("search", "").strip().lower()
    if search:
        found = [model for model in found if search in hub.describe(model)["name"].lower()
                 or search in hub.code(model)[0].lower()]
    start = (page - 1) * size
    return ok({"models": [hub.derived(model_summary, model)
                          for model in found[start:start + size]],
               "pagination": {"page": page, "pageSize": size, "totalCount": len(found),
                              "hasMore": start + size < len(found)}})


def variation_fields(copy, code, variation, print_price):
    """A variation of the detail."""
    fields = {"id": variation.id, "sku": variation.sku, "isActive": variation.active,
              "variationDescription": "%s %s" % (copy["garment"], variation.size),
              "variation2Description": variation.color, "variation2Hex": variation.hex,
              "images": ["https://cdn.customhub.io/%s-%s-front.jpg"
                         % (code.lower(), variation.color.lower().replace(" ", "-"))],
              "pricing": None}
    if variation.priced:
        unit = variation.blank_cost + print_price + variation.handling_fee
        fields["pricing"] = {"currency": "USD", "unitPrice": unit, "listPrice": unit,
                             "blankCost": variation.blank_cost,
                             "handlingFee": variation.handling_fee}
    return fields


def get_model(store, request, model_id):
    """GET /api/v1/models/{id}"""
    hub = store.hub
    model = hub.by_id(model_id.lower())
    if model is None:
        return error("NOT_FOUND", "model not found")
    code, _ = hub.code(model)
    copy = hub.describe(model)
    zones = hub.placements(model)
    print_price = cheapest_print(zones)
    return ok({
        "id": make_id(model, MODEL_TAG), "code": code, "name": copy["name"],
        "brand": copy["brand"], "material": copy["material"],
        "fitType": "Unisex retail fit",
        "care": "Machine wash cold, inside out, with like colors. Tumble dry low.",
        "sizing": "Runs true to size.",
        "images": ["https://cdn.customhub.io/%s-%d.jpg" % (code.lower(), n) for n in (1, 2)],
        "categories": [{"id": make_id(1000000 + len(copy["category"]), 0),
                        "name": copy["category"]}],
        "variations": [variation_fields(copy, code, variation, print_price)
                       for variation in hub.variations(model)],
        "placements": zones})


def get_balance(store, request):
    """GET /api/v1/balance"""
    with store.lock:
        wallet = store.wallet(request.key.dealer)
        return ok({"dealerId": request.key.dealer, "currency": "USD", "balance": wallet.balance,
                   "creditLimit": wallet.credit_limit, "headroom": wallet.headroom})


ROUTES = (
    ("POST", re.compile(AUTH_PATH), post_auth),
    ("GET", re.compile(r"/api/v1/models"), get_models),
    ("GET", re.compile(r"/api/v1/models/([^/]+)"), get_model),
    ("POST", re.compile(r"/api/v1/orders/quote"), orders.post_quote),
    ("POST", re.compile(r"/api/v1/orders"), orders.post_order),
    ("GET", re.compile(r"/api/v1/orders"), orders.get_orders),
    ("GET", re.compile(r"/api/v1/orders/([^/]+)"), orders.get_order),
    ("DELETE", re.compile(r"/api/v1/orders/([^/]+)"), orders.delete_order),
    ("POST", re.compile(r"/api/v1/orders/([^/]+)/items/([^/]+)/designs"), orders.post_designs),
    ("GET", re.compile(r"/api/v1/balance"), get_balance),
)
