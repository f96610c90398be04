"""CustomHub's credentials, models and wallet as its document has them."""

import base64
import json
import unittest
from decimal import Decimal
from email.utils import parsedate_to_datetime

from harness import SandboxTest, hub_order

AUTH = "/api/PartnerAuthentication/auth"
ENDPOINTS = (
    ("GET", "/models", "products_r"), ("GET", "/models/x", "products_r"),
    ("POST", "/orders/quote", "orders_r"), ("GET", "/orders", "orders_r"),
    ("GET", "/orders/x", "orders_r"), ("GET", "/balance", "orders_r"),
    ("POST", "/orders", "orders_w"), ("DELETE", "/orders/x", "orders_w"),
    ("POST", "/orders/x/items/y/designs", "orders_w"))


class Tokens(SandboxTest):
    """POST /api/PartnerAuthentication/auth and what a token is good for"""

    def test_credentials_are_exchanged_for_a_jwt(self):
        reply = self.send("POST", AUTH, {"apiKey": "ek_live_demo", "secretKey": "esk_live_demo"})
        self.assertEqual(reply.status, 200)
        self.assertEqual(list(reply.json), ["accessToken", "refreshToken", "expired"])
        self.assertRegex(reply.json["expired"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00$")
        claims = reply.json["accessToken"].split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))
        self.assertEqual(claims["dealerId"], self.hub("GET", "/balance").data["dealerId"])

    def test_wrong_credentials_are_401(self):
        for key, secret in (("ek_live_demo", "esk_live_wrong"), ("ek_live_wrong", "esk_live_demo"),
                            ("cs_live_v1_demo", "x")):
            reply = self.send("POST", AUTH, {"apiKey": key, "secretKey": secret})
            self.assertEqual((reply.status, reply.code), (401, "UNAUTHORIZED"))

    def test_missing_credentials_are_named(self):
        reply = self.send("POST", AUTH, {"apiKey": "", "secretKey": 1})
        self.assertEqual((reply.status, reply.code, reply.fields),
                         (400, "VALIDATION_ERROR", ["apiKey", "secretKey"]))
        self.assertEqual(self.send("POST", AUTH, b"{").code, "VALIDATION_ERROR")

    def test_without_a_valid_jwt_every_endpoint_is_401(self):
        for method, path, _ in ENDPOINTS:
            for headers in ({}, {"Authorization": "Bearer eyJ.x.y"},
                            {"Authorization": "Bearer ek_live_demo"}):
                reply = self.send(method, "/api/v1" + path, headers=headers)
                self.assertEqual((reply.status, reply.code), (401, "UNAUTHORIZED"), path)

    def test_a_token_lives_24_hours(self):
        self.assertEqual(self.hub("GET", "/balance").status, 200)
        self.control("POST", "/clock", {"advance_seconds": 86390})
        self.assertEqual(self.hub("GET", "/balance").status, 200)
        self.control("POST", "/clock", {"advance_seconds": 20})
        self.assertEqual(self.hub("GET", "/balance").code, "UNAUTHORIZED")

    def test_tokens_can_be_revoked_and_made_short(self):
        self.token()
        self.assertEqual(self.control("POST", "/tokens/revoke"), {"revoked": 1})
        self.assertEqual(self.hub("GET", "/balance").status, 401)
        self.control("POST", "/settings", {"token_ttl": 5})
        self.tokens.clear()
        self.assertEqual(self.hub("GET", "/balance").status, 200)
        self.control("POST", "/clock", {"advance_seconds": 5})
        self.assertEqual(self.hub("GET", "/balance").status, 401)

    def test_a_missing_scope_is_403_on_each_endpoint(self):
        for method, path, scope in ENDPOINTS:
            reply = self.hub(method, path, key="ek_live_noscope")
            self.assertEqual((reply.status, reply.code), (403, "FORBIDDEN"), path)
            status = self.hub(method, path, key="ek_live_readonly").status
            self.assertEqual(status == 403, scope == "orders_w", path)

    def test_the_61st_request_of_a_minute_is_429(self):
        self.control("POST", "/settings", {"rate_limit": {"customhub-v1": 60}})
        connection = self.connect()
        for _ in range(60):
            self.assertEqual(self.hub("GET", "/balance", connection=connection).status, 200)
        reply = self.hub("GET", "/balance")
        self.assertEqual((reply.status, reply.code), (429, "RATE_LIMITED"))
        self.assertTrue(50 <= int(reply.headers["retry-after"]) <= 60)
        self.assertEqual(self.hub("GET", "/balance", key="ek_live_readonly").status, 200)
        self.control("POST", "/settings", {"retry_after": "date"})
        reply = self.hub("GET", "/balance")
        wait = (parsedate_to_datetime(reply.headers["retry-after"])
                - parsedate_to_datetime(reply.headers["date"])).total_seconds()
        self.assertTrue(50 <= wait <= 61, wait)

    def test_unknown_endpoints_are_404(self):
        for method, path in (("GET", "/nothing"), ("PUT", "/orders"), ("POST", "/models")):
            reply = self.hub(method, path)
            self.assertEqual((reply.status, reply.code), (404, "NOT_FOUND"))
        self.assertEqual(self.send("GET", "/elsewhere").status, 404)
        self.assertEqual(self.send("GET", AUTH).status, 404)


