"""CustomHub's envelopes, credentials and scopes; reading bodies and paging parameters."""

import re

import jsonio
from cupsource_common import Refused
from wire import Answer

API = "customhub-v1"
AUTH_PATH = "/api/PartnerAuthentication/auth"
STATUS_CODES = {400: "VALIDATION_ERROR", 401: "UNAUTHORIZED", 402: "INSUFFICIENT_BALANCE",
                403: "FORBIDDEN", 404: "NOT_FOUND", 409: "ORDER_CREATE_IN_PROGRESS",
                429: "RATE_LIMITED", 500: "INTERNAL_ERROR", 503: "SERVICE_UNAVAILABLE"}
MESSAGES = {401: "missing or invalid JWT", 403: "JWT is missing the required scope",
            404: "resource not found", 429: "rate limit exceeded",
            500: "internal server error", 503: "service unavailable"}
SCOPES = {"get_models": "products_r", "get_model": "products_r", "post_quote": "orders_r",
          "get_order": "orders_r", "get_orders": "orders_r", "get_balance": "orders_r",
          "post_order": "orders_w", "delete_order": "orders_w", "post_designs": "orders_w"}
# The document's table of error codes, and ORDER_NOT_MUTABLE of its running text.
STATUS = {
    "UNAUTHORIZED": 401, "FORBIDDEN": 403, "VALIDATION_ERROR": 400, "SKU_NOT_FOUND": 400,
    "PLACEMENT_NOT_SUPPORTED_FOR_SKU": 400, "PRINT_DIMENSIONS_EXCEED_PLACEMENT_MAX": 400,
    "DESIGN_FETCH_FAILED": 400, "DESIGN_FORMAT_INVALID": 400, "DESIGN_TOO_LARGE": 400,
    "INSUFFICIENT_BALANCE": 402, "EXTERNAL_ORDER_ID_CONFLICT": 409,
    "ORDER_CREATE_IN_PROGRESS": 409, "ORDER_NOT_CANCELLABLE": 400, "ORDER_NOT_MUTABLE": 409,
    "NOT_FOUND": 404, "RATE_LIMITED": 429,
}


def error(code, message, details=(), status=None):
    """The error envelope."""
    return Answer(status or STATUS[code],
                  {"success": False,
                   "error": {"code": code, "message": message, "details": list(details)}})


def ok(data, status=200):
    """The envelope of success."""
    return Answer(status, {"success": True, "data": data})


def invalid(field, message):
    """A VALIDATION_ERROR about one field, ready to be raised."""
    return Refused(error("VALIDATION_ERROR", "request failed validation",
                         [{"field": field, "message": message}]))


def parse(request):
    """The request's body as an object; Refused with 400."""
    try:
        body = jsonio.loads(request.body)
    except ValueError:
        raise invalid("body", "is not valid JSON") from None
    if not isinstance(body, dict):
        raise invalid("body", "must be a JSON object")
    return body


def paging(request):
    """(page, pageSize): page from 1, pageSize 50, clamped to 1..100."""
    values = []
    for name, default in (("page", 1), ("pageSize", 50)):
        text = request.query.get(name)
        if text is None:
            values.append(default)
        elif re.fullmatch(r"-?[0-9]{1,9}", text):
            values.append(int(text))
        else:
            raise invalid(name, "must be an integer")
    if values[0] < 1:
        raise invalid("page", "must be 1 or greater")
    return values[0], min(max(values[1], 1), 100)


def fail(_store, _request, status, message=None):
    """An answer that the router or a fault asks for."""
    return error(STATUS_CODES.get(status, "ERROR"),
                 message or MESSAGES.get(status, "request failed"), status=status)


def authenticate(store, request):
    """The key behind the JWT; Refused with 401.  The identity host needs none."""
    if request.path == AUTH_PATH:
        return None
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    key = store.token_key(token.strip()) if scheme.lower() == "bearer" else None
    if key is None:
        raise Refused(fail(store, request, 401))
    return key


def authorize(_store, request, handler):
    """What the token must be allowed for this handler; Refused with 403."""
    scope = SCOPES.get(handler.__name__) if handler is not None else None
    if scope is not None and scope not in request.key.scopes:
        raise Refused(error("FORBIDDEN", "JWT valid but missing required scope " + scope))


def rate_limited(store, request, seconds):
    """The 429 answer."""
    answer = fail(store, request, 429)
    answer.headers["Retry-After"] = store.retry_after(seconds)
    return answer
