/*
 * json_tree.h
 *	  json-c's tree of a text; for json.c only.
 */
#ifndef CS_WIRE_JSON_TREE_H
#define CS_WIRE_JSON_TREE_H

#include "postgres.h"

struct json_object;

/*
 * Builds the tree of a document whose tokens cs_json_scan has found sound.
 * Returns NULL, or what is wrong with their arrangement, with *offset at the
 * place.  What *root has, also then and when this throws, is the caller's to
 * put, before 'cxt' is reset, where the names of members are; of the document
 * null it is NULL.  Throws only on out of memory.
 */
extern const char *cs_json_build(MemoryContext cxt, const char *text, size_t length,
								 struct json_object **root, size_t *offset);

/* Throws that there is no memory for a document. */
extern void cs_json_out_of_memory(void);

#endif							/* CS_WIRE_JSON_TREE_H */
