/*
 * customhub_v1.c
 *	  CustomHub Partner API v1: models with variations, placements and print
 *	  methods; quotes, orders, designs, wallet.
 *
 * The comments name the document's sections.  Paths are below base_url.
 */
#include "postgres.h"

#include "src/api/api.h"
#include "src/api/form.h"

#define MODEL_PATH "/api/v1/models/{model_id}"
#define ORDER_PATH "/api/v1/orders/{id}"

/* ---- catalogue ---- */

/* GET /api/v1/models as rows of cs_products: the from-prices of each model. */
static const CsColumn product_columns[] =
{
	{"product_id", CS_TYPE_IDENTIFIER, 1, "id", CS_COLUMN_REQUIRED},
	{"code", CS_TYPE_TEXT, 1, "code"},
	{"name", CS_TYPE_TEXT, 1, "name"},
	{"brand", CS_TYPE_TEXT, 1, "brand"},
	{"image_url", CS_TYPE_TEXT, 1, "primaryImageUrl"},
	{"unit_price", CS_TYPE_NUMERIC, 1, "pricing.fromUnitPrice"},
	{"list_price", CS_TYPE_NUMERIC, 1, "pricing.fromListPrice"},
	{"blank_cost", CS_TYPE_NUMERIC, 1, "pricing.fromBlankCost"},
	{"currency", CS_TYPE_TEXT, 1, "pricing.currency"},
	{"priced_variation_count", CS_TYPE_INTEGER, 1, "pricing.pricedVariationCount"},
	{"variation_count", CS_TYPE_INTEGER, 1, "variationCount"},
	{"is_featured", CS_TYPE_BOOLEAN, 1, "isFeatured"},
	{0}
};

/* The same list as rows of cs_models, with the tenant-wide defaults. */
static const CsColumn models_columns[] =
{
	{"model_id", CS_TYPE_IDENTIFIER, 1, "id", CS_COLUMN_REQUIRED},
	{"code", CS_TYPE_TEXT, 1, "code"},
	{"name", CS_TYPE_TEXT, 1, "name"},
	{"brand", CS_TYPE_TEXT, 1, "brand"},
	{"primary_image_url", CS_TYPE_TEXT, 1, "primaryImageUrl"},
	{"default_list_price", CS_TYPE_NUMERIC, 1, "listPrice"},
	{"default_price", CS_TYPE_NUMERIC, 1, "price"},
	{"currency", CS_TYPE_TEXT, 1, "pricing.currency"},
	{"from_unit_price", CS_TYPE_NUMERIC, 1, "pricing.fromUnitPrice"},
	{"from_list_price", CS_TYPE_NUMERIC, 1, "pricing.fromListPrice"},
	{"from_blank_cost", CS_TYPE_NUMERIC, 1, "pricing.fromBlankCost"},
	{"priced_variation_count", CS_TYPE_INTEGER, 1, "pricing.pricedVariationCount"},
	{"variation_count", CS_TYPE_INTEGER, 1, "variationCount"},
	{"is_featured", CS_TYPE_BOOLEAN, 1, "isFeatured"},
	{0}
};

