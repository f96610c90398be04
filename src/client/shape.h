/*
 * shape.h
 *	  The places in a JSON element that columns read, found by one walk over
 *	  its members.
 *
 * A shape is made once from dotted paths, and then reads one element after
 * the other.
 */
#ifndef CS_CLIENT_SHAPE_H
#define CS_CLIENT_SHAPE_H

#include "postgres.h"

#include "src/wire/json.h"

/* Where a path leads. */
typedef struct CsPlace
{
	const char *path;
	int			slot;			/* in CsShape.slots */
	int			object;			/* which holds it; private */
} CsPlace;

typedef struct CsShape
{
	const CsJson **slots;		/* of the element read last; NULL: absent or null */
	bool		unknown;		/* it has a member that no path leads to or through */
	bool		whole;			/* a path is the element itself, which may then be anything */

	/* Private. */
	MemoryContext cxt;
	struct ShapeObject *objects;
	int			nobjects;
	int			nslots;
	bool		obstructed;		/* some object has 'wrong' */
} CsShape;

extern CsShape *cs_shape_new(void);

/* The place of "pricing.unit_price"; "" is the element itself.  'path' must live on. */
extern CsPlace cs_shape_add(CsShape *shape, const char *path);

/* Fills the slots; false if the element is no object, and not wanted as a whole. */
extern bool cs_shape_read(CsShape *shape, const CsJson *element);

/*
 * What stands on the way to the place where an object should be, with *path;
 * NULL if nothing does.
 */
extern const CsJson *cs_shape_obstacle(const CsShape *shape, const CsPlace *place,
									   const char **path);

#endif							/* CS_CLIENT_SHAPE_H */