class Models(SandboxTest):
    """GET /models and GET /models/{id}"""

    def bella(self):
        """The document's model in detail."""
        row = self.hub("GET", "/models", query={"search": "bella"}).data["models"][0]
        return self.hub("GET", "/models/" + row["id"]).data

    def test_the_documents_row_comes_out_as_documented(self):
        reply = self.hub("GET", "/models", query={"page": 1, "pageSize": 50, "search": "bella"})
        row = reply.data["models"][0]
        self.assertRegex(row["id"], "^9b4f7e2a-")
        self.assertEqual({name: value for name, value in row.items()
                          if name not in ("id", "primaryImageUrl")}, {
            "code": "BC3001", "name": "Bella Canvas 3001 Unisex Shirt", "brand": "Bella+Canvas",
            "listPrice": 0, "price": 0,
            "pricing": {"currency": "USD", "fromUnitPrice": Decimal("6.49"),
                        "fromListPrice": Decimal("6.49"), "fromBlankCost": Decimal("3.99"),
                        "pricedVariationCount": 188},
            "variationCount": 188, "isFeatured": False})
        self.assertEqual(reply.data["pagination"],
                         {"page": 1, "pageSize": 50, "totalCount": 1, "hasMore": False})

    def test_27_models_in_pages(self):
        reply = self.hub("GET", "/models")
        self.assertEqual(reply.data["pagination"],
                         {"page": 1, "pageSize": 50, "totalCount": 27, "hasMore": False})
        codes = []
        for page in (1, 2, 3):
            reply = self.hub("GET", "/models", query={"page": page, "pageSize": 10})
            self.assertEqual(reply.data["pagination"]["hasMore"], page < 3)
            codes += [row["code"] for row in reply.data["models"]]
        self.assertEqual(len(set(codes)), 27)

    def test_page_size_is_clamped_and_page_is_checked(self):
        for size, clamped in (("0", 1), ("-5", 1), ("1000", 100)):
            reply = self.hub("GET", "/models", query={"pageSize": size})
            self.assertEqual(reply.data["pagination"]["pageSize"], clamped)
        for name, value in (("page", "0"), ("page", "x"), ("pageSize", "x")):
            reply = self.hub("GET", "/models", query={name: value})
            self.assertEqual((reply.status, reply.code, reply.fields),
                             (400, "VALIDATION_ERROR", [name]))

    def test_search_looks_at_name_and_code(self):
        for search in ("CC1566", "comfort colors 1566", "cc15"):
            rows = self.hub("GET", "/models", query={"search": search}).data["models"]
            self.assertEqual([row["code"] for row in rows], ["CC1566"])
        self.assertEqual(self.hub("GET", "/models", query={"search": "none"}).data["models"], [])

    def test_the_documents_variation_and_placements_come_out_as_documented(self):
        model = self.bella()
        self.assertEqual((model["code"], model["fitType"], model["categories"][0]["name"]),
                         ("BC3001", "Unisex retail fit", "T-Shirts"))
        self.assertEqual(len(model["variations"]), 188)
        black = next(v for v in model["variations"] if v["sku"] == "BC-3001-L-BLACK")
        self.assertEqual({name: value for name, value in black.items() if name not in
                          ("id", "images")}, {
            "sku": "BC-3001-L-BLACK", "isActive": True,
            "variationDescription": "BELLA CANVAS Unisex T-shirt L",
            "variation2Description": "Black", "variation2Hex": "#000000",
            "pricing": {"currency": "USD", "unitPrice": Decimal("8.18"),
                        "listPrice": Decimal("8.18"), "blankCost": Decimal("5.68"),
                        "handlingFee": Decimal("0.0")}})
        self.assertEqual(model["placements"], [
            {"code": "width1", "label": "Placement 1", "maxWidthInches": 12, "maxHeightInches": 12,
             "printMethods": [
                 {"code": "DTF", "label": "DTF - Direct to Film", "price": Decimal("2.50"),
                  "priceSource": "dealer"},
                 {"code": "DTG", "label": "Direct to Garment", "price": Decimal("2.50"),
                  "priceSource": "dealer_location_fallback"}]},
            {"code": "width2", "label": "Placement 2", "maxWidthInches": 4, "maxHeightInches": 4,
             "printMethods": [
                 {"code": "DTF", "label": "DTF - Direct to Film", "price": Decimal("2.50"),
                  "priceSource": "dealer"}]}])

    def test_ids_and_skus_are_unique_and_list_agrees_with_detail(self):
        ids, skus, sources, unpriced = set(), set(), set(), 0
        for row in self.hub("GET", "/models").data["models"]:
            model = self.hub("GET", "/models/" + row["id"]).data
            variations = model["variations"]
            self.assertEqual(len(variations), row["variationCount"])
            ids.update([model["id"]], (v["id"] for v in variations))
            skus.update(v["sku"] for v in variations)
            sources.update(method["priceSource"] for zone in model["placements"]
                           for method in zone["printMethods"])
            prices = [v["pricing"] for v in variations if v["pricing"]]
            if not prices:
                unpriced += 1
                self.assertIsNone(row["pricing"])
                continue
            self.assertEqual(row["pricing"]["fromUnitPrice"], min(p["unitPrice"] for p in prices))
            self.assertEqual(row["pricing"]["fromBlankCost"], min(p["blankCost"] for p in prices))
            self.assertEqual(row["pricing"]["pricedVariationCount"], len(prices))
        self.assertEqual(len(ids), 27 + len(skus))
        self.assertEqual(sources, {"dealer", "dealer_default", "dealer_location_fallback",
                                   "global"})
        self.assertEqual(unpriced, 2)

    def test_a_model_that_does_not_exist_is_404(self):
        variation = self.bella()["variations"][0]["id"]
        for model_id in ("x", "9b4f7e2a-0000-4000-8000-000000000000", variation):
            reply = self.hub("GET", "/models/" + model_id)
            self.assertEqual((reply.status, reply.code), (404, "NOT_FOUND"))


