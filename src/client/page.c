/*
 * page.c
 *	  The pages of a resource, one after the other, the next ones on the
 *	  wire while the current one is being used.
 *
 * Contexts take turns: one holds the page that the caller has, the others the
 * requests for the next ones.  So memory is bounded by those pages, whatever
 * the number of all.  A page is given back as early as can be: the next one is
 * then parsed into memory that is still in the processor's caches.
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"

#include "src/base/guc.h"
#include "src/client/attempt.h"
#include "src/client/facts.h"
#include "src/client/page.h"
#include "src/client/rows.h"
#include "src/wire/sign.h"

#define AHEAD 4					/* pages that are asked for before they are wanted */
#define TURNS (AHEAD + 1)
#define MAX_EMPTY_PAGES 100		/* in a row, by cursor */

/* A position that was asked for: the beginning of its digest stands for it. */
typedef struct SeenPosition
{
	uint8		digest[16];
} SeenPosition;

/* A page that is being asked for, or has been read. */
typedef struct Turn
{
	MemoryContext cxt;			/* NULL: not needed yet */
	CsCall	   *call;			/* NULL: none */
	char	   *position;
} Turn;

struct CsPager
{
	MemoryContext cxt;
	CsAccount  *account;
	const CsResource *resource;
	const char *endpoint;		/* "GET /products" */
	const char *path;			/* with the filters, without size and position */
	int			page_size;		/* as asked for, or as the document says */
	CsPriority	priority;
	bool		read_ahead;
	Turn		turns[TURNS];
	int			current;		/* of 'turns', in a ring: the next to be returned */
	int			begun;			/* how many from there on have been asked for */
	bool		ended;
	bool		from_start;		/* no position was given */
	int64		rows_before;	/* on the pages before; the fewest possible if not from the start */
	HTAB	   *seen;			/* positions; NULL: none yet */
	char	   *first_row;		/* of the page before; NULL: none */
	int			empty_pages;	/* in a row, up to now */
	CsCallCost	cost;
	CsPage		page;
};

/* ---- What to ask for ---- */

static const CsFilter *
find_filter(const CsResource *resource, const char *name)
{
	for (const CsFilter *filter = resource->filters; filter && filter->name; filter++)
		if (strcmp(filter->name, name) == 0)
			return filter;
	return NULL;
}

pg_noreturn static void refuse_filter(const CsAccount *account, const CsResource *resource,
						  const char *name);

static void
refuse_filter(const CsAccount *account, const CsResource *resource, const char *name)
{
	StringInfoData known;

	initStringInfo(&known);
	for (const CsFilter *filter = resource->filters; filter && filter->name; filter++)
		appendStringInfo(&known, "%s\"%s\"", known.len > 0 ? ", " : "", filter->name);
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("%s cannot filter \"%s\" by \"%s\"",
					account->api->title, resource->name, name),
			 known.len > 0 ? errdetail("It can filter by %s.", known.data)
			 : errdetail("It has no filters."),
			 errhint("The cached view, without parentheses, can be filtered by any column.")));
}

/* A filter's value as it goes on the wire, not yet escaped. */
static const char *
wire_value(const CsFilter *filter, const char *value)
{
	bool		truth;

	if (filter->type != CS_TYPE_BOOLEAN)
		return value;
	if (!parse_bool(value, &truth))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"%s\" must be true or false", filter->name)));
	return truth ? "true" : "false";
}

static void
append_parameter(StringInfo path, const char *name, const char *value)
{
	appendStringInfo(path, "%c%s=%s", strchr(path->data, '?') ? '&' : '?', name,
					 cs_http_escape(value));
}

/* The resource's path with its filters, which are the same for every page. */
static char *
common_path(const CsAccount *account, const CsResource *resource, const CsArgument *arguments,
			int narguments)
{
	char	   *expanded = pstrdup(resource->path);
	const char *missing;
	StringInfoData path;

	for (int i = 0; i < narguments; i++)
	{
		const CsFilter *filter = find_filter(resource, arguments[i].name);

		if (arguments[i].value == NULL)
			continue;
		if (filter == NULL)
			refuse_filter(account, resource, arguments[i].name);
		if (filter->param == NULL)
			expanded = cs_path_expand(expanded, filter->name, arguments[i].value, NULL);
	}
	missing = strchr(expanded, '{');
	if (missing)
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("\"%.*s\" must not be null", (int) strcspn(missing + 1, "}"), missing + 1)));

	initStringInfo(&path);
	appendStringInfoString(&path, expanded);
	for (int i = 0; i < narguments; i++)
	{
		const CsFilter *filter = find_filter(resource, arguments[i].name);

		if (arguments[i].value && filter->param)
			append_parameter(&path, filter->param, wire_value(filter, arguments[i].value));
	}
	return path.data;
}

