"""The control API: journal, orders, catalogue, clock, settings, keys."""

import hashlib
import unittest
from decimal import Decimal

from harness import V1_KEY, SandboxTest, hub_order, v1_order


class TheJournal(SandboxTest):
    """GET, DELETE /_control/requests, /count, /wait"""

    def test_every_request_is_noted_in_order_with_what_it_said(self):
        self.v1("GET", "/products", query={"category": "cups", "page": 1})
        self.v1("POST", "/orders", b'{"a":"\xc3\xa9"}')
        first, second = self.control("GET", "/requests")
        self.assertEqual((first["n"] + 1, first["api"], first["method"], first["path"],
                          first["query"], first["body"], first["status"]),
                         (second["n"], "cupsource-v1", "GET", "/v1/products",
                          {"category": "cups", "page": "1"}, "", 200))
        self.assertEqual((second["body"], second["body_bytes"], second["body_sha256"],
                          second["status"]),
                         ('{"a":"\u00e9"}', 10,
                          hashlib.sha256(b'{"a":"\xc3\xa9"}').hexdigest(), 400))
        self.assertLess(first["at"], second["at"])
        self.assertNotEqual(first["connection"], second["connection"])
        self.assertEqual((first["tls"], first["http_version"], first["key"], first["fault"]),
                         (False, "HTTP/1.1", V1_KEY, None))
        self.assertGreater(first["bytes"], 0)

    def test_secrets_are_redacted_to_scheme_and_tail(self):
        self.v1("GET", "/products")
        headers = self.control("GET", "/requests")[0]["headers"]
        self.assertEqual(headers["authorization"], "Bearer ...demo")

    def test_control_requests_are_not_noted(self):
        self.control("GET", "/health")
        self.assertEqual(self.control("GET", "/requests"), [])

    def test_filters(self):
        self.v1("GET", "/products")
        self.v1("POST", "/orders", v1_order())
        self.hub("POST", "/orders", hub_order())
        for expected, query in ((3 + 1, {}), (2, {"api": "cupsource-v1"}), (3, {"method": "POST"}),
                                (1, {"path": "/v1/orders"}), (0, {"path": "/v1/order"}),
                                (2, {"path": "/(v1|api/v1)/orders"}), (2, {"status": "201"}),
                                (1, {"body": "shopify-1234"}), (1, {"key": "ek_live_demo"}),
                                (0, {"status": "none"})):
            self.assertEqual(self.count(**query), expected, query)
        for query in ({"paht": "x"}, {"api": "v1"}, {"path": "("}):
            self.control("GET", "/count", query=query, status=400)

    def test_delete_empties_it(self):
        self.v1("GET", "/products")
        self.control("DELETE", "/requests")
        self.assertEqual(self.count(), 0)

    def test_wait_blocks_until_enough_arrived(self):
        join = self.in_background(self.control, "GET", "/wait",
                                  query={"count": 2, "path": "/v1/products", "timeout": 10})
        self.v1("GET", "/products")
        self.v1("POST", "/orders", v1_order())
        self.v1("GET", "/products")
        self.assertEqual(join(), {"count": 2, "reached": True})

    def test_wait_gives_up(self):
        self.v1("GET", "/products")
        self.assertEqual(self.control("GET", "/wait", query={"count": 2, "timeout": 0.05}),
                         {"count": 1, "reached": False})


