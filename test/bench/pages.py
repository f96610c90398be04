"""Pages of a made-up Cup Source v2 catalogue, as nginx serves them.

pages.py DIRECTORY PRODUCTS writes DIRECTORY/products/CURSOR.json, the first page
as ".json", 100 products each.  The same arguments always give the same bytes.
"""

import json
import os
import sys

MATERIALS = ("Kraft Paper + PLA Lining", "Bagasse", "rPET", "PLA", "Recycled Paper")
PAGE = 100


def product(number):
    """One product, in the shape of the document's example."""
    cents = 5 + number * 7919 % 99995
    return {
        "id": "prod_%08x" % (number * 2654435761 % 2 ** 32),
        "name": "Double-Wall %doz Coffee Cup, series %d" % (4 + number % 28, number),
        "sku": "CS-CF-%06d" % number,
        "material": MATERIALS[number % len(MATERIALS)],
        "certifications": ["FSC-MIX", "BPI_Compostable"][:number % 3],
        # Written with as many digits as it takes to mean these cents.
        "pricing": {"unit_price": cents / 100, "currency": "USD",
                    "min_order_qty": 100 * (1 + number % 50)},
        "stock_status": ("available", "low", "backorder")[number % 3],
        "lead_time_days": 1 + number % 21,
    }


def write(path, products, total, following):
    """One page."""
    page = {"data": products, "pagination": {"total": total, "has_more": following is not None}}
    if following is not None:
        page["pagination"]["next_cursor"] = following
    with open(path, "w", encoding="utf-8") as file:
        json.dump(page, file, separators=(",", ":"))


def write_list(directory, total):
    """A list of so many products."""
    os.makedirs(directory)
    for first in range(0, total, PAGE):
        cursor = "c%07d" % first if first else ""
        last = min(first + PAGE, total)
        write(os.path.join(directory, cursor + ".json"),
              [product(number) for number in range(first, last)], total,
              "c%07d" % last if last < total else None)


def main():
    """All pages."""
    write_list(os.path.join(sys.argv[1], "products"), int(sys.argv[2]))


if __name__ == "__main__":
    main()
