/*
 * api.h
 *	  What a partner API is: a descriptor.  Data and translation, no I/O.
 *
 * A resource is something that can be read as rows: where it is asked for,
 * how its pages follow each other, which filters it knows, and where in the
 * answer each column is found.  Live functions, catalogue refresh, foreign
 * tables and validation read the same descriptor, so a new partner is one
 * new file in this folder and one line in api.c.
 */
#ifndef CS_API_API_H
#define CS_API_API_H

#include "postgres.h"

#include "src/base/errors.h"
#include "src/wire/datum.h"
#include "src/wire/json.h"
#include "src/wire/writer.h"

struct CsForm;
struct CsDesign;

#define CS_COLUMN_REQUIRED	0x01	/* absence makes the answer malformed */
#define CS_COLUMN_UNSHOWN	0x02	/* accepted, but the document does not show it in this answer */

/*
 * The resources, by the names that the other layers ask for; which of them an
 * API has is up to its descriptor:
 *
 *	  products, models, model, variations, placements, print_methods: the
 *	  catalogue, with the columns of the views cs_…
 *	  balance: cs_balance
 *	  created: the answer to a placed order; order: one order; orders: a list
 *	  of them; cancelled: the answer to a cancellation.  Columns: remote_id,
 *	  external_id, order_number, remote_status, currency, items_subtotal,
 *	  shipping_cost, shipping_category_fee, discount_amount, rush_fee, total,
 *	  cost (jsonb), item_count, remote_created_at, last_shipped_at,
 *	  cancelled_at, rejection_reason; and shown_status, where the partner has
 *	  another word beside remote_status, which may say more
 *	  listed: the same list as following reads it, where nothing that one order
 *	  has may cost another one its news.  Columns: remote_id, remote_status,
 *	  shown_status, last_shipped_at
 *	  order_items, shipments, events: what an order's detail holds
 *	  shipment_among, shipment_beside: one of the shipments, without a list
 *	  tracked: what an answer that has only shipments says of the order itself
 *	  quote: currency, items_subtotal, shipping_cost, …, total, per_item
 *	  designs: the designs of an item after cs_add_designs
 *	  asset: the answer to an upload; column asset_id
 *	  webhook: the answer to a registration; column webhook_id
 *	  event: a webhook's payload.  Columns: event_id, type, at, remote_id,
 *	  data_id (the order's where the data is the order itself), order_number,
 *	  remote_status (the order's by its name), status (whose, the type tells),
 *	  rejection_reason
 *	  event_shipments, event_shipment: the parcels in it, as a list or object
 *	  of their own or, failing that, among the other fields; columns as those of
 *	  shipments
 */

/*
 * A column of a resource.  'paths' are alternatives, "a|b.c", tried in order
 * from the element of 'level': 0 is the root object of the answer, 1 the
 * element of the first list in CsResource.lists, and so on.
 */
typedef struct CsColumn
{
	const char *name;			/* as in the SQL row type */
	CsType		type;
	int			level;
	const char *paths;
	int			flags;
} CsColumn;

/* Which conditions on a column a filter's rows are sure to include. */
typedef enum CsMatch
{
	CS_MATCH_NONE,				/* none that the document vouches for */
	CS_MATCH_EQUAL,				/* column = value */
	CS_MATCH_SINCE,				/* column >= value */
	CS_MATCH_CONTAINS			/* column = value, column ILIKE '%value%' */
} CsMatch;

/*
 * An argument that the API filters by.  'param' NULL: it goes into the path as
 * {name}.  A condition on one of the 'columns', alternatives "a|b" of the
 * resource's rows, may be sent as this filter: the answer may have more rows
 * than fulfil it, never fewer.
 */
typedef struct CsFilter
{
	const char *name;			/* as in SQL */
	const char *param;			/* as on the wire */
	CsType		type;
	CsMatch		match;
	const char *columns;		/* NULL if 'match' is NONE */
} CsFilter;

