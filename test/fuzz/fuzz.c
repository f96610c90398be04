/*
 * fuzz.c
 *	  libFuzzer inside a server: the project's code with PostgreSQL's own
 *	  memory contexts, errors and types, and nothing in their stead.
 *
 * The module is built of instrumented copies of the sources, whose functions
 * call each other whatever else the server has loaded.  fuzz(target, options)
 * does not return: libFuzzer ends the process, which is that of a single-user
 * server (scripts/fuzz.sh).
 */
#include "postgres.h"

#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"

#include "test/fuzz/fuzz.h"

PG_MODULE_MAGIC;

PG_FUNCTION_INFO_V1(fuzz);

/* libFuzzer's, which has no header in C. */
extern int	LLVMFuzzerRunDriver(int *argc, char ***argv,
								int (*callback) (const uint8 *input, size_t length));

static const struct
{
	const char *name;
	FuzzTarget	run;
}			targets[] =
{
	{"json", fuzz_json},
	{"rows", fuzz_rows},
	{"headers", fuzz_headers},
	{"form", fuzz_form},
	{"webhook", fuzz_webhook},
};

static FuzzTarget target;
static MemoryContext input_cxt;

void
fuzz_check(bool holds, const char *promise)
{
	if (holds)
		return;
	fprintf(stderr, "cupsource: does not hold: %s\n", promise);
	abort();
}

int
fuzz_try(void (*function) (void *arg), void *arg)
{
	MemoryContext cxt = CurrentMemoryContext;
	volatile int sqlstate = 0;

	PG_TRY();
	{
		function(arg);
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(cxt);
		sqlstate = geterrcode();
		FlushErrorState();
	}
	PG_END_TRY();
	return sqlstate;
}

typedef struct JsonbInput
{
	char	   *text;
	Datum		jsonb;
} JsonbInput;

static void
read_json(void *arg)
{
	JsonbInput *input = arg;

	(void) DirectFunctionCall1(json_in, CStringGetDatum(input->text));
}

static void
read_jsonb(void *arg)
{
	JsonbInput *input = arg;

	input->jsonb = DirectFunctionCall1(jsonb_in, CStringGetDatum(input->text));
}

/* A C string ends at its first NUL. */
static bool
is_text(const char *input, size_t length)
{
	return memchr(input, '\0', length) == NULL &&
		pg_verify_mbstr(PG_UTF8, input, (int) length, true);
}

bool
fuzz_is_json(const char *input, size_t length)
{
	JsonbInput	call = {pnstrdup(input, length), (Datum) 0};

	return is_text(input, length) && fuzz_try(read_json, &call) == 0;
}

Datum
fuzz_jsonb(const char *input, size_t length)
{
	JsonbInput	call = {pnstrdup(input, length), (Datum) 0};

	return is_text(input, length) && fuzz_try(read_jsonb, &call) == 0 ? call.jsonb : (Datum) 0;
}

static int
run_target(const uint8 *input, size_t length)
{
	MemoryContext previous = MemoryContextSwitchTo(input_cxt);

	target((const char *) input, length);
	MemoryContextSwitchTo(previous);
	MemoryContextReset(input_cxt);
	return 0;
}

/* fuzz(target text, options text): the options are libFuzzer's, with blanks between. */
Datum
fuzz(PG_FUNCTION_ARGS)
{
	char	   *name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	char	   *options = text_to_cstring(PG_GETARG_TEXT_PP(1));
	char	  **argv = palloc0((strlen(options) + 3) * sizeof(char *));
	int			argc = 0;

	for (size_t i = 0; i < lengthof(targets); i++)
	{
		if (strcmp(targets[i].name, name) == 0)
			target = targets[i].run;
	}
	if (target == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("there is no target \"%s\"", name)));
	argv[argc++] = name;
	for (char *option = strtok(options, " "); option; option = strtok(NULL, " "))
		argv[argc++] = option;
	input_cxt = AllocSetContextCreate(TopMemoryContext, "fuzz input", ALLOCSET_DEFAULT_SIZES);
	LLVMFuzzerRunDriver(&argc, &argv, run_target);
	PG_RETURN_VOID();
}
