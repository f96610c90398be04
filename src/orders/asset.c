/*
 * asset.c
 *	  Uploading artwork, whose id an order's branding names.
 *
 * The document promises nothing about an upload that is sent twice, so it is
 * sent once: libcurl is not given the means to rewind the body, and what may
 * have arrived is not sent again.  The parts are handed to libcurl from where
 * they lie; the content is not copied.
 */
#include "postgres.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "access/tupdesc.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "storage/fd.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "src/base/guc.h"
#include "src/base/state.h"
#include "src/client/call.h"
#include "src/client/rows.h"
#include "src/client/server.h"
#include "src/wire/datum.h"

PG_FUNCTION_INFO_V1(cs_sql_upload_asset);
PG_FUNCTION_INFO_V1(cs_sql_upload_asset_file);

#define NAME_MAX_LENGTH 255		/* bytes of a file's name, or of a content type */

/* What a file is by its first bytes. */
static const struct
{
	const char *start;
	size_t		length;
	const char *content_type;
}			known_starts[] =
{
	{"\x89PNG\r\n\x1a\n", 8, "image/png"},
	{"\xff\xd8\xff", 3, "image/jpeg"},
	{"GIF8", 4, "image/gif"},
	{"II*\0", 4, "image/tiff"},
	{"MM\0*", 4, "image/tiff"},
	{"<svg", 4, "image/svg+xml"},
	{"%PDF-", 5, "application/pdf"},
	{"%!PS", 4, "application/postscript"},
	{0}
};

static const char *
type_of(const char *content, size_t length)
{
	for (int i = 0; known_starts[i].start; i++)
		if (length >= known_starts[i].length &&
			memcmp(content, known_starts[i].start, known_starts[i].length) == 0)
			return known_starts[i].content_type;
	return "application/octet-stream";
}

static char *
text_argument(FunctionCallInfo fcinfo, int n)
{
	return PG_ARGISNULL(n) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(n));
}

static void
require(FunctionCallInfo fcinfo, int n, const char *name)
{
	if (PG_ARGISNULL(n))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("%s must not be null", name)));
}

/* The name goes into a header of the part. */
static void
check_name(const char *name)
{
	size_t		length = strlen(name);

	if (length == 0 || length > NAME_MAX_LENGTH)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a file name must have 1 to %d bytes", NAME_MAX_LENGTH)));
	for (const char *p = name; *p; p++)
		if ((unsigned char) *p < ' ' || *p == 0x7f || *p == '/')
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("a file name must not contain control characters or slashes")));
}

/* "type/subtype", perhaps with parameters: visible ASCII and blanks. */
static void
check_content_type(const char *type)
{
	const char *slash = strchr(type, '/');
	bool		sound = slash != NULL && slash > type && slash[1] > ' ' &&
		strlen(type) <= NAME_MAX_LENGTH;

	for (const char *p = type; *p && sound; p++)
		sound = *p >= ' ' && *p < 0x7f;
	if (!sound)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("content_type is not a media type"),
				 errhint("It looks like \"image/png\"; left out, it is told from the content.")));
}

typedef struct Answer
{
	MemoryContext cxt;
	Datum		asset_id;		/* text, or 0 */
} Answer;

static void
take_answer(Datum *values, bool *nulls, void *arg)
{
	Answer	   *answer = arg;
	MemoryContext old = MemoryContextSwitchTo(answer->cxt);

	answer->asset_id = PointerGetDatum(PG_DETOAST_DATUM_COPY(values[0]));
	MemoryContextSwitchTo(old);
}

/* The id in the answer; throws PA006 without one. */
static Datum
read_answer(const CsAccount *account, const CsJson *document)
{
	TupleDesc	tupdesc = CreateTemplateTupleDesc(1);
	Answer		answer = {CurrentMemoryContext};

	TupleDescInitEntry(tupdesc, 1, "asset_id", TEXTOID, -1, 0);
	if (document)
		cs_rows_each(cs_rows_reader(cs_api_resource(account->api, "asset"), tupdesc, account->server),
					 document, 1, take_answer, &answer);
	if (answer.asset_id == 0)
		ereport(ERROR,
				(errcode(CS_ERRCODE_MALFORMED),
				 errmsg("the answer of server \"%s\" does not show the asset", account->server)));
	return answer.asset_id;
}

