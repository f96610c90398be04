"""CustomHub's orders as its document has them."""

import unittest
from decimal import Decimal

from harness import HUB_ADDRESS, SandboxTest, design, hub_order

DAY = 86400


class Quote(SandboxTest):
    """POST /orders/quote"""

    def quote(self, **changes):
        """Quote the document's items."""
        body = {"shippingAddress": HUB_ADDRESS, "isRush": False, "items": [
            {"sku": "BC-3001-L-BLACK", "quantity": 1,
             "designs": [{"placement": "width1", "widthInches": 11, "heightInches": 11,
                          "printMethod": "DTF"}]}]}
        return self.hub("POST", "/orders/quote", {**body, **changes})

    def test_cost_is_blank_plus_prints_plus_handling(self):
        reply = self.quote()
        self.assertEqual((reply.status, reply.data), (200, {"computedCost": {
            "currency": "USD", "itemsSubtotal": Decimal("8.18"), "shippingCost": Decimal("4.20"),
            "shippingCategoryFee": Decimal("0.50"), "discountAmount": Decimal("0.00"),
            "rushFee": Decimal("0.00"), "grandTotal": Decimal("12.88"),
            "perItem": [{"sku": "BC-3001-L-BLACK", "quantity": 1,
                         "unitCost": Decimal("8.18")}]}}))

    def test_each_sku_placement_and_method_costs_what_the_catalogue_says(self):
        for row in self.hub("GET", "/models", query={"pageSize": 8}).data["models"]:
            model = self.hub("GET", "/models/" + row["id"]).data
            variation = next((v for v in model["variations"] if v["pricing"]), None)
            for zone in model["placements"] if variation else ():
                for method in zone["printMethods"]:
                    reply = self.quote(items=[{
                        "variationId": variation["id"], "quantity": 3,
                        "designs": [{"placement": zone["code"], "printMethod": method["code"],
                                     "widthInches": zone["maxWidthInches"],
                                     "heightInches": zone["maxHeightInches"]}]}])
                    cost = (variation["pricing"]["blankCost"] + method["price"]
                            + variation["pricing"]["handlingFee"])
                    got = reply.data["computedCost"]
                    self.assertEqual(got["perItem"][0]["unitCost"], cost)
                    self.assertEqual(got["itemsSubtotal"], 3 * cost)

    def test_nothing_is_stored_reserved_or_checked_against_the_wallet(self):
        self.control("POST", "/settings", {"wallet": {"credit_limit": 0}})
        self.assertEqual(self.quote(externalOrderId="q").status, 200)
        self.assertEqual(self.control("GET", "/orders"), [])
        self.control("POST", "/settings", {"wallet": {"credit_limit": 5000}})
        self.assertEqual(self.hub("POST", "/orders", hub_order("q")).status, 201)

    def test_rush_distance_service_and_number_cost_more(self):
        rush = self.quote(isRush=True).data["computedCost"]
        self.assertEqual((rush["rushFee"], rush["grandTotal"]), (Decimal("1.64"), Decimal("14.52")))
        abroad = self.quote(shippingAddress={**HUB_ADDRESS, "country": "GB", "state": ""})
        self.assertEqual(abroad.data["computedCost"]["shippingCost"], Decimal("14.20"))
        express = self.quote(requestedShippingService="USPS Priority Express")
        self.assertEqual(express.data["computedCost"]["shippingCost"], Decimal("16.20"))
        dozen = self.quote(items=[{"sku": "BC-3001-L-BLACK", "quantity": 25}])
        self.assertEqual(dozen.data["computedCost"]["shippingCost"], Decimal("6.40"))
        self.assertEqual(dozen.data["computedCost"]["itemsSubtotal"], Decimal("142.00"))


