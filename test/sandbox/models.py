"""The CustomHub catalogue: models, variations, placements, print methods.

As in catalog.py everything is a function of the seed and of two indexes, the
model's and the variation's, and only changes are kept.  The first model is the
documents' BC3001 with exactly the placements and prices that they show.
"""

import hashlib
from decimal import Decimal

from catalog import mix

# name, SKU part, hex
COLORS = (
    ("Black", "BLACK", "#000000"), ("White", "WHITE", "#FFFFFF"), ("Navy", "NAVY", "#1F2A44"),
    ("Red", "RED", "#B3001B"), ("Athletic Heather", "ATHHEATHER", "#B7B7B7"),
    ("Forest", "FOREST", "#1E4D2B"), ("Gold", "GOLD", "#F2A900"), ("Maroon", "MAROON", "#5B1F2E"),
    ("Royal", "ROYAL", "#1D4F91"), ("Asphalt", "ASPHALT", "#4A4A4D"), ("Teal", "TEAL", "#007A87"),
    ("Olive", "OLIVE", "#5A5B36"), ("Mauve", "MAUVE", "#B07A84"), ("Natural", "NATURAL", "#F1E9D6"),
    ("Orange", "ORANGE", "#F26B21"), ("Purple", "PURPLE", "#4B2E83"), ("Pink", "PINK", "#F4B6C2"),
    ("Kelly", "KELLY", "#00843D"), ("Sand", "SAND", "#D8C7A6"), ("Silver", "SILVER", "#C6C9CA"),
    ("Brown", "BROWN", "#4E3629"), ("Aqua", "AQUA", "#00A3AD"), ("Yellow", "YELLOW", "#FFD100"),
    ("Steel Blue", "STEELBLUE", "#5B7F95"),
)
SIZES = (("XS", "0.00"), ("S", "0.50"), ("M", "1.00"), ("L", "1.69"),
         ("XL", "2.10"), ("2XL", "3.60"), ("3XL", "4.80"), ("4XL", "5.90"))
BRANDS = (("GD", "Gildan", "Heavy Cotton Tee"), ("NL", "Next Level", "Cotton Crew"),
          ("CC", "Comfort Colors", "Garment-Dyed Sweatshirt"), ("HN", "Hanes", "EcoSmart Hoodie"),
          ("AA", "American Apparel", "Fine Jersey Tee"))
METHODS = (("DTF", "DTF - Direct to Film"), ("DTG", "Direct to Garment"), ("EMB", "Embroidery"))
SOURCES = ("dealer", "dealer_default", "dealer_location_fallback", "global")
MODEL_TAG = 0xFFFF              # stands where a variation's number stands, in a model's id
ID_START = 0x9B4F7E2A           # the documents abbreviate every id as 9b4f7e2a-...
ID_STEP = 0x9E3779B1            # odd, so that it has an inverse modulo 2^32
ID_INVERSE = pow(ID_STEP, -1, 1 << 32)


def make_id(model, tag):
    """The UUID of a model (MODEL_TAG) or of one of its variations."""
    digest = hashlib.sha256(b"%d/%d" % (model, tag)).hexdigest()
    return "%08x-%04x-4%s-a%s-%s" % ((ID_START + model * ID_STEP) & 0xFFFFFFFF, tag ^ 0x1C3D,
                                     digest[:3], digest[3:6], digest[6:18])


def split_id(text):
    """The (model, tag) whose make_id() this is, or None."""
    try:
        model = (int(text[:8], 16) - ID_START) * ID_INVERSE & 0xFFFFFFFF
        tag = int(text[9:13], 16) ^ 0x1C3D
    except ValueError:
        return None
    return (model, tag) if make_id(model, tag) == text else None


class Variation:
    """One orderable SKU; pricing is None where the dealer has no price for it."""

    __slots__ = ("model", "number", "id", "sku", "active", "size", "color", "hex",
                 "blank_cost", "handling_fee", "priced")


