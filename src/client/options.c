/*
 * options.c
 *	  The options of servers and user mappings: one table, one validator, one
 *	  reader.
 *
 * Whoever decides where requests go, whom TLS trusts or which file a secret
 * is read from could steer other people's keys elsewhere or read the server's
 * files; those options are for superusers.  The validator sees the whole
 * resulting list and not what an ALTER changes, so the owner of a server with
 * such an option needs a superuser for every later ALTER of its options.
 *
 * Values are never repeated in a message: the one that is wrong may well be a
 * secret under the wrong name.
 */
#include "postgres.h"

#include <limits.h>

#include "access/reloptions.h"
#include "catalog/pg_attribute.h"
#include "catalog/pg_foreign_data_wrapper.h"
#include "catalog/pg_foreign_server.h"
#include "catalog/pg_foreign_table.h"
#include "catalog/pg_user_mapping.h"
#include "commands/defrem.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/varlena.h"

#include "src/api/api.h"
#include "src/base/state.h"
#include "src/client/options.h"

typedef enum OptionForm
{
	OPTION_API,					/* a registered partner API */
	OPTION_URL,					/* where credentials may be sent */
	OPTION_ENVIRONMENT,			/* live or sandbox */
	OPTION_INTEGER,				/* from 'min' to 'max' */
	OPTION_SECONDS,				/* an interval from 'min' to 'max' seconds */
	OPTION_BOOLEAN,
	OPTION_TEXT,				/* anything but nothing */
	OPTION_PATH,				/* absolute, of the database server */
	OPTION_SECRET
} OptionForm;

typedef struct Option
{
	const char *name;
	Oid			catalog;
	OptionForm	form;
	const char *privileged;		/* superusers only: why, as a sentence; or NULL */
	int			min;
	int			max;
} Option;

#define SECONDS_PER_YEAR (366 * SECS_PER_DAY)

#define STEERS_CREDENTIALS \
	"It decides where the credentials of all users of the server are sent."
#define READS_FILES \
	"It makes the server read a file on behalf of others."

static const Option options_known[] =
{
	{"api", ForeignServerRelationId, OPTION_API},
	{"base_url", ForeignServerRelationId, OPTION_URL, STEERS_CREDENTIALS},
	{"auth_url", ForeignServerRelationId, OPTION_URL, STEERS_CREDENTIALS},
	{"environment", ForeignServerRelationId, OPTION_ENVIRONMENT},
	{"rate_limit", ForeignServerRelationId, OPTION_INTEGER, NULL, 0, 1000000},
	{"ca_file", ForeignServerRelationId, OPTION_PATH,
	"It decides whom connections with the credentials of others trust."},
	{"refresh_interval", ForeignServerRelationId, OPTION_SECONDS, NULL, 0, SECONDS_PER_YEAR},
	{"detail_budget", ForeignServerRelationId, OPTION_INTEGER, NULL, 0, 1000000},
	{"poll_interval", ForeignServerRelationId, OPTION_SECONDS, NULL, 1, SECONDS_PER_YEAR},
	{"concurrency", ForeignServerRelationId, OPTION_INTEGER, NULL, 1, 64},
	{"retry_uncertain", ForeignServerRelationId, OPTION_BOOLEAN},

	{"api_key", UserMappingRelationId, OPTION_SECRET},
	{"secret_key", UserMappingRelationId, OPTION_SECRET},
	{"webhook_secret", UserMappingRelationId, OPTION_SECRET},
	{"api_key_file", UserMappingRelationId, OPTION_PATH, READS_FILES},
	{"secret_key_file", UserMappingRelationId, OPTION_PATH, READS_FILES},
	{"webhook_secret_file", UserMappingRelationId, OPTION_PATH, READS_FILES},

	/* The filters are those of the live functions; whether the API has them is seen later. */
	{"resource", ForeignTableRelationId, OPTION_TEXT},
	{"pushdown", ForeignTableRelationId, OPTION_BOOLEAN},
	{"category", ForeignTableRelationId, OPTION_TEXT},
	{"material", ForeignTableRelationId, OPTION_TEXT},
	{"capacity", ForeignTableRelationId, OPTION_TEXT},
	{"eco_certified", ForeignTableRelationId, OPTION_BOOLEAN},
	{"min_moq", ForeignTableRelationId, OPTION_INTEGER, NULL, 0, INT_MAX},
	{"search", ForeignTableRelationId, OPTION_TEXT},
	{"status", ForeignTableRelationId, OPTION_TEXT},
	{0}
};

