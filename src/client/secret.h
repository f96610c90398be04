/*
 * secret.h
 *	  User mappings and the secrets in them, or in the files that they name.
 */
#ifndef CS_CLIENT_SECRET_H
#define CS_CLIENT_SECRET_H

#include "postgres.h"

#include <sys/stat.h>

#include "foreign/foreign.h"
#include "nodes/pg_list.h"

/* What a secret file looked like when it was read. */
typedef struct CsSecretFile
{
	char	   *path;			/* NULL: the secret is not in a file */
	dev_t		device;
	ino_t		inode;
	off_t		size;
	struct timespec modified;
	struct timespec changed;
} CsSecretFile;

/* The options of the mapping of the role, else of PUBLIC; *mappingid is InvalidOid without one. */
extern List *cs_mapping_options(Oid serverid, Oid userid, Oid *mappingid);

/* What the options of a server and of a mapping are now; 0: one of the two is gone. */
extern uint64 cs_options_fingerprint(Oid serverid, Oid mappingid);

/*
 * The secret in file->path, without the newline at its end, in the current
 * context.  Throws if it cannot be read or is no secret, naming option and
 * server, and the path in the log only.
 */
extern char *cs_secret_file_read(CsSecretFile *file, const char *option, const char *server);

extern bool cs_secret_file_unchanged(const CsSecretFile *file);

/*
 * The webhook secrets of a server, char *, in the current context: that of the
 * role's mapping, else of PUBLIC's; with InvalidOid those of all mappings
 * whose roles may use the server.  NIL if there is none.
 */
extern List *cs_webhook_secrets(const ForeignServer *server, Oid userid);

#endif							/* CS_CLIENT_SECRET_H */
