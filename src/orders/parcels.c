/*
 * parcels.c
 *	  What an answer says of an order's parcels, and these of the order.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"

#include "src/orders/answer.h"
#include "src/orders/orders.h"
#include "src/orders/transfer.h"

const CsJson *
cs_answer_shown(const CsTransfer *transfer)
{
	const CsJson *document = cs_call_document(transfer->call);

	return cs_json_is_null(document, "data") ? NULL : document;
}

/* The list of parcels, or the one object in its place; NULL if the answer has none. */
static const CsJson *
list_of_parcels(const CsTransfer *transfer)
{
	const CsResource *shipments = cs_api_resource(transfer->account->api, "shipments");
	const CsJson *root = cs_json_find(cs_answer_shown(transfer), shipments->root);

	return cs_json_find(root, shipments->lists[0]);
}

/* Where the answer's parcels are. */
typedef enum Place
{
	PLACE_LIST,					/* a list, or one object, below the order */
	PLACE_WHOLE,				/* the answer is nothing but the list */
	PLACE_AMONG					/* one parcel's fields among the order's, if there is one */
} Place;

static Place
place_of_parcels(const CsTransfer *transfer)
{
	const CsResource *shipments = cs_api_resource(transfer->account->api, "shipments");
	const CsJson *root = cs_json_find(cs_answer_shown(transfer), shipments->root);
	const CsJson *list = list_of_parcels(transfer);

	if (list != NULL && list != root)
		return PLACE_LIST;
	return list != NULL && cs_json_type(list) == CS_JSON_ARRAY ? PLACE_WHOLE : PLACE_AMONG;
}

/*
 * The arrays of 'columns', the first of which are number, carrier and id; how
 * many parcels there are.  A row without these three is no parcel yet.  An id
 * among the order's fields is the order's; and where these are more than its
 * tracking, a carrier may only be the one that is wanted.
 */
static int
read_parcels(const CsTransfer *transfer, CsAnswerColumn *columns, int ncolumns)
{
	static const char *const resources[] = {"shipments", "shipment_among", "shipment_beside"};
	const CsAccount *account = transfer->account;
	bool		among = place_of_parcels(transfer) == PLACE_AMONG;
	int			rows = 0;

	for (int i = 0; rows <= 0 && i < (among ? (int) lengthof(resources) : 1); i++)
		rows = cs_answer_list(account->api, resources[i], cs_answer_shown(transfer),
							  account->server, columns, ncolumns, i > 0 ? 1 : among ? 2 : 3);
	return Max(rows, 0);
}

/* A list is all there is, so it replaces what is known; without one nothing is said of others. */
void
cs_record_parcels(const CsTransfer *transfer)
{
	static CsStatement order_shipments = {
		"SELECT cs_internal.order_shipments($1, $4, $2, $3, $5, $6, $7, $8, $9, $10, $11)", 11,
		{INT8OID, TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID,
		TIMESTAMPTZARRAYOID, BOOLARRAYOID, TIMESTAMPTZARRAYOID, JSONBARRAYOID, BOOLOID}
	};
	CsAnswerColumn columns[] = {
		{"tracking_number", TEXTOID}, {"carrier", TEXTOID}, {"shipment_id", TEXTOID},
		{"tracking_url", TEXTOID}, {"status", TEXTOID}, {"estimated_delivery", TIMESTAMPTZOID},
		{"signature_required", BOOLOID}, {"shipped_at", TIMESTAMPTZOID}, {"raw", JSONBOID}
	};
	Datum		values[2 + lengthof(columns)];
	int			rows = read_parcels(transfer, columns, lengthof(columns));

	if (rows == 0 && cs_json_type(list_of_parcels(transfer)) != CS_JSON_ARRAY)
		return;
	values[0] = Int64GetDatum(transfer->order_id);
	for (int i = 0; i < (int) lengthof(columns); i++)
		values[1 + i] = columns[i].array;
	values[1 + lengthof(columns)] = BoolGetDatum(place_of_parcels(transfer) != PLACE_AMONG);
	cs_state_run(&order_shipments, values, NULL);
}

/* ---- what its parcels say of the order ---- */