/* True if the position was not asked for before. */
static bool
remember_position(CsPager *pager, const char *position)
{
	uint8		digest[CS_SHA256_LENGTH];
	SeenPosition key;
	bool		found;
	HASHCTL		ctl = {
		.keysize = sizeof(SeenPosition),
		.entrysize = sizeof(SeenPosition),
		.hcxt = pager->cxt,
	};

	if (pager->seen == NULL)
		pager->seen = hash_create("cupsource positions", 64, &ctl,
								  HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	cs_sha256(position, strlen(position), digest);
	memcpy(key.digest, digest, sizeof(key.digest));
	hash_search(pager->seen, &key, HASH_ENTER, &found);
	return !found;
}

/* Starts the request for a page, and sends it if the budget allows. */
static void
begin_turn(CsPager *pager, Turn *turn, const char *position)
{
	const CsResource *resource = pager->resource;
	MemoryContext old;
	StringInfoData path;
	long		wait_ms;
	CsCallSpec	spec = {
		.endpoint = pager->endpoint,
		.method = "GET",
		.repeatable = true,
		.priority = pager->priority,
		.max_retries = cs_guc_max_retries,
		.timeout_ms = cs_guc_timeout,
	};

	/* Most callers want one page.  'position' is in the other turn's context, or the caller's. */
	if (turn->cxt == NULL)
		turn->cxt = AllocSetContextCreate(pager->cxt, "cupsource page", ALLOCSET_DEFAULT_SIZES);
	MemoryContextReset(turn->cxt);
	old = MemoryContextSwitchTo(turn->cxt);
	turn->position = position ? pstrdup(position) : NULL;
	initStringInfo(&path);
	appendStringInfoString(&path, pager->path);
	if (resource->size_param)
		append_parameter(&path, resource->size_param, psprintf("%d", pager->page_size));
	if (position && resource->paging != CS_PAGING_NONE)
		append_parameter(&path, resource->page_param, position);
	spec.path = path.data;
	turn->call = cs_call_begin(turn->cxt, pager->account, &spec);
	(void) cs_call_advance(turn->call, &wait_ms);
	MemoryContextSwitchTo(old);
}

/* The next one that has not been asked for. */
static void
ask_for(CsPager *pager, const char *position)
{
	begin_turn(pager, &pager->turns[(pager->current + pager->begun) % TURNS], position);
	pager->begun++;
}

CsPager *
cs_pager_begin(MemoryContext cxt, CsAccount *account, const CsResource *resource,
			   const CsArgument *arguments, int narguments,
			   const char *position, int page_size, CsPriority priority, bool read_ahead)
{
	MemoryContext own = AllocSetContextCreate(cxt, "cupsource pager", ALLOCSET_SMALL_SIZES);
	MemoryContext old = MemoryContextSwitchTo(own);
	CsPager    *pager = palloc0(sizeof(CsPager));

	pager->cxt = own;
	pager->account = account;
	pager->resource = resource;
	pager->endpoint = psprintf("GET %s", resource->path);
	pager->page_size = resource->page_size;
	if (resource->size_param && page_size > 0)
		pager->page_size = Min(page_size, resource->page_size);
	pager->path = common_path(account, resource, arguments, narguments);
	pager->priority = priority;
	pager->read_ahead = read_ahead;
	pager->from_start = position == NULL;
	if (resource->paging == CS_PAGING_NUMBER)
	{
		int64		number = position ? pg_strtoint64(position) : 1;

		if (number < 1)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("page number " INT64_FORMAT " is not positive", number)));
		if (position == NULL)
			position = "1";
	}
	else if (position && resource->paging == CS_PAGING_CURSOR)
		remember_position(pager, position);
	ask_for(pager, position);
	MemoryContextSwitchTo(old);
	return pager;
}

/* ---- What the answer says ---- */

static void
refuse_page(const CsPager *pager, const char *problem, char *hint)
{
	CsFailure	failure;

	cs_failure_malformed(&failure, pager->account,
						 psprintf("resource \"%s\", page " INT64_FORMAT, pager->resource->name,
								  pager->page.number),
						 problem, NULL);
	failure.hint = hint;
	cs_failure_throw(&failure);
}

static const char *
cursor_after(CsPager *pager, const CsFacts *facts)
{
	if (facts->says_more && !facts->more)
		return NULL;
	if (facts->cursor == NULL &&
		(facts->says_more ||
		 (pager->from_start && facts->total > pager->rows_before + pager->page.rows)))
		refuse_page(pager, "more pages are said to follow, but there is no cursor", NULL);

	/* Some have a cursor for what comes after the last row, too. */
	if (!facts->says_more && pager->from_start && pager->page.rows == 0 &&
		facts->total == pager->rows_before)
		return NULL;
	if (facts->cursor && !remember_position(pager, facts->cursor))
		refuse_page(pager, "its cursor for the next page leads back to an earlier one", NULL);
	return facts->cursor;
}