class State(SandboxTest):
    """Orders, catalogue, clock, settings, keys, reset"""

    def test_orders_can_be_found_by_id_number_and_external_id(self):
        order_id = self.hub("POST", "/orders", hub_order()).data["orderId"]
        for name in (order_id, "PO-12345", "shopify-1234"):
            self.assertEqual(self.control("GET", "/orders/" + name)["id"], order_id)
        self.control("GET", "/orders/none", status=404)
        self.control("POST", "/orders/none/advance", {}, status=404)

    def test_costs_are_those_of_the_document(self):
        costs = {tuple(row[:3]): row[3] for row in self.control("GET", "/costs")}
        self.assertEqual((costs["BC-3001-L-BLACK", None, None],
                          costs["BC-3001-L-BLACK", "width1", "DTF"]),
                         (Decimal("5.68"), Decimal("8.18")))

    def test_orders_can_be_filtered_and_moved_together(self):
        self.v1("POST", "/orders", v1_order())
        for external_id in ("a", "b"):
            self.hub("POST", "/orders", hub_order(external_id))
        self.control("POST", "/orders/a/advance", {"to": "Rejected"})
        self.assertEqual(len(self.control("GET", "/orders", query={"api": "customhub-v1"})), 2)
        moved = self.control("POST", "/orders/advance_all", {"to": "InProduction"},
                             query={"api": "customhub-v1"})
        self.assertEqual([entry["state"] for entry in moved], ["InProduction"])
        self.assertEqual([o["external_id"] for o in
                          self.control("GET", "/orders", query={"status": "InProduction"})], ["b"])
        self.control("POST", "/orders/advance_all")
        self.assertEqual([o["state"] for o in self.control("GET", "/orders")],
                         ["in_production", "Rejected", "Shipped"])
        for query in ({"state": "x"}, {"api": "hub"}):
            self.control("GET", "/orders", query=query, status=400)

    def test_prices_arrive_as_they_were_written(self):
        for text in ("0.1", "0.14", "12345678901234.56", "1E-7", "0.00"):
            self.control("POST", "/catalog", {"reprice": {"CS-8OZ-ECO": text}})
            body = self.v1("GET", "/products").body.decode()
            self.assertIn('"unit_price":%s,' % text, body)

    def test_a_hub_price_changes_detail_and_quote_alike(self):
        self.control("POST", "/catalog", {"reprice": {"BC-3001-L-BLACK": 6.00},
                                          "reprice_print": {"BC3001": {"width1": {"DTF": 3.00}}}})
        reply = self.hub("POST", "/orders", hub_order())
        self.assertEqual(reply.data["computedCost"]["itemsSubtotal"], Decimal("9.00"))

    def test_the_list_of_models_shows_every_change_at_once(self):
        def bella():
            return self.hub("GET", "/models", query={"pageSize": 1}).data["models"][0]

        before = bella()
        for change, member, expected in (
                ({"reprice": {"BC-3001-XS-BLACK": "1.00"}}, "fromBlankCost", Decimal("1.00")),
                ({"reprice_print": {"BC3001": {"width2": {"DTF": "2.00"}}}}, "fromUnitPrice",
                 Decimal("3.00")),
                ({"remove": ["BC-3001-XS-BLACK"]}, "pricedVariationCount", 187),
                ({"reprice_fraction": 0.04, "api": "customhub-v1"}, "fromBlankCost",
                 Decimal("4.09"))):
            self.control("POST", "/catalog", change)
            self.assertEqual(bella()["pricing"][member], expected)
        self.control("POST", "/reset", {"catalog": True})
        self.tokens.clear()
        self.assertEqual(bella(), before)

    def test_a_fraction_is_repriced(self):
        before = self.v1("GET", "/products", query={"per_page": 100}).data
        changed = self.control("POST", "/catalog", {"reprice_fraction": 0.05,
                                                    "api": "cupsource"})["changed"]
        self.assertEqual(len(changed), 7)
        after = self.v1("GET", "/products", query={"per_page": 100}).data
        self.assertEqual([b["sku"] for a, b in zip(before, after) if a != b],
                         [sku for sku in changed if sku in {row["sku"] for row in before}])
        self.assertEqual(self.control("POST", "/catalog", {
            "reprice_fraction": 0.1, "api": "customhub-v1"})["changed"],
            ["BC3001", self.app.store.hub.code(9)[0],
             self.app.store.hub.code(18)[0]])

    def test_products_go_and_come_back(self):
        before = self.v1("GET", "/products", query={"page": 2}).data
        self.control("POST", "/catalog", {"remove": ["CS-CF-12DW", "BC-3001-L-BLACK", "CC1566"]})
        reply = self.v1("GET", "/products", query={"page": 2})
        self.assertEqual((reply.json["meta"]["total"], reply.data[:19]), (141, before[1:]))
        self.assertEqual(self.hub("POST", "/orders", hub_order("x")).code, "SKU_NOT_FOUND")
        models = self.hub("GET", "/models").data["models"]
        self.assertEqual((len(models), models[0]["variationCount"]), (26, 187))
        self.control("POST", "/catalog", {"restore": ["CS-CF-12DW", "BC-3001-L-BLACK", "CC1566"]})
        self.assertEqual(self.v1("GET", "/products", query={"page": 2}).data, before)
        self.assertEqual(self.hub("POST", "/orders", hub_order("y")).status, 201)

    def test_products_are_added_renamed_and_changed(self):
        added = self.control("POST", "/catalog", {
            "add": 8, "add_models": 3, "rename": {"CS-8OZ-ECO": "Caf\u00e9 \u2615",
                                                  "BC3001": "Bella"},
            "change": {"CS-8OZ-ECO": {"stock_status": "backorder", "lead_time_days": 9}}})
        self.assertEqual((added["products"], added["models"]), (150, 30))
        row = self.v2("GET", "/products").data[1]
        self.assertEqual((row["name"], row["stock_status"], row["lead_time_days"]),
                         ("Caf\u00e9 \u2615", "backorder", 9))
        self.assertEqual(self.hub("GET", "/models").data["models"][0]["name"], "Bella")

    def test_a_filter_sees_what_was_changed(self):
        query = {"min_moz": 9000}
        self.assertEqual(self.v2("GET", "/products", query=query).data, [])
        self.control("POST", "/catalog", {"change": {"CS-8OZ-ECO": {"min_order_qty": 9000}}})
        self.assertEqual([row["sku"] for row in self.v2("GET", "/products", query=query).data],
                         ["CS-8OZ-ECO"])

    def test_unknown_names_are_said(self):
        for body in ({"reprice": {"NONE": 1}}, {"remove": ["NONE"]}, {"rename": {"NONE": "x"}},
                     {"change": {"NONE": {}}}, {"reprice": {"CS-8OZ-ECO": "NaN"}},
                     {"reprice": {"CS-8OZ-ECO": "much"}}, {"explode": 1},
                     {"reprice_print": {"BC3001": {"width9": {"DTF": 1}}}}):
            self.assertTrue(self.control("POST", "/catalog", body, status=400)["error"])

    def test_settings_are_checked(self):
        for body in ({"unknown": 1}, {"shape": {"envelope": "box"}}, {"shape": "boxed"},
                     {"lifecycle": "x"}, {"order_status": 404}, {"rate_limit": {"hub": 1}},
                     {"signature": {"encoding": "rot13"}}, {"wallet": {"key": "none"}},
                     {"latency_ms": "x"}, {"retry_after": "soon"}, []):
            self.control("POST", "/settings", body or [1], status=400)

    def test_a_new_key_works_at_once_and_a_deleted_one_no_more(self):
        self.control("POST", "/keys", {"api": "customhub-v1", "key": "ek_new", "secret": "esk_new",
                                       "scopes": ["orders_r"], "balance": "-5.00",
                                       "credit_limit": "10.00"})
        data = self.hub("GET", "/balance", key="ek_new").data
        self.assertEqual((data["dealerId"], data["headroom"]), ("ek_new", Decimal("15.00")))
        self.assertEqual(self.hub("GET", "/models", key="ek_new").status, 403)
        self.control("DELETE", "/keys/customhub-v1/ek_new")
        self.assertEqual(self.hub("GET", "/balance", key="ek_new").status, 401)
        self.control("DELETE", "/keys/customhub-v1/ek_new", status=404)
        self.control("POST", "/keys", {"api": "cupsource-v1", "key": "slow", "rate_limit": 1})
        self.assertEqual([self.v1("GET", "/products", key="slow").status for _ in range(2)],
                         [200, 429])
        self.control("POST", "/keys", {"api": "x", "key": "y"}, status=400)

    def test_reset_clears_everything_and_the_catalogue_if_asked(self):
        self.hub("POST", "/orders", hub_order())
        self.control("POST", "/catalog", {"remove": ["CS-8OZ-ECO"]})
        self.control("POST", "/clock", {"advance_seconds": 1000})
        self.faults({"action": "reset"})
        self.control("POST", "/reset")
        self.assertEqual((self.control("GET", "/orders"), self.count(),
                          self.control("GET", "/faults"), self.app.store.clock_offset),
                         ([], 0, [], 0.0))
        self.assertEqual(self.v1("GET", "/products").json["meta"]["total"], 141)
        self.control("POST", "/reset", {"catalog": True})
        self.assertEqual(self.v1("GET", "/products").json["meta"]["total"], 142)

    def test_names_are_the_same_after_a_reset(self):
        names = []
        for _ in range(2):
            self.control("POST", "/reset")
            self.tokens.clear()
            names.append([self.v1("POST", "/orders", v1_order()).data["id"],
                          self.hub("POST", "/orders", hub_order()).data["orderId"]])
        self.assertEqual(names[0], names[1])

    def test_the_clock_moves_dates_too(self):
        before = self.send("GET", "/v1/products").headers["date"]
        self.control("POST", "/clock", {"advance_seconds": 86400})
        self.assertNotEqual(self.send("GET", "/v1/products").headers["date"][:16], before[:16])

    def test_what_is_not_there_is_404_and_bad_json_400(self):
        self.assertEqual(self.send("GET", "/_control/nothing").status, 404)
        self.assertEqual(self.send("POST", "/_control/settings", b"{").status, 400)
        self.assertTrue(self.control("GET", "/health")["ok"])


if __name__ == "__main__":
    unittest.main()
