"""How an order moves on at the partner, by the control API or by itself."""

import webhooks
from jsonio import cents

# The way of an order that nothing stops, and the event that each step leaves.
HUB_STATES = ("ApprovalPending", "Approved", "InProduction", "Shipped")
CUP_STATES = ("submitted", "in_production", "shipped", "delivered")
HUB_EVENTS = {"Approved": ("approved", "admin"), "InProduction": ("in_production", "system"),
              "Shipped": ("shipped", "system"), "Rejected": ("rejected", "admin"),
              "Cancelled": ("cancelled", "admin")}
ENDS = ("Shipped", "Rejected", "Cancelled", "delivered", "rejected", "cancelled")


def states(order):
    """The states of this order's API, first to last."""
    return HUB_STATES if order.api == "customhub-v1" else CUP_STATES


def add_event(store, order, kind, by, **more):
    """Append to the order's history."""
    order.events.append({"at": store.stamp(), "type": kind, "by": by, **more})
    order.changed_at = store.now()


def add_shipment(store, order, shipment=None):
    """Send a parcel; fields of the shipment override the made-up ones."""
    number = store.next_number("shipment")
    tracking = "9400111%015d" % number
    made = {
        "shipmentId": store.next_uuid("shipment"), "carrier": "USPS", "trackingNumber": tracking,
        "trackingUrl": "https://tools.usps.com/go/TrackConfirmAction?tLabels=" + tracking,
        "shippedAt": store.stamp(),
    }
    made.update(shipment or {})
    if "trackingNumber" in (shipment or {}) and "trackingUrl" not in shipment:
        made["trackingUrl"] = ("https://tools.usps.com/go/TrackConfirmAction?tLabels="
                               + str(made["trackingNumber"]))
    order.shipments.append(made)
    return made


def enter(store, order, state, shipment=None, reason=None):
    """Enter one state, with everything that it brings along."""
    order.state = state
    hub = order.api == "customhub-v1"
    more = {}
    if state == "Approved" and not order.debited:
        # The wallet is debited at approval, at the grand total that was locked at creation.
        order.debited = True
        wallet = store.wallet(order.dealer)
        wallet.balance = cents(wallet.balance + order.cost["grandTotal"])
    if state in ("Shipped", "shipped"):
        more["shipmentId"] = add_shipment(store, order, shipment)["shipmentId"]
    if state in ("Rejected", "rejected"):
        order.rejection = {"reason": reason or "Artwork resolution too low",
                           "rejectedAt": store.stamp()}
        more["reason"] = order.rejection["reason"]
    if state in ("Cancelled", "cancelled"):
        order.cancelled_at = store.stamp()
    kind, by = HUB_EVENTS.get(state, (state, "system")) if hub else (state, "system")
    add_event(store, order, kind, by, **more)
    webhooks.announce(store, order)


def advance(store, order, to=None, shipment=None, reason=None):
    """Move an order on: to a state, through all states between; by default one step.

    With a shipment and no state, a parcel leaves and the state stays, as in the
    CustomHub document's example.  Returns the states that were entered.  A state
    that no document knows is entered as it is.  ValueError where the documents
    rule the step out."""
    way = states(order)
    with store.lock:
        if to is None and shipment is not None:
            made = add_shipment(store, order, shipment)
            add_event(store, order, "shipped", "system", shipmentId=made["shipmentId"])
            return []
        if to is None:
            if order.state in ENDS or order.state not in way:
                return []
            to = way[way.index(order.state) + 1]
        if to == order.state:
            return []
        if to in way and order.state in way:
            steps = way[way.index(order.state) + 1:way.index(to) + 1]
            if not steps:
                raise ValueError("order is %s and cannot go back to %s" % (order.state, to))
        elif to in ("Rejected", "Cancelled") and order.state != "ApprovalPending":
            raise ValueError("order is %s; only ApprovalPending can become %s" % (order.state, to))
        elif to in ("rejected", "cancelled") and order.state in ENDS:
            raise ValueError("order is %s already" % order.state)
        else:
            steps = (to,)
        for state in steps:
            enter(store, order, state, shipment if state in ("Shipped", "shipped") else None,
                  reason)
        return list(steps)


def tick(store, order):
    """Lifecycle auto: a look at an order moves it on when its time has come."""
    settings = store.settings
    if (settings["lifecycle"] == "auto" and order.state not in ENDS
            and store.now() - order.changed_at >= settings["step_seconds"]):
        return advance(store, order)
    return []