/* GET /api/v1/models/{id}, the model itself; its lists are resources of their own. */
static const CsColumn model_columns[] =
{
	{"model_id", CS_TYPE_IDENTIFIER, 0, "id", CS_COLUMN_REQUIRED},
	{"code", CS_TYPE_TEXT, 0, "code"},
	{"name", CS_TYPE_TEXT, 0, "name"},
	{"brand", CS_TYPE_TEXT, 0, "brand"},
	{"material", CS_TYPE_PROSE, 0, "material"},
	{"fit_type", CS_TYPE_PROSE, 0, "fitType"},
	{"description", CS_TYPE_PROSE, 0, "description"},
	{"care", CS_TYPE_PROSE, 0, "care"},
	{"sizing", CS_TYPE_PROSE, 0, "sizing"},
	{"categories", CS_TYPE_JSONB, 0, "categories"},
	{"images", CS_TYPE_TEXT_ARRAY, 0, "images"},
	{"primary_image_url", CS_TYPE_TEXT, 0, "primaryImageUrl", CS_COLUMN_UNSHOWN},
	{"default_list_price", CS_TYPE_NUMERIC, 0, "listPrice", CS_COLUMN_UNSHOWN},
	{"default_price", CS_TYPE_NUMERIC, 0, "price", CS_COLUMN_UNSHOWN},
	{"currency", CS_TYPE_TEXT, 0, "pricing.currency", CS_COLUMN_UNSHOWN},
	{"from_unit_price", CS_TYPE_NUMERIC, 0, "pricing.fromUnitPrice", CS_COLUMN_UNSHOWN},
	{"from_list_price", CS_TYPE_NUMERIC, 0, "pricing.fromListPrice", CS_COLUMN_UNSHOWN},
	{"from_blank_cost", CS_TYPE_NUMERIC, 0, "pricing.fromBlankCost", CS_COLUMN_UNSHOWN},
	{"priced_variation_count", CS_TYPE_INTEGER, 0, "pricing.pricedVariationCount", CS_COLUMN_UNSHOWN},
	{"variation_count", CS_TYPE_INTEGER, 0, "variationCount", CS_COLUMN_UNSHOWN},
	{"is_featured", CS_TYPE_BOOLEAN, 0, "isFeatured", CS_COLUMN_UNSHOWN},
	/* Rows of their own; here they only count as held. */
	{"variations", CS_TYPE_JSONB, 0, "variations"},
	{"placements", CS_TYPE_JSONB, 0, "placements"},
	{0}
};

static const CsColumn variation_columns[] =
{
	{"product_id", CS_TYPE_IDENTIFIER, 0, "id", CS_COLUMN_REQUIRED},
	{"variation_id", CS_TYPE_IDENTIFIER, 1, "id", CS_COLUMN_REQUIRED},
	{"sku", CS_TYPE_IDENTIFIER, 1, "sku", CS_COLUMN_REQUIRED},
	{"variation_description", CS_TYPE_TEXT, 1, "variationDescription"},
	{"variation2_description", CS_TYPE_TEXT, 1, "variation2Description"},
	{"variation2_hex", CS_TYPE_TEXT, 1, "variation2Hex"},
	{"is_active", CS_TYPE_BOOLEAN, 1, "isActive"},
	{"images", CS_TYPE_TEXT_ARRAY, 1, "images"},
	{"unit_price", CS_TYPE_NUMERIC, 1, "pricing.unitPrice"},
	{"list_price", CS_TYPE_NUMERIC, 1, "pricing.listPrice"},
	{"blank_cost", CS_TYPE_NUMERIC, 1, "pricing.blankCost"},
	{"handling_fee", CS_TYPE_NUMERIC, 1, "pricing.handlingFee"},
	{"currency", CS_TYPE_TEXT, 1, "pricing.currency"},
	{0}
};

static const CsColumn placement_columns[] =
{
	{"product_id", CS_TYPE_IDENTIFIER, 0, "id", CS_COLUMN_REQUIRED},
	{"placement", CS_TYPE_IDENTIFIER, 1, "code", CS_COLUMN_REQUIRED},
	{"label", CS_TYPE_TEXT, 1, "label"},
	{"max_width_inches", CS_TYPE_NUMERIC, 1, "maxWidthInches"},
	{"max_height_inches", CS_TYPE_NUMERIC, 1, "maxHeightInches"},
	{"print_methods", CS_TYPE_JSONB, 1, "printMethods"},
	{0}
};

static const CsColumn print_method_columns[] =
{
	{"product_id", CS_TYPE_IDENTIFIER, 0, "id", CS_COLUMN_REQUIRED},
	{"placement", CS_TYPE_IDENTIFIER, 1, "code", CS_COLUMN_REQUIRED},
	{"print_method", CS_TYPE_IDENTIFIER, 2, "code", CS_COLUMN_REQUIRED},
	{"label", CS_TYPE_TEXT, 2, "label"},
	{"price", CS_TYPE_NUMERIC, 2, "price"},
	{"price_source", CS_TYPE_TEXT, 2, "priceSource"},
	{0}
};

/* The document's example, search=bella for "Bella Canvas …", shows that case does not count. */
static const CsFilter models_filters[] =
{
	{"search", "search", CS_TYPE_TEXT, CS_MATCH_CONTAINS, "code|name"},
	{0}
};

static const CsFilter model_filters[] =
{
	{"model_id", NULL, CS_TYPE_TEXT, CS_MATCH_EQUAL, "model_id"},
	{0}
};