/*
 * How many rows there are before the first page that is read.  Where it does
 * not say how large pages are, the fewest that there can be: pages may be
 * smaller than the document has them, and this one need not be the last.
 */
static int64
rows_skipped(const CsPager *pager, const CsFacts *facts)
{
	const CsPage *page = &pager->page;
	int64		size = facts->page_size > 0 ? facts->page_size : page->rows;

	if (pager->resource->paging != CS_PAGING_NUMBER)
		return 0;
	return (pg_strtoint64(page->position) - 1) * Min(size, pager->page_size);
}

/*
 * Without a word from the API, a page follows while there are fewer rows than
 * the total, or if this page is full.  A total that is exceeded counts
 * something else, such as nothing.
 */
static const char *
number_after(CsPager *pager, const CsFacts *facts)
{
	const CsPage *page = &pager->page;
	int64		so_far = pager->rows_before + page->rows;
	bool		certain = true;
	bool		more = facts->more;

	if (!facts->says_more)
	{
		certain = pager->from_start;
		if (page->total >= so_far)
			more = so_far < page->total;
		else
			more = page->rows > 0 && (page->rows >= pager->page_size ||
									  (facts->page_size > 0 && page->rows >= facts->page_size));
	}
	if (!more || (page->rows == 0 && !certain))
		return NULL;
	if (page->rows == 0)
		refuse_page(pager, "it is empty, but more rows are said to follow",
					"Try again later, and tell the partner if it stays so. A live call with max_rows "
					"gives what is listed.");
	return psprintf(INT64_FORMAT, pg_strtoint64(page->position) + 1);
}

/* A partner that overlooks the position gives the first page for ever. */
static void
refuse_repeated(CsPager *pager)
{
	const CsJson *row = cs_rows_first(pager->resource, pager->page.document);
	char	   *text;

	if (row == NULL)
		return;
	text = cs_json_text(row);
	if (pager->first_row)
	{
		if (strcmp(pager->first_row, text) == 0)
			refuse_page(pager, psprintf("it begins as the page before; the %s seems to be overlooked",
										pager->resource->paging == CS_PAGING_NUMBER ?
										"page number" : "cursor"), NULL);
		pfree(pager->first_row);
	}
	pager->first_row = MemoryContextStrdup(pager->cxt, text);
}

/*
 * A filter may leave nothing of a page that is not the last, but a partner that
 * makes a new cursor for each would be asked for ever.
 */
static void
refuse_empty(CsPager *pager)
{
	pager->empty_pages = pager->page.rows == 0 ? pager->empty_pages + 1 : 0;
	if (pager->empty_pages == MAX_EMPTY_PAGES)
		refuse_page(pager, psprintf("it and the %d before it are empty, but more are said to follow",
									MAX_EMPTY_PAGES - 1), NULL);
}

/* Fills pager->page from the turn's answer; strings in the current context. */
static void
read_page(CsPager *pager, const Turn *turn)
{
	CsPage	   *page = &pager->page;
	const CsJson *document = cs_call_document(turn->call);
	CsFacts		facts = {0};
	char	   *problem;

	page->number++;
	page->document = document;
	page->position = turn->position;
	page->rows = document ? cs_rows_count(pager->resource, document) : -1;
	problem = document ? cs_facts_read(pager->resource, document, &facts) : NULL;
	if (facts.null_list &&
		(facts.total == 0 || (pager->from_start && facts.total == pager->rows_before)))
	{
		/* Some say null where they mean an empty list; there are no more, and none is missing. */
		page->document = NULL;
		page->rows = 0;
	}
	if (page->rows < 0)
		refuse_page(pager, "there is no list of rows", NULL);
	if (problem)
		refuse_page(pager, problem, NULL);
	page->total = facts.total;
	if (page->number == 1)
		pager->rows_before = rows_skipped(pager, &facts);
	switch (pager->resource->paging)
	{
		case CS_PAGING_NONE:
			page->next = NULL;
			break;
		case CS_PAGING_NUMBER:
			refuse_repeated(pager);
			page->next = number_after(pager, &facts);
			break;
		case CS_PAGING_CURSOR:
			page->next = cursor_after(pager, &facts);
			if (page->next)
			{
				refuse_repeated(pager);
				refuse_empty(pager);
			}
			break;
	}
	pager->rows_before += page->rows;
}

/* Until the current page has come, whatever has come before it. */
static void
wait_for_current(CsPager *pager)
{
	CsCall	   *calls[AHEAD];

	for (int i = 0; i < pager->begun; i++)
		calls[i] = pager->turns[(pager->current + i) % TURNS].call;
	cs_call_finish_first(calls, pager->begun);
}