/* The part's name, content and length are set; 'server' may be NULL. */
static Datum
upload(CsHttpPart *part, const char *name, const char *content_type, const char *server)
{
	CsAccount  *account = cs_account_get(CurrentMemoryContext, cs_server_resolve(server),
										 GetUserId());
	const CsOrderApi *orders = account->api->orders;
	CsCallSpec	spec = {0};

	if (orders->assets_path == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("%s, the API of server \"%s\", takes no assets", account->api->title,
						account->server),
				 errhint("Name the server of another account by the argument \"server\".")));
	check_name(name);
	if (content_type)
		check_content_type(content_type);
	if (part->length == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("asset \"%s\" is empty", name)));

	part->name = orders->asset_part;
	part->filename = cs_utf8_from_server(name);
	part->content_type = content_type ? content_type : type_of(part->data, part->length);
	spec.method = "POST";
	spec.path = orders->assets_path;
	spec.endpoint = psprintf("POST %s", spec.path);
	spec.parts = part;
	spec.nparts = 1;
	spec.priority = CS_PRIORITY_LIVE;
	spec.max_retries = cs_guc_max_retries;
	spec.timeout_ms = cs_guc_order_timeout;
	return read_answer(account, cs_call_read(CurrentMemoryContext, account, &spec));
}

static void
begin(const char *function)
{
	cs_require_preload();
	PreventCommandIfReadOnly(function);
	PreventCommandIfParallelMode(function);
}

/* cs_upload_asset(content bytea, filename, content_type, server) */
Datum
cs_sql_upload_asset(PG_FUNCTION_ARGS)
{
	CsHttpPart	part = {0};
	bytea	   *content;

	begin("cs_upload_asset()");
	require(fcinfo, 0, "content");
	require(fcinfo, 1, "filename");
	content = PG_GETARG_BYTEA_PP(0);
	part.data = VARDATA_ANY(content);
	part.length = VARSIZE_ANY_EXHDR(content);
	return upload(&part, text_argument(fcinfo, 1), text_argument(fcinfo, 2),
				  text_argument(fcinfo, 3));
}

/* ---- a file of the server ---- */

/* As pg_read_binary_file() and COPY FROM demand it. */
static void
check_may_read_files(void)
{
	if (!has_privs_of_role(GetUserId(), ROLE_PG_READ_SERVER_FILES))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied to read a file of the database server"),
				 errdetail("Only roles with privileges of the role \"%s\" may do so.",
						   "pg_read_server_files"),
				 errhint("Pass the content itself: cs_upload_asset(content => ..., filename => ...).")));
}

/* All of a regular file: opening anything else could wait for ever. */
static char *
read_file(const char *path, size_t *length)
{
	struct stat file;
	char	   *content;
	int			fd = OpenTransientFile(path, O_RDONLY | O_NONBLOCK | PG_BINARY);

	if (fd < 0 || fstat(fd, &file) != 0)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not open file \"%s\" for reading: %m", path)));
	if (!S_ISREG(file.st_mode))
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("\"%s\" is not a regular file", path)));
	if ((uint64) file.st_size >= MaxAllocSize)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("file \"%s\" is too large", path),
				 errdetail("An asset can have 1 GB at most.")));
	content = palloc((Size) file.st_size + 1);
	for (*length = 0; *length < (size_t) file.st_size;)
	{
		ssize_t		got = read(fd, content + *length,
							   Min((size_t) file.st_size - *length, 1024 * 1024));

		if (got < 0)
			ereport(ERROR,
					(errcode_for_file_access(),
					 errmsg("could not read file \"%s\": %m", path)));
		if (got == 0)
			break;
		*length += got;
		CHECK_FOR_INTERRUPTS();
	}
	CloseTransientFile(fd);
	return content;
}

/* cs_upload_asset(file text, content_type, server) */
Datum
cs_sql_upload_asset_file(PG_FUNCTION_ARGS)
{
	CsHttpPart	part = {0};
	char	   *path;

	begin("cs_upload_asset()");
	require(fcinfo, 0, "file");
	check_may_read_files();
	path = text_argument(fcinfo, 0);
	canonicalize_path(path);
	if (!is_absolute_path(path))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("file must be an absolute path on the database server")));
	part.data = read_file(path, &part.length);
	return upload(&part, last_dir_separator(path) + 1, text_argument(fcinfo, 1),
				  text_argument(fcinfo, 2));
}