class HubCatalog:
    """All models of CustomHub.  Safe to read from many threads."""

    def __init__(self, size=27, variations=None, seed=1):
        self.size = size
        self.variations_each = variations
        self.seed = seed
        self.blank_costs = {}           # (model, number) -> Decimal, by SKU
        self.raises = {}                # model -> Decimal, on every blank cost of the model
        self.print_prices = {}          # (model, placement, method) -> Decimal
        self.names = {}                 # model -> name
        self.removed_models = set()
        self.removed_variations = set()
        self.version = 0                # grows with every change; what was derived is then old
        self._derived = {}              # (function, model) -> (version, value)

    def derived(self, function, model):
        """function(self, model), kept until the catalogue changes."""
        version, value = self._derived.get((function, model), (None, None))
        if version != self.version:
            version = self.version
            value = function(self, model)
            self._derived[(function, model)] = (version, value)
        return value

    # Models

    def code(self, model):
        """The code and the beginning of the SKUs of a model."""
        if model == 0:
            return "BC3001", "BC-3001"
        if model == 1:
            return "CC1566", "CC-1566"
        brand = BRANDS[model % len(BRANDS)][0]
        return "%s%d" % (brand, 10000 + model), "%s-%d" % (brand, 10000 + model)

    def describe(self, model):
        """Name, brand and copy of a model."""
        if model == 0:
            copy = {"name": "Bella Canvas 3001 Unisex Shirt", "brand": "Bella+Canvas",
                    "material": "100% Airlume combed and ring-spun cotton, 32 single 4.2 oz.",
                    "category": "T-Shirts", "garment": "BELLA CANVAS Unisex T-shirt"}
        elif model == 1:
            copy = {"name": "Comfort Colors 1566 Sweatshirt", "brand": "Comfort Colors",
                    "material": "80% ring-spun cotton, 20% polyester",
                    "category": "Sweatshirts", "garment": "COMFORT COLORS Sweatshirt"}
        else:
            _, brand, garment = BRANDS[model % len(BRANDS)]
            copy = {"name": "%s %d %s" % (brand, 10000 + model, garment), "brand": brand,
                    "material": "100% cotton",
                    "category": "Sweatshirts" if "Sweat" in garment or "Hood" in garment
                    else "T-Shirts",
                    "garment": "%s %s" % (brand.upper(), garment)}
        copy["name"] = self.names.get(model, copy["name"])
        return copy

    def exists(self, model):
        """Whether this model is in the catalogue today."""
        return 0 <= model < self.size and model not in self.removed_models

    def models(self):
        """The indexes of all models, in catalogue order."""
        if not self.removed_models:
            return range(self.size)
        return [model for model in range(self.size) if model not in self.removed_models]

    def by_id(self, model_id):
        """The index of the model with this id, or None."""
        found = split_id(model_id)
        if found is None or found[1] != MODEL_TAG or not self.exists(found[0]):
            return None
        return found[0]

    # Variations

    def variation_count(self, model):
        """How many variations a model was made with, the removed ones included."""
        if self.variations_each is not None:
            return self.variations_each
        if model == 0:
            return 188
        return 6 + mix(self.seed, model, 77) % 55

    def variation(self, model, number):
        """One variation, whether removed or not."""
        size, upcharge = SIZES[number % len(SIZES)]
        place = number // len(SIZES)
        if place < len(COLORS):
            color, part, code = COLORS[place]
        else:
            color, part, code = "Color %d" % place, "COLOR%d" % place, "#%06X" % (place * 4099)
        last = number > 0 and number == self.variation_count(model) - 1
        it = Variation()
        it.model, it.number = model, number
        it.id = make_id(model, number)
        it.sku = "%s-%s-%s" % (self.code(model)[1], size, part)
        it.active = not (last and model % 5 == 2)
        it.size, it.color, it.hex = size, color, code
        base = Decimal("3.99")
        if model != 0:
            base = Decimal(250 + mix(self.seed, model) % 1500).scaleb(-2)
        it.blank_cost = (base + Decimal(upcharge) + Decimal(place % 3 * 10).scaleb(-2)
                         + self.raises.get(model, Decimal(0)))
        it.blank_cost = self.blank_costs.get((model, number), it.blank_cost)
        it.handling_fee = Decimal("0.0") if model < 2 or model % 2 else Decimal("0.35")
        it.priced = not (model % 13 == 12 or (last and model % 7 == 3))
        return it

    def variations(self, model):
        """All variations of a model that are in the catalogue today."""
        return [self.variation(model, number) for number in range(self.variation_count(model))
                if (model, number) not in self.removed_variations]

    def find_variation(self, model, number):
        """A variation that is in the catalogue today, or None."""
        if (not self.exists(model) or not 0 <= number < self.variation_count(model)
                or (model, number) in self.removed_variations):
            return None
        return self.variation(model, number)

    def variation_by_id(self, variation_id):
        """The variation with this id, or None."""
        found = split_id(variation_id.lower())
        if found is None or found[1] == MODEL_TAG:
            return None
        return self.find_variation(*found)

    def variation_by_sku(self, sku):
        """The variation with this SKU, or None."""
        place = self._place(sku)
        return None if place is None else self.find_variation(*place)

    def _place(self, sku):
        """The (model, number) of a SKU, removed or not; None if it never existed."""
        parts = sku.split("-")
        if len(parts) != 4 or not (parts[1].isascii() and parts[1].isdigit()):
            return None
        model = {"BC-3001": 0, "CC-1566": 1}.get(parts[0] + "-" + parts[1], int(parts[1]) - 10000)
        sizes = [size for size, _ in SIZES]
        colors = [part for _, part, _ in COLORS]
        if parts[3] in colors:
            place = colors.index(parts[3])
        elif parts[3].startswith("COLOR") and parts[3][5:].isdigit():
            place = int(parts[3][5:])
        else:
            return None
        if parts[2] not in sizes or not 0 <= model < self.size:
            return None
        number = place * len(SIZES) + sizes.index(parts[2])
        if number >= self.variation_count(model) or self.variation(model, number).sku != sku:
            return None
        return model, number

    # Placements

    def placements(self, model):
        """The model's placements with their print methods, as the API shows them."""
        if model == 0:
            zones = (("width1", 12, 12, (("DTF", "2.50", "dealer"),
                                         ("DTG", "2.50", "dealer_location_fallback"))),
                     ("width2", 4, 4, (("DTF", "2.50", "dealer"),)))
        else:
            zones = []
            noise = mix(self.seed, model, 5)
            for number in range(2 + noise % 4):
                methods = []
                for place, (method, _) in enumerate(METHODS[:1 + (noise >> number) % 3]):
                    price = Decimal(250 + (noise >> place) % 40 * 5 + number * 25).scaleb(-2)
                    methods.append((method, price, SOURCES[(model + number + place) % 4]))
                zones.append(("width%d" % (number + 1), 12, 12 if number == 0 else 16, methods))
            if noise % 2:
                zones.append(("gang_sheet", 22, 120, (("DTF", "9.75", "dealer_default"),)))
        labels = dict(METHODS)
        shown = []
        for number, (code, width, height, methods) in enumerate(zones):
            shown.append({
                "code": code,
                "label": "Gang Sheet" if code == "gang_sheet" else "Placement %d" % (number + 1),
                "maxWidthInches": width, "maxHeightInches": height,
                "printMethods": [
                    {"code": method, "label": labels[method],
                     "price": self.print_prices.get((model, code, method), Decimal(price)),
                     "priceSource": source}
                    for method, price, source in methods]})
        return shown

    # Changes, by the control API only

    def reprice(self, sku, blank_cost):
        """Set one variation's blank cost; False if the SKU never existed."""
        place = self._place(sku)
        if place is None:
            return False
        self.blank_costs[place] = blank_cost
        self.version += 1
        return True

    def reprice_fraction(self, fraction):
        """Raise all blank costs of an evenly spread share of the models; their codes."""
        count = round(self.size * fraction)
        changed = []
        for number in range(count):
            model = number * self.size // count
            self.raises[model] = self.raises.get(model, Decimal(0)) + Decimal("0.10")
            changed.append(self.code(model)[0])
        self.version += 1
        return changed

    def reprice_print(self, code, placement, method, price):
        """Set the print price at one placement; False if there is no such method."""
        for model in range(self.size):
            if self.code(model)[0] == code:
                for zone in self.placements(model):
                    if zone["code"] == placement and any(
                            offer["code"] == method for offer in zone["printMethods"]):
                        self.print_prices[(model, placement, method)] = price
                        self.version += 1
                        return True
        return False

    def rename(self, code, name):
        """Rename a model by its code; False if there is none."""
        for model in range(self.size):
            if self.code(model)[0] == code:
                self.names[model] = name
                self.version += 1
                return True
        return False

    def set_removed(self, name, removed):
        """Remove or restore a SKU or a whole model by its code; False if unknown."""
        place = self._place(name)
        if place is not None:
            (self.removed_variations.add if removed else self.removed_variations.discard)(place)
            self.version += 1           # after the change: what is derived meanwhile is old
            return True
        for model in range(self.size):
            if self.code(model)[0] == name:
                (self.removed_models.add if removed else self.removed_models.discard)(model)
                self.version += 1
                return True
        return False