/* What options can belong to, for messages. */
static const struct
{
	Oid			catalog;
	const char *noun;
}			option_owners[] =
{
	{ForeignServerRelationId, "servers"},
	{UserMappingRelationId, "user mappings"},
	{ForeignTableRelationId, "foreign tables"},
	{AttributeRelationId, "columns of foreign tables"},
	{ForeignDataWrapperRelationId, "foreign-data wrappers"},
	{0}
};

PG_FUNCTION_INFO_V1(cs_sql_fdw_validator);

static const char *
owner_noun(Oid catalog)
{
	for (int i = 0; option_owners[i].noun; i++)
		if (option_owners[i].catalog == catalog)
			return option_owners[i].noun;
	return "these objects";
}

/* The option of that name; of 'catalog', or of any if that is InvalidOid. */
static const Option *
find_option(Oid catalog, const char *name)
{
	for (const Option *option = options_known; option->name; option++)
		if ((catalog == InvalidOid || option->catalog == catalog) &&
			strcmp(option->name, name) == 0)
			return option;
	return NULL;
}

/* Edits from 'name' to 'candidate'; a name too long to be a typing error is INT_MAX away. */
static int
distance(const char *name, const char *candidate)
{
	size_t		length = strlen(name);

	if (length > NAMEDATALEN)
		return INT_MAX;
	return varstr_levenshtein(name, (int) length, candidate, (int) strlen(candidate),
							  1, 1, 1, true);
}

/* The options of 'catalog', separated by commas, the one closest to 'name' first. */
static char *
list_options(Oid catalog, const char *name)
{
	const Option *closest = NULL;
	int			least = INT_MAX;
	StringInfoData list;

	for (const Option *option = options_known; option->name; option++)
	{
		int			edits;

		if (option->catalog != catalog)
			continue;
		edits = distance(name, option->name);
		if (closest == NULL || edits < least)
		{
			closest = option;
			least = edits;
		}
	}
	initStringInfo(&list);
	if (closest)
		appendStringInfoString(&list, closest->name);
	for (const Option *option = options_known; option->name; option++)
		if (option->catalog == catalog && option != closest)
			appendStringInfo(&list, ", %s", option->name);
	return list.data;
}

pg_noreturn static void refuse_unknown(Oid catalog, const char *name);

static void
refuse_unknown(Oid catalog, const char *name)
{
	const Option *elsewhere = find_option(InvalidOid, name);
	const char *noun = owner_noun(catalog);
	char	   *valid = list_options(catalog, name);

	ereport(ERROR,
			(errcode(ERRCODE_FDW_INVALID_OPTION_NAME),
			 errmsg("invalid option \"%s\"", name),
			 elsewhere ? errdetail("It is an option of %s, not of %s.",
								   owner_noun(elsewhere->catalog), noun) : 0,
			 *valid ? errhint("The options of %s are: %s.", noun, valid)
			 : errhint("There are no options of %s.", noun)));
}

/* 'rule' is a sentence; the value itself is not shown. */
static void
refuse_value(const char *name, const char *rule)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("invalid value for option \"%s\"", name),
			 errdetail_internal("%s", rule)));
}

/* Decimal digits only, no sign, no space. */
static bool
parse_integer(const char *text, int *result)
{
	char	   *end;
	long		value;

	if (*text < '0' || *text > '9')
		return false;
	errno = 0;
	value = strtol(text, &end, 10);
	if (errno != 0 || *end != '\0' || value > INT_MAX)
		return false;
	*result = (int) value;
	return true;
}

/*
 * PostgreSQL's interval syntax, a bare number being seconds.  Months and
 * years have no fixed length and are refused, as are parts of a second.
 */
static bool
parse_seconds(const char *text, int *result)
{
	char		work[256];
	char	   *fields[MAXDATEFIELDS];
	int			types[MAXDATEFIELDS];
	int			nfields;
	int			type;
	int64		seconds;
	struct pg_itm_in interval = {0};

	if (strlen(text) >= sizeof(work) / 2)
		return false;
	if (ParseDateTime(text, work, sizeof(work), fields, types, MAXDATEFIELDS, &nfields) != 0 ||
		DecodeInterval(fields, types, nfields, INTERVAL_FULL_RANGE, &type, &interval) != 0)
	{
		/* As interval_in does: "PT5M". */
		memset(&interval, 0, sizeof(interval));
		if (DecodeISO8601Interval(strcpy(work, text), &type, &interval) != 0)
			return false;
	}
	if (type != DTK_DELTA)
		return false;
	if (interval.tm_mon != 0 || interval.tm_year != 0 || interval.tm_usec % USECS_PER_SEC != 0)
		return false;
	seconds = interval.tm_usec / USECS_PER_SEC + (int64) interval.tm_mday * SECS_PER_DAY;
	if (seconds < 0 || seconds > INT_MAX)
		return false;
	*result = (int) seconds;
	return true;
}