class Balance(SandboxTest):
    """GET /balance"""

    def test_headroom_is_credit_limit_less_balance(self):
        self.control("POST", "/settings", {"wallet": {"credit_limit": "2500.00"}})
        data = self.hub("GET", "/balance").data
        self.assertEqual((data["currency"], data["balance"], data["creditLimit"],
                          data["headroom"]),
                         ("USD", Decimal("1240.50"), Decimal("2500.00"), Decimal("1259.50")))

    def test_approval_debits_once_at_the_locked_total(self):
        self.hub("POST", "/orders", hub_order())
        self.assertEqual(self.hub("GET", "/balance").data["balance"], Decimal("1240.50"))
        self.control("POST", "/catalog", {"reprice": {"BC-3001-L-BLACK": "99.00"}})
        self.control("POST", "/orders/shopify-1234/advance", {"to": "Approved"})
        self.assertEqual(self.hub("GET", "/balance").data["balance"], Decimal("1253.38"))
        for state in ("OnHold", "Approved", "Shipped"):
            self.control("POST", "/orders/shopify-1234/advance", {"to": state})
        self.assertEqual(self.hub("GET", "/balance").data["balance"], Decimal("1253.38"))

    def test_cancelled_and_rejected_orders_are_never_debited(self):
        for external_id, state in (("a", "Cancelled"), ("b", "Rejected")):
            self.hub("POST", "/orders", hub_order(external_id))
            self.control("POST", "/orders/%s/advance" % external_id, {"to": state})
        self.assertEqual(self.hub("GET", "/balance").data["balance"], Decimal("1240.50"))

    def test_another_dealer_has_another_wallet(self):
        other = self.hub("GET", "/balance", key="ek_live_other").data
        self.assertEqual(other["balance"], Decimal("0.00"))
        self.assertNotEqual(other["dealerId"], self.hub("GET", "/balance").data["dealerId"])


class Sizes(SandboxTest):
    """A catalogue of a chosen size"""

    options = ("--models", "300", "--variations", "300", "--products", "100000", "--seed", "7")

    def test_every_model_has_as_many_variations_and_ids_lead_back(self):
        reply = self.hub("GET", "/models", query={"page": 3, "pageSize": 100})
        self.assertEqual(reply.data["pagination"]["totalCount"], 300)
        row = reply.data["models"][-1]
        model = self.hub("GET", "/models/" + row["id"]).data
        self.assertEqual((row["variationCount"], len(model["variations"])), (300, 300))
        last = model["variations"][-2]
        quote = {"shippingAddress": hub_order()["shippingAddress"],
                 "items": [{"variationId": last["id"], "quantity": 1}]}
        item = self.hub("POST", "/orders/quote", quote).data["computedCost"]["perItem"][0]
        self.assertEqual(item["sku"], last["sku"])

    def test_a_hundred_thousand_products_can_be_found_by_id_and_by_sku(self):
        page = self.v1("GET", "/products", query={"page": 1000, "per_page": 100})
        self.assertEqual(page.json["meta"]["total"], 100000)
        for row in page.data[::33]:
            self.assertEqual(self.app.store.cups.by_sku(row["sku"]).id, row["id"])
            self.assertEqual(self.app.store.cups.by_id(row["id"]).sku, row["sku"])
        self.assertIsNone(self.app.store.cups.by_id("prod_zzzzzzz"))


if __name__ == "__main__":
    unittest.main()
