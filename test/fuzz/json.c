/*
 * json.c
 *	  The JSON reader against the server's: what both take is the same value.
 */
#include "postgres.h"

#include "utils/jsonb.h"

#include "src/wire/datum.h"
#include "src/wire/json.h"
#include "test/fuzz/fuzz.h"

static bool
same_jsonb(Datum a, Datum b)
{
	return compareJsonbContainers(&DatumGetJsonbP(a)->root, &DatumGetJsonbP(b)->root) == 0;
}

/* What this reader refuses although the server takes it, as json.h says. */
static bool
is_own_limit(const char *problem)
{
	return strstr(problem, "nesting is too deep") != NULL ||
		strstr(problem, "integer out of range") != NULL;
}

/* A value becomes a Datum of any type, or there is a problem with words. */
static void
check_types(const CsJson *value)
{
	if (cs_json_type(value) == CS_JSON_NULL)
		return;
	for (int type = CS_TYPE_TEXT; type <= CS_TYPE_JSONB; type++)
	{
		Datum		datum;
		char	   *problem = NULL;

		if (!cs_datum_from_json((CsType) type, value, &datum, &problem))
			fuzz_check(problem != NULL && problem[0] != '\0', "a refused value has a problem");
	}
}

static void
check_member(const char *key, const CsJson *value, void *arg)
{
	check_types(value);
}

void
fuzz_json(const char *input, size_t length)
{
	char	   *problem;
	const CsJson *document = cs_json_parse(CurrentMemoryContext, input, length, &problem);
	Datum		servers = fuzz_jsonb(input, length);
	Datum		ours;
	char	   *text;

	if (document == NULL)
	{
		fuzz_check(problem != NULL, "a refused document has a problem");
		fuzz_check(servers == 0 || is_own_limit(problem), "what the server takes is taken");
		return;
	}
	check_types(document);
	cs_json_each(document, check_member, NULL);
	for (size_t i = 0; i < cs_json_length(document); i++)
		check_types(cs_json_at(document, i));
	if (cs_json_type(document) == CS_JSON_NULL)
		return;

	/* A number beyond numeric, or as absurd, has no jsonb. */
	if (!cs_datum_from_json(CS_TYPE_JSONB, document, &ours, &problem))
		return;
	text = cs_json_text(document);

	/* What a later member of the same name hides is not in ours, and may be such a number. */
	if (servers == 0 && fuzz_is_json(input, length))
		servers = fuzz_jsonb(text, strlen(text));
	fuzz_check(servers != 0, "what is taken the server takes");
	fuzz_check(same_jsonb(ours, servers), "it is the same value to both");
	ours = fuzz_jsonb(text, strlen(text));
	fuzz_check(ours != 0 && same_jsonb(ours, servers), "written again it is the same value");
}
