"""JSON in and out, with money kept exact.

The json module writes numbers through float, so 21.00 would become 21.0 and
12345678901234.56789 would be rounded.  The partners' documents write money
with its decimals; here a Decimal is written as its own text.
"""

import json
from decimal import Decimal
from json.encoder import encode_basestring

CENT = Decimal("0.01")


class Raw(str):
    """A piece of JSON that is already text."""

    __slots__ = ()


def cents(value):
    """Round to cents, half up as invoices do."""
    return value.quantize(CENT, rounding="ROUND_HALF_UP")


def _write(value, out):
    kind = type(value)
    if kind is str:
        out(encode_basestring(value))
    elif kind is dict:
        first = True
        for name, member in value.items():
            out("{" if first else ",")
            first = False
            out(encode_basestring(name))
            out(":")
            _write(member, out)
        out("{}" if first else "}")
    elif kind is list or kind is tuple:
        first = True
        for member in value:
            out("[" if first else ",")
            first = False
            _write(member, out)
        out("[]" if first else "]")
    elif value is None:
        out("null")
    elif value is True:
        out("true")
    elif value is False:
        out("false")
    elif kind is int or kind is Raw:
        out(str(value))
    elif kind is Decimal:
        if not value.is_finite():
            raise ValueError("not a JSON number: %s" % value)
        out(str(value))
    elif kind is float:
        out(json.dumps(value, allow_nan=False))
    else:
        raise TypeError("cannot write %s as JSON" % kind.__name__)


def dumps(value):
    """The value as compact JSON text."""
    parts = []
    _write(value, parts.append)
    return "".join(parts)


def _refuse_constant(text):
    raise ValueError("%s is not JSON" % text)


def loads(text):
    """Parse bytes or text; fractions become Decimal.  Raises ValueError."""
    if isinstance(text, bytes):
        text = text.decode("utf-8")
    try:
        return json.loads(text, parse_float=Decimal, parse_constant=_refuse_constant)
    except RecursionError:
        raise ValueError("nested too deeply") from None
