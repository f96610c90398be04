/*
 * form_reader.c
 *	  Objects of the order form → structs, by tables of fields.
 *
 * Nothing in a form is dropped silently: a field is read, or it is named with
 * the reason why not.  All that is wrong is collected and thrown at once, so
 * that whoever writes a mapping does not find the faults one by one.
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/memutils.h"

#include "src/api/country.h"
#include "src/api/form_reader.h"
#include "src/wire/parse.h"

#define SHOWN_NAME 80			/* bytes of a field's name */

void
cs_form_reader_init(CsFormReader *reader, const CsApi *api, const char *const *fields,
					const char *const *required, CsFindings *findings)
{
	memset(reader, 0, sizeof(*reader));
	reader->api = api;
	reader->fields = fields;
	reader->required = required;
	reader->url_required = true;
	reader->findings = findings;
	initStringInfo(&reader->place);
}

int
cs_form_enter(CsFormReader *reader, const char *name, int index)
{
	int			mark = reader->place.len;

	if (name == NULL)
	{
		char		digits[MAXINT8LEN + 1];

		appendStringInfoChar(&reader->place, '[');
		appendBinaryStringInfo(&reader->place, digits, pg_ltoa(index, digits));
		appendStringInfoChar(&reader->place, ']');
	}
	else
	{
		if (mark > 0)
			appendStringInfoChar(&reader->place, '.');
		appendStringInfoString(&reader->place, name);
	}
	return mark;
}

void
cs_form_leave(CsFormReader *reader, int mark)
{
	reader->place.len = mark;
	reader->place.data[mark] = '\0';
}

static void complain(CsFormReader *reader, CsRule rule, bool is_warning, const char *format,
					 va_list args) pg_attribute_printf(4, 0);

static void
complain(CsFormReader *reader, CsRule rule, bool is_warning, const char *format, va_list args)
{
	StringInfoData message;
	int			needed;

	initStringInfo(&message);
	for (;;)
	{
		va_list		copy;

		va_copy(copy, args);
		needed = appendStringInfoVA(&message, format, copy);
		va_end(copy);
		if (needed == 0)
			break;
		enlargeStringInfo(&message, needed);
	}
	cs_finding_add(reader->findings, rule, is_warning, pstrdup(reader->place.data), message.data);
}

void
cs_form_complain(CsFormReader *reader, const char *format,...)
{
	va_list		args;

	va_start(args, format);
	complain(reader, CS_RULE_FORM, false, format, args);
	va_end(args);
}

void
cs_form_complain_by(CsFormReader *reader, CsRule rule, const char *format,...)
{
	va_list		args;

	va_start(args, format);
	complain(reader, rule, false, format, args);
	va_end(args);
}

void
cs_form_warn(CsFormReader *reader, CsRule rule, const char *format,...)
{
	va_list		args;

	if (!reader->findings->wants_warnings)
		return;
	va_start(args, format);
	complain(reader, rule, true, format, args);
	va_end(args);
}

void
cs_form_complain_of(CsFormReader *reader, const char *name, const char *format,...)
{
	char	   *shown = cs_server_from_utf8(name, strlen(name));
	int			mark = cs_form_enter(reader, cs_printable(shown, strlen(shown), SHOWN_NAME), 0);
	va_list		args;

	va_start(args, format);
	complain(reader, CS_RULE_FORM, false, format, args);
	va_end(args);
	cs_form_leave(reader, mark);
}

/* What follows 'part' + 'name' in the path, or NULL if it does not begin so. */
static inline const char *
behind(const char *path, const char *part, const char *name)
{
	while (*part)
		if (*path++ != *part++)
			return NULL;
	while (*name)
		if (*path++ != *name++)
			return NULL;
	return path;
}

bool
cs_form_requires(const CsFormReader *reader, const char *part, const char *name)
{
	if (!reader->url_required && strcmp(name, "url") == 0)
		return false;
	for (int i = 0; reader->required && reader->required[i]; i++)
	{
		const char *rest = behind(reader->required[i], part, name);

		if (rest && *rest == '\0')
			return true;
	}
	return false;
}

bool
cs_form_expresses(const CsFormReader *reader, const char *part, const char *name)
{
	if (reader->fields == NULL)
		return true;
	for (int i = 0; reader->fields[i]; i++)
	{
		const char *rest = behind(reader->fields[i], part, name);

		if (rest && (*rest == '\0' || *rest == '.'))
			return true;
	}
	return false;
}

