"""Cup Source v2 as its document has it."""

import unittest
from decimal import Decimal

from harness import SandboxTest, v2_order


class Products(SandboxTest):
    """GET /products"""

    def test_the_documents_product_comes_out_as_documented(self):
        reply = self.v2("GET", "/products", query={"category": "coffee_cups",
                                                   "eco_certified": "true", "limit": 20})
        self.assertEqual(reply.status, 200)
        self.assertEqual(list(reply.json), ["data", "pagination"])
        self.assertEqual(reply.data[0], {
            "id": "prod_8x92k4m", "name": "Double-Wall 12oz Coffee Cup", "sku": "CS-CF-12DW",
            "material": "Kraft Paper + PLA Lining",
            "certifications": ["FSC-MIX", "BPI_Compostable"],
            "pricing": {"unit_price": Decimal("0.14"), "currency": "USD", "min_order_qty": 1000},
            "stock_status": "available", "lead_time_days": 3})
        self.assertIn(b'"unit_price":0.14,', reply.body)

    def test_cursors_lead_to_the_end(self):
        found = []
        query = {"limit": 50}
        for expected in (50, 50, 42):
            reply = self.v2("GET", "/products", query=query)
            self.assertEqual(reply.json["pagination"]["total"], 142)
            self.assertEqual(len(reply.data), expected)
            found += [row["id"] for row in reply.data]
            query["cursor"] = reply.json["pagination"]["next_cursor"]
        self.assertEqual((reply.json["pagination"]["has_more"], query["cursor"]), (False, None))
        self.assertEqual(len(set(found)), 142)

    def test_a_cursor_has_to_be_percent_encoded(self):
        cursor = self.v2("GET", "/products").json["pagination"]["next_cursor"]
        for character in "+/=":
            self.assertIn(character, cursor)
        self.assertEqual(self.v2("GET", "/products?cursor=" + cursor).status, 400)
        self.assertEqual(self.v2("GET", "/products", query={"cursor": cursor}).status, 200)

    def test_the_documents_cursor_is_understood_and_nonsense_is_not(self):
        self.assertEqual(self.v2("GET", "/products?cursor=eyJpZCI6MTQwfQ%3D%3D").json["pagination"],
                         {"total": 142, "has_more": False, "next_cursor": None})
        for cursor in ("", "x", "e30=", "eyJpZCI6Ii0xIn0="):
            reply = self.v2("GET", "/products", query={"cursor": cursor})
            self.assertEqual((reply.status, reply.fields), (400, ["cursor"]), cursor)

    def test_a_cursor_survives_rows_that_vanish(self):
        first = self.v2("GET", "/products", query={"limit": 10})
        after = self.v2("GET", "/products", query={
            "limit": 10, "cursor": first.json["pagination"]["next_cursor"]}).data
        self.control("POST", "/catalog", {"remove": [first.data[3]["sku"], first.data[9]["sku"]]})
        self.assertEqual(after, self.v2("GET", "/products", query={
            "limit": 10, "cursor": first.json["pagination"]["next_cursor"]}).data)

    def test_each_filter_filters(self):
        everything = []
        cursor = {}
        while cursor is not None:
            reply = self.v2("GET", "/products", query={"limit": 100, **cursor})
            everything += reply.data
            cursor = reply.json["pagination"]["next_cursor"]
            cursor = cursor and {"cursor": cursor}
        certified = [row for row in everything if row["certifications"]]
        reply = self.v2("GET", "/products", query={"eco_certified": "true", "limit": 100})
        self.assertEqual(reply.data, certified)
        self.assertEqual(self.v2("GET", "/products", query={"eco_certified": "false"})
                         .json["pagination"]["total"], 142)
        large = [row for row in everything if row["pricing"]["min_order_qty"] >= 2500]
        reply = self.v2("GET", "/products", query={"min_moz": 2500, "limit": 100})
        self.assertEqual(reply.data, large)
        self.assertTrue(0 < len(large) < 142)
        self.assertEqual(self.v2("GET", "/products", query={"min_moq": 2500})
                         .json["pagination"]["total"], 142)

    def test_limit_is_clamped_and_checked(self):
        self.assertEqual(len(self.v2("GET", "/products").data), 20)
        self.assertEqual(len(self.v2("GET", "/products", query={"limit": 1000}).data), 100)
        for name, value in (("limit", "0"), ("limit", "x"), ("min_moz", "-1"),
                            ("eco_certified", "maybe")):
            reply = self.v2("GET", "/products", query={name: value})
            self.assertEqual((reply.status, reply.fields), (400, [name]))

    def test_errors_have_no_envelope(self):
        reply = self.v2("GET", "/products", key="cs_live_wrong")
        self.assertEqual((reply.status, reply.json), (401, {"error": {
            "code": "unauthorized", "message": "invalid API key", "details": []}}))
        self.assertEqual(self.v2("GET", "/products", key="cs_live_forbidden").status, 403)
        self.assertEqual(self.v2("GET", "/nothing").status, 404)


