/*
 * event.c
 *	  A webhook's payload → what the transitions need of it.
 *
 * The payload is the partner's, its signature has been verified, and it is not
 * sent again for ever: whatever can be read of it is taken, a field of a wrong
 * type is left out and noted, and the payload is kept as a whole.  So nothing
 * here throws but what is no event at all.
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "src/client/options.h"
#include "src/webhooks/webhooks.h"
#include "src/wire/datum.h"
#include "src/wire/sign.h"
#include "src/wire/writer.h"

/* Numbers beyond this are milliseconds: as seconds they are in the year 5138. */
#define SECONDS_LIMIT INT64CONST(100000000000)

/* Between the words of a type. */
#define SEPARATORS "._-:/ "

typedef struct Reader
{
	const CsApi *api;
	const CsJson *document;
	const CsJson *other_status; /* which is not the order's: the parcel's, if there is one; or NULL */
	StringInfoData problems;
} Reader;

static void
note(Reader *reader, const char *field, const char *problem)
{
	appendStringInfo(&reader->problems, "%sfield \"%s\": %s",
					 reader->problems.len > 0 ? "; " : "", field, problem);
}

/* Seconds or milliseconds since 1970; 0 if it is no such number. */
static Datum
time_from_number(const CsJson *value)
{
	const int64 epoch = (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * (int64) SECS_PER_DAY;
	int64		number;

	if (!cs_json_int64(value, &number) || number <= 0 || number > SECONDS_LIMIT * 1000)
		return (Datum) 0;
	if (number <= SECONDS_LIMIT)
		number *= 1000;
	return TimestampTzGetDatum(number * INT64CONST(1000) - epoch * USECS_PER_SEC);
}

/* Its value in 'from', or 0; *value is where it was found. */
static Datum
read_column(Reader *reader, const CsJson *from, const CsColumn *column, const CsJson **value)
{
	Datum		datum = (Datum) 0;
	char	   *problem;

	*value = cs_json_find(from, column->paths);
	if (column->type == CS_TYPE_TIMESTAMPTZ && cs_json_is_no_time(*value))
		*value = NULL;
	if (*value == NULL)
		return (Datum) 0;
	if (column->type == CS_TYPE_TIMESTAMPTZ && cs_json_type(*value) == CS_JSON_INTEGER)
	{
		datum = time_from_number(*value);
		if (datum != 0)
			return datum;
	}
	if (!cs_datum_from_json(column->type, *value, &datum, &problem))
	{
		note(reader, column->name, problem);
		*value = NULL;
		return (Datum) 0;
	}
	return datum;
}

static Datum
read_named_value(Reader *reader, const char *name, const CsJson **value)
{
	const CsColumn *column = cs_api_resource(reader->api, "event")->columns;

	*value = NULL;
	while (column->name && strcmp(column->name, name) != 0)
		column++;
	return column->name ? read_column(reader, reader->document, column, value) : (Datum) 0;
}

static Datum
read_named(Reader *reader, const char *name)
{
	const CsJson *value;

	return read_named_value(reader, name, &value);
}

static bool
is_id(Datum id)
{
	return id != 0 && VARSIZE_ANY_EXHDR(DatumGetTextPP(id)) > 0;
}

static Datum
read_id(Reader *reader, const char *name)
{
	Datum		id = read_named(reader, name);

	return is_id(id) ? id : (Datum) 0;
}

/* Without an id the same bytes are the same event. */
static Datum
digest_id(const CsPayload *payload)
{
	uint8		digest[CS_SHA256_LENGTH];

	cs_sha256(payload->data, payload->length, digest);
	return CStringGetTextDatum(psprintf("sha256:%s", cs_hex(digest, sizeof(digest))));
}

/* ---- parcels ---- */

static bool
names_parcel(const CsColumn *column)
{
	return strcmp(column->name, "shipment_id") == 0 || strcmp(column->name, "tracking_number") == 0;
}

/* Are there a parcel's fields among the order's? */
static bool
is_parcel_among(const Reader *reader)
{
	const CsResource *among = cs_api_resource(reader->api, "event_shipment");
	const CsJson *from = cs_json_find(reader->document, among->root);

	for (const CsColumn *column = among->columns; column->name; column++)
		if (names_parcel(column) && cs_json_find(from, column->paths) != NULL)
			return true;
	return false;
}

/* One parcel; what has neither id nor number is none.  'status': if it has none of its own. */
static void
write_parcel(Reader *reader, CsWriter *writer, const CsJson *from, const CsColumn *columns,
			 const CsJson *status)
{
	CsWriter	parcel;
	bool		known = false;

	cs_writer_init(&parcel);
	for (int i = 0; columns[i].name; i++)
	{
		const CsJson *value;
		Datum		datum = read_column(reader, from, &columns[i], &value);

		if (value && columns[i].type == CS_TYPE_IDENTIFIER && !is_id(datum))
			continue;
		if (value == NULL && strcmp(columns[i].name, "status") == 0)
			value = status;

		/* An instant, whatever offset it was written with. */
		if (value && columns[i].type == CS_TYPE_TIMESTAMPTZ)
			cs_write_string(&parcel, columns[i].name,
							timestamptz_to_str(DatumGetTimestampTz(datum)));
		else if (value)
			cs_write_json(&parcel, columns[i].name, value);
		known |= value && names_parcel(&columns[i]);
	}
	if (known)
	{
		cs_write_open(writer, NULL, '{');
		appendBinaryStringInfo(&writer->out, parcel.out.data, parcel.out.len);
		cs_write_close(writer, '}');
	}
}

/* jsonb array, or 0 without a parcel. */
static Datum
read_parcels(Reader *reader)
{
	const CsResource *apart = cs_api_resource(reader->api, "event_shipments");
	const CsResource *among = cs_api_resource(reader->api, "event_shipment");
	const CsJson *list = cs_json_find(reader->document, apart->lists[0]);
	CsWriter	writer;

	cs_writer_init(&writer);
	cs_write_open(&writer, NULL, '[');
	if (cs_json_type(list) == CS_JSON_ARRAY)
		for (size_t i = 0; i < cs_json_length(list); i++)
			write_parcel(reader, &writer, cs_json_at(list, i), apart->columns, NULL);
	else if (cs_json_type(list) == CS_JSON_OBJECT)
		write_parcel(reader, &writer, list, apart->columns, NULL);
	else
		write_parcel(reader, &writer, cs_json_find(reader->document, among->root), among->columns,
					 reader->other_status);
	cs_write_close(&writer, ']');
	return writer.out.len > 2 ? cs_jsonb_from_utf8(writer.out.data, writer.out.len) : (Datum) 0;
}

/* ---- the whole ---- */

static const CsJson *
parse(const CsPayload *payload)
{
	char	   *problem = NULL;
	const CsJson *document = cs_json_parse(CurrentMemoryContext, payload->data, payload->length,
										   &problem);

	if (document == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
				 errmsg("the payload of the webhook is not sound JSON"),
				 errdetail("The problem: %s.", problem)));
	if (cs_json_type(document) != CS_JSON_OBJECT)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
				 errmsg("the payload of the webhook is not a JSON object")));
	return document;
}