/* Asked for by the id of their model, which these rows call their product's. */
static const CsFilter model_part_filters[] =
{
	{"model_id", NULL, CS_TYPE_TEXT, CS_MATCH_EQUAL, "product_id"},
	{0}
};

/* ---- orders and wallet ---- */

#define COST_COLUMNS(level, under) \
	{"currency", CS_TYPE_TEXT, level, under "currency"}, \
	{"items_subtotal", CS_TYPE_NUMERIC, level, under "itemsSubtotal"}, \
	{"shipping_cost", CS_TYPE_NUMERIC, level, under "shippingCost"}, \
	{"shipping_category_fee", CS_TYPE_NUMERIC, level, under "shippingCategoryFee"}, \
	{"discount_amount", CS_TYPE_NUMERIC, level, under "discountAmount"}, \
	{"rush_fee", CS_TYPE_NUMERIC, level, under "rushFee"}, \
	{"total", CS_TYPE_NUMERIC, level, under "grandTotal"}

/* Answers of POST /orders and GET /orders/{orderId}. */
static const CsColumn order_columns[] =
{
	{"remote_id", CS_TYPE_IDENTIFIER, 0, "orderId", CS_COLUMN_REQUIRED},
	{"external_id", CS_TYPE_IDENTIFIER, 0, "externalOrderId"},
	{"order_number", CS_TYPE_IDENTIFIER, 0, "orderNumber"},
	{"remote_status", CS_TYPE_TEXT, 0, "productionStatus|status"},
	{"shown_status", CS_TYPE_TEXT, 0, "status"},
	COST_COLUMNS(0, "computedCost."),
	{"cost", CS_TYPE_JSONB, 0, "computedCost"},
	{"item_count", CS_TYPE_INTEGER, 0, "itemCount", CS_COLUMN_UNSHOWN},
	{"remote_created_at", CS_TYPE_TIMESTAMPTZ, 0, "createdAt", CS_COLUMN_UNSHOWN},
	{"last_shipped_at", CS_TYPE_TIMESTAMPTZ, 0, "lastShippedAt", CS_COLUMN_UNSHOWN},
	{"cancelled_at", CS_TYPE_TIMESTAMPTZ, 0, "cancelledAt"},
	{"rejection_reason", CS_TYPE_PROSE, 0, "rejection.reason|rejection"},
	{0}
};

/* GET /orders: one row per order; its "status" is a display text, not a state. */
static const CsColumn orders_columns[] =
{
	{"remote_id", CS_TYPE_IDENTIFIER, 1, "orderId", CS_COLUMN_REQUIRED},
	{"external_id", CS_TYPE_IDENTIFIER, 1, "externalOrderId"},
	{"order_number", CS_TYPE_IDENTIFIER, 1, "orderNumber", CS_COLUMN_UNSHOWN},
	{"remote_status", CS_TYPE_TEXT, 1, "productionStatus|status"},
	{"currency", CS_TYPE_TEXT, 1, "currency", CS_COLUMN_UNSHOWN},
	{"total", CS_TYPE_NUMERIC, 1, "total"},
	{"item_count", CS_TYPE_INTEGER, 1, "itemCount"},
	{"remote_created_at", CS_TYPE_TIMESTAMPTZ, 1, "createdAt"},
	{"last_shipped_at", CS_TYPE_TIMESTAMPTZ, 1, "lastShippedAt"},
	{0}
};

static const CsColumn listed_columns[] =
{
	{"remote_id", CS_TYPE_IDENTIFIER, 1, "orderId"},
	{"remote_status", CS_TYPE_TEXT, 1, "productionStatus|status"},
	{"shown_status", CS_TYPE_TEXT, 1, "status"},
	{"last_shipped_at", CS_TYPE_TIMESTAMPTZ, 1, "lastShippedAt"},
	{0}
};

/* DELETE /orders/{orderId} */
static const CsColumn cancelled_columns[] =
{
	{"remote_id", CS_TYPE_IDENTIFIER, 0, "orderId"},
	{"external_id", CS_TYPE_IDENTIFIER, 0, "externalOrderId"},
	{"remote_status", CS_TYPE_TEXT, 0, "productionStatus|status"},
	{"cancelled_at", CS_TYPE_TIMESTAMPTZ, 0, "cancelledAt"},
	{0}
};