/* There are no more pages; if some were asked for, the list became shorter meanwhile. */
static void
end_pages(CsPager *pager)
{
	pager->ended = true;
	for (; pager->begun > 0; pager->begun--)
		MemoryContextReset(pager->turns[(pager->current + pager->begun - 1) % TURNS].cxt);
}

/*
 * Asks for the page after the current one and, where it is known how many
 * there are, for those after it: as long as each goes out at once.
 */
static void
ask_ahead(CsPager *pager)
{
	const CsPage *page = &pager->page;
	int64		number;
	int64		last;

	if (pager->begun == 0)
		ask_for(pager, page->next);
	if (pager->resource->paging != CS_PAGING_NUMBER || pager->priority != CS_PRIORITY_CATALOG ||
		page->rows == 0)
		return;
	number = pg_strtoint64(page->position);
	last = number + (page->total - pager->rows_before + page->rows - 1) / page->rows;
	while (pager->begun < AHEAD && number + pager->begun < last &&
		   cs_call_sending(pager->turns[(pager->current + pager->begun - 1) % TURNS].call))
		ask_for(pager, psprintf(INT64_FORMAT, number + pager->begun + 1));
}

/* Gives back the page that was returned; what follows it has been asked for. */
static void
release_page(CsPager *pager)
{
	Turn	   *turn = &pager->turns[(pager->current + TURNS - 1) % TURNS];

	if (turn->call == NULL)
		return;
	MemoryContextReset(turn->cxt);
	turn->call = NULL;
	pager->page.document = NULL;
	pager->page.position = NULL;
	pager->page.next = NULL;
}

/* The next page; NULL after the last, or if the API's answer is one of the two statuses. */
static const CsPage *
next_page(CsPager *pager, int absent, int no_id)
{
	const CsFailure *failure;
	Turn	   *turn;
	MemoryContext old;

	if (pager->ended)
		return NULL;

	/* Without reading ahead, the last page's context still has what to ask for. */
	if (pager->begun == 0)
		ask_for(pager, pager->page.next);
	release_page(pager);
	turn = &pager->turns[pager->current];
	wait_for_current(pager);
	cs_call_cost(turn->call, &pager->cost);
	failure = cs_call_failure(turn->call);
	if (failure->kind == CS_FAILURE_REFUSED && failure->documented &&
		(failure->status == absent || failure->status == no_id))
	{
		pager->ended = true;
		return NULL;
	}
	if (failure->kind != CS_FAILURE_NONE)
		cs_failure_throw(failure);

	old = MemoryContextSwitchTo(turn->cxt);
	read_page(pager, turn);
	MemoryContextSwitchTo(old);

	pager->current = (pager->current + 1) % TURNS;
	pager->begun--;
	if (pager->page.next == NULL)
		end_pages(pager);
	else if (pager->read_ahead)
		ask_ahead(pager);
	return &pager->page;
}

const CsPage *
cs_pager_next(CsPager *pager)
{
	return next_page(pager, 0, 0);
}

const CsPage *
cs_pager_find(CsPager *pager, bool known)
{
	return next_page(pager, 404, known ? 404 : 400);
}

void
cs_pager_release(CsPager *pager)
{
	Assert(pager->read_ahead);
	release_page(pager);
}

bool
cs_pager_poll(CsPager *pager, long *wait_ms)
{
	if (pager->ended)
		return true;
	if (pager->begun == 0)
		ask_for(pager, pager->page.next);
	return cs_call_advance(pager->turns[pager->current].call, wait_ms);
}

int
cs_page_size(const CsResource *resource, int64 rows)
{
	int64		largest = resource->page_size;

	if (rows < 0 || resource->paging == CS_PAGING_NONE)
		return 0;
	if (rows <= largest)
		return (int) Max(rows, 1);

	/* Numbered pages are all of one size; by cursor the last can be smaller. */
	if (resource->paging == CS_PAGING_NUMBER && rows <= PG_INT32_MAX)
	{
		int64		pages = (rows + largest - 1) / largest;

		return (int) ((rows + pages - 1) / pages);
	}
	return (int) largest;
}

void
cs_pager_expect(CsPager *pager, int64 rows)
{
	if (pager->resource->paging != CS_PAGING_CURSOR)
		return;
	pager->page_size = cs_page_size(pager->resource, rows);
	if (pager->page_size == 0)
		pager->page_size = pager->resource->page_size;
}

const CsCallCost *
cs_pager_cost(const CsPager *pager)
{
	return &pager->cost;
}

bool
cs_pager_ready(CsPager *pager)
{
	const Turn *turn = &pager->turns[pager->current];
	long		wait_ms;

	if (pager->ended || pager->begun == 0)
		return false;
	cs_http_advance();
	return cs_call_advance(turn->call, &wait_ms);
}