bool
cs_parcels_left(const CsApi *api, const CsJson *document, const char *server)
{
	CsAnswerColumn columns[] = {{"shipped_at", TIMESTAMPTZOID}, {"status", TEXTOID}};
	const char **states;
	int			n;

	if (cs_api_resource(api, "listed") == NULL ||
		cs_answer_list(api, "shipments", document, server, columns, lengthof(columns), 1) <= 0)
		return false;
	states = cs_answer_states(api, &columns[1], &n);
	for (int i = 0; i < n; i++)
		if (states[i] == NULL ||
			(strcmp(states[i], "cancelled") != 0 && strcmp(states[i], "rejected") != 0))
			return true;
	return false;
}

/* ---- the order's status, where only its parcels can be asked for ---- */

/* A text column of all rows of the answer's parcels. */
typedef struct Texts
{
	Datum	   *values;
	bool	   *nulls;
} Texts;

static Texts
texts_of(const CsAnswerColumn *column)
{
	Texts		texts;
	int			n;

	deconstruct_array(DatumGetArrayTypeP(column->array), TEXTOID, -1, false, TYPALIGN_INT,
					  &texts.values, &texts.nulls, &n);
	return texts;
}

/*
 * Delivered is the order when all its parcels are, and on its way when one of
 * them is.  A parcel that is cancelled or refused is a label that nobody used
 * or comes again: of the order it says nothing, and what is delivered does not
 * wait for it.
 */
static void
status_from_parcels(const CsApi *api, const Texts *status, int rows, CsOrderAnswer *answer)
{
	int			delivered = -1;
	int			under_way = -1;
	int			other = -1;
	bool		awaited = false;

	for (int i = rows - 1; i >= 0; i--)
	{
		const char *state = status->nulls[i] ? NULL :
			cs_api_order_state(api, TextDatumGetCString(status->values[i]));

		if (state && (strcmp(state, "cancelled") == 0 || strcmp(state, "rejected") == 0))
			continue;
		if (state && strcmp(state, "delivered") == 0)
		{
			delivered = i;
			continue;
		}
		awaited = true;
		if (state && strcmp(state, "shipped") == 0)
			under_way = i;
		else if (!status->nulls[i])
			other = i;
	}
	if (delivered >= 0 && !awaited)
		cs_answer_set_status(api, answer, status->values[delivered]);
	else if (under_way >= 0 || other >= 0)
		cs_answer_set_status(api, answer, status->values[under_way >= 0 ? under_way : other]);
	if (delivered >= 0 && awaited)
		answer->state = "shipped";
}

/* Number, carrier and id of the only row.  An id among the order's fields is the order's. */
static bool
is_parcel(const CsAnswerColumn *columns, Place place)
{
	for (int i = 0; i < (place == PLACE_AMONG ? 2 : 3); i++)
		if (!texts_of(&columns[i]).nulls[0])
			return true;
	return false;
}

/* A status beside the list of parcels is the order's, and that of what is no parcel yet. */
void
cs_answer_tracking(const CsTransfer *transfer, CsOrderAnswer *answer)
{
	const CsApi *api = transfer->account->api;
	const CsJson *document = cs_answer_shown(transfer);
	CsAnswerColumn columns[] = {
		{"tracking_number", TEXTOID}, {"carrier", TEXTOID}, {"shipment_id", TEXTOID},
		{"status", TEXTOID}
	};
	Place		place = place_of_parcels(transfer);
	Texts		status;
	int			rows;

	memset(answer, 0, sizeof(*answer));
	memset(answer->nulls, 'n', sizeof(answer->nulls));
	if (place == PLACE_LIST &&
		cs_answer_order(api, "tracked", document, transfer->account->server, answer) &&
		answer->remote_status != NULL)
		return;
	rows = cs_answer_list(api, "shipments", document, transfer->account->server, columns,
						  lengthof(columns), 0);
	if (rows <= 0)
		return;
	status = texts_of(&columns[3]);
	if (rows > 1 || is_parcel(columns, place))
		status_from_parcels(api, &status, rows, answer);
	else if (!status.nulls[0])
		cs_answer_set_status(api, answer, status.values[0]);
}
