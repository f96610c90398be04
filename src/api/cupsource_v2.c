/*
 * cupsource_v2.c
 *	  Cup Source v2 ("Partner Documentation v2.4.1"): products by cursor,
 *	  orders with custom branding, assets, webhooks.
 *
 * The document does not show the answer to an order, nor how to ask for one;
 * GET /orders/{id} is tried, and where it does not exist the webhooks' word
 * stands.
 */
#include "postgres.h"

#include "src/api/cupsource.h"
#include "src/api/form.h"

static const CsColumn product_columns[] =
{
	{"product_id", CS_TYPE_IDENTIFIER, 1, "id", CS_COLUMN_REQUIRED},
	{"sku", CS_TYPE_IDENTIFIER, 1, "sku"},
	{"name", CS_TYPE_TEXT, 1, "name"},
	{"category", CS_TYPE_TEXT, 1, "category", CS_COLUMN_UNSHOWN},
	{"material", CS_TYPE_TEXT, 1, "material"},
	{"capacity", CS_TYPE_PROSE, 1, "capacity"},
	{"certifications", CS_TYPE_TEXT_ARRAY, 1, "certifications"},
	{"unit_price", CS_TYPE_NUMERIC, 1, "pricing.unit_price"},
	{"currency", CS_TYPE_TEXT, 1, "pricing.currency"},
	{"min_order_qty", CS_TYPE_BIGINT, 1, "pricing.min_order_qty"},
	{"stock_status", CS_TYPE_STOCK, 1, "stock_status"},
	{"lead_time_days", CS_TYPE_INTEGER, 1, "lead_time_days"},
	{"image_url", CS_TYPE_TEXT, 1, "image_url"},
	{0}
};

/*
 * min_moz is the document's spelling of the minimum order quantity; whether its
 * threshold is a least or a greatest one is not said.
 */
static const CsFilter product_filters[] =
{
	{"category", "category", CS_TYPE_TEXT, CS_MATCH_EQUAL, "category"},
	{"eco_certified", "eco_certified", CS_TYPE_BOOLEAN},
	{"min_moq", "min_moz", CS_TYPE_BIGINT},
	{0}
};

static const CsFilter order_filters[] =
{
	{"id", NULL, CS_TYPE_TEXT, CS_MATCH_EQUAL, "remote_id"},
	{0}
};

static const CsColumn order_columns[] =
{
	CS_CUPSOURCE_ORDER_COLUMNS(0),
	{"other_id", CS_TYPE_IDENTIFIER, 0, "order_id|orderId", CS_COLUMN_UNSHOWN},
	{0}
};

static const CsColumn shipment_columns[] =
{
	{"shipment_id", CS_TYPE_IDENTIFIER, 1, "shipment_id|shipmentId|id"},
	{"carrier", CS_TYPE_TEXT, 1, "carrier"},
	{"tracking_number", CS_TYPE_IDENTIFIER, 1, "tracking_number|trackingNumber"},
	{"tracking_url", CS_TYPE_TEXT, 1, "tracking_url|trackingUrl"},
	{"status", CS_TYPE_TEXT, 1, "status"},
	{"estimated_delivery", CS_TYPE_TIMESTAMPTZ, 1, "estimated_delivery|estimatedDelivery"},
	{"signature_required", CS_TYPE_BOOLEAN, 1, "signature_required|signatureRequired"},
	{"shipped_at", CS_TYPE_TIMESTAMPTZ, 1, "shipped_at|shippedAt"},
	{0}
};

static const CsColumn asset_columns[] =
{
	{"asset_id", CS_TYPE_IDENTIFIER, 0, "asset_id|assetId|id", CS_COLUMN_REQUIRED},
	{0}
};

static const CsColumn webhook_columns[] =
{
	{"webhook_id", CS_TYPE_IDENTIFIER, 0, "id|webhook_id|webhookId", CS_COLUMN_REQUIRED},
	{0}
};

/*
 * The document shows no payload.  The usual envelope is id, type, time and
 * "data"; the order may be an object in it, or its fields may be data's own.
 */
