/*
 * run.h
 *	  A running refresh of one account: its counters, its checkpoints, and what
 *	  it tells meanwhile.  Shared by the files that do the parts of it.
 */
#ifndef CS_CATALOG_RUN_H
#define CS_CATALOG_RUN_H

#include "postgres.h"

#include "lib/bloomfilter.h"
#include "portability/instr_time.h"
#include "utils/resowner.h"

#include "src/base/state.h"
#include "src/client/account.h"
#include "src/client/page.h"

typedef struct CsRun
{
	MemoryContext cxt;			/* of the whole run; outlives its transactions */
	MemoryContext page_cxt;		/* reset for each page */
	CsAccount  *account;
	CsAccount  *watched;		/* the same, or what it has become by later options */
	Datum		server;			/* its name, as text */
	void		(*commit) (void);	/* NULL: within the caller's transaction */

	/* As stored in catalog_runs. */
	int64		number;
	bool		entire;			/* as it was asked for; a resumed run may be one */
	bool		in_details;		/* the phase */
	char	   *position;		/* page of the list to ask for next; NULL: the first */
	int64		pages;
	int64		rows;
	int64		total;			/* -1: unknown */
	int64		added;
	int64		changed;
	int64		discontinued;
	char	   *ring_position;	/* server encoding, as all model ids here */
	int64		ring_left;
	int64		products;
	int64		skus;

	/* The pages of the list, by number from 1. */
	int64		list_page;		/* the last one that was read */
	int64		list_rows;		/* on all of them */
	int64	   *digests;		/* as they are stored */
	int64		ndigests;
	Datum	   *noted_pages;	/* of this batch, with new digests */
	Datum	   *noted_digests;
	int			nnoted;
	bool		sound;			/* they stand for the cached products */
	bool		empty;			/* the account had no products when the run began */

	/* Which rows this run saw; valid if it read the list from its beginning. */
	bool		resumed;
	bloom_filter *seen;
	int64		distinct;		/* different keys seen; a few too small at most */
	bool		total_constant; /* every page named the same total */

	/* The batch: what was done since the last commit. */
	bool		wrote;
	bool		in_subtransaction;
	ResourceOwner outer_owner;
	instr_time	committed;

	/* While in a scope. */
	CsStateScope scope;
	int			guc_level;
	bool		own_snapshot;
	MemoryContext scope_cxt;

	instr_time	began;
	instr_time	noticed;
	instr_time	stored;			/* the last checkpoint */
	instr_time	since;			/* this session's phase began, with so many rows done */
	int64		rows_since;
	CsCallCost	cost;			/* of this session */
	int64		waited_before_ms;	/* for the budget, by the run that this one goes on with */
} CsRun;

/* ---- run.c ---- */

/* Begins or resumes; commits. */
extern CsRun *cs_run_begin(CsAccount *account, bool entire, void (*commit) (void));

/*
 * Calls of state functions stand between these two.  With 'commit' what is
 * done until the next commit is a subtransaction, so that after an ERROR the
 * transaction can still be ended by whoever owns it.
 */
extern void cs_run_enter(CsRun *run);
extern void cs_run_leave(CsRun *run);

/* Column of the first row of the last statement in the scope; 0 if NULL. */
extern int64 cs_run_result(const char *column);

/* The same as text, copied into the run's context; NULL if NULL. */
extern char *cs_run_result_text(CsRun *run, const char *column);

/*
 * Outside of scopes: ends the transaction with a checkpoint, and tells the
 * progress now and then.  'wrote' says whether there is anything to keep; a
 * page that changed nothing costs nothing to read again, so its checkpoint is
 * made once a second.
 */
extern void cs_run_commit(CsRun *run);

/* The rate is reckoned from here on. */
extern void cs_run_reckon_anew(CsRun *run);

/*
 * A page of products has this digest, which is stored with the batch.  True
 * if it is the one that is stored already.
 */
extern bool cs_run_note_page(CsRun *run, int64 page, int64 digest);

/* The same unless the next page is there already and the batch still young. */
extern void cs_run_commit_before_waiting(CsRun *run, CsPager *pager);

extern void cs_run_complete(CsRun *run);

/* ---- absent.c ---- */

/* This row was seen; true if certainly for the first time in this run. */
extern bool cs_absent_see(CsRun *run, uint64 key);

/* The list was read to its end: marks what was not in it. */
extern void cs_absent_mark(CsRun *run, const CsResource *resource);

/* ---- details.c ---- */

/* CustomHub: the details that are due, and some of the others. */
extern void cs_details_refresh(CsRun *run);

/* The wallet, if the API has one. */
extern void cs_balance_refresh(CsRun *run);

#endif							/* CS_CATALOG_RUN_H */