/* ---- one value ---- */

static bool
all_letters(const char *string, size_t length, size_t expected)
{
	for (size_t i = 0; i < length; i++)
		if (string[i] < 'A' || string[i] > 'Z')
			return false;
	return length == expected;
}

static bool
all_digits(const char *string)
{
	return string[0] != '\0' && string[strspn(string, "0123456789")] == '\0';
}

static bool
is_uuid(const char *string, size_t length)
{
	for (size_t i = 0; i < length; i++)
	{
		char		c = string[i];
		bool		hyphen = i == 8 || i == 13 || i == 18 || i == 23;
		bool		hex = (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'f');

		if (hyphen ? c != '-' : !hex)
			return false;
	}
	return length == 36;
}

/* Neither blanks nor control characters, and something behind https:// */
static bool
is_https_url(const char *string, size_t length)
{
	static const char scheme[] = "https://";
	size_t		skip = sizeof(scheme) - 1;

	if (length <= skip || pg_strncasecmp(string, scheme, skip) != 0 || string[skip] == '/')
		return false;
	for (size_t i = 0; i < length; i++)
		if ((unsigned char) string[i] <= ' ' || string[i] == 0x7f)
			return false;
	return true;
}

/* Endings of files that are, and that surely are not, PNG or JPEG. */
static const char *const accepted_endings[] = {"png", "jpg", "jpeg", NULL};
static const char *const refused_endings[] = {
	"ai", "avif", "bmp", "eps", "gif", "heic", "ico", "pdf", "psd", "svg", "tif", "tiff", "webp",
	"zip", NULL
};

/* What follows the last dot of the path's last name, up to the query; "" if there is no dot. */
static const char *
file_ending(const char *url)
{
	const char *path = strchr(url + strlen("https://"), '/');
	const char *ending = "";

	for (; path && *path && *path != '?' && *path != '#'; path++)
	{
		if (*path == '/')
			ending = "";
		else if (*path == '.')
			ending = path + 1;
	}
	return ending;
}

static bool
is_one_of(const char *ending, const char *const *endings)
{
	size_t		length = strcspn(ending, "?#");

	for (int i = 0; endings[i]; i++)
		if (strlen(endings[i]) == length && pg_strncasecmp(ending, endings[i], length) == 0)
			return true;
	return false;
}

static bool
is_time_with_offset(const char *string, size_t length)
{
	TimestampTz timestamp;

	return cs_parse_timestamp(string, length, &timestamp) && length > 10 &&
		strpbrk(string + 10, "Zz+-") != NULL;
}

static bool
is_blank(const char *string)
{
	return string[strspn(string, " \t\r\n")] == '\0';
}

/* The number's text; NULL unless it is one. */
static const char *
number_of(const CsValue *value)
{
	return value->type == CS_JSON_INTEGER || value->type == CS_JSON_DOUBLE ? value->text : NULL;
}

/* The text of an integer from 1 to the API's limit, or NULL with a complaint. */
static const char *
read_quantity(CsFormReader *reader, const CsValue *value)
{
	const char *number = number_of(value);
	int			limit = reader->api ? reader->api->orders->max_quantity : 0;
	int64		quantity;
	int64		digits;
	int			scale;

	if (number != NULL && cs_parse_decimal(number, &digits, &scale) == CS_DECIMAL_SHORT &&
		cs_decimal_to_int64(digits, scale, &quantity) &&
		quantity >= 1 && (limit == 0 || quantity <= limit))
		return psprintf(INT64_FORMAT, quantity);
	if (limit > 0)
		cs_form_complain(reader, "must be an integer from 1 to %d", limit);
	else
		cs_form_complain(reader, "must be an integer of at least 1");
	return NULL;
}

/* The text of a number above zero, or NULL with a complaint. */
static const char *
read_measure(CsFormReader *reader, const CsValue *value)
{
	const char *number = number_of(value);
	int64		digits = 1;
	int			scale;

	if (number != NULL && number[0] != '-' &&
		cs_parse_decimal(number, &digits, &scale) != CS_DECIMAL_ABSURD && digits > 0)
		return number;
	cs_form_complain(reader, "must be a number greater than 0");
	return NULL;
}

/*
 * The URL of a design.  A format that its file's ending gives away is refused;
 * one that says nothing, or has a query that may ask for another format, is
 * only doubtful, since the partner looks at the file itself.
 */