static const CsColumn event_columns[] =
{
	{"event_id", CS_TYPE_IDENTIFIER, 0, "id|event_id|eventId"},
	{"type", CS_TYPE_TEXT, 0, "type|event_type|eventType|event"},
	{"at", CS_TYPE_TIMESTAMPTZ, 0, "created_at|createdAt|occurred_at|occurredAt|timestamp|created"},
	{
		"remote_id", CS_TYPE_IDENTIFIER, 0,
		"data.order_id|data.orderId|data.order.id|data.order.order_id|data.order.orderId|"
		"order_id|orderId|order.id"
	},
	{"data_id", CS_TYPE_IDENTIFIER, 0, "data.id|data.object.id"},
	{
		"order_number", CS_TYPE_IDENTIFIER, 0,
		"data.order_number|data.orderNumber|data.order.order_number|data.order.number|"
		"order_number|order.number"
	},
	{
		"remote_status", CS_TYPE_TEXT, 0,
		"data.order_status|data.orderStatus|data.order.status|order_status|orderStatus|order.status"
	},
	{"status", CS_TYPE_TEXT, 0, "data.status|data.object.status|status"},
	{
		"rejection_reason", CS_TYPE_PROSE, 0,
		"data.rejection_reason|data.rejectionReason|data.order.rejection_reason|data.reason"
	},
	{0}
};

/* A parcel among the fields of the order: "status" is its status only if it is not the order's. */
static const CsColumn lone_shipment_columns[] =
{
	{"shipment_id", CS_TYPE_IDENTIFIER, 0, "shipment_id|shipmentId"},
	{"carrier", CS_TYPE_TEXT, 0, "carrier"},
	{"tracking_number", CS_TYPE_IDENTIFIER, 0, "tracking_number|trackingNumber"},
	{"tracking_url", CS_TYPE_TEXT, 0, "tracking_url|trackingUrl"},
	{"status", CS_TYPE_TEXT, 0, "logistics_status|logisticsStatus|shipment_status|tracking_status"},
	{"estimated_delivery", CS_TYPE_TIMESTAMPTZ, 0, "estimated_delivery|estimatedDelivery"},
	{"signature_required", CS_TYPE_BOOLEAN, 0, "signature_required|signatureRequired"},
	{"shipped_at", CS_TYPE_TIMESTAMPTZ, 0, "shipped_at|shippedAt"},
	{0}
};

static const CsResource resources[] =
{
	/* GET /products */
	{
		.name = "products",
		.path = "/products",
		.root = "",
		.lists = {"data"},
		.paging = CS_PAGING_CURSOR,
		.page_param = "cursor",
		.size_param = "limit",
		.page_size = 100,
		.total_paths = "pagination.total",
		.has_more_paths = "pagination.has_more",
		.cursor_paths = "pagination.next_cursor",
		.filters = product_filters,
		.columns = product_columns,
	},
	/* POST /orders, the answer */
	{
		.name = "created",
		.path = "/orders",
		.root = "data.order|data|order|",
		.forgiving = true,
		.columns = cs_cupsource_created_columns,
	},
	/* GET /orders/{id}, not documented */
	{
		.name = "order",
		.path = "/orders/{id}",
		.root = "data.order|data|order|",
		.forgiving = true,
		.filters = order_filters,
		.columns = order_columns,
		.id_list = "orders",
		.id_column = "remote_id",
	},
	{
		.name = "shipments",
		.path = "/orders/{id}",
		.root = "",
		.lists = {
			"data.order.shipments|data.order.tracking|data.shipments|data.tracking|"
			"order.shipments|order.tracking|shipments|tracking"
		},
		.may_lack_list = true,
		.forgiving = true,
		.filters = order_filters,
		.columns = shipment_columns,
	},
	/* or one parcel without a list, its fields among those of the order or beside it */
	{
		.name = "shipment_among",
		.path = "/orders/{id}",
		.root = "data.order|data|order|",
		.forgiving = true,
		.columns = lone_shipment_columns,
	},
	{
		.name = "shipment_beside",
		.path = "/orders/{id}",
		.root = "data|",
		.forgiving = true,
		.columns = lone_shipment_columns,
	},
	/* POST /assets, the answer */
	{
		.name = "asset",
		.path = "/assets",
		.root = "data.asset|data|asset|",
		.columns = asset_columns,
	},
	/* POST /webhooks, the answer; and what comes to the URL then */
	{
		.name = "webhook",
		.path = "/webhooks",
		.root = "data.webhook|data|webhook|",
		.columns = webhook_columns,
	},
	{
		.name = "event",
		.path = "/webhooks",
		.root = "",
		.columns = event_columns,
	},
	{
		.name = "event_shipments",
		.path = "/webhooks",
		.root = "",
		.lists = {"data.shipments|data.shipment|data.tracking|shipments|shipment"},
		.may_lack_list = true,
		.columns = shipment_columns,
	},
	{
		.name = "event_shipment",
		.path = "/webhooks",
		.root = "data|",
		.columns = lone_shipment_columns,
	},
	{0}
};