static const CsColumn order_item_columns[] =
{
	{"item_id", CS_TYPE_IDENTIFIER, 1, "id|itemId", CS_COLUMN_REQUIRED},
	{"sku", CS_TYPE_TEXT, 1, "sku"},
	{"variation_id", CS_TYPE_IDENTIFIER, 1, "variationId"},
	{"quantity", CS_TYPE_BIGINT, 1, "quantity"},
	{"unit_cost", CS_TYPE_NUMERIC, 1, "unitCost"},
	{"designs", CS_TYPE_JSONB, 1, "designs"},
	{0}
};

static const CsColumn shipment_columns[] =
{
	{"shipment_id", CS_TYPE_IDENTIFIER, 1, "shipmentId"},
	{"carrier", CS_TYPE_TEXT, 1, "carrier"},
	{"tracking_number", CS_TYPE_IDENTIFIER, 1, "trackingNumber"},
	{"tracking_url", CS_TYPE_TEXT, 1, "trackingUrl"},
	{"status", CS_TYPE_TEXT, 1, "status"},
	{"shipped_at", CS_TYPE_TIMESTAMPTZ, 1, "shippedAt"},
	{0}
};

static const CsColumn event_columns[] =
{
	{"at", CS_TYPE_TIMESTAMPTZ, 1, "at"},
	{"type", CS_TYPE_TEXT, 1, "type"},
	{"by", CS_TYPE_TEXT, 1, "by"},
	{"shipment_id", CS_TYPE_IDENTIFIER, 1, "shipmentId"},
	{0}
};

static const CsColumn quote_columns[] =
{
	COST_COLUMNS(0, ""),
	{"per_item", CS_TYPE_JSONB, 0, "perItem"},
	{0}
};

static const CsColumn design_columns[] =
{
	{"placement", CS_TYPE_TEXT, 1, "placement", CS_COLUMN_REQUIRED},
	{"url", CS_TYPE_TEXT, 1, "url"},
	{"width_inches", CS_TYPE_NUMERIC, 1, "widthInches"},
	{"height_inches", CS_TYPE_NUMERIC, 1, "heightInches"},
	{"print_method", CS_TYPE_TEXT, 1, "printMethod"},
	{"design_width_inches", CS_TYPE_NUMERIC, 1, "designWidthInches"},
	{0}
};

static const CsColumn balance_columns[] =
{
	{"dealer_id", CS_TYPE_IDENTIFIER, 0, "dealerId"},
	{"currency", CS_TYPE_TEXT, 0, "currency"},
	{"balance", CS_TYPE_NUMERIC, 0, "balance", CS_COLUMN_REQUIRED},
	{"credit_limit", CS_TYPE_NUMERIC, 0, "creditLimit"},
	{"headroom", CS_TYPE_NUMERIC, 0, "headroom"},
	{0}
};

static const CsFilter order_filters[] =
{
	{"id", NULL, CS_TYPE_TEXT, CS_MATCH_EQUAL, "remote_id"},
	{0}
};

/* In the document's example, status=Shipped finds an order whose productionStatus is Approved. */
static const CsFilter orders_filters[] =
{
	{"status", "status", CS_TYPE_TEXT},
	{"since", "since", CS_TYPE_TIMESTAMPTZ, CS_MATCH_SINCE, "remote_created_at"},
	{"external_id", "externalOrderId", CS_TYPE_TEXT, CS_MATCH_EQUAL, "external_id"},
	{0}
};

#define PAGED \
	.paging = CS_PAGING_NUMBER, \
	.page_param = "page", \
	.size_param = "pageSize", \
	.page_size = 100, \
	.total_paths = "data.pagination.totalCount", \
	.page_size_paths = "data.pagination.pageSize", \
	.has_more_paths = "data.pagination.hasMore"

#define IDS_OF_MODELS .id_list = "models", .id_column = "model_id"
#define IDS_OF_ORDERS .id_list = "orders", .id_column = "remote_id"
#define PART_OF_ORDER .may_lack_list = true, .filters = order_filters, IDS_OF_ORDERS

