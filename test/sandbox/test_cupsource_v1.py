"""Cup Source v1 as its document has it."""

import unittest
from decimal import Decimal

from harness import CUP_ADDRESS, V1_KEY, SandboxTest, v1_order


class Products(SandboxTest):
    """GET /products"""

    def test_envelope_and_meta_are_the_documents(self):
        reply = self.v1("GET", "/products")
        self.assertEqual(reply.status, 200)
        self.assertEqual(reply.headers["content-type"], "application/json")
        self.assertEqual(list(reply.json), ["success", "data", "meta"])
        self.assertEqual(reply.json["meta"], {"page": 1, "per_page": 20, "total": 142})
        self.assertEqual(len(reply.data), 20)

    def test_documented_products_exist(self):
        rows = {row["sku"]: row for row in self.v1("GET", "/products").data}
        self.assertEqual(rows["CS-8OZ-ECO"], {
            "id": "prod_2c8ozeco", "sku": "CS-8OZ-ECO", "name": "Eco Hot Cup 8oz",
            "category": "cups", "material": "paper", "capacity": "8oz",
            "unit_price": Decimal("0.09"), "currency": "USD", "stock_status": "available"})
        self.assertIn("CS-CF-12DW", rows)
        self.assertEqual(rows["CS-DOME-LID"]["category"], "lids")

    def test_pages_to_the_end_and_beyond(self):
        skus = []
        for page in range(1, 9):
            reply = self.v1("GET", "/products", query={"page": page})
            self.assertEqual(reply.json["meta"]["page"], page)
            skus += [row["sku"] for row in reply.data]
        self.assertEqual(len(skus), 142)
        self.assertEqual(len(set(skus)), 142)
        self.assertEqual(self.v1("GET", "/products", query={"page": 9}).data, [])

    def test_per_page_is_clamped_to_100(self):
        self.assertEqual(len(self.v1("GET", "/products", query={"per_page": 500}).data), 100)

    def test_each_filter_filters(self):
        everything = []
        for page in (1, 2):
            everything += self.v1("GET", "/products", query={"per_page": 100, "page": page}).data
        for name, value in (("category", "bowls"), ("material", "bioplastic"),
                            ("capacity", "12oz")):
            expected = [row for row in everything if row[name] == value]
            reply = self.v1("GET", "/products", query={name: value, "per_page": 100})
            self.assertEqual(reply.data, expected)
            self.assertEqual(reply.json["meta"]["total"], len(expected))
            self.assertTrue(0 < len(expected) < 142)
        both = self.v1("GET", "/products", query={"category": "cups", "material": "plastic"}).data
        self.assertTrue(both)
        self.assertTrue(all((row["category"], row["material"]) == ("cups", "plastic")
                            for row in both))
        self.assertEqual(self.v1("GET", "/products", query={"category": "none"}).data, [])

    def test_a_page_that_is_no_number_is_400(self):
        for page in ("0", "-1", "x", "1.5", ""):
            reply = self.v1("GET", "/products", query={"page": page})
            self.assertEqual((reply.status, reply.fields), (400, ["page"]))

    def test_price_and_stock_in_other_forms(self):
        for price, stock, expected in (
                ("price", "stock", {"price": Decimal("0.14"), "stock": 12000}),
                ("pricing", "in_stock", {"pricing": {"unit_price": Decimal("0.14"),
                                                     "currency": "USD"}, "in_stock": True}),
                ("unit_price", "inventory", {"unit_price": Decimal("0.14"),
                                             "inventory": 12000})):
            self.control("POST", "/settings", {"shape": {"price": price, "stock": stock}})
            row = self.v1("GET", "/products", query={"per_page": 1}).data[0]
            self.assertEqual(expected, {name: row[name] for name in expected})
        self.control("POST", "/settings", {"shape": {"list": "products"}})
        self.assertEqual(len(self.v1("GET", "/products").data["products"]), 20)