static const char *
read_url(CsFormReader *reader, const char *url, size_t length)
{
	const char *ending;

	if (!is_https_url(url, length))
	{
		cs_form_complain_by(reader, CS_RULE_DESIGN_SOURCE, "must be an https URL");
		return NULL;
	}
	ending = file_ending(url);
	if (is_one_of(ending, accepted_endings))
		return url;
	if (is_one_of(ending, refused_endings) && strchr(ending, '?') == NULL)
	{
		cs_form_complain_by(reader, CS_RULE_DESIGN_FORMAT, "must be a PNG or JPEG file");
		return NULL;
	}
	cs_form_warn(reader, CS_RULE_DESIGN_FORMAT, "does not say that it is a PNG or JPEG file");
	return url;
}

/* The string, if it is of its kind; or NULL with a complaint. */
static const char *
read_string(CsFormReader *reader, CsFieldKind kind, const CsValue *value)
{
	const char *currency = reader->api ? reader->api->orders->only_currency : NULL;
	const char *string = value->text;
	size_t		length = value->length;
	const char *expected = NULL;

	if (value->type != CS_JSON_STRING)
	{
		if (value->type == CS_JSON_INTEGER &&
			(kind == CS_FIELD_IDENTIFIER || (kind == CS_FIELD_DAYS && all_digits(string))))
			return string;
		cs_form_complain(reader, "must be a string, not %s", cs_json_type_name(value->type));
		return NULL;
	}
	if (kind == CS_FIELD_IDENTIFIER && is_blank(string))
	{
		cs_form_complain(reader, "must not be blank");
		return NULL;
	}
	if (kind == CS_FIELD_URL)
		return read_url(reader, string, length);
	if (kind == CS_FIELD_UUID && !is_uuid(string, length))
		expected = "a UUID";
	else if (kind == CS_FIELD_COUNTRY && !cs_is_country(string))
		expected = "a country code of two capital letters (ISO 3166-1 alpha-2)";
	else if (kind == CS_FIELD_DAYS && !all_digits(string))
		expected = "a number of days";
	else if (kind == CS_FIELD_CURRENCY && !all_letters(string, length, 3))
		expected = "a currency code of three capital letters (ISO 4217)";
	else if (kind == CS_FIELD_TIME && !is_time_with_offset(string, length))
		expected = "a date and time in ISO 8601 with offset";
	else if (kind == CS_FIELD_CURRENCY && currency && strcmp(string, currency) != 0)
	{
		cs_form_complain(reader, "must be %s, the only currency of %s", currency,
						 reader->api->title);
		return NULL;
	}
	if (expected)
	{
		cs_form_complain(reader, "must be %s", expected);
		return NULL;
	}
	return string;
}

static const char *
read_flag(CsFormReader *reader, const CsValue *value)
{
	if (value->type == CS_JSON_BOOLEAN)
		return value->is_true ? "true" : "false";
	cs_form_complain(reader, "must be true or false");
	return NULL;
}

/* Stores the value of a field that is known and expressible. */
static void
read_field(CsFormReader *reader, const CsField *field, const CsValue *value, void *target)
{
	void	   *slot = (char *) target + field->offset;

	switch (field->kind)
	{
		case CS_FIELD_QUANTITY:
			*(const char **) slot = read_quantity(reader, value);
			break;
		case CS_FIELD_MEASURE:
			*(const char **) slot = read_measure(reader, value);
			break;
		case CS_FIELD_FLAG:
			*(const char **) slot = read_flag(reader, value);
			break;
		case CS_FIELD_OBJECT:
			if (value->type != CS_JSON_OBJECT)
				cs_form_complain(reader, "must be an object, not %s",
								 cs_json_type_name(value->type));
			else
				*(const CsValue **) slot = value;
			break;
		case CS_FIELD_LIST:
			if (value->type != CS_JSON_ARRAY)
				cs_form_complain(reader, "must be an array, not %s",
								 cs_json_type_name(value->type));
			else
				*(const CsValue **) slot = value;
			break;
		default:
			*(const char **) slot = read_string(reader, field->kind, value);
			break;
	}
}

/* ---- one part ---- */

/*
 * What the descriptors say of a part's fields, a bit for each.  All of them are
 * constants of this library, known by their addresses, so it is found out once.
 */