/* Is it, in lower case, one of the addresses that never leave this machine? */
static bool
is_loopback(const char *host, size_t length)
{
	int			number = -1;
	int			dots = 0;

	if (length == 9 && strncmp(host, "localhost", 9) == 0)
		return true;
	if (length == 5 && strncmp(host, "[::1]", 5) == 0)
		return true;
	if (length < 4 || strncmp(host, "127.", 4) != 0)
		return false;

	/* Four numbers, not a name such as 127.example.com. */
	for (size_t i = 0; i < length; i++)
	{
		if (host[i] == '.')
		{
			if (number < 0)
				return false;
			number = -1;
			dots++;
		}
		else if (host[i] >= '0' && host[i] <= '9')
			number = (number < 0 ? 0 : number * 10) + (host[i] - '0');
		else
			return false;
		if (number > 255)
			return false;
	}
	return dots == 3 && number >= 0;
}

/* The length of a host name, IPv4 address or bracketed IPv6 address at 'host'; 0 if none. */
static size_t
host_length(const char *host)
{
	size_t		length;

	if (*host == '[')
	{
		length = strspn(host + 1, "0123456789abcdef:.");
		return length > 0 && host[1 + length] == ']' ? length + 2 : 0;
	}
	return strspn(host, "abcdefghijklmnopqrstuvwxyz0123456789.-_");
}

char *
cs_url_normalise(const char *url, const char **problem)
{
	char	   *result = pstrdup(url);
	size_t		length = strlen(result);
	size_t		scheme_length;
	size_t		n;
	char	   *host;
	char	   *p;
	bool		plain;

	for (p = result; *p; p++)
		if (*p <= ' ' || *p >= 0x7f || strchr("\"<>\\^`{|}", *p) != NULL)
		{
			*problem = "It must not contain spaces or special characters.";
			return NULL;
		}
	if (strpbrk(result, "?#@") != NULL)
	{
		*problem = "It must not contain user information, a query or a fragment.";
		return NULL;
	}
	plain = pg_strncasecmp(result, "http://", 7) == 0;
	if (!plain && pg_strncasecmp(result, "https://", 8) != 0)
	{
		*problem = "It must begin with https://, or with http:// for a loopback address.";
		return NULL;
	}

	scheme_length = plain ? 7 : 8;
	host = result + scheme_length;
	for (p = result; *p && (p < host || *p != '/'); p++)
		*p = pg_ascii_tolower((unsigned char) *p);

	n = host_length(host);
	p = host + n;
	if (*p == ':')
	{
		int			port = 0;

		for (p++; *p >= '0' && *p <= '9' && port <= 65535; p++)
			port = port * 10 + (*p - '0');
		if (port < 1 || port > 65535)
			n = 0;
	}
	if (n == 0 || (*p != '\0' && *p != '/'))
	{
		*problem = "It must have a host name or address, and may have a port and a path.";
		return NULL;
	}
	if (plain && !is_loopback(host, n))
	{
		*problem = "It must begin with https://: without encryption only loopback addresses "
			"(127.0.0.1, [::1], localhost) are allowed.";
		return NULL;
	}
	while (result[length - 1] == '/')
		result[--length] = '\0';
	return result;
}

const char *
cs_secret_problem(const char *secret, size_t length)
{
	if (length == 0)
		return "It must not be empty.";
	if (length > CS_SECRET_MAX_LENGTH)
		return "It must not be longer than 4096 bytes.";
	for (size_t i = 0; i < length; i++)
		if (secret[i] <= ' ' || secret[i] >= 0x7f)
			return "It must consist of visible ASCII characters without spaces.";
	return NULL;
}

/* The partner APIs, quoted, for a message. */
static char *
list_apis(void)
{
	StringInfoData list;

	initStringInfo(&list);
	for (int i = 0; cs_apis[i]; i++)
		appendStringInfo(&list, "%s'%s'", i > 0 ? ", " : "", cs_apis[i]->name);
	return list.data;
}

