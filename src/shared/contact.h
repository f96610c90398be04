/*
 * contact.h
 *	  What a server's last answers told about the partner: whether it answers,
 *	  takes our credentials, and what time it has.
 */
#ifndef CS_SHARED_CONTACT_H
#define CS_SHARED_CONTACT_H

#include "postgres.h"

#include "utils/timestamp.h"

#include "src/shared/shmem.h"

/* How one request ended. */
typedef struct CsContactSample
{
	const char *server;
	const CsSharedAccount *account;
	Oid			serverid;
	Oid			mappingid;
	uint64		fingerprint;	/* of the options with which it was sent */
	int			rate_limit;		/* per minute; 0: none */
	bool		answered;		/* the partner did; a refusal of the request's content counts */
	bool		unauthorized;	/* it did not take the credentials */
	bool		has_skew;
	int64		skew_us;		/* the partner's clock minus ours */
} CsContactSample;

/* A server as one account of this database uses it. */
typedef struct CsContact
{
	char		server[NAMEDATALEN];
	Oid			serverid;
	Oid			mappingid;		/* of the last request */
	uint64		fingerprint;	/* of the options with which it was sent */
	char		account[9];		/* tells accounts of a server apart; says nothing about the key */
	int			rate_limit;
	int			failures_in_a_row;	/* requests without a usable answer */
	TimestampTz last_at;		/* of the last request */
	TimestampTz answered_at;	/* 0: never */
	TimestampTz failed_at;		/* 0: never */
	TimestampTz unauthorized_at;	/* 0: not since the last that was taken */
	bool		has_skew;
	int64		skew_us;

	/* The account's shared state, at the time of the copy. */
	int			used;			/* of rate_limit, in the last minute */
	int			waiting;		/* requests that wait for the budget */
	int			paused_ms;		/* the partner has asked for */
	TimestampTz token_obtained_at;	/* 0: there is no token */
	TimestampTz token_expires_at;
} CsContact;

extern void cs_contact_count(const CsContactSample *sample);

/* A palloc'd copy of this database's. */
extern CsContact *cs_contact_copy(int *ncontacts);

#endif							/* CS_SHARED_CONTACT_H */
