"""CustomHub's rules for an order's body, and what an order costs.

Everything wrong of one kind is reported at once, one entry in details for each
field; the kinds come in the order of their codes below, as a server finds them:
the body's form, then SKUs, placements, dimensions, design files.
"""

import re
from decimal import Decimal
from urllib.parse import urlsplit

from jsonio import cents

MAX_ITEMS = 500
MAX_DESIGNS = 50
MAX_QUANTITY = 10000
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
COUNTRIES = frozenset("""
AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS BT
BV BW BY BZ CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE EG EH
ER ES ET FI FJ FK FM FO FR GA GB GD GE GF GG GH GI GL GM GN GP GQ GR GS GT GU GW GY HK HM HN HR HT
HU ID IE IL IM IN IO IQ IR IS IT JE JM JO JP KE KG KH KI KM KN KP KR KW KY KZ LA LB LC LI LK LR LS
LT LU LV LY MA MC MD ME MF MG MH MK ML MM MN MO MP MQ MR MS MT MU MV MW MX MY MZ NA NC NE NF NG NI
NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM PN PR PS PT PW PY QA RE RO RS RU RW SA SB SC SD SE SG
SH SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ TC TD TF TG TH TJ TK TL TM TN TO TR TT TV TW TZ UA UG
UM US UY UZ VA VC VE VG VI VN VU WF WS YE YT ZA ZM ZW""".split())

# What the documents leave to the tenant's configuration.
SHIPPING_HOME = Decimal("4.20")         # the documents' amount, for a US address
SHIPPING_ABROAD = Decimal("14.20")
SHIPPING_EXPRESS = Decimal("12.00")     # on top, for a requestedShippingService that is quick
SHIPPING_DOZEN = Decimal("1.10")        # on top, for each further dozen of pieces begun
SHIPPING_CATEGORY_FEE = Decimal("0.50")
RUSH_SHARE = Decimal("0.20")            # of the items' subtotal
EXPRESS = ("express", "priority", "overnight", "next", "2day", "2nd")

MESSAGES = {
    "VALIDATION_ERROR": "request body failed validation",
    "SKU_NOT_FOUND": "one or more skus are not found or not orderable",
    "PLACEMENT_NOT_SUPPORTED_FOR_SKU": "placement code is not configured for this model",
    "PRINT_DIMENSIONS_EXCEED_PLACEMENT_MAX": "print dimensions exceed the placement's maximum",
    "DESIGN_FETCH_FAILED": "the design could not be downloaded from its url",
    "DESIGN_FORMAT_INVALID": "unsupported design format; PNG and JPEG are accepted",
    "DESIGN_TOO_LARGE": "the design file exceeds 100 MB",
}


class Invalid(Exception):
    """A body that breaks a rule."""

    def __init__(self, code, details, message=None):
        super().__init__(code)
        self.code = code
        self.details = details
        self.message = message or MESSAGES[code]


class Checker:
    """Collects problems by code; raise_first() raises those of the first code that has any."""

    def __init__(self):
        self.found = {}

    def add(self, code, field, message=None):
        """Note a problem of this code."""
        entry = {"field": field}
        if message is not None:
            entry["message"] = message
        self.found.setdefault(code, []).append(entry)

    def wrong(self, field, message):
        """Note a VALIDATION_ERROR."""
        self.add("VALIDATION_ERROR", field, message)

    def raise_first(self):
        """Raise what was found, the first kind only."""
        for code in MESSAGES:
            if code in self.found:
                raise Invalid(code, self.found[code])

    def text(self, holder, name, path, required=False):
        """Check a text."""
        value = holder.get(name)
        if value is None:
            if required:
                self.wrong(path, "is required")
        elif not isinstance(value, str):
            self.wrong(path, "must be a string")
        elif required and not value.strip():
            self.wrong(path, "must not be empty")

    def boolean(self, body, name):
        """Check an optional boolean."""
        if body.get(name) is not None and not isinstance(body[name], bool):
            self.wrong(name, "must be a boolean")

    def address(self, body, name, required):
        """Check an address; state is required in the United States only."""
        address = body.get(name)
        if address is None and not required:
            return
        if not isinstance(address, dict):
            self.wrong(name, "is required" if address is None else "must be an object")
            return
        for part in ("name", "street1", "city", "zip"):
            self.text(address, part, "%s.%s" % (name, part), required=True)
        country = address.get("country")
        if not isinstance(country, str) or country not in COUNTRIES:
            self.wrong(name + ".country", "must be an ISO 3166-1 alpha-2 code")
        self.text(address, "state", name + ".state", required=country == "US")
        for part in ("street2", "email", "phone"):
            self.text(address, part, "%s.%s" % (name, part))


