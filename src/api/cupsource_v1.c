/*
 * cupsource_v1.c
 *	  Cup Source v1 ("Developer Portal v1.2"): products by page, orders,
 *	  tracking.
 *
 * The document shows the envelope but neither a product nor an order, so the
 * paths below accept the likely spellings, the most specific first; what none
 * of them holds stays in "raw".
 */
#include "postgres.h"

#include "src/api/cupsource.h"
#include "src/api/form.h"

/* Section "Rate Limits & Errors"; v2 lists no errors, so it shares these. */
const CsApiError cs_cupsource_errors[] =
{
	{NULL, 400, "Bad Request", "Check payload structure and required fields."},
	{NULL, 401, "Unauthorized", "Verify API key validity and expiration."},
	{NULL, 403, "Forbidden", "The account lacks required permissions."},
	{NULL, 404, "Not Found", "The endpoint or resource ID is invalid."},
	{NULL, 429, "Rate Limited", "Implement exponential backoff: try again after the time that Retry-After gives."},
	{NULL, 500, "Server Error", "Contact support if persistent."},
	{0}
};

/*
 * The documents name no order states.  Only words whose meaning leaves no
 * doubt are taken; any other is stored and the order is followed on.
 */
const CsOrderStatus cs_cupsource_statuses[] =
{
	{"submitted", "placed"},
	{"approved", "approved"},
	{"in_production", "in_production"},
	{"shipped", "shipped"},
	{"in_transit", "shipped"},
	{"out_for_delivery", "shipped"},
	{"delivered", "delivered"},
	{"rejected", "rejected"},
	{"cancelled", "cancelled"},
	{"canceled", "cancelled"},
	{0}
};

const CsColumn cs_cupsource_created_columns[] =
{
	CS_CUPSOURCE_ORDER_COLUMNS(CS_COLUMN_REQUIRED),
	{0}
};

/* What no price can be found without. */
const char *const cs_cupsource_quote_required[] = {"lines.quantity", NULL};

static const CsColumn product_columns[] =
{
	{"product_id", CS_TYPE_IDENTIFIER, 1, "id|product_id|sku", CS_COLUMN_REQUIRED},
	{"sku", CS_TYPE_IDENTIFIER, 1, "sku|id"},
	{"name", CS_TYPE_TEXT, 1, "name"},
	{"category", CS_TYPE_TEXT, 1, "category"},
	{"material", CS_TYPE_TEXT, 1, "material"},
	{"capacity", CS_TYPE_PROSE, 1, "capacity"},
	{"unit_price", CS_TYPE_NUMERIC, 1, "unit_price|price|pricing.unit_price"},
	{"currency", CS_TYPE_TEXT, 1, "currency|pricing.currency"},
	{"min_order_qty", CS_TYPE_BIGINT, 1, "min_order_qty|pricing.min_order_qty"},
	{"stock_status", CS_TYPE_STOCK, 1, "stock_status|stock|inventory|in_stock"},
	{"lead_time_days", CS_TYPE_INTEGER, 1, "lead_time_days"},
	{"certifications", CS_TYPE_TEXT_ARRAY, 1, "certifications"},
	{"image_url", CS_TYPE_TEXT, 1, "image_url"},
	{0}
};

static const CsFilter product_filters[] =
{
	{"category", "category", CS_TYPE_TEXT, CS_MATCH_EQUAL, "category"},
	{"material", "material", CS_TYPE_TEXT, CS_MATCH_EQUAL, "material"},
	{"capacity", "capacity", CS_TYPE_TEXT, CS_MATCH_EQUAL, "capacity"},
	{0}
};

static const CsColumn tracking_columns[] =
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

/* The order round its parcels. */
static const CsColumn tracked_columns[] =
{
	{"remote_id", CS_TYPE_IDENTIFIER, 0, "order_id|orderId|order.id"},
	{"remote_status", CS_TYPE_TEXT, 0, "order_status|orderStatus|order.status|status"},
	{0}
};

static const CsFilter order_filters[] =
{
	{"id", NULL, CS_TYPE_TEXT, CS_MATCH_EQUAL, "remote_id"},
	{0}
};

static const CsResource resources[] =
{
	/* GET /products */
	{
		.name = "products",
		.path = "/products",
		.root = "",
		.lists = {"data.products|data.items|products|items|data|"},
		.paging = CS_PAGING_NUMBER,
		.page_param = "page",
		.page_size = 20,
		.total_paths = "meta.total",
		.page_size_paths = "meta.per_page",
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
	/* GET /orders/{id}/tracking */
	{
		.name = "shipments",
		.path = "/orders/{id}/tracking",
		.root = "data|",
		.lists = {"shipments|tracking|"},
		.forgiving = true,		/* the document tells what there is, not how it looks */
		.filters = order_filters,
		.columns = tracking_columns,
	},
	{
		.name = "tracked",
		.path = "/orders/{id}/tracking",
		.root = "data|",
		.forgiving = true,
		.columns = tracked_columns,
	},
	{0}
};

/* POST /orders: items, shipping_address, currency. */
static const char *const order_fields[] =
{
	"lines.sku", "lines.quantity",
	"ship_to.line1", "ship_to.city", "ship_to.state", "ship_to.postal_code",
	"currency", "extra",
	NULL
};

/* The parts of the document's example that no parcel arrives without. */
static const char *const required_fields[] =
{
	"lines.quantity", "ship_to", "ship_to.line1", "ship_to.city", "ship_to.postal_code",
	NULL
};

static void
write_order(CsWriter *writer, const CsForm *form)
{
	cs_write_open(writer, NULL, '{');
	cs_write_open(writer, "items", '[');
	for (int i = 0; i < form->nlines; i++)
	{
		cs_write_open(writer, NULL, '{');
		cs_write_string(writer, "sku", form->lines[i].sku);
		cs_write_number(writer, "qty", form->lines[i].quantity);
		cs_write_close(writer, '}');
	}
	cs_write_close(writer, ']');
	cs_write_open(writer, "shipping_address", '{');
	cs_write_string(writer, "line1", form->ship_to->line1);
	cs_write_string(writer, "city", form->ship_to->city);
	cs_write_string(writer, "state", form->ship_to->state);
	cs_write_string(writer, "zip", form->ship_to->postal_code);
	cs_write_close(writer, '}');
	cs_write_string(writer, "currency", form->currency);
	cs_write_close(writer, '}');
}

static const CsOrderApi orders =
{
	.create_path = "/orders",
	.created_status = "submitted",
	.tracking_path = "/orders/{id}/tracking",
	.fields = order_fields,
	.quote_fields = order_fields,	/* an estimate leaves alone what has no price */
	.required = required_fields,
	.quote_required = cs_cupsource_quote_required,
	.rule_codes = {[CS_RULE_FORM] = "400"},	/* the document has no codes but the statuses */
	.write_order = write_order,
	.statuses = cs_cupsource_statuses,
};

const CsApi cs_api_cupsource_v1 =
{
	.name = "cupsource-v1",
	.title = "Cup Source v1",
	.base_url = "https://api.cupsource.com/v1",
	.auth = CS_AUTH_BEARER_KEY,
	.rate_limit = 120,
	.resources = resources,
	.errors = cs_cupsource_errors,
	.orders = &orders,
};