/* The length of the word, and the word after it. */
static size_t
word_length(const char *word)
{
	return strcspn(word, SEPARATORS);
}

static const char *
next_word(const char *word)
{
	word += word_length(word);
	return word + strspn(word, SEPARATORS);
}

static bool
is_word(const char *word, const char *wanted)
{
	return word_length(word) == strlen(wanted) &&
		pg_strncasecmp(word, wanted, strlen(wanted)) == 0;
}

/* "order.shipped", "orders/shipped" */
static bool
is_order(const char *word)
{
	return is_word(word, "order") || is_word(word, "orders");
}

/* No word of the type names a part of the order: "order.updated", "order_status.changed". */
static bool
is_of_whole_order(const CsApi *api, const char *type)
{
	static const char *const words[] = {
		"status", "state", "update", "updated", "change", "changed", NULL
	};

	if (!is_order(type))
		return false;
	for (const char *word = next_word(type); *word; word = next_word(word))
	{
		const char *const *known = words;

		while (*known && !is_word(word, *known))
			known++;
		if (*known == NULL &&
			cs_api_order_state(api, pnstrdup(word, word_length(word))) == NULL)
			return false;
	}
	return true;
}

/*
 * What follows "order." in the type; NULL if the event is about something
 * else.  "order_line" is something else, "order_shipped" is not.
 */