def is_number(value):
    """Whether a JSON value is a number greater than zero."""
    return isinstance(value, (int, Decimal)) and not isinstance(value, bool) and value > 0


def check_design_form(check, design, path, url_required):
    """Check the fields of one design, without looking at the catalogue."""
    if not isinstance(design, dict):
        check.wrong(path, "must be an object")
        return False
    check.text(design, "url", path + ".url", required=url_required)
    check.text(design, "placement", path + ".placement", required=True)
    check.text(design, "printMethod", path + ".printMethod")
    for name in ("widthInches", "heightInches"):
        if not is_number(design.get(name)):
            check.wrong("%s.%s" % (path, name), "must be a number greater than 0")
    return True


def check_designs_form(check, holder, path, url_required, required=False):
    """Check a list of designs; the designs that are objects."""
    designs = holder.get("designs")
    if designs is None and not required:
        return []
    if not isinstance(designs, list) or (required and not designs):
        check.wrong(path, "must be a list" if designs else "at least one design is required")
        return []
    found = []
    places = set()
    for number, design in enumerate(designs):
        here = "%s[%d]" % (path, number)
        if check_design_form(check, design, here, url_required):
            found.append((here, design))
            place = design.get("placement")
            if isinstance(place, str) and place in places:
                check.wrong(here + ".placement", "at most one design per placement")
            elif isinstance(place, str):
                places.add(place)
    return found


def check_file(check, url, path):
    """What downloading the design would show; decided by the URL, nothing is fetched."""
    parts = urlsplit(url)
    name = parts.path.rpartition("/")[2].lower()
    if parts.scheme != "https" or not parts.hostname or parts.hostname == "unreachable.example":
        check.add("DESIGN_FETCH_FAILED", path)
    elif not name.endswith((".png", ".jpg", ".jpeg")):
        check.add("DESIGN_FORMAT_INVALID", path)
    elif "too-large" in name:
        check.add("DESIGN_TOO_LARGE", path)


def price_design(check, zones, design, path):
    """The design's print method and price at its placement; None if it does not fit."""
    zone = zones.get(design["placement"])
    if zone is None:
        check.add("PLACEMENT_NOT_SUPPORTED_FOR_SKU", path + ".placement")
        return None
    for name, most in (("widthInches", "maxWidthInches"), ("heightInches", "maxHeightInches")):
        if design[name] > zone[most]:
            check.add("PRINT_DIMENSIONS_EXCEED_PLACEMENT_MAX", "%s.%s" % (path, name))
    # Without a method the placement's first one is derived.
    wanted = design.get("printMethod") or zone["printMethods"][0]["code"]
    for offer in zone["printMethods"]:
        if offer["code"] == wanted:
            return offer
    check.wrong(path + ".printMethod", "is not available at this placement")
    return None


def check_designs(check, zones, designs, url_required):
    """Check designs against a model's placements; the designs as they are kept."""
    kept = []
    for path, design in designs:
        offer = price_design(check, zones, design, path)
        if url_required:
            check_file(check, design["url"], path + ".url")
        if offer is not None:
            kept.append({"placement": design["placement"], "url": design.get("url"),
                         "widthInches": design["widthInches"],
                         "heightInches": design["heightInches"],
                         "printMethod": offer["code"], "designWidthInches": design["widthInches"],
                         "price": offer["price"]})
    return kept


