/*
 * secret.c
 *	  User mappings and the secrets in them, or in the files that they name.
 *
 * Nothing here shows a secret, and the path of a file goes to the log only.
 */
#include "postgres.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/reloptions.h"
#include "access/table.h"
#include "catalog/pg_foreign_server.h"
#include "catalog/pg_user_mapping.h"
#include "common/hashfn.h"
#include "storage/fd.h"
#include "utils/acl.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "src/base/compat.h"
#include "src/client/options.h"
#include "src/client/secret.h"

#define WEBHOOK_SECRET "webhook_secret"

/* ---- Secrets in files ---- */

bool
cs_secret_file_unchanged(const CsSecretFile *file)
{
	struct stat now;

	return stat(file->path, &now) == 0 &&
		file->device == now.st_dev && file->inode == now.st_ino && file->size == now.st_size &&
		memcmp(&file->modified, &now.st_mtim, sizeof(file->modified)) == 0 &&
		memcmp(&file->changed, &now.st_ctim, sizeof(file->changed)) == 0;
}

/* The path goes to the log only: it is the administrator's matter. */
static void
refuse_file(const char *option, const char *server, const char *path, const char *problem)
{
	ereport(ERROR,
			(errcode(ERRCODE_CONFIG_FILE_ERROR),
			 errmsg("could not read the file of option \"%s_file\" of the user mapping "
					"on server \"%s\"", option, server),
			 errdetail_internal("%s", problem),
			 errdetail_log("%s The file is \"%s\".", problem, path)));
}

/* Only a regular file is read: opening anything else could wait for ever. */
char *
cs_secret_file_read(CsSecretFile *file, const char *option, const char *server)
{
	char	   *secret = palloc(CS_SECRET_MAX_LENGTH + 3);
	struct stat now;
	const char *problem;
	ssize_t		length;
	int			fd = OpenTransientFile(file->path, O_RDONLY | O_NONBLOCK | PG_BINARY);

	if (fd < 0)
		refuse_file(option, server, file->path,
					psprintf("The file cannot be opened: %s.", strerror(errno)));
	if (fstat(fd, &now) != 0 || !S_ISREG(now.st_mode))
		refuse_file(option, server, file->path, "It is not a regular file.");
	file->device = now.st_dev;
	file->inode = now.st_ino;
	file->size = now.st_size;
	file->modified = now.st_mtim;
	file->changed = now.st_ctim;

	/* Room for a line's end, and for one byte that shows there is more. */
	length = read(fd, secret, CS_SECRET_MAX_LENGTH + 3);
	if (length < 0)
		refuse_file(option, server, file->path,
					psprintf("The file cannot be read: %s.", strerror(errno)));
	CloseTransientFile(fd);

	if (length > 0 && length < CS_SECRET_MAX_LENGTH + 3 && secret[length - 1] == '\n')
		length--;
	if (length > 0 && secret[length - 1] == '\r')
		length--;
	problem = cs_secret_problem(secret, length);
	if (problem)
		refuse_file(option, server, file->path, problem);
	secret[length] = '\0';
	return secret;
}

/* ---- User mappings ---- */

static List *
options_of(HeapTuple tuple)
{
	bool		isnull;
	Datum		options = SysCacheGetAttr(USERMAPPINGUSERSERVER, tuple,
										  Anum_pg_user_mapping_umoptions, &isnull);

	return isnull ? NIL : untransformRelOptions(options);
}

List *
cs_mapping_options(Oid serverid, Oid userid, Oid *mappingid)
{
	HeapTuple	tuple;
	List	   *result;

	tuple = SearchSysCache2(USERMAPPINGUSERSERVER, ObjectIdGetDatum(userid),
							ObjectIdGetDatum(serverid));
	if (!HeapTupleIsValid(tuple))
		tuple = SearchSysCache2(USERMAPPINGUSERSERVER, ObjectIdGetDatum(InvalidOid),
								ObjectIdGetDatum(serverid));
	*mappingid = InvalidOid;
	if (!HeapTupleIsValid(tuple))
		return NIL;
	*mappingid = ((Form_pg_user_mapping) GETSTRUCT(tuple))->oid;
	result = options_of(tuple);
	ReleaseSysCache(tuple);
	return result;
}

/* Adds the options of a row to the fingerprint; false: the row is gone. */
static bool
add_options(uint64 *fingerprint, int cacheid, Oid oid, AttrNumber attribute)
{
	HeapTuple	tuple = SearchSysCache1(cacheid, ObjectIdGetDatum(oid));
	Datum		options;
	bool		isnull;

	if (!HeapTupleIsValid(tuple))
		return false;
	options = SysCacheGetAttr(cacheid, tuple, attribute, &isnull);
	if (!isnull)
	{
		struct varlena *array = PG_DETOAST_DATUM_PACKED(options);

		*fingerprint = hash_bytes_extended((unsigned char *) VARDATA_ANY(array),
										   (int) VARSIZE_ANY_EXHDR(array), *fingerprint);
	}
	ReleaseSysCache(tuple);
	return true;
}

uint64
cs_options_fingerprint(Oid serverid, Oid mappingid)
{
	uint64		fingerprint = mappingid;

	if (!add_options(&fingerprint, FOREIGNSERVEROID, serverid,
					 Anum_pg_foreign_server_srvoptions) ||
		!add_options(&fingerprint, USERMAPPINGOID, mappingid, Anum_pg_user_mapping_umoptions))
		return 0;
	return Max(fingerprint, 1);
}

/* Adds the webhook secret among the options, if there is one. */
static List *
add_secret(List *secrets, const ForeignServer *server, List *options)
{
	const char *secret = cs_option_text(options, WEBHOOK_SECRET);
	CsSecretFile file = {0};
	const char *path = cs_option_text(options, WEBHOOK_SECRET "_file");

	if (path)
	{
		file.path = pstrdup(path);
		secret = cs_secret_file_read(&file, WEBHOOK_SECRET, server->servername);
	}
	return secret ? lappend(secrets, pstrdup(secret)) : secrets;
}

/* A role that may not use the server any more vouches for nothing. */
static bool
counts(const ForeignServer *server, Oid userid)
{
	return !OidIsValid(userid) ||
		object_aclcheck(ForeignServerRelationId, server->serverid, userid,
						ACL_USAGE) == ACLCHECK_OK;
}

List *
cs_webhook_secrets(const ForeignServer *server, Oid userid)
{
	List	   *secrets = NIL;
	Relation	rel;
	SysScanDesc scan;
	ScanKeyData key;
	HeapTuple	tuple;
	Oid			mappingid;

	if (OidIsValid(userid))
		return add_secret(NIL, server,
						  cs_mapping_options(server->serverid, userid, &mappingid));

	/* No index begins with the server. */
	rel = table_open(UserMappingRelationId, AccessShareLock);
	ScanKeyInit(&key, Anum_pg_user_mapping_umserver, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(server->serverid));
	scan = systable_beginscan(rel, InvalidOid, false, NULL, 1, &key);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
		if (counts(server, ((Form_pg_user_mapping) GETSTRUCT(tuple))->umuser))
			secrets = add_secret(secrets, server, options_of(tuple));
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return secrets;
}