typedef enum CsPaging
{
	CS_PAGING_NONE,				/* one answer is all there is */
	CS_PAGING_NUMBER,			/* page=1, 2, … */
	CS_PAGING_CURSOR			/* opaque token of the previous answer */
} CsPaging;

typedef struct CsResource
{
	const char *name;			/* "products"; names the endpoint in messages and statistics */
	const char *path;			/* below base_url: "/api/v1/models/{id}" */
	const char *root;			/* alternatives: "data|" is data, or the bare document */

	/*
	 * From the root to the rows: the list, a list in each of its elements, …;
	 * alternatives each.  None: the root is the one row.  An object in the
	 * place of a list is a list of one; an absent inner list is empty, an
	 * absent outermost one makes the answer malformed unless 'may_lack_list',
	 * which says that there are no rows or that the answer is abridged.
	 */
	const char *lists[3];
	bool		may_lack_list;

	/*
	 * A value that an optional column cannot take is passed over, not an
	 * error: that an order was placed must not come into doubt by its total,
	 * nor where a parcel is by a form that no document gives.
	 */
	bool		forgiving;
	CsPaging	paging;
	const char *page_param;		/* "page" or "cursor" */
	const char *size_param;		/* or NULL: the API chooses the size */
	int			page_size;		/* the largest that the document allows; without size_param its default */

	/* From the document, not the root; NULL: the API does not say. */
	const char *total_paths;	/* how many rows there are in all */
	const char *page_size_paths;	/* how many are on a page that is full */
	const char *has_more_paths;
	const char *cursor_paths;	/* the next cursor */

	const CsFilter *filters;	/* ended by a NULL name; or NULL */
	const CsColumn *columns;	/* ended by a NULL name */

	/*
	 * Of a resource that is asked for by an id: the resource that lists the
	 * ids, and in which of its columns.  NULL: they must be known.
	 */
	const char *id_list;
	const char *id_column;
} CsResource;

/* A row of a document's error table.  'code' NULL: any code with this status. */
typedef struct CsApiError
{
	const char *code;
	int			status;
	const char *meaning;		/* message when the API sends none */
	const char *hint;			/* the document's resolution, as a sentence; or NULL */
} CsApiError;

/* What a remote status means here; unknown ones never end the following of an order. */
typedef struct CsOrderStatus
{
	const char *remote;
	const char *state;			/* placed, approved, in_production, shipped, delivered, rejected, cancelled */
} CsOrderStatus;

typedef enum CsAuthScheme
{
	CS_AUTH_BEARER_KEY,			/* Authorization: Bearer <api_key> */
	CS_AUTH_TOKEN_EXCHANGE		/* api_key + secret_key → JWT at auth_url */
} CsAuthScheme;

/*
 * What a rule for orders is about: all that is wrong with a form comes under
 * one of these, and each has a code of the API's own.
 */
typedef enum CsRule
{
	CS_RULE_FORM,				/* required fields, types, lengths, counts, and whatever has no other code */
	CS_RULE_ITEM,				/* the catalogue has the item of a line */
	CS_RULE_MINIMUM,			/* a line's quantity reaches the item's minimum order quantity */
	CS_RULE_PLACEMENT,			/* a design's placement is one of the item's */
	CS_RULE_DIMENSIONS,			/* and large enough for it */
	CS_RULE_PRINT_METHOD,		/* and can be printed so */
	CS_RULE_DESIGN_SOURCE,		/* a design can be fetched */
	CS_RULE_DESIGN_FORMAT,		/* and is of a format that is taken */
	CS_RULES
} CsRule;