def check_items(check, hub, body, url_required):
    """Check the items of a quote or an order; the items as they are kept."""
    items = body.get("items")
    if not isinstance(items, list) or not items:
        check.wrong("items", "at least one item is required")
        check.raise_first()
    if len(items) > MAX_ITEMS:
        check.wrong("items", "at most %d items" % MAX_ITEMS)
    lines = []
    for number, item in enumerate(items):
        path = "items[%d]" % number
        if not isinstance(item, dict):
            check.wrong(path, "must be an object")
            continue
        for name in ("sku", "variationId"):
            check.text(item, name, "%s.%s" % (path, name))
        if not item.get("sku") and not item.get("variationId"):
            check.wrong(path + ".sku", "either sku or variationId is required")
        variation_id = item.get("variationId")
        if isinstance(variation_id, str) and variation_id and not UUID.fullmatch(variation_id):
            check.wrong(path + ".variationId", "must be a uuid")
        quantity = item.get("quantity")
        if type(quantity) is not int or not 1 <= quantity <= MAX_QUANTITY:
            check.wrong(path + ".quantity", "must be an integer from 1 to %d" % MAX_QUANTITY)
        lines.append((path, item, check_designs_form(check, item, path + ".designs",
                                                     url_required)))
    if sum(len(designs) for _, _, designs in lines) > MAX_DESIGNS:
        check.wrong("items", "at most %d designs in an order" % MAX_DESIGNS)
    check.raise_first()
    kept = []
    for path, item, designs in lines:
        # variationId wins over sku when both are sent.
        if item.get("variationId"):
            variation, field = hub.variation_by_id(item["variationId"]), path + ".variationId"
        else:
            variation, field = hub.variation_by_sku(item["sku"]), path + ".sku"
        if variation is None or not variation.active or not variation.priced:
            check.add("SKU_NOT_FOUND", field)
            continue
        zones = {zone["code"]: zone for zone in hub.placements(variation.model)}
        kept.append({"variation": variation, "quantity": item["quantity"],
                     "designs": check_designs(check, zones, designs, url_required)})
    check.raise_first()
    return kept


def check_quote(hub, body):
    """Check the body of a quote; its items.  Raises Invalid."""
    check = Checker()
    check.address(body, "shippingAddress", required=True)
    check.boolean(body, "isRush")
    check.text(body, "requestedShippingService", "requestedShippingService")
    return check_items(check, hub, body, url_required=False)


def check_order(hub, body):
    """Check the body of an order, its id apart; its items.  Raises Invalid."""
    check = Checker()
    check.address(body, "shippingAddress", required=True)
    check.address(body, "billingAddress", required=False)
    customer = body.get("customer")
    if isinstance(customer, dict):
        for name in ("name", "email", "phone"):
            check.text(customer, name, "customer." + name)
    elif customer is not None:
        check.wrong("customer", "must be an object")
    check.boolean(body, "isGift")
    check.boolean(body, "isRush")
    for name in ("notes", "requestedShippingService"):
        check.text(body, name, name)
    return check_items(check, hub, body, url_required=True)


def unit_cost(item):
    """blankCost + the print price of each printed placement + handlingFee."""
    variation = item["variation"]
    prints = sum((design["price"] for design in item["designs"]), Decimal(0))
    return cents(variation.blank_cost + prints + variation.handling_fee)


def compute_cost(body, items, per_item=False):
    """The computedCost of an order."""
    subtotal = sum((unit_cost(item) * item["quantity"] for item in items), Decimal("0.00"))
    pieces = sum(item["quantity"] for item in items)
    shipping = SHIPPING_HOME if body["shippingAddress"]["country"] == "US" else SHIPPING_ABROAD
    shipping += SHIPPING_DOZEN * ((pieces - 1) // 12)
    service = (body.get("requestedShippingService") or "").lower()
    if any(word in service for word in EXPRESS):
        shipping += SHIPPING_EXPRESS
    rush = cents(subtotal * RUSH_SHARE) if body.get("isRush") else Decimal("0.00")
    cost = {"currency": "USD", "itemsSubtotal": subtotal, "shippingCost": shipping,
            "shippingCategoryFee": SHIPPING_CATEGORY_FEE, "discountAmount": Decimal("0.00"),
            "rushFee": rush, "grandTotal": subtotal + shipping + SHIPPING_CATEGORY_FEE + rush}
    if per_item:
        cost["perItem"] = [{"sku": item["variation"].sku, "quantity": item["quantity"],
                            "unitCost": unit_cost(item)} for item in items]
    return cost