class Credentials(SandboxTest):
    """401, 403, 404, 429"""

    def test_no_key_or_a_wrong_one_is_401(self):
        self.assertEqual(self.send("GET", "/v1/products").status, 401)
        self.assertEqual(self.v1("GET", "/products", key="cs_live_wrong").status, 401)
        basic = self.send("GET", "/v1/products", headers={"Authorization": "Basic " + V1_KEY})
        self.assertEqual(basic.status, 401)
        self.assertEqual(basic.json, {"success": False, "error": {
            "code": "unauthorized", "message": "invalid API key", "details": []}})

    def test_keys_of_the_other_version_are_unknown(self):
        self.assertEqual(self.v1("GET", "/products", key="cs_live_sk_8f7d6c5b4a3e2d1f").status, 401)

    def test_a_forbidden_key_is_403_everywhere(self):
        for method, path in (("GET", "/products"), ("POST", "/orders"),
                             ("GET", "/orders/x/tracking")):
            self.assertEqual(self.v1(method, path, key="cs_live_forbidden").status, 403)

    def test_unverified_billing_browses_and_cannot_order(self):
        self.assertEqual(self.v1("GET", "/products", key="cs_live_unverified").status, 200)
        self.assertEqual(self.v1("POST", "/orders", v1_order(), key="cs_live_unverified").status,
                         403)

    def test_unknown_endpoints_are_404(self):
        for method, path in (("GET", "/nothing"), ("DELETE", "/products"),
                             ("GET", "/products/prod_8x92k4m"), ("GET", "/orders")):
            self.assertEqual(self.v1(method, path).status, 404, path)

    def test_the_121st_request_of_a_minute_is_429(self):
        self.control("POST", "/settings", {"rate_limit": {"cupsource-v1": 120}})
        connection = self.connect()
        for _ in range(120):
            self.assertEqual(self.v1("GET", "/products", query={"per_page": 1},
                                     connection=connection).status, 200)
        reply = self.v1("GET", "/products", connection=connection)
        self.assertEqual(reply.status, 429)
        self.assertTrue(40 <= int(reply.headers["retry-after"]) <= 60)
        self.assertEqual(self.v1("GET", "/products", key="cs_live_unverified").status, 200)
        self.control("POST", "/clock", {"advance_seconds": int(reply.headers["retry-after"])})
        self.assertEqual(self.v1("GET", "/products").status, 200)