static const CsResource resources[] =
{
	{
		.name = "products", .path = "/api/v1/models", .root = "data", .lists = {"models"},
		PAGED, .filters = models_filters, .columns = product_columns,
	},
	{
		.name = "models", .path = "/api/v1/models", .root = "data", .lists = {"models"},
		PAGED, .filters = models_filters, .columns = models_columns,
	},
	{
		.name = "model", .path = MODEL_PATH, .root = "data",
		.filters = model_filters, .columns = model_columns, IDS_OF_MODELS,
	},
	{
		.name = "variations", .path = MODEL_PATH, .root = "data", .lists = {"variations"},
		.may_lack_list = true, .filters = model_part_filters, .columns = variation_columns,
		IDS_OF_MODELS,
	},
	{
		.name = "placements", .path = MODEL_PATH, .root = "data", .lists = {"placements"},
		.may_lack_list = true, .filters = model_part_filters, .columns = placement_columns,
		IDS_OF_MODELS,
	},
	{
		.name = "print_methods", .path = MODEL_PATH, .root = "data",
		.lists = {"placements", "printMethods"}, .may_lack_list = true,
		.filters = model_part_filters, .columns = print_method_columns, IDS_OF_MODELS,
	},
	{
		.name = "balance", .path = "/api/v1/balance", .root = "data", .columns = balance_columns,
	},
	{
		.name = "created", .path = "/api/v1/orders", .root = "data", .forgiving = true,
		.columns = order_columns,
	},
	{
		.name = "orders", .path = "/api/v1/orders", .root = "data", .lists = {"orders"},
		PAGED, .filters = orders_filters, .columns = orders_columns,
	},
	{
		.name = "listed", .path = "/api/v1/orders", .root = "data", .lists = {"orders"},
		PAGED, .forgiving = true, .columns = listed_columns,
	},
	{
		.name = "order", .path = ORDER_PATH, .root = "data", .forgiving = true,
		.filters = order_filters, .columns = order_columns, IDS_OF_ORDERS,
	},
	{
		.name = "order_items", .path = ORDER_PATH, .root = "data", .lists = {"items"},
		.columns = order_item_columns, PART_OF_ORDER,
	},
	{
		.name = "shipments", .path = ORDER_PATH, .root = "data", .lists = {"shipments"},
		.forgiving = true, .columns = shipment_columns, PART_OF_ORDER,
	},
	{
		.name = "events", .path = ORDER_PATH, .root = "data", .lists = {"events"},
		.forgiving = true, .columns = event_columns, PART_OF_ORDER,
	},
	{
		.name = "cancelled", .path = ORDER_PATH, .root = "data", .forgiving = true,
		.filters = order_filters, .columns = cancelled_columns,
	},
	{
		.name = "quote", .path = "/api/v1/orders/quote", .root = "data.computedCost",
		.columns = quote_columns,
	},
	{
		.name = "designs", .path = "/api/v1/orders/{id}/items/{item}/designs", .root = "data",
		.lists = {"designs"}, .columns = design_columns,
	},
	{0}
};

/* Section "Error codes".  The hints are the document's, or what it implies. */
static const CsApiError errors[] =
{
	{"UNAUTHORIZED", 401, "Missing or invalid JWT",
	"Check api_key and secret_key of the user mapping."},
	{"FORBIDDEN", 403, "JWT valid but missing required scope",
	"Grant the key the scope in Settings, API Keys: products_r for the catalogue, orders_r for reading orders, orders_w for placing them."},
	{"VALIDATION_ERROR", 400, "Request body / query failed validation", NULL},
	{"SKU_NOT_FOUND", 400, "SKU isn't a known ModelVariation in this tenant's catalog",
	"Take the SKU from cs_variations; refresh the catalogue if it may have changed."},
	{"PLACEMENT_NOT_SUPPORTED_FOR_SKU", 400, "Placement code not configured for this model",
	"Take the placement from cs_placements of the SKU's model."},
	{"PRINT_DIMENSIONS_EXCEED_PLACEMENT_MAX", 400, "widthInches / heightInches exceeds the placement's max",
	"The largest dimensions are in cs_placements."},
	{"DESIGN_FETCH_FAILED", 400, "The design URL could not be downloaded",
	"The URL must be HTTPS and publicly reachable at submit time."},
	{"DESIGN_FORMAT_INVALID", 400, "Unsupported format. v1 accepts PNG and JPEG only.",
	"Give a PNG or JPEG file."},
	{"DESIGN_TOO_LARGE", 400, "Design file exceeds 100 MB",
	"Give a design file of at most 100 MB."},
	{"INSUFFICIENT_BALANCE", 402, "Wallet headroom check failed",
	"Top up and retry with a different external id."},
	{"EXTERNAL_ORDER_ID_CONFLICT", 409, "Same externalOrderId replayed with a different body",
	"Use another external id for another order."},
	{"ORDER_CREATE_IN_PROGRESS", 409, "A concurrent request with the same externalOrderId is in flight",
	"Try again with the same external id and the same content."},
	{"ORDER_NOT_MUTABLE", 409, "The order is past ApprovalPending",
	"After approval an order cannot be changed; contact your account team."},
	{"ORDER_NOT_CANCELLABLE", 400, "Order is past ApprovalPending", "Contact your account team."},
	{"NOT_FOUND", 404, "Resource doesn't exist or isn't visible to this credential", NULL},
	{"RATE_LIMITED", 429, "Per-credential rate limit hit",
	"Honor Retry-After: try again after the time that it gives."},

	/* Codes that the document may add later. */
	{NULL, 401, "Missing or invalid JWT", "Check api_key and secret_key of the user mapping."},
	{NULL, 429, "Per-credential rate limit hit",
	"Honor Retry-After: try again after the time that it gives."},
	{0}
};