/* How orders are placed and followed.  A NULL path: the API cannot do it. */
typedef struct CsOrderApi
{
	const char *create_path;
	bool		create_idempotent;	/* by document: the same bytes may be sent again */
	const char *created_status; /* if the answer to that has none; NULL: then it is unknown */
	const char *get_path;		/* "{id}" is the remote id */
	bool		get_documented; /* otherwise 404 and 405 mean "cannot be asked" */
	const char *cancel_path;
	const char *designs_path;	/* "{id}", "{item}" */
	const char *quote_path;
	const char *tracking_path;
	const char *assets_path;
	const char *asset_part;		/* the name of the file in the multipart form */
	const char *webhooks_path;

	/*
	 * The fields of the order form that this API can express, as in form.c's
	 * table ("lines.designs.url"); ended by NULL.  Everything else is refused
	 * by name.  'quote_fields' are those of a quote, which takes the form of an
	 * order and leaves alone what has no price; without a quote_path it is
	 * estimated here, and NULL: not even that.
	 */
	const char *const *fields;
	const char *const *quote_fields;

	/*
	 * What the document demands of every order: fields, named alike, that must
	 * be there and not blank.  Those of a part ("bill_to.city") only where the
	 * part is given; "ship_to" demands the part.  'quote_required' of a quote.
	 */
	const char *const *required;
	const char *const *quote_required;

	/* The document's limits; 0 and NULL where it states none. */
	int			max_lines;
	int			max_designs;	/* over all lines */
	int			max_quantity;	/* of a line */
	const char *only_currency;
	bool		demands_minimum;	/* a line must reach its item's minimum; else that is a warning */

	/* The code of a violation, by rule; NULL: that of CS_RULE_FORM, which has one. */
	const char *rule_codes[CS_RULES];

	/* The body for create_path; the form was checked against 'fields'. */
	void		(*write_order) (CsWriter *writer, const struct CsForm *form);

	/* The bodies for quote_path and designs_path; NULL if there is no such path. */
	void		(*write_quote) (CsWriter *writer, const struct CsForm *form);
	void		(*write_designs) (CsWriter *writer, const struct CsDesign *designs, int ndesigns);

	const CsOrderStatus *statuses;	/* ended by a NULL remote */
} CsOrderApi;

typedef struct CsApi
{
	const char *name;			/* value of the server option "api" */
	const char *title;			/* "Cup Source v1" */
	const char *base_url;
	const char *auth_url;		/* or NULL */
	const char *auth_path;		/* below auth_url, or NULL */
	CsAuthScheme auth;
	int			rate_limit;		/* requests per minute and key */
	const char *environment_header; /* carries the server option "environment"; NULL: no sandbox */
	const CsResource *resources;	/* ended by a NULL name */
	const CsApiError *errors;	/* ended by status 0 */
	const CsOrderApi *orders;	/* never NULL: &cs_no_orders if it takes none */
} CsApi;

/* Of an API by which nothing can be ordered: every way to an order says so. */
extern const CsOrderApi cs_no_orders;

extern const CsApi cs_api_cupsource_v1;
extern const CsApi cs_api_cupsource_v2;
extern const CsApi cs_api_customhub_v1;

/* All of them, ended by NULL; the order of the documentation. */
extern const CsApi *const cs_apis[];

extern const CsApi *cs_api_find(const char *name);	/* NULL if unknown */

/* NULL if the API has no such resource. */
extern const CsResource *cs_api_resource(const CsApi *api, const char *name);

/* The first of the alternatives "a|b.c|" that is there; "" is the value itself. */
extern const CsJson *cs_json_find(const CsJson *from, const char *paths);

/*
 * The refusal in an answer with an error status, or of a failure that came
 * with a status of success: message, detail and hint from the envelope and the
 * document's table.  'document' NULL: not JSON.  Strings are palloc'd in the
 * current context.
 */
extern void cs_api_failure(const CsApi *api, int status, const CsJson *document,
						   CsFailure *failure);

/* The API's error code for a violation of the rule. */
extern const char *cs_api_rule_code(const CsApi *api, CsRule rule);

/* Local state for a remote status; NULL if the document does not know it. */
extern const char *cs_api_order_state(const CsApi *api, const char *remote_status);

/* Of two local states, or NULLs, the one that an order comes to later. */
extern const char *cs_api_further_state(const char *one, const char *other);

#endif							/* CS_API_API_H */
