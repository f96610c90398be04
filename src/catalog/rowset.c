/*
 * rowset.c
 *	  The rows of a page as an array of a composite type of cs_internal, each
 *	  with its fingerprint.
 *
 * The fingerprint is a hash over the binary form of all columns that were
 * read, so 1.0 and 1.00 differ, as they do for the reader of the view.  With
 * 64 bits a change goes unnoticed once in 10^19 changes.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "funcapi.h"
#include "utils/array.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/syscache.h"
#include "utils/typcache.h"

#include "src/catalog/rowset.h"

#define FIRST_CAPACITY 128

struct CsRowset
{
	MemoryContext cxt;
	Oid			type;
	TupleDesc	tupdesc;
	CsRowReader *reader;
	int			fingerprint_attribute;	/* from 0, as the others */
	int			key_attributes[CS_ROWSET_MAX_KEYS];
	int			nkeys;

	/* The page.  What the rows point to is the reader's until its next page. */
	int			length;
	int			capacity;
	Datum	   *values;			/* of all rows, one after the other */
	bool	   *nulls;
	uint64	   *keys;
	uint64		fingerprint;

	/* Keys of the page by open addressing; twice the capacity, 0 is free. */
	uint64	   *table;
};

/* ---- Hashes ---- */

static inline uint64
mix(uint64 hash)
{
	hash ^= hash >> 33;
	hash *= UINT64CONST(0xff51afd7ed558ccd);
	hash ^= hash >> 33;
	hash *= UINT64CONST(0xc4ceb9fe1a85ec53);
	hash ^= hash >> 33;
	return hash;
}

static inline uint64
hash_varlena(Datum value, uint64 seed)
{
	struct varlena *bytes = (struct varlena *) DatumGetPointer(value);

	return hash_bytes_extended((unsigned char *) VARDATA_ANY(bytes), VARSIZE_ANY_EXHDR(bytes),
							   seed);
}

uint64
cs_rowset_hash_text(Datum value)
{
	return hash_varlena(value, 0);
}

static uint64
row_fingerprint(const CsRowset *rowset, const Datum *values, const bool *nulls)
{
	uint64		hash = 0;

	for (int i = 0; i < rowset->tupdesc->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(rowset->tupdesc, i);

		if (i == rowset->fingerprint_attribute)
			continue;
		if (nulls[i])
			hash = hash * 31 + 1;
		else if (attribute->attbyval)
			hash = mix(hash ^ (uint64) values[i]) + 2;
		else
			hash = hash_varlena(values[i], hash + 3);
	}
	return mix(hash);
}

static uint64
row_key(const CsRowset *rowset, const Datum *values, const bool *nulls)
{
	uint64		hash = 0;

	for (int i = 0; i < rowset->nkeys; i++)
	{
		int			attribute = rowset->key_attributes[i];

		hash = nulls[attribute] ? mix(hash) : hash_varlena(values[attribute], hash);
	}
	return hash;
}

/* ---- Reading ---- */

/* True if the key is new on this page. */
static bool
remember_key(CsRowset *rowset, uint64 key)
{
	uint64		mask = (uint64) rowset->capacity * 2 - 1;
	uint64		wanted = key != 0 ? key : 1;

	for (uint64 i = mix(wanted) & mask;; i = (i + 1) & mask)
	{
		if (rowset->table[i] == wanted)
			return false;
		if (rowset->table[i] == 0)
		{
			rowset->table[i] = wanted;
			return true;
		}
	}
}