/* Section "Order lifecycle"; the types of events are the same words. */
static const CsOrderStatus statuses[] =
{
	{"ApprovalPending", "placed"},
	{"Approved", "approved"},
	{"InProduction", "in_production"},
	{"Shipped", "shipped"},
	{"Cancelled", "cancelled"},
	{"Canceled", "cancelled"},
	{"Rejected", "rejected"},
	{0}
};

/* USD, the only currency of v1, is not sent; nor, for a quote, what has no price. */
#define ORDER_FIELDS \
	"lines.sku", "lines.variation_id", "lines.quantity", \
	"lines.designs.url", "lines.designs.placement", "lines.designs.width_inches", \
	"lines.designs.height_inches", "lines.designs.print_method", \
	"ship_to.name", "ship_to.line1", "ship_to.city", "ship_to.state", "ship_to.postal_code", \
	"ship_to.country", "ship_to.phone", "ship_to.email", \
	"bill_to.name", "bill_to.line1", "bill_to.city", "bill_to.state", "bill_to.postal_code", \
	"bill_to.country", "bill_to.phone", "bill_to.email", \
	"customer.name", "customer.email", "customer.phone", \
	"currency", "is_gift", "is_rush", "notes", "extra"

static const char *const order_fields[] = {ORDER_FIELDS, NULL};

static const char *const quote_fields[] = {ORDER_FIELDS, "shipping_method", NULL};

/* Sections "Create order" and "Get a cost estimate". */
static const char *const required_fields[] =
{
	"lines.quantity", "lines.designs.url", "lines.designs.placement",
	"lines.designs.width_inches", "lines.designs.height_inches",
	"ship_to", "ship_to.name", "ship_to.line1", "ship_to.city", "ship_to.postal_code",
	"ship_to.country",
	"bill_to.name", "bill_to.line1", "bill_to.city", "bill_to.postal_code", "bill_to.country",
	NULL
};

static void
write_address(CsWriter *writer, const char *key, const CsAddress *address)
{
	if (address == NULL)
		return;
	cs_write_open(writer, key, '{');
	cs_write_string(writer, "name", address->name);
	cs_write_string(writer, "street1", address->line1);
	cs_write_string(writer, "city", address->city);
	cs_write_string(writer, "state", address->state);
	cs_write_string(writer, "zip", address->postal_code);
	cs_write_string(writer, "country", address->country);
	cs_write_string(writer, "phone", address->phone);
	cs_write_string(writer, "email", address->email);
	cs_write_close(writer, '}');
}

static void
write_design(CsWriter *writer, const CsDesign *design)
{
	cs_write_open(writer, NULL, '{');
	cs_write_string(writer, "url", design->url);
	cs_write_string(writer, "placement", design->placement);
	cs_write_number(writer, "widthInches", design->width_inches);
	cs_write_number(writer, "heightInches", design->height_inches);
	cs_write_string(writer, "printMethod", design->print_method);
	cs_write_close(writer, '}');
}