class Create(SandboxTest):
    """POST /orders: what is answered and what is refused"""

    def refused(self, code, field, status=400, **changes):
        """The changed order is refused with this code for this field."""
        self.number = getattr(self, "number", 0) + 1
        reply = self.hub("POST", "/orders", hub_order("r-%d" % self.number, **changes))
        self.assertEqual((reply.status, reply.code), (status, code), reply.body)
        self.assertIs(reply.json["success"], False)
        if field is not None:
            self.assertEqual(reply.fields, [field])

    def item(self, **changes):
        """The document's item, changed."""
        return {"items": [{**hub_order()["items"][0], **changes}]}

    def test_the_documents_order_is_created(self):
        reply = self.hub("POST", "/orders", hub_order())
        self.assertEqual(reply.status, 201)
        data = reply.data
        self.assertRegex(data.pop("orderId"), "^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")
        self.assertRegex(data.pop("createdAt"), r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")
        self.assertEqual(data, {
            "orderNumber": "PO-12345", "externalOrderId": "shopify-1234",
            "status": "ApprovalPending",
            "computedCost": {
                "currency": "USD", "itemsSubtotal": Decimal("8.18"),
                "shippingCost": Decimal("4.20"), "shippingCategoryFee": Decimal("0.50"),
                "discountAmount": Decimal("0.00"), "rushFee": Decimal("0.00"),
                "grandTotal": Decimal("12.88")}})

    def test_external_id_has_1_to_100_characters(self):
        for external_id in (None, "", "x" * 101, 5):
            reply = self.hub("POST", "/orders", hub_order(external_id))
            self.assertEqual((reply.code, reply.fields), ("VALIDATION_ERROR", ["externalOrderId"]))
        self.assertEqual(self.hub("POST", "/orders", hub_order("x" * 100)).status, 201)
        self.assertEqual(self.hub("POST", "/orders", hub_order("\u00e9" * 100)).status, 201)

    def test_address_rules(self):
        for name in ("name", "street1", "city", "state", "zip", "country"):
            address = {**HUB_ADDRESS}
            del address[name]
            self.refused("VALIDATION_ERROR", "shippingAddress." + name, shippingAddress=address)
        for country in ("USA", "us", "XX", 1):
            self.refused("VALIDATION_ERROR", "shippingAddress.country",
                         shippingAddress={**HUB_ADDRESS, "country": country})
        self.refused("VALIDATION_ERROR", "shippingAddress", shippingAddress=None)
        self.refused("VALIDATION_ERROR", "billingAddress.zip",
                     billingAddress={**HUB_ADDRESS, "zip": None})
        self.refused("VALIDATION_ERROR", "customer.email", customer={"email": 1})
        for name in ("isRush", "isGift"):
            self.refused("VALIDATION_ERROR", name, **{name: "yes"})
        self.refused("VALIDATION_ERROR", "notes", notes=[])

    def test_item_rules(self):
        self.refused("VALIDATION_ERROR", "items", items=[])
        self.refused("VALIDATION_ERROR", "items", items=None)
        self.refused("VALIDATION_ERROR", "items", items=[{"sku": "BC-3001-L-BLACK",
                                                          "quantity": 1}] * 501)
        self.refused("VALIDATION_ERROR", "items[0].sku", **self.item(sku=None))
        self.refused("VALIDATION_ERROR", "items[0].variationId", **self.item(variationId="x"))
        for quantity in (0, 10001, -1, 1.5, "1", True, None):
            self.refused("VALIDATION_ERROR", "items[0].quantity", **self.item(quantity=quantity))
        for sku in ("NONE", "BC-3001-L-NONE", "BC-3001-L-BLACK ", "bc-3001-l-black"):
            self.refused("SKU_NOT_FOUND", "items[0].sku", **self.item(sku=sku))
        self.refused("SKU_NOT_FOUND", "items[0].variationId",
                     **self.item(variationId="9b4f7e2a-0000-4000-8000-000000000000"))
        reply = self.hub("POST", "/orders", hub_order(
            "largest", items=[{"sku": "BC-3001-L-BLACK", "quantity": 10}] * 500))
        self.assertEqual(reply.status, 201)

    def test_inactive_and_unpriced_variations_are_not_orderable(self):
        seen = set()
        for row in self.hub("GET", "/models").data["models"]:
            for variation in self.hub("GET", "/models/" + row["id"]).data["variations"]:
                kind = (variation["isActive"], variation["pricing"] is not None)
                if kind not in seen:
                    seen.add(kind)
                    if kind != (True, True):
                        self.refused("SKU_NOT_FOUND", "items[0].sku",
                                     items=[{"sku": variation["sku"], "quantity": 1}])
        self.assertTrue({(True, True), (False, True), (True, False)} <= seen)

    def test_design_rules(self):
        where = "items[0].designs[0]"
        for code, field, broken in (
                ("VALIDATION_ERROR", ".url", design(url=None)),
                ("VALIDATION_ERROR", ".placement", design(None)),
                ("VALIDATION_ERROR", ".widthInches", design(width=0)),
                ("VALIDATION_ERROR", ".heightInches", design(height="11")),
                ("VALIDATION_ERROR", ".printMethod", design(printMethod="EMB")),
                ("PLACEMENT_NOT_SUPPORTED_FOR_SKU", ".placement", design("width3")),
                ("PRINT_DIMENSIONS_EXCEED_PLACEMENT_MAX", ".widthInches", design(width=12.01)),
                ("PRINT_DIMENSIONS_EXCEED_PLACEMENT_MAX", ".heightInches",
                 design("width2", 4, 4.5)),
                ("DESIGN_FETCH_FAILED", ".url", design(url="http://cdn.partner.com/a.png")),
                ("DESIGN_FETCH_FAILED", ".url", design(url="https://unreachable.example/a.png")),
                ("DESIGN_FETCH_FAILED", ".url", design(url="a.png")),
                ("DESIGN_FORMAT_INVALID", ".url", design(url="https://cdn.partner.com/a.svg")),
                ("DESIGN_TOO_LARGE", ".url", design(url="https://cdn.partner.com/too-large.png"))):
            self.refused(code, where + field, **self.item(designs=[broken]))
        self.refused("VALIDATION_ERROR", "items[0].designs[1].placement",
                     **self.item(designs=[design(), design()]))
        self.refused("VALIDATION_ERROR", "items[0].designs", **self.item(designs="x"))
        one = {"sku": "BC-3001-L-BLACK", "quantity": 1, "designs": [design()]}
        self.refused("VALIDATION_ERROR", "items", items=[one] * 51)
        self.assertEqual(self.hub("POST", "/orders", hub_order("50", items=[one] * 50)).status, 201)
        for url in ("https://cdn.partner.com/a.JPG?v=1", "https://cdn.partner.com/b.jpeg"):
            self.assertEqual(self.hub("POST", "/orders", hub_order(
                url, **self.item(designs=[design(url=url)]))).status, 201)

    def test_variation_id_wins_over_sku(self):
        other = self.app.store.hub.variation(0, 0)
        self.hub("POST", "/orders", hub_order(**self.item(variationId=other.id)))
        self.assertEqual(self.control("GET", "/orders")[0]["items"][0]["sku"], other.sku)

    def test_several_problems_are_reported_together(self):
        reply = self.hub("POST", "/orders", hub_order(items=[
            {"sku": "A", "quantity": 1}, {"sku": "BC-3001-L-BLACK", "quantity": 1},
            {"sku": "B", "quantity": 1}]))
        self.assertEqual(reply.json["error"], {
            "code": "SKU_NOT_FOUND", "message": "one or more skus are not found or not orderable",
            "details": [{"field": "items[0].sku"}, {"field": "items[2].sku"}]})

    def test_a_body_that_is_no_json_object_is_400(self):
        for body in (b"", b"{", b"[]", b"\xff{}", b'{"externalOrderId":"x","a":Infinity}'):
            self.assertEqual(self.hub("POST", "/orders", body).code, "VALIDATION_ERROR")


class Idempotency(SandboxTest):
    """externalOrderId"""

    def place(self, body=None, **more):
        """POST an order."""
        return self.hub("POST", "/orders", body or hub_order(), **more)

    def test_the_same_body_gets_the_same_answer_and_one_order(self):
        replies = [self.place() for _ in range(3)]
        self.assertEqual({(reply.status, reply.body) for reply in replies},
                         {(201, replies[0].body)})
        orders = self.control("GET", "/orders")
        self.assertEqual([order["n_posts"] for order in orders], [3])
        self.assertEqual(len(orders[0]["requests"]), 3)

    def test_another_body_is_a_conflict(self):
        self.place()
        reply = self.place(hub_order(notes="changed"))
        self.assertEqual((reply.status, reply.code), (409, "EXTERNAL_ORDER_ID_CONFLICT"))
        self.assertEqual(self.place().status, 201)

    def test_the_key_is_per_dealer(self):
        self.assertEqual(self.place().status, 201)
        self.assertEqual(self.place(hub_order(notes="x"), key="ek_live_other").status, 201)
        self.assertEqual(len(self.control("GET", "/orders")), 2)

    def test_a_refusal_is_replayed_even_when_its_reason_is_gone(self):
        broken = hub_order("bad", items=[{"sku": "NONE", "quantity": 1}])
        first = self.place(broken)
        self.assertEqual(self.place(broken).body, first.body)
        self.assertEqual(self.place(hub_order("bad")).code, "EXTERNAL_ORDER_ID_CONFLICT")

    def test_402_is_replayed_after_a_top_up_and_a_new_id_goes_through(self):
        self.control("POST", "/settings", {"wallet": {"credit_limit": "1250.00"}})
        first = self.place()
        self.assertEqual((first.status, first.code), (402, "INSUFFICIENT_BALANCE"))
        self.control("POST", "/settings", {"wallet": {"credit_limit": "5000.00"}})
        self.assertEqual((self.place().status, self.place().body), (402, first.body))
        self.assertEqual(self.place(hub_order("shopify-1234-b")).status, 201)

    def test_headroom_may_be_used_up_to_the_cent(self):
        self.control("POST", "/settings", {"wallet": {"credit_limit": "1253.38"}})
        self.assertEqual(self.place().status, 201)
        self.control("POST", "/settings", {"wallet": {"credit_limit": "1253.37"}})
        self.assertEqual(self.place(hub_order("b")).status, 402)

    def test_after_90_days_the_answer_is_forgotten_and_the_order_is_not(self):
        first = self.place().data["orderId"]
        self.control("POST", "/clock", {"advance_seconds": 90 * DAY - 60})
        self.tokens.clear()
        self.assertEqual(self.place().data["orderId"], first)
        self.control("POST", "/clock", {"advance_seconds": 120})
        self.assertNotEqual(self.place().data["orderId"], first)
        found = self.hub("GET", "/orders", query={"externalOrderId": "shopify-1234"}).data
        self.assertEqual(found["pagination"]["totalCount"], 2)

    def test_while_the_first_is_in_flight_the_second_is_turned_away(self):
        self.token()
        self.faults({"action": "delay", "ms": 8000, "path": "/orders$", "times": 1})
        join = self.in_background(self.place)
        self.until(lambda: self.app.store.idempotency)
        for body in (hub_order(), hub_order(notes="other")):
            reply = self.place(body)
            self.assertEqual((reply.status, reply.code), (409, "ORDER_CREATE_IN_PROGRESS"))
        first = self.let_go(join)
        self.assertEqual((first.status, self.place().body), (201, first.body))
        self.assertEqual(len(self.control("GET", "/orders")), 1)

    def test_what_never_was_processed_leaves_no_trace(self):
        self.control("POST", "/settings", {"rate_limit": 1})
        self.hub("GET", "/balance")
        self.assertEqual(self.place().status, 429)
        self.assertEqual(self.place(key="ek_live_readonly").status, 403)
        self.control("POST", "/settings", {"rate_limit": 0})
        self.assertEqual(self.place(hub_order(notes="other")).status, 201)

    def test_only_equal_bytes_are_an_identical_body(self):
        body = b'{"externalOrderId":"a","shippingAddress":null}'
        self.assertEqual(self.place(body).code, "VALIDATION_ERROR")
        self.assertEqual(self.place(body.replace(b":", b": ")).code, "EXTERNAL_ORDER_ID_CONFLICT")


class Follow(SandboxTest):
    """GET, list, cancel, designs and the lifecycle"""

    def place(self, external_id="shopify-1234", **changes):
        """Place an order and give its id."""
        return self.hub("POST", "/orders", hub_order(external_id, **changes)).data["orderId"]

    def advance(self, order_id, **body):
        """Move an order on."""
        return self.control("POST", "/orders/%s/advance" % order_id, body)

    def test_an_order_is_shown_with_everything_that_it_was_given(self):
        order_id = self.place(isRush=True, notes="x")
        data = self.hub("GET", "/orders/" + order_id).data
        self.assertEqual((data["orderId"], data["externalOrderId"], data["productionStatus"]),
                         (order_id, "shopify-1234", "ApprovalPending"))
        self.assertEqual(data["shippingAddress"], hub_order()["shippingAddress"])
        self.assertEqual(data["billingAddress"], data["shippingAddress"])
        self.assertEqual((data["isRush"], data["isGift"], data["shipments"]), (True, False, []))
        self.assertEqual(data["items"][0]["designs"], [{
            "placement": "width1",
            "url": "https://cdn.customhub.io/designs/%s/abc.png" % order_id,
            "widthInches": Decimal("11.0"), "heightInches": Decimal("11.0"),
            "printMethod": "DTF", "designWidthInches": Decimal("11.0")}])
        self.assertEqual([(e["type"], e["by"]) for e in data["events"]], [("created", "partner")])
        self.assertNotIn("rejection", data)

    def test_the_documents_history(self):
        order_id = self.place()
        self.assertEqual(self.advance(order_id, to="Approved")["entered"], ["Approved"])
        self.advance(order_id, shipment={"trackingNumber": "9400111"})
        data = self.hub("GET", "/orders/" + order_id).data
        self.assertEqual(data["productionStatus"], "Approved")
        self.assertEqual([(e["type"], e["by"]) for e in data["events"]],
                         [("created", "partner"), ("approved", "admin"), ("shipped", "system")])
        parcel = data["shipments"][0]
        self.assertEqual(data["events"][2]["shipmentId"], parcel["shipmentId"])
        self.assertEqual((parcel["carrier"], parcel["trackingNumber"], parcel["trackingUrl"]), (
            "USPS", "9400111", "https://tools.usps.com/go/TrackConfirmAction?tLabels=9400111"))
        row = self.hub("GET", "/orders", query={"status": "Shipped"}).data["orders"][0]
        self.assertEqual({name: row[name] for name in row if name != "createdAt"}, {
            "orderId": order_id, "externalOrderId": "shopify-1234",
            "status": "Progressing Shipment", "productionStatus": "Approved", "itemCount": 1,
            "total": Decimal("12.88"), "lastShippedAt": parcel["shippedAt"]})

    def test_all_states_on_the_way(self):
        order_id = self.place()
        self.assertEqual(self.advance(order_id, to="Shipped")["entered"],
                         ["Approved", "InProduction", "Shipped"])
        self.assertEqual(self.advance(order_id)["entered"], [])
        self.control("POST", "/orders/%s/advance" % order_id, {"to": "Approved"}, status=400)
        row = self.hub("GET", "/orders").data["orders"][0]
        self.assertEqual((row["status"], row["productionStatus"]), ("Shipped", "Shipped"))

    def test_a_rejection_says_why(self):
        order_id = self.place()
        self.advance(order_id, to="Rejected", reason="blurred")
        data = self.hub("GET", "/orders/" + order_id).data
        self.assertEqual((data["productionStatus"], data["rejection"]["reason"]),
                         ("Rejected", "blurred"))
        self.assertEqual(self.hub("DELETE", "/orders/" + order_id).code, "ORDER_NOT_CANCELLABLE")

    def test_a_state_that_no_document_knows(self):
        order_id = self.place()
        self.advance(order_id, to="OnHold")
        self.assertEqual(self.hub("GET", "/orders/" + order_id).data["productionStatus"], "OnHold")

    def test_lifecycle_auto_steps_at_each_look(self):
        self.control("POST", "/settings", {"lifecycle": "auto", "step_seconds": 0})
        order_id = self.place()
        seen = [self.hub("GET", "/orders/" + order_id).data["productionStatus"],
                self.hub("GET", "/orders").data["orders"][0]["productionStatus"],
                self.hub("GET", "/orders/" + order_id).data["productionStatus"],
                self.hub("GET", "/orders/" + order_id).data["productionStatus"]]
        self.assertEqual(seen, ["Approved", "InProduction", "Shipped", "Shipped"])

    def test_cancel_while_pending_is_idempotent(self):
        order_id = self.place()
        first = self.hub("DELETE", "/orders/" + order_id)
        self.assertEqual((first.status, first.data["status"]), (200, "Cancelled"))
        self.control("POST", "/clock", {"advance_seconds": 3600})
        self.assertEqual(self.hub("DELETE", "/orders/" + order_id).body, first.body)
        self.assertEqual([e["type"] for e in self.hub("GET", "/orders/" + order_id).data["events"]],
                         ["created", "cancelled"])

    def test_cancel_after_approval_is_refused(self):
        for state in ("Approved", "InProduction", "Shipped"):
            order_id = self.place(state)
            self.advance(order_id, to=state)
            reply = self.hub("DELETE", "/orders/" + order_id)
            self.assertEqual((reply.status, reply.code), (400, "ORDER_NOT_CANCELLABLE"))

    def test_orders_of_another_dealer_do_not_exist(self):
        order_id = self.place()
        for method, path, body in (
                ("GET", "/orders/" + order_id, None), ("DELETE", "/orders/" + order_id, None),
                ("POST", "/orders/%s/items/x/designs" % order_id, {"designs": [design()]}),
                ("GET", "/orders/none", None)):
            reply = self.hub(method, path, body, key="ek_live_other")
            self.assertEqual((reply.status, reply.code), (404, "NOT_FOUND"))
        self.assertEqual(self.hub("GET", "/orders", key="ek_live_other").data["orders"], [])

    def test_the_list_filters_and_pages_newest_first(self):
        for number in range(5):
            self.place("o-%d" % number)
            self.control("POST", "/clock", {"advance_seconds": 60})
        self.advance("o-1", to="Approved")
        everything = self.hub("GET", "/orders").data
        self.assertEqual([row["externalOrderId"] for row in everything["orders"]],
                         ["o-4", "o-3", "o-2", "o-1", "o-0"])

        def ids(**query):
            return [row["externalOrderId"] for row in
                    self.hub("GET", "/orders", query=query).data["orders"]]

        self.assertEqual(ids(status="Approved"), ["o-1"])
        self.assertEqual(ids(externalOrderId="o-3"), ["o-3"])
        self.assertEqual(ids(externalOrderId="o-"), [])
        since = everything["orders"][1]["createdAt"]
        self.assertEqual(ids(since=since), ["o-4", "o-3"])
        self.assertEqual(ids(since=since.replace("Z", "+00:00"), status="Approved"), [])
        self.assertEqual(ids(page=3, pageSize=2), ["o-0"])
        page = self.hub("GET", "/orders", query={"page": 1, "pageSize": 2}).data["pagination"]
        self.assertEqual(page, {"page": 1, "pageSize": 2, "totalCount": 5, "hasMore": True})

    def test_list_parameters_are_checked(self):
        for name, value in (("status", "approved"), ("since", "yesterday"),
                            ("since", "2026-05-01"), ("since", "2026-05-01T00:00:00"),
                            ("page", "0"), ("pageSize", "many")):
            reply = self.hub("GET", "/orders", query={name: value})
            self.assertEqual((reply.code, reply.fields), ("VALIDATION_ERROR", [name]))
        self.assertEqual(self.hub("GET", "/orders?since=2026-05-01T00:00:00+00:00").code,
                         "VALIDATION_ERROR")


class Designs(SandboxTest):
    """POST /orders/{orderId}/items/{itemId}/designs"""

    def setUp(self):
        super().setUp()
        sweatshirt = next(v.sku for v in self.app.store.hub.variations(1) if v.priced)
        self.order_id = self.hub("POST", "/orders", hub_order(items=[
            {"sku": sweatshirt, "quantity": 2, "designs": [design()]}])).data["orderId"]
        self.item_id = self.hub("GET", "/orders/" + self.order_id).data["items"][0]["id"]

    def add(self, *designs, item_id=None):
        """Add designs to the order's item."""
        return self.hub("POST", "/orders/%s/items/%s/designs" % (
            self.order_id, item_id or self.item_id), {"designs": list(designs)})

    def test_the_documents_design_is_added_and_the_cost_recomputed(self):
        before = self.hub("GET", "/orders/" + self.order_id).data["computedCost"]
        reply = self.add(design("width2", 11.0, 14.0, "https://cdn.partner.com/designs/back.png",
                                printMethod="DTF"))
        self.assertEqual(reply.status, 200, reply.body)
        self.assertEqual([(d["placement"], d["printMethod"]) for d in reply.data["designs"]],
                         [("width1", "DTF"), ("width2", "DTF")])
        price = next(zone["printMethods"][0]["price"]
                     for zone in self.app.store.hub.placements(1) if zone["code"] == "width2")
        after = reply.data["computedCost"]
        self.assertEqual(after["itemsSubtotal"] - before["itemsSubtotal"], 2 * price)
        self.assertEqual(self.hub("GET", "/orders/" + self.order_id).data["computedCost"], after)

    def test_a_used_placement_is_replaced(self):
        reply = self.add(design(width=3.0, url="https://cdn.partner.com/new.jpg"))
        self.assertEqual([(d["placement"], d["widthInches"]) for d in reply.data["designs"]],
                         [("width1", Decimal("3.0"))])
        self.assertRegex(reply.data["designs"][0]["url"], "/new.jpg$")

    def test_the_wallet_is_not_checked_again(self):
        self.control("POST", "/settings", {"wallet": {"credit_limit": 0}})
        self.assertEqual(self.add(design("width2", 5, 5)).status, 200)

    def test_rules(self):
        for code, field, designs in (
                ("VALIDATION_ERROR", "designs", []),
                ("VALIDATION_ERROR", "designs[0].url", [design(url=None)]),
                ("VALIDATION_ERROR", "designs[1].placement", [design(), design()]),
                ("PLACEMENT_NOT_SUPPORTED_FOR_SKU", "designs[0].placement", [design("sleeve")]),
                ("PRINT_DIMENSIONS_EXCEED_PLACEMENT_MAX", "designs[0].widthInches",
                 [design(width=13)]),
                ("DESIGN_FORMAT_INVALID", "designs[0].url",
                 [design(url="https://cdn.partner.com/a.gif")])):
            reply = self.add(*designs)
            self.assertEqual((reply.status, reply.code, reply.fields), (400, code, [field]))
        self.assertEqual(self.add(design(), item_id="none").code, "NOT_FOUND")

    def test_after_approval_the_order_is_not_mutable(self):
        self.control("POST", "/orders/%s/advance" % self.order_id, {"to": "Approved"})
        reply = self.add(design("width2", 5, 5))
        self.assertEqual((reply.status, reply.code), (409, "ORDER_NOT_MUTABLE"))


if __name__ == "__main__":
    unittest.main()