static void
set_capacity(CsRowset *rowset, int capacity)
{
	MemoryContext old = MemoryContextSwitchTo(rowset->cxt);
	Size		cells = (Size) capacity * rowset->tupdesc->natts;

	if (rowset->capacity == 0)
	{
		rowset->values = palloc(cells * sizeof(Datum));
		rowset->nulls = palloc(cells * sizeof(bool));
		rowset->keys = palloc(capacity * sizeof(uint64));
	}
	else
	{
		rowset->values = repalloc_huge(rowset->values, cells * sizeof(Datum));
		rowset->nulls = repalloc_huge(rowset->nulls, cells * sizeof(bool));
		rowset->keys = repalloc_huge(rowset->keys, capacity * sizeof(uint64));
		pfree(rowset->table);
	}
	rowset->capacity = capacity;
	rowset->table = MemoryContextAllocExtended(rowset->cxt, capacity * 2 * sizeof(uint64),
											   MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	for (int i = 0; i < rowset->length; i++)
		remember_key(rowset, rowset->keys[i]);
	MemoryContextSwitchTo(old);
}

/* CsRowCallback */
static void
add_row(Datum *values, bool *nulls, void *arg)
{
	CsRowset   *rowset = arg;
	uint64		key = row_key(rowset, values, nulls);
	uint64		fingerprint;
	int			natts = rowset->tupdesc->natts;

	if (rowset->length == rowset->capacity)
		set_capacity(rowset, rowset->capacity * 2);
	if (!remember_key(rowset, key))
		return;

	fingerprint = row_fingerprint(rowset, values, nulls);
	rowset->fingerprint += mix(fingerprint);
	values[rowset->fingerprint_attribute] = Int64GetDatum((int64) fingerprint);
	nulls[rowset->fingerprint_attribute] = false;
	memcpy(rowset->values + rowset->length * natts, values, natts * sizeof(Datum));
	memcpy(rowset->nulls + rowset->length * natts, nulls, natts * sizeof(bool));
	rowset->keys[rowset->length++] = key;
}

void
cs_rowset_read(CsRowset *rowset, const CsJson *document)
{
	rowset->length = 0;
	rowset->fingerprint = 0;
	memset(rowset->table, 0, (size_t) rowset->capacity * 2 * sizeof(uint64));
	cs_rows_each(rowset->reader, document, -1, add_row, rowset);
}

/* ---- Making one ---- */

int
cs_rowset_attribute(const CsRowset *rowset, const char *column)
{
	for (int i = 0; i < rowset->tupdesc->natts; i++)
		if (strcmp(NameStr(TupleDescAttr(rowset->tupdesc, i)->attname), column) == 0)
			return i;
	return -1;
}

static int
attribute_named(const CsRowset *rowset, const char *column)
{
	int			attribute = cs_rowset_attribute(rowset, column);

	if (attribute < 0)
		elog(ERROR, "type of a page's rows lacks column \"%s\"", column);
	return attribute;
}

CsRowset *
cs_rowset_begin(const CsResource *resource, const char *type, const char *server,
				const char *const *keys)
{
	CsRowset   *rowset = palloc0(sizeof(CsRowset));
	Oid			namespace = get_namespace_oid("cs_internal", false);

	rowset->cxt = CurrentMemoryContext;
	rowset->type = GetSysCacheOid2(TYPENAMENSP, Anum_pg_type_oid, CStringGetDatum(type),
								   ObjectIdGetDatum(namespace));
	if (!OidIsValid(rowset->type))
		elog(ERROR, "type cs_internal.%s does not exist", type);
	rowset->tupdesc = lookup_rowtype_tupdesc_copy(rowset->type, -1);
	rowset->reader = cs_rows_reader(resource, rowset->tupdesc, server);
	rowset->fingerprint_attribute = attribute_named(rowset, "fingerprint");
	for (; keys && keys[rowset->nkeys]; rowset->nkeys++)
		rowset->key_attributes[rowset->nkeys] =
			attribute_named(rowset, keys[rowset->nkeys]);
	set_capacity(rowset, FIRST_CAPACITY);
	return rowset;
}

/* ---- What was read ---- */

int
cs_rowset_length(const CsRowset *rowset)
{
	return rowset->length;
}

uint64
cs_rowset_key(const CsRowset *rowset, int row)
{
	return rowset->keys[row];
}

int64
cs_rowset_fingerprint(const CsRowset *rowset)
{
	return (int64) rowset->fingerprint;
}

void
cs_rowset_row(const CsRowset *rowset, int row, const Datum **values, const bool **nulls)
{
	*values = rowset->values + row * rowset->tupdesc->natts;
	*nulls = rowset->nulls + row * rowset->tupdesc->natts;
}

static Datum
form_row(const CsRowset *rowset, int row)
{
	int			first = row * rowset->tupdesc->natts;

	return HeapTupleGetDatum(heap_form_tuple(rowset->tupdesc, rowset->values + first,
											 rowset->nulls + first));
}

Datum
cs_rowset_array(const CsRowset *rowset)
{
	Datum	   *rows = palloc(Max(rowset->length, 1) * sizeof(Datum));

	for (int i = 0; i < rowset->length; i++)
		rows[i] = form_row(rowset, i);
	return PointerGetDatum(construct_array(rows, rowset->length, rowset->type, -1, false,
										   TYPALIGN_DOUBLE));
}

Datum
cs_rowset_first(const CsRowset *rowset)
{
	Assert(rowset->length > 0);
	return form_row(rowset, 0);
}

/* ---- Statements ---- */

static void
bind_type(CsStatement *statement, int argument, Oid type)
{
	if (statement->argtypes[argument] == type)
		return;
	if (statement->plan)
	{
		SPI_freeplan(statement->plan);
		statement->plan = NULL;
	}
	statement->argtypes[argument] = type;
}

void
cs_rowset_bind_array(const CsRowset *rowset, CsStatement *statement, int argument)
{
	bind_type(statement, argument, get_array_type(rowset->type));
}

void
cs_rowset_bind_row(const CsRowset *rowset, CsStatement *statement, int argument)
{
	bind_type(statement, argument, rowset->type);
}