static void
write_items(CsWriter *writer, const CsForm *form)
{
	cs_write_open(writer, "items", '[');
	for (int i = 0; i < form->nlines; i++)
	{
		const CsLine *line = &form->lines[i];

		cs_write_open(writer, NULL, '{');
		cs_write_string(writer, "sku", line->sku);
		cs_write_string(writer, "variationId", line->variation_id);
		cs_write_number(writer, "quantity", line->quantity);
		if (line->ndesigns > 0)
		{
			cs_write_open(writer, "designs", '[');
			for (int j = 0; j < line->ndesigns; j++)
				write_design(writer, &line->designs[j]);
			cs_write_close(writer, ']');
		}
		cs_write_close(writer, '}');
	}
	cs_write_close(writer, ']');
}

/* A flag that is not given is not sent: the document's default holds. */
static void
write_flag(CsWriter *writer, const char *key, const char *flag)
{
	if (flag)
		cs_write_boolean(writer, key, strcmp(flag, "true") == 0);
}

static void
write_order(CsWriter *writer, const CsForm *form)
{
	cs_write_open(writer, NULL, '{');
	cs_write_string(writer, "externalOrderId", form->external_id);
	write_address(writer, "shippingAddress", form->ship_to);
	write_address(writer, "billingAddress", form->bill_to);
	if (form->customer)
	{
		cs_write_open(writer, "customer", '{');
		cs_write_string(writer, "name", form->customer->name);
		cs_write_string(writer, "email", form->customer->email);
		cs_write_string(writer, "phone", form->customer->phone);
		cs_write_close(writer, '}');
	}
	write_items(writer, form);
	write_flag(writer, "isGift", form->is_gift);
	write_flag(writer, "isRush", form->is_rush);
	cs_write_string(writer, "notes", form->notes);
	cs_write_close(writer, '}');
}

static void
write_designs(CsWriter *writer, const CsDesign *designs, int ndesigns)
{
	cs_write_open(writer, NULL, '{');
	cs_write_open(writer, "designs", '[');
	for (int i = 0; i < ndesigns; i++)
		write_design(writer, &designs[i]);
	cs_write_close(writer, ']');
	cs_write_close(writer, '}');
}

static void
write_quote(CsWriter *writer, const CsForm *form)
{
	cs_write_open(writer, NULL, '{');
	write_address(writer, "shippingAddress", form->ship_to);
	write_flag(writer, "isRush", form->is_rush);
	cs_write_string(writer, "requestedShippingService", form->shipping_method);
	write_items(writer, form);
	cs_write_close(writer, '}');
}

static const CsOrderApi orders =
{
	.create_path = "/api/v1/orders",
	.create_idempotent = true,	/* externalOrderId is the idempotency key */
	.get_path = ORDER_PATH,
	.get_documented = true,
	.cancel_path = ORDER_PATH,
	.designs_path = "/api/v1/orders/{id}/items/{item}/designs",
	.quote_path = "/api/v1/orders/quote",
	.fields = order_fields,
	.quote_fields = quote_fields,
	.required = required_fields,
	.quote_required = required_fields,
	.max_lines = 500,			/* section "Limits & conventions" */
	.max_designs = 50,
	.max_quantity = 10000,
	.only_currency = "USD",
	.rule_codes =				/* section "Error codes" */
	{
		[CS_RULE_FORM] = "VALIDATION_ERROR",
		[CS_RULE_ITEM] = "SKU_NOT_FOUND",
		[CS_RULE_PLACEMENT] = "PLACEMENT_NOT_SUPPORTED_FOR_SKU",
		[CS_RULE_DIMENSIONS] = "PRINT_DIMENSIONS_EXCEED_PLACEMENT_MAX",
		[CS_RULE_DESIGN_SOURCE] = "DESIGN_FETCH_FAILED",
		[CS_RULE_DESIGN_FORMAT] = "DESIGN_FORMAT_INVALID",
	},
	.write_order = write_order,
	.write_quote = write_quote,
	.write_designs = write_designs,
	.statuses = statuses,
};

const CsApi cs_api_customhub_v1 =
{
	.name = "customhub-v1",
	.title = "CustomHub v1",
	.base_url = "https://api.customhub.io",
	.auth_url = "https://id-test.customhub.io",
	.auth_path = "/api/PartnerAuthentication/auth",
	.auth = CS_AUTH_TOKEN_EXCHANGE,
	.rate_limit = 60,
	.resources = resources,
	.errors = errors,
	.orders = &orders,
};
