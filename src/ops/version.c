/*
 * version.c
 *	  cs_version(): which library is loaded, and on what it stands.
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/builtins.h"

#include "src/base/state.h"
#include "src/wire/http.h"
#include "src/wire/json.h"

PG_FUNCTION_INFO_V1(cs_sql_version);

/*
 * The first function that the install script calls, so that CREATE EXTENSION
 * without the preloaded library ends with the message that says what to do.
 */
Datum
cs_sql_version(PG_FUNCTION_ARGS)
{
	cs_require_preload();
	PG_RETURN_TEXT_P(cstring_to_text(psprintf("cupsource %s, %s, json-c/%s", CUPSOURCE_VERSION,
											  cs_http_library(), cs_json_library())));
}