static const char *
order_event(const CsApi *api, const CsEvent *event)
{
	const char *type = event->type ? TextDatumGetCString(event->type) : "";

	if (!is_order(type) ||
		(strchr("_-", type[word_length(type)]) != NULL && !is_of_whole_order(api, type)))
		return NULL;
	return next_word(type);
}

/* Where the data is the order itself, it has the order's id. */
static void
read_order_id(Reader *reader, CsEvent *event)
{
	event->remote_id = read_id(reader, "remote_id");
	if (event->remote_id == 0 && order_event(reader->api, event) != NULL)
		event->remote_id = read_id(reader, "data_id");
}

static bool
is_end(const char *state)
{
	return state && (strcmp(state, "delivered") == 0 || strcmp(state, "rejected") == 0 ||
					 strcmp(state, "cancelled") == 0);
}

/*
 * A status of which nothing says whose it is: the order's, or that of the
 * proof, the parcel or the line that the event is about?  It is the type that
 * tells.  An end is not undone, so it has to be beyond doubt.
 */
static bool
is_status_of_order(Reader *reader, const CsEvent *event, const char *state)
{
	Datum		data_id = read_id(reader, "data_id");
	const char *type = event->type ? TextDatumGetCString(event->type) : NULL;

	if (data_id != 0 && event->remote_id != 0 &&
		strcmp(TextDatumGetCString(data_id), TextDatumGetCString(event->remote_id)) != 0)
		return false;			/* of whatever has that id */
	if (type == NULL)
		return !(is_end(state) && is_parcel_among(reader));
	if (is_end(state))
		return is_of_whole_order(reader->api, type);
	return is_order(type) || is_word(type, "production");
}

static const char *
state_of(const CsApi *api, Datum status)
{
	return status ? cs_api_order_state(api, TextDatumGetCString(status)) : NULL;
}

/* A type that names the state stands in for a status. */
static void
read_status(Reader *reader, CsEvent *event)
{
	const char *said = order_event(reader->api, event);
	const CsJson *value;
	Datum		status = read_named_value(reader, "status", &value);
	const char *state = state_of(reader->api, status);

	event->remote_status = read_named(reader, "remote_status");
	if (event->remote_status == 0 && status && is_status_of_order(reader, event, state))
		event->remote_status = status;
	else
	{
		reader->other_status = value;
		if (event->remote_status == 0 && state != NULL)
			event->doubted = status;
	}
	if (event->remote_status == 0 && said && cs_api_order_state(reader->api, said) != NULL)
		event->remote_status = CStringGetTextDatum(said);
	event->state = state_of(reader->api, event->remote_status);
}

/* Of sound JSON, what jsonb cannot hold: a number beyond numeric, a character unknown here. */
static Datum
jsonb_of(const CsJson *document)
{
	Datum		jsonb;
	char	   *problem;

	if (!cs_datum_from_json(CS_TYPE_JSONB, document, &jsonb, &problem))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
				 errmsg("the payload of the webhook cannot be stored as jsonb"),
				 errdetail("In it, %s.", problem)));
	return jsonb;
}

void
cs_event_read(const CsApi *api, const CsPayload *payload, CsEvent *event)
{
	Reader		reader = {.api = api, .document = parse(payload)};

	memset(event, 0, sizeof(*event));
	event->payload = jsonb_of(reader.document);
	initStringInfo(&reader.problems);
	event->id = read_id(&reader, "event_id");
	if (event->id == 0)
		event->id = digest_id(payload);
	event->type = read_named(&reader, "type");
	event->at = read_named(&reader, "at");
	read_order_id(&reader, event);
	event->order_number = read_id(&reader, "order_number");
	event->rejection_reason = read_named(&reader, "rejection_reason");
	read_status(&reader, event);
	event->parcels = read_parcels(&reader);
	if (reader.problems.len > 0)
		event->problem = CStringGetTextDatum(reader.problems.data);
}