typedef struct PartRules
{
	const char *const *api_fields;
	const char *const *api_required;
	const CsField *fields;
	const char *part;			/* addresses are of several parts */
	bool		url_required;
	uint32		expressible;
	uint32		required;
} PartRules;

static PartRules *known_rules = NULL;
static int	nknown_rules = 0;

static const PartRules *
add_rules(const CsFormReader *reader, const char *part, const CsField *fields)
{
	PartRules	rules = {reader->fields, reader->required, fields, part, reader->url_required};

	for (int i = 0; fields[i].name; i++)
	{
		Assert(i < 32);
		if (cs_form_expresses(reader, part, fields[i].name))
			rules.expressible |= 1U << i;
		if (cs_form_requires(reader, part, fields[i].name))
			rules.required |= 1U << i;
	}
	known_rules = known_rules ?
		repalloc(known_rules, sizeof(PartRules) * (nknown_rules + 1)) :
		MemoryContextAlloc(TopMemoryContext, sizeof(PartRules));
	known_rules[nknown_rules] = rules;
	return &known_rules[nknown_rules++];
}

static const PartRules *
rules_of(const CsFormReader *reader, const char *part, const CsField *fields)
{
	for (int i = 0; i < nknown_rules; i++)
	{
		const PartRules *rules = &known_rules[i];

		if (rules->fields == fields && rules->part == part &&
			rules->api_fields == reader->fields && rules->api_required == reader->required &&
			rules->url_required == reader->url_required)
			return rules;
	}
	return add_rules(reader, part, fields);
}

typedef struct PartReading
{
	CsFormReader *reader;
	const PartRules *rules;
	void	   *target;
} PartReading;

static bool
is_expressible(const PartReading *reading, const CsField *field)
{
	return (reading->rules->expressible & (1U << (field - reading->rules->fields))) != 0;
}

static bool
is_required(const PartReading *reading, const CsField *field)
{
	return (reading->rules->required & (1U << (field - reading->rules->fields))) != 0;
}

/* "sku, quantity, designs": what may stand here. */
static char *
expressible_names(const PartReading *reading)
{
	StringInfoData names;

	initStringInfo(&names);
	for (const CsField *field = reading->rules->fields; field->name; field++)
		if (is_expressible(reading, field))
			appendStringInfo(&names, "%s%s", names.len ? ", " : "", field->name);
	return names.data;
}

/*
 * One member of the object.  JSON null is the same as no member, but its name
 * must be one.
 */
static void
read_member(const PartReading *reading, const CsValue *value)
{
	CsFormReader *reader = reading->reader;
	const CsField *field = reading->rules->fields;
	int			mark;

	while (field->name && strcmp(field->name, value->name) != 0)
		field++;
	if (field->name == NULL)
	{
		cs_form_complain_of(reader, value->name, "is no field of the form; there are %s",
							expressible_names(reading));
		return;
	}
	if (value->type == CS_JSON_NULL)
		return;
	mark = cs_form_enter(reader, field->name, 0);
	if (is_expressible(reading, field))
		read_field(reader, field, value, reading->target);
	else
		cs_form_complain(reader, "cannot be expressed by %s", reader->api->title);
	cs_form_leave(reader, mark);
}

/* What must be there and is not; what was there and wrong was complained of. */
static void
check_required(const PartReading *reading, const CsValue *object)
{
	for (const CsField *field = reading->rules->fields; field->name; field++)
	{
		const char *value = *(const char **) ((char *) reading->target + field->offset);
		bool		blank = value != NULL && field->kind < CS_FIELD_OBJECT && is_blank(value);

		if ((value != NULL && !blank) || !is_required(reading, field))
			continue;
		if (blank)
			cs_form_complain_of(reading->reader, field->name, "must not be blank");
		else if (cs_value_get(object, field->name) == NULL)
			cs_form_complain_of(reading->reader, field->name, "is required");
	}
}

bool
cs_form_read_part(CsFormReader *reader, const char *part, const CsField *fields,
				  const CsValue *object, void *target)
{
	PartReading reading = {reader, rules_of(reader, part, fields), target};

	if (object->type != CS_JSON_OBJECT)
	{
		cs_form_complain(reader, "must be an object, not %s", cs_json_type_name(object->type));
		return false;
	}
	for (const CsValue *member = object->first; member; member = member->next)
		read_member(&reading, member);
	check_required(&reading, object);
	return true;
}
