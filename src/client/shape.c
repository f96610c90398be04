/*
 * shape.c
 *	  The places in a JSON element that columns read, found by one walk over
 *	  its members.
 *
 * A shape knows the objects that its paths lead through and, for each, the
 * members that they lead to.  A partner sends the same members in the same
 * order nearly always, so each object remembers the order in which they came
 * the last time, and a member is found by one comparison.  Members that no
 * path leads to are remembered too: they cost no more than the others.  Shapes
 * live long and keys come from outside, so what is remembered is bounded.
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "src/client/shape.h"

#define MAX_ORDER 64			/* members whose order an object remembers */
#define MAX_UNKNOWN 64			/* unknown members that an object remembers */
#define MAX_UNKNOWN_KEY 64		/* bytes of their keys */

#define NO_SLOT (-1)
#define NO_OBJECT (-1)

/* Slot 0 and object 0 are the element itself. */
#define ELEMENT 0

typedef struct Member
{
	const char *key;
	bool		known;			/* some path leads here */
	int			slot;			/* where its value goes, or NO_SLOT */
	int			object;			/* what paths lead on through, or NO_OBJECT */
} Member;

typedef struct ShapeObject
{
	const char *path;			/* from the element; "" is the element */
	int			parent;			/* or NO_OBJECT */
	Member	  **members;
	int			nmembers;
	int			nunknown;
	int			norder;
	Member	   *order[MAX_ORDER];	/* as they came the last time */
	const CsJson *wrong;		/* what was found in its place, if not an object */
} ShapeObject;

typedef struct Visit
{
	CsShape    *shape;
	ShapeObject *object;
	int			position;
} Visit;

static Member *
find_member(const ShapeObject *object, const char *key)
{
	for (int i = 0; i < object->nmembers; i++)
		if (strcmp(object->members[i]->key, key) == 0)
			return object->members[i];
	return NULL;
}

/* 'key' is copied. */
static Member *
add_member(CsShape *shape, ShapeObject *object, const char *key, bool known)
{
	Member	   *member = MemoryContextAlloc(shape->cxt, sizeof(Member));

	member->key = MemoryContextStrdup(shape->cxt, key);
	member->known = known;
	member->slot = NO_SLOT;
	member->object = NO_OBJECT;
	if (object->members)
		object->members = repalloc(object->members, (object->nmembers + 1) * sizeof(Member *));
	else
		object->members = MemoryContextAlloc(shape->cxt, sizeof(Member *));
	object->members[object->nmembers++] = member;
	return member;
}

static int
add_object(CsShape *shape, const char *path, int parent)
{
	ShapeObject *object;

	if (shape->objects)
		shape->objects = repalloc(shape->objects, (shape->nobjects + 1) * sizeof(ShapeObject));
	else
		shape->objects = MemoryContextAlloc(shape->cxt, sizeof(ShapeObject));
	object = &shape->objects[shape->nobjects];
	memset(object, 0, sizeof(ShapeObject));
	object->path = path;
	object->parent = parent;
	return shape->nobjects++;
}

static int
add_slot(CsShape *shape)
{
	if (shape->slots)
		shape->slots = repalloc(shape->slots, (shape->nslots + 1) * sizeof(CsJson *));
	else
		shape->slots = MemoryContextAlloc(shape->cxt, sizeof(CsJson *));
	shape->slots[shape->nslots] = NULL;
	return shape->nslots++;
}

CsShape *
cs_shape_new(void)
{
	CsShape    *shape = palloc0(sizeof(CsShape));

	shape->cxt = CurrentMemoryContext;
	(void) add_slot(shape);
	(void) add_object(shape, "", NO_OBJECT);
	return shape;
}

CsPlace
cs_shape_add(CsShape *shape, const char *path)
{
	CsPlace		place = {.path = path, .slot = ELEMENT, .object = ELEMENT};
	const char *rest = path;

	if (*path == '\0')
	{
		shape->whole = true;
		return place;
	}
	for (;;)
	{
		const char *end = strchrnul(rest, '.');
		char	   *key = pnstrdup(rest, end - rest);
		Member	   *member = find_member(&shape->objects[place.object], key);

		if (member == NULL)
			member = add_member(shape, &shape->objects[place.object], key, true);
		if (*end == '\0')
		{
			if (member->slot == NO_SLOT)
				member->slot = add_slot(shape);
			place.slot = member->slot;
			return place;
		}
		if (member->object == NO_OBJECT)
			member->object = add_object(shape, MemoryContextStrdup(shape->cxt,
																   pnstrdup(path, end - path)),
										place.object);
		place.object = member->object;
		rest = end + 1;
	}
}

/* The member 'key', which did not come where it came the last time. */
static Member *
look_up_member(Visit *visit, const char *key)
{
	ShapeObject *object = visit->object;
	Member	   *member = find_member(object, key);

	if (member == NULL && object->nunknown < MAX_UNKNOWN && strlen(key) <= MAX_UNKNOWN_KEY)
	{
		member = add_member(visit->shape, object, key, false);
		object->nunknown++;
	}
	if (member && visit->position < MAX_ORDER)
	{
		object->order[visit->position] = member;
		object->norder = Max(object->norder, visit->position + 1);
	}
	return member;
}

static void visit_object(CsShape *shape, ShapeObject *object, const CsJson *value);

/* CsJsonMemberCallback */
static void
visit_member(const char *key, const CsJson *value, void *arg)
{
	Visit	   *visit = arg;
	CsShape    *shape = visit->shape;
	Member	   *member = NULL;

	if (visit->position < visit->object->norder)
	{
		member = visit->object->order[visit->position];
		if (member && strcmp(member->key, key) != 0)
			member = NULL;
	}
	if (member == NULL)
		member = look_up_member(visit, key);
	visit->position++;

	if (member == NULL || !member->known)
	{
		shape->unknown = true;
		return;
	}
	if (member->slot != NO_SLOT)
		shape->slots[member->slot] = value;
	if (member->object != NO_OBJECT && value)
		visit_object(shape, &shape->objects[member->object], value);
}

static void
visit_object(CsShape *shape, ShapeObject *object, const CsJson *value)
{
	Visit		visit = {shape, object, 0};

	if (cs_json_type(value) == CS_JSON_OBJECT)
		cs_json_each(value, visit_member, &visit);
	else if (cs_json_type(value) == CS_JSON_ARRAY && cs_json_length(value) == 0)
		shape->unknown = true;	/* an empty object as PHP writes it */
	else
	{
		object->wrong = value;
		shape->obstructed = true;
		shape->unknown = true;
	}
}

bool
cs_shape_read(CsShape *shape, const CsJson *element)
{
	bool		is_object = cs_json_type(element) == CS_JSON_OBJECT;

	memset(shape->slots, 0, shape->nslots * sizeof(CsJson *));
	shape->unknown = false;
	if (shape->obstructed)
	{
		for (int i = 0; i < shape->nobjects; i++)
			shape->objects[i].wrong = NULL;
		shape->obstructed = false;
	}
	shape->slots[ELEMENT] = element;
	if (is_object)
		visit_object(shape, &shape->objects[ELEMENT], element);
	return is_object || shape->whole;
}

const CsJson *
cs_shape_obstacle(const CsShape *shape, const CsPlace *place, const char **path)
{
	if (!shape->obstructed)
		return NULL;
	for (int n = place->object; n != NO_OBJECT; n = shape->objects[n].parent)
	{
		*path = shape->objects[n].path;
		if (shape->objects[n].wrong)
			return shape->objects[n].wrong;
	}
	return NULL;
}
