"""The Cup Source catalogue, shared by v1 and v2.

Nothing is stored: a product is a function of the seed and its index, so a
catalogue of a million products costs no memory and no start-up time.  Only
what the control API changed (prices, names, removals) is kept.  SKUs and ids
carry the index, so that a look-up needs no table either.
"""

import threading
from decimal import Decimal

# v2 category, v1 category, v1 material, v2 material, certifications, SKU part, name
KINDS = (
    ("coffee_cups", "cups", "paper", "Kraft Paper + PLA Lining",
     ("FSC-MIX", "BPI_Compostable"), "CF", "Double-Wall {oz}oz Coffee Cup"),
    ("paper_cups", "cups", "paper", "Paper + PE Lining", (), "PC", "Paper Cup {oz}oz"),
    ("cold_cups", "cups", "plastic", "PET", (), "CC", "Clear Cold Cup {oz}oz"),
    ("plastic_bowls", "bowls", "plastic", "PP", (), "PB", "Plastic Bowl {oz}oz"),
    ("paper_bowls", "bowls", "paper", "Kraft Paper", ("FSC-MIX",), "KB", "Kraft Bowl {oz}oz"),
    ("lids", "lids", "bioplastic", "CPLA", ("BPI_Compostable",), "LD", "Sip Lid for {oz}oz"),
    ("lids", "lids", "plastic", "PS", (), "LP", "Flat Lid for {oz}oz"),
    ("sleeves", "accessories", "paper", "Recycled Paper", ("FSC-RECYCLED",), "SL",
     "Sleeve for {oz}oz"),
)
CAPACITIES = (4, 8, 12, 16, 20, 24, 32)
STOCK = ("available", "available", "available", "low_stock", "backorder", "out_of_stock")
MINIMUMS = (500, 1000, 1000, 2500, 5000)

# The products that the documents name, at the first places of the catalogue.
DOCUMENTED = (
    {"id": "prod_8x92k4m", "sku": "CS-CF-12DW", "name": "Double-Wall 12oz Coffee Cup",
     "kind": 0, "oz": 12, "price": "0.14", "min_order_qty": 1000,
     "stock_status": "available", "lead_time_days": 3},
    {"id": "prod_2c8ozeco", "sku": "CS-8OZ-ECO", "name": "Eco Hot Cup 8oz",
     "kind": 0, "oz": 8, "price": "0.09", "min_order_qty": 1000,
     "stock_status": "available", "lead_time_days": 2},
    {"id": "prod_3domelid", "sku": "CS-DOME-LID", "name": "Dome Lid",
     "kind": 6, "oz": 8, "price": "0.04", "min_order_qty": 1000,
     "stock_status": "available", "lead_time_days": 2},
)
ID_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
ID_SPACE = 36 ** 7
ID_FACTOR = 2654435761          # prime, so it has an inverse modulo 36^7
ID_INVERSE = pow(ID_FACTOR, -1, ID_SPACE)
ID_SHIFT = 20_230_117_019


def mix(seed, *numbers):
    """A small deterministic hash of integers, 32 bits."""
    state = (seed * 0x9E3779B1 + 0x85EBCA6B) & 0xFFFFFFFF
    for number in numbers:
        state = ((state ^ number) * 0xC2B2AE35) & 0xFFFFFFFF
        state ^= state >> 15
    state = (state * 0x27D4EB2F) & 0xFFFFFFFF
    return state ^ (state >> 13)


def base36(number, width):
    """number with exactly width digits of 0-9a-z."""
    digits = []
    for _ in range(width):
        number, digit = divmod(number, 36)
        digits.append(ID_DIGITS[digit])
    return "".join(reversed(digits))


class Product:
    """One row of the catalogue, in the words of no API in particular."""

    __slots__ = ("index", "id", "sku", "name", "kind", "oz", "price", "min_order_qty",
                 "stock_status", "lead_time_days")

    category = property(lambda self: KINDS[self.kind][0])
    v1_category = property(lambda self: KINDS[self.kind][1])
    v1_material = property(lambda self: KINDS[self.kind][2])
    material = property(lambda self: KINDS[self.kind][3])
    certifications = property(lambda self: KINDS[self.kind][4])
    capacity = property(lambda self: "%doz" % self.oz)
    eco_certified = property(lambda self: bool(KINDS[self.kind][4]))