/* POST /orders: line_items, custom_branding, shipping, billing. */
static const char *const order_fields[] =
{
	"lines.product_id", "lines.quantity",
	"branding.asset_id", "branding.print_method", "branding.proof_approval_deadline",
	"shipping_method",
	"ship_to.line1", "ship_to.city", "ship_to.state", "ship_to.postal_code", "ship_to.country",
	"po_number", "net_terms", "extra",
	NULL
};

/* The parts of the document's example without which nothing arrives, and nothing is printed. */
static const char *const required_fields[] =
{
	"lines.quantity", "ship_to", "ship_to.line1", "ship_to.city", "ship_to.postal_code",
	"ship_to.country", "branding.asset_id", "branding.print_method",
	NULL
};

/*
 * The API has no field for our external id.  It is the buyer's reference, so
 * it stands in for a purchase order number that is not given: whoever looks
 * for an order of unknown outcome finds it there.
 */
static void
write_order(CsWriter *writer, const CsForm *form)
{
	cs_write_open(writer, NULL, '{');
	cs_write_open(writer, "line_items", '[');
	for (int i = 0; i < form->nlines; i++)
	{
		cs_write_open(writer, NULL, '{');
		cs_write_string(writer, "product_id", form->lines[i].product_id);
		cs_write_number(writer, "quantity", form->lines[i].quantity);
		cs_write_close(writer, '}');
	}
	cs_write_close(writer, ']');
	if (form->branding)
	{
		cs_write_open(writer, "custom_branding", '{');
		cs_write_string(writer, "asset_id", form->branding->asset_id);
		cs_write_string(writer, "print_method", form->branding->print_method);
		cs_write_string(writer, "proof_approval_deadline",
						form->branding->proof_approval_deadline);
		cs_write_close(writer, '}');
	}
	cs_write_open(writer, "shipping", '{');
	cs_write_string(writer, "method", form->shipping_method);
	cs_write_open(writer, "address", '{');
	cs_write_string(writer, "line1", form->ship_to->line1);
	cs_write_string(writer, "city", form->ship_to->city);
	cs_write_string(writer, "state", form->ship_to->state);
	cs_write_string(writer, "postal_code", form->ship_to->postal_code);
	cs_write_string(writer, "country", form->ship_to->country);
	cs_write_close(writer, '}');
	cs_write_close(writer, '}');
	cs_write_open(writer, "billing", '{');
	cs_write_string(writer, "po_number", form->po_number ? form->po_number : form->external_id);
	cs_write_string(writer, "net_terms", form->net_terms);
	cs_write_close(writer, '}');
	cs_write_close(writer, '}');
}

static const CsOrderApi orders =
{
	.create_path = "/orders",
	.created_status = "submitted",
	.get_path = "/orders/{id}",
	.assets_path = "/assets",
	.asset_part = "file",
	.webhooks_path = "/webhooks",
	.fields = order_fields,
	.quote_fields = order_fields,	/* an estimate leaves alone what has no price */
	.required = required_fields,
	.quote_required = cs_cupsource_quote_required,
	.demands_minimum = true,	/* "All line items must meet MOQs." */
	.rule_codes = {[CS_RULE_FORM] = "400"},	/* no document of Cup Source has codes but the statuses */
	.write_order = write_order,
	.statuses = cs_cupsource_statuses,
};

const CsApi cs_api_cupsource_v2 =
{
	.name = "cupsource-v2",
	.title = "Cup Source v2",
	.base_url = "https://api.cupsource.com/v2",
	.auth = CS_AUTH_BEARER_KEY,
	.rate_limit = 120,
	.environment_header = "X-Environment",
	.resources = resources,
	.errors = cs_cupsource_errors,
	.orders = &orders,
};