class Orders(SandboxTest):
    """POST /orders and tracking"""

    def place(self, **changes):
        """Place an order and give its answer."""
        return self.v1("POST", "/orders", v1_order(**changes))

    def test_the_documents_order_is_created(self):
        reply = self.place()
        self.assertEqual(reply.status, 201)
        self.assertTrue(reply.json["success"])
        self.assertEqual((reply.data["status"], reply.data["order_number"], reply.data["total"]),
                         ("submitted", "CS-100001", Decimal("650.00")))
        self.assertRegex(reply.data["id"], r"^ord_[0-9a-z]{10}$")

    def test_the_same_body_twice_is_two_orders(self):
        first, second = self.place(), self.place()
        self.assertNotEqual(first.data["id"], second.data["id"])
        self.assertEqual(len(self.control("GET", "/orders")), 2)

    def test_each_rule_once(self):
        good = v1_order()
        address = dict(CUP_ADDRESS)
        del address["zip"]
        for changes, field in (
                ({"items": None}, "items"),
                ({"items": []}, "items"),
                ({"items": ["x"]}, "items[0]"),
                ({"items": [{"qty": 1}]}, "items[0].sku"),
                ({"items": [{"sku": "NONE", "qty": 1}]}, "items[0].sku"),
                ({"items": [good["items"][0], {"sku": "CS-8OZ-ECO"}]}, "items[1].qty"),
                ({"items": [{"sku": "CS-8OZ-ECO", "qty": 0}]}, "items[0].qty"),
                ({"items": [{"sku": "CS-8OZ-ECO", "qty": 1.5}]}, "items[0].qty"),
                ({"items": [{"sku": "CS-8OZ-ECO", "qty": True}]}, "items[0].qty"),
                ({"items": [{"sku": "CS-8OZ-ECO", "qty": "5"}]}, "items[0].qty"),
                ({"shipping_address": None}, "shipping_address"),
                ({"shipping_address": {}}, "shipping_address"),
                ({"shipping_address": address}, "shipping_address.zip"),
                ({"shipping_address": {**CUP_ADDRESS, "city": " "}}, "shipping_address.city"),
                ({"currency": None}, "currency"),
                ({"currency": "EUR"}, "currency")):
            reply = self.place(**changes)
            self.assertEqual((reply.status, reply.fields), (400, [field]), changes)
        self.assertEqual(self.control("GET", "/orders"), [])

    def test_a_body_that_is_no_json_object_is_400(self):
        for body in (b"", b"{", b"[]", b"null", b'{"items": NaN}', b"\xff", b"[" * 100000):
            self.assertEqual(self.v1("POST", "/orders", body).status, 400, body[:20])

    def test_tracking_before_and_after_shipping(self):
        order_id = self.place().data["id"]
        before = self.v1("GET", "/orders/%s/tracking" % order_id)
        self.assertEqual(before.data, {
            "order_id": order_id, "status": "submitted", "carrier": None, "tracking_number": None,
            "tracking_url": None, "estimated_delivery": None, "signature_required": False})
        self.control("POST", "/orders/%s/advance" % order_id, {
            "to": "shipped", "shipment": {"carrier": "UPS", "trackingNumber": "1Z9",
                                          "signatureRequired": True,
                                          "estimatedDelivery": "2026-06-01"}})
        after = self.v1("GET", "/orders/%s/tracking" % order_id).data
        self.assertEqual((after["status"], after["carrier"], after["tracking_number"],
                          after["signature_required"], after["estimated_delivery"]),
                         ("shipped", "UPS", "1Z9", True, "2026-06-01"))

    def test_tracking_of_no_order_or_of_another_keys_is_404(self):
        order_id = self.place().data["id"]
        self.assertEqual(self.v1("GET", "/orders/ord_none/tracking").status, 404)
        self.assertEqual(self.v1("GET", "/orders/%s/tracking" % order_id,
                                 key="cs_live_unverified").status, 404)

    def test_order_status_is_404_until_it_is_switched_on(self):
        order_id = self.place().data["id"]
        self.assertEqual(self.v1("GET", "/orders/" + order_id).status, 404)
        self.control("POST", "/settings", {"order_status": True})
        self.assertEqual(self.v1("GET", "/orders/" + order_id).data["status"], "submitted")
        self.control("POST", "/settings", {"order_status": 405})
        self.assertEqual(self.v1("GET", "/orders/" + order_id).status, 405)

    def test_answers_in_other_shapes(self):
        self.control("POST", "/settings", {"shape": "bare,camel,id=orderId,number=number"})
        order = self.place().json
        self.assertEqual((order["number"], order["status"]), ("CS-100001", "submitted"))
        self.assertIn("createdAt", order)
        self.control("POST", "/settings", {"shape": {"tracking": "list", "status": "absent"}})
        tracking = self.v1("GET", "/orders/%s/tracking" % order["orderId"]).json
        self.assertEqual([entry["orderId"] for entry in tracking], [order["orderId"]])
        self.assertNotIn("status", self.place().json)

    def test_errors_in_other_shapes(self):
        for form, body in (("string", b'{"error":"invalid API key"}'),
                           ("message", b'{"message":"invalid API key"}'), ("empty", b"")):
            self.control("POST", "/settings", {"shape": {"error": form}})
            reply = self.v1("GET", "/products", key="cs_live_wrong")
            self.assertEqual((reply.status, reply.body), (401, body))

    def test_lifecycle_auto_moves_on_when_it_is_looked_at(self):
        self.control("POST", "/settings", {"lifecycle": "auto", "step_seconds": 60})
        order_id = self.place().data["id"]
        seen = []
        for _ in range(4):
            seen.append(self.v1("GET", "/orders/%s/tracking" % order_id).data["status"])
            self.control("POST", "/clock", {"advance_seconds": 60})
        self.assertEqual(seen, ["submitted", "in_production", "shipped", "delivered"])


if __name__ == "__main__":
    unittest.main()