class Orders(SandboxTest):
    """POST /orders"""

    def place(self, **changes):
        """Place an order and give its answer."""
        return self.v2("POST", "/orders", v2_order(**changes))

    def test_the_documents_order_is_created(self):
        reply = self.place()
        self.assertEqual(reply.status, 201)
        self.assertEqual((reply.data["status"], reply.data["total"]),
                         ("submitted", Decimal("700.00")))
        stored = self.control("GET", "/orders")[0]
        self.assertEqual((stored["external_id"], stored["environment"]),
                         ("PO-2025-0892", "production"))

    def test_the_same_body_twice_is_two_orders(self):
        self.assertNotEqual(self.place().data["id"], self.place().data["id"])

    def test_headers_are_kept_with_the_order(self):
        self.v2("POST", "/orders", v2_order(), headers={"X-Environment": "sandbox",
                                                        "Idempotency-Key": "k-1"})
        stored = self.control("GET", "/orders")[0]
        self.assertEqual((stored["environment"], stored["idempotency_key"]), ("sandbox", "k-1"))

    def test_each_rule_once(self):
        line = {"product_id": "prod_8x92k4m", "quantity": 5000}
        shipping = v2_order()["shipping"]
        for changes, field in (
                ({"line_items": []}, "line_items"),
                ({"line_items": [{"quantity": 5000}]}, "line_items[0].product_id"),
                ({"line_items": [{**line, "product_id": "prod_none"}]}, "line_items[0].product_id"),
                ({"line_items": [{**line, "quantity": 999}]}, "line_items[0].quantity"),
                ({"line_items": [line, {**line, "quantity": -1}]}, "line_items[1].quantity"),
                ({"line_items": [{**line, "quantity": "5000"}]}, "line_items[0].quantity"),
                ({"custom_branding": {"asset_id": "art_none"}}, "custom_branding.asset_id"),
                ({"custom_branding": {"print_method": "flexography"}}, "custom_branding.asset_id"),
                ({"custom_branding": {"asset_id": "art_9f3m2x", "print_method": 1}},
                 "custom_branding.print_method"),
                ({"custom_branding": {"asset_id": "art_9f3m2x",
                                      "proof_approval_deadline": "soon"}},
                 "custom_branding.proof_approval_deadline"),
                ({"shipping": {**shipping, "method": 1}}, "shipping.method"),
                ({"shipping": {**shipping, "address": {**shipping["address"], "country": "USA"}}},
                 "shipping.address.country"),
                ({"shipping": {**shipping, "address": {**shipping["address"], "line1": ""}}},
                 "shipping.address.line1"),
                ({"billing": "PO-1"}, "billing"),
                ({"billing": {"po_number": 1}}, "billing.po_number"),
                ({"billing": {"net_terms": "soon"}}, "billing.net_terms"),
                ({"billing": {"net_terms": 30}}, "billing.net_terms")):
            reply = self.place(**changes)
            self.assertEqual((reply.status, reply.fields), (400, [field]), changes)
        reply = self.place(shipping=None)
        self.assertEqual((reply.status, reply.fields[0]), (400, "shipping"))
        self.assertEqual(self.control("GET", "/orders"), [])

    def test_moq_is_met_exactly(self):
        self.assertEqual(self.place(line_items=[{"product_id": "prod_8x92k4m",
                                                 "quantity": 1000}]).status, 201)

    def test_branding_and_billing_are_optional(self):
        body = v2_order()
        del body["custom_branding"], body["billing"]
        self.assertEqual(self.v2("POST", "/orders", body).status, 201)

    def test_answers_in_other_shapes(self):
        self.control("POST", "/settings", {"shape": "bare,id=order_id,number=orderNumber"})
        order = self.place().json
        self.assertRegex(order["order_id"], "^ord_")
        self.assertEqual(order["orderNumber"], "CS-100001")


class Assets(SandboxTest):
    """POST /assets"""

    def test_a_form_with_a_file_gives_an_id_for_orders(self):
        data = bytes(range(256)) * 8
        body = (b'--XX\r\nContent-Disposition: form-data; name="kind"\r\n\r\nart\r\n'
                b'--XX\r\nContent-Disposition: form-data; name="file"; filename="logo.png"\r\n'
                b"Content-Type: image/png\r\n\r\n" + data + b"\r\n--XX--\r\n")
        reply = self.v2("POST", "/assets", body,
                        headers={"Content-Type": "multipart/form-data; boundary=XX"})
        self.assertEqual(reply.status, 201, reply.body)
        self.assertEqual((reply.data["filename"], reply.data["content_type"], reply.data["size"]),
                         ("logo.png", "image/png", 2048))
        order = v2_order(custom_branding={"asset_id": reply.data["asset_id"],
                                          "print_method": "flexography"})
        self.assertEqual(self.v2("POST", "/orders", order).status, 201)

    def test_a_raw_body_and_the_other_name_of_the_id(self):
        self.control("POST", "/settings", {"shape": {"asset_id": "id"}})
        reply = self.v2("POST", "/assets", b"%PDF-1.7", headers={"Content-Type": "application/pdf"})
        self.assertRegex(reply.data["id"], "^art_[0-9a-z]{6}$")

    def test_nothing_to_upload_is_400(self):
        for body, kind in ((b"", "image/png"), (b"--XX--", "multipart/form-data; boundary=XX"),
                           (b"x", "multipart/form-data"), (b"{}", "application/json"),
                           (b'--XX\r\nContent-Disposition: form-data; filename="a"\r\n\r\n\r\n'
                            b"--XX--\r\n", "multipart/form-data; boundary=XX")):
            self.assertEqual(self.v2("POST", "/assets", body,
                                     headers={"Content-Type": kind}).status, 400, (body, kind))


if __name__ == "__main__":
    unittest.main()
