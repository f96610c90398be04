"""CustomHub's envelopes, and the reading of bodies and paging parameters."""

import re

import jsonio
from cupsource_common import Refused
from wire import Answer

# The document's table of error codes, and the two codes of its running text.
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