/* Throws unless the value has the option's form. */
static void
check_value(const Option *option, const char *value)
{
	const char *problem = NULL;
	int			number;
	bool		truth;

	switch (option->form)
	{
		case OPTION_API:
			if (cs_api_find(value) == NULL)
				problem = psprintf("It must be one of %s.", list_apis());
			break;
		case OPTION_URL:
			cs_url_normalise(value, &problem);
			break;
		case OPTION_ENVIRONMENT:
			if (strcmp(value, "live") != 0 && strcmp(value, "sandbox") != 0)
				problem = "It must be 'live' or 'sandbox'.";
			break;
		case OPTION_INTEGER:
			if (!parse_integer(value, &number) || number < option->min || number > option->max)
				problem = psprintf("It must be an integer from %d to %d.",
								   option->min, option->max);
			break;
		case OPTION_SECONDS:
			if (!parse_seconds(value, &number) || number < option->min || number > option->max)
				problem = psprintf("It must be an interval such as '5 min' or '30 s', "
								   "in whole seconds, from %d s to %d days.",
								   option->min, option->max / SECS_PER_DAY);
			break;
		case OPTION_BOOLEAN:
			if (!parse_bool(value, &truth))
				problem = "It must be true or false.";
			break;
		case OPTION_TEXT:
			if (*value == '\0')
				problem = "It must not be empty.";
			break;
		case OPTION_PATH:
			if (!is_absolute_path(value))
				problem = "It must be the absolute path of a file on the database server.";
			break;
		case OPTION_SECRET:
			problem = cs_secret_problem(value, strlen(value));
			break;
	}
	if (problem)
		refuse_value(option->name, problem);
}

/* What a server's options must be together. */
static void
check_server(List *options)
{
	const char *name = cs_option_text(options, "api");
	const char *environment = cs_option_text(options, "environment");
	const CsApi *api;

	if (name == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_FDW_OPTION_NAME_NOT_FOUND),
				 errmsg("option \"%s\" is required", "api"),
				 errhint("It names the partner's API: one of %s.", list_apis())));
	api = cs_api_find(name);

	/* Whoever asks for a sandbox must not get the real thing. */
	if (environment && strcmp(environment, "sandbox") == 0 && api->environment_header == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("API \"%s\" has no sandbox environment", api->name),
				 errhint("Leave out the option \"environment\".")));
	if (cs_option_text(options, "auth_url") && api->auth_path == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("API \"%s\" has no identity host", api->name),
				 errhint("Leave out the option \"auth_url\".")));
}

/* A secret is given in one way, or not at all. */
static void
check_mapping(List *options)
{
	for (const Option *option = options_known; option->name; option++)
	{
		char	   *file;

		if (option->form != OPTION_SECRET || cs_option_text(options, option->name) == NULL)
			continue;
		file = psprintf("%s_file", option->name);
		if (cs_option_text(options, file))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("options \"%s\" and \"%s\" exclude each other", option->name, file)));
		pfree(file);
	}
}

static void
check_foreign_table(List *options)
{
	if (cs_option_text(options, "resource") == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_FDW_OPTION_NAME_NOT_FOUND),
				 errmsg("option \"%s\" is required", "resource"),
				 errhint("It names what the table shows, such as 'products'.")));
}

/*
 * Called with all options that the object will have, after each CREATE and
 * ALTER of a wrapper, server, user mapping or foreign table.
 */
Datum
cs_sql_fdw_validator(PG_FUNCTION_ARGS)
{
	List	   *options = untransformRelOptions(PG_GETARG_DATUM(0));
	Oid			catalog = PG_GETARG_OID(1);
	ListCell   *cell;

	cs_require_preload();
	foreach(cell, options)
	{
		DefElem    *given = lfirst_node(DefElem, cell);
		const Option *option = find_option(catalog, given->defname);

		if (option == NULL)
			refuse_unknown(catalog, given->defname);
		if (option->privileged && !superuser())
			ereport(ERROR,
					(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
					 errmsg("permission denied to set option \"%s\"", option->name),
					 errdetail_internal("%s", option->privileged),
					 errhint("Only a superuser may set it, or alter the options beside it.")));
		check_value(option, defGetString(given));
	}
	if (catalog == ForeignServerRelationId)
		check_server(options);
	else if (catalog == UserMappingRelationId)
		check_mapping(options);
	else if (catalog == ForeignTableRelationId)
		check_foreign_table(options);
	PG_RETURN_VOID();
}

const char *
cs_option_text(List *options, const char *name)
{
	ListCell   *cell;

	foreach(cell, options)
	{
		DefElem    *given = lfirst_node(DefElem, cell);

		if (strcmp(given->defname, name) == 0)
			return defGetString(given);
	}
	return NULL;
}

int
cs_option_integer(List *options, const char *name, int otherwise)
{
	const char *text = cs_option_text(options, name);
	int			value;

	return text && parse_integer(text, &value) ? value : otherwise;
}

bool
cs_option_boolean(List *options, const char *name, bool otherwise)
{
	const char *text = cs_option_text(options, name);
	bool		value;

	return text && parse_bool(text, &value) ? value : otherwise;
}

int
cs_option_seconds(List *options, const char *name, int otherwise)
{
	const char *text = cs_option_text(options, name);
	int			value;

	return text && parse_seconds(text, &value) ? value : otherwise;
}