class CupCatalog:
    """All products of Cup Source.  Safe to read from many threads."""

    def __init__(self, size=142, seed=1):
        self.lock = threading.RLock()
        self.size = size
        self.seed = seed
        self.changes = {}               # index -> {field: value}
        self.removed = set()            # indexes
        self.version = 0                # grows with every change; keys the filter cache
        self._selections = {}

    def product(self, index):
        """The product at this place, whether removed or not."""
        product = Product()
        product.index = index
        if index < len(DOCUMENTED):
            for field, value in DOCUMENTED[index].items():
                setattr(product, field, value)
            product.price = Decimal(product.price)
        else:
            noise = mix(self.seed, index)
            product.kind = index % len(KINDS)
            kind = KINDS[product.kind]
            product.oz = CAPACITIES[noise % len(CAPACITIES)]
            product.id = "prod_" + base36((index * ID_FACTOR + ID_SHIFT) % ID_SPACE, 7)
            product.sku = "CS-%s%d-%05d" % (kind[5], product.oz, index)
            product.name = kind[6].format(oz=product.oz) + " #%d" % index
            product.price = Decimal(200 + noise // 7 % 4800).scaleb(-4)
            product.min_order_qty = MINIMUMS[noise // 11 % len(MINIMUMS)]
            product.stock_status = STOCK[noise // 13 % len(STOCK)]
            product.lead_time_days = 2 + noise // 17 % 20
        for field, value in self.changes.get(index, {}).items():
            setattr(product, field, value)
        return product

    def by_sku(self, sku):
        """The product with this SKU, or None if there is none or it was removed."""
        return self._present(self._index_of_sku(sku), "sku", sku)

    def by_id(self, product_id):
        """The product with this id, or None if there is none or it was removed."""
        for index, documented in enumerate(DOCUMENTED):
            if documented["id"] == product_id:
                return self._present(index, "id", product_id)
        try:
            number = int(product_id[5:], 36)
        except ValueError:
            return None
        index = (number - ID_SHIFT) * ID_INVERSE % ID_SPACE
        return self._present(index, "id", product_id)

    def _index_of_sku(self, sku):
        for index, documented in enumerate(DOCUMENTED):
            if documented["sku"] == sku:
                return index
        digits = sku.rpartition("-")[2]
        return int(digits) if digits.isascii() and digits.isdigit() else -1

    def _present(self, index, field, value):
        if not 0 <= index < self.size or index in self.removed:
            return None
        product = self.product(index)
        return product if getattr(product, field) == value else None

    def indexes(self, key=None, accept=None):
        """The places of all products that accept() takes, in catalogue order.

        key names the filter; the answer is kept until the catalogue changes."""
        with self.lock:
            if accept is None and not self.removed:
                return range(self.size)
            cache_key = (self.version, key)
            found = self._selections.get(cache_key)
            if found is None:
                if len(self._selections) > 64:
                    self._selections.clear()
                found = [i for i in range(self.size)
                         if i not in self.removed and (accept is None or accept(self.product(i)))]
                self._selections[cache_key] = found
            return found

    def change(self, sku, **fields):
        """Set fields of one product; False if the SKU is not in the catalogue."""
        with self.lock:
            index = self._index_of_sku(sku)
            if not 0 <= index < self.size or self.product(index).sku != sku:
                return False
            self.changes.setdefault(index, {}).update(fields)
            self.version += 1
            return True

    def set_removed(self, sku, removed):
        """Take a product out of the catalogue, or put it back; False if unknown."""
        with self.lock:
            index = self._index_of_sku(sku)
            if not 0 <= index < self.size or self.product(index).sku != sku:
                return False
            (self.removed.add if removed else self.removed.discard)(index)
            self.version += 1
            return True

    def reprice_fraction(self, fraction):
        """Raise the price of an evenly spread share of the products; their SKUs."""
        with self.lock:
            count = round(self.size * fraction)
            changed = []
            for number in range(count):
                index = number * self.size // count
                if index in self.removed:
                    continue
                product = self.product(index)
                self.changes.setdefault(index, {})["price"] = product.price + Decimal("0.0100")
                changed.append(product.sku)
            self.version += 1
            return changed

    def add(self, count):
        """Append count products."""
        with self.lock:
            self.size += count
            self.version += 1
