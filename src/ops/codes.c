/*
 * codes.c
 *	  The errors that the partners' documents list, as they are raised here.
 */
#include "postgres.h"

#include "fmgr.h"
#include "funcapi.h"
#include "utils/builtins.h"

#include "src/api/api.h"
#include "src/base/errors.h"
#include "src/base/state.h"

PG_FUNCTION_INFO_V1(cs_sql_error_codes);

static void
put_row(ReturnSetInfo *rsinfo, const CsApi *api, const CsApiError *error)
{
	Datum		values[6] = {0};
	bool		nulls[6] = {false};

	values[0] = CStringGetTextDatum(api->name);
	nulls[1] = error->code == NULL;
	if (error->code)
		values[1] = CStringGetTextDatum(error->code);
	values[2] = Int32GetDatum(error->status);
	values[3] = CStringGetTextDatum(unpack_sql_state(cs_errcode_status(error->status)));
	values[4] = CStringGetTextDatum(error->meaning);
	nulls[5] = error->hint == NULL;
	if (error->hint)
		values[5] = CStringGetTextDatum(error->hint);
	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
}

/* cs_error_codes() */
Datum
cs_sql_error_codes(PG_FUNCTION_ARGS)
{
	cs_require_preload();
	InitMaterializedSRF(fcinfo, 0);
	for (int i = 0; cs_apis[i]; i++)
		for (const CsApiError *error = cs_apis[i]->errors; error->status; error++)
			put_row((ReturnSetInfo *) fcinfo->resultinfo, cs_apis[i], error);
	return (Datum) 0;
}
