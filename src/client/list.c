/*
 * list.c
 *	  A list as partners write it.
 */
#include "postgres.h"

#include "src/client/list.h"

/* CsJsonMemberCallback: takes members as long as they may be elements. */
static void
take_member(const char *key, const CsJson *value, void *arg)
{
	CsList	   *list = arg;

	if (list->members == NULL)
		return;
	if (*key != '\0' && key[strspn(key, "0123456789")] == '\0' &&
		cs_json_type(value) == CS_JSON_OBJECT)
		list->members[list->length++] = value;
	else
		list->members = NULL;
}

CsList
cs_list_of(const CsJson *value)
{
	CsList		list = {.value = value};
	size_t		n = cs_json_members(value);

	if (cs_json_type(value) == CS_JSON_ARRAY)
	{
		list.length = (int64) cs_json_length(value);
		return list;
	}
	if (n > 0)
	{
		list.members = palloc(n * sizeof(CsJson *));
		cs_json_each(value, take_member, &list);
	}
	if (list.members == NULL)
		list.length = 1;
	return list;
}

const CsJson *
cs_list_at(const CsList *list, int64 i)
{
	if (list->members)
		return list->members[i];
	return cs_json_type(list->value) == CS_JSON_ARRAY ? cs_json_at(list->value, i) : list->value;
}
