/*
 * rights.sql
 *	  Rights that nobody gave: ALTER DEFAULT PRIVILEGES is meant for an
 *	  application's own tables and functions, and would let its role into ours,
 *	  past the views and what PUBLIC has been refused.
 *
 * What has become ours by this script alone: an update leaves the rights on
 * the rest as a DBA has set them.
 */
DO $$
DECLARE
  r record;
BEGIN
  FOR r IN
    WITH member AS (
      SELECT d.classid, d.objid FROM pg_catalog.pg_extension AS e
        JOIN pg_catalog.pg_depend AS d ON d.refclassid = 'pg_catalog.pg_extension'::regclass AND d.refobjid = e.oid
         AND d.deptype = 'e' AND d.xmin = e.xmin
       WHERE e.extname = 'cupsource'),
    object (kind, name, owner, acl) AS (
      SELECT CASE c.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, c.oid::regclass::text, c.relowner, c.relacl
        FROM pg_catalog.pg_class AS c JOIN member AS m ON m.classid = 'pg_catalog.pg_class'::regclass AND m.objid = c.oid
       UNION ALL
      SELECT 'ROUTINE', p.oid::regprocedure::text, p.proowner, p.proacl
        FROM pg_catalog.pg_proc AS p JOIN member AS m ON m.classid = 'pg_catalog.pg_proc'::regclass AND m.objid = p.oid
       UNION ALL
      SELECT 'TYPE', t.oid::regtype::text, t.typowner, t.typacl
        FROM pg_catalog.pg_type AS t JOIN member AS m ON m.classid = 'pg_catalog.pg_type'::regclass AND m.objid = t.oid
       UNION ALL
      SELECT 'SCHEMA', n.oid::regnamespace::text, n.nspowner, n.nspacl
        FROM pg_catalog.pg_namespace AS n JOIN member AS m ON m.classid = 'pg_catalog.pg_namespace'::regclass AND m.objid = n.oid)
    SELECT o.kind, o.name, a.privilege_type, CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END AS grantee
      FROM object AS o CROSS JOIN LATERAL pg_catalog.aclexplode(o.acl) AS a
     WHERE a.grantee NOT IN (0, o.owner)
        OR a.grantee = 0 AND o.kind = 'TABLE' AND a.privilege_type <> 'SELECT'
       AND NOT (a.privilege_type = 'INSERT' AND o.name LIKE '%cs\_orders')
  LOOP
    EXECUTE pg_catalog.format('REVOKE %s ON %s %s FROM %s', r.privilege_type, r.kind, r.name, r.grantee);
  END LOOP;
END $$;
