import type { Node } from 'libpg-query';
import type { NodeOf } from '../../sql/parse.ts';
import type { Hit, Rule, Subject } from '../rule.ts';
import { functionName, listKey, nodesOf, sqlName, tableKey } from '../tree.ts';

/** What reaches beyond the tenant's own schema: to the server, to other sessions, to the fleet's record. */
export const REACH_RULES: Rule[] = [
  {
    id: 'server-call',
    severity: 'error',
    lock: 'none',
    hold: 'moment',
    finds:
      'a call that ends the sessions of others (`pg_terminate_backend`), or takes an advisory lock for the session',
    danger:
      'it fails in every tenant’s database for want of rights, or outlives the migration: its session goes on with the lock',
    remedy: 'leave it out',
    allowable: false,
    check: ({ node }) => (CALLING.some((tag) => tag in node) ? serverCalls(node) : []),
  },
  {
    id: 'fleet-record',
    severity: 'error',
    lock: 'none',
    hold: 'moment',
    finds: 'a change of the tables in schema `fleet`',
    danger:
      'the fleet keeps there what a database has: its owner may not write it (SQLSTATE 42501), in no tenant’s database',
    remedy: 'leave it out; what is recorded of migrations is changed by applying and undoing them',
    allowable: false,
    check: ({ node }) =>
      fleetTables(node).map((table) => ({ message: `changes ${sqlName(table)}, which the fleet keeps` })),
  },
  {
    id: 'untrusted-extension',
    severity: 'error',
    lock: 'none',
    hold: 'moment',
    finds:
      '`CREATE EXTENSION` of one that PostgreSQL lets superusers alone install: `dblink`, `pageinspect`, …',
    danger:
      'the owner of a tenant’s database is none: it fails with SQLSTATE 42501 wherever it is not there already',
    remedy:
      'do without it, or have the servers’ administrators install it in template1 and say IF NOT EXISTS',
    allowable: true,
    check: untrustedExtension,
  },
  {
    id: 'grant-to-public',
    severity: 'warning',
    lock: 'none',
    hold: 'moment',
    finds: '`GRANT … TO PUBLIC`',
    danger:
      'every role of the server gets it, those of a later day too; what the tenant’s own roles need, they have',
    remedy: 'leave it out: the roles of the tenant may use what its migrations make',
    allowable: true,
    check: ({ node }) => {
      const grant = grantOf(node);
      const open = (grant?.grantees ?? []).some(
        (role) => 'RoleSpec' in role && role.RoleSpec.roletype === 'ROLESPEC_PUBLIC',
      );
      return grant?.is_grant === true && open ? [{ message: 'grants to every role of the server' }] : [];
    },
  },
];

/** Statements that run what they call; a function's body, a default or a policy does not. */
const CALLING = ['SelectStmt', 'InsertStmt', 'UpdateStmt', 'DeleteStmt', 'MergeStmt', 'CreateTableAsStmt'];

const IN_TRANSACTION = 'take it for the transaction: pg_advisory_xact_lock';
const NOBODY_ENDED =
  'leave it out: a migration that cannot get its locks gives up and is tried again, and says who stands in its way';
const CALLS: Record<string, { does: string; remedy: string }> = {
  pg_terminate_backend: { does: 'ends a session of somebody else', remedy: NOBODY_ENDED },
  pg_cancel_backend: { does: 'cancels a statement of somebody else', remedy: NOBODY_ENDED },
  pg_advisory_lock: { does: 'takes a lock for the session', remedy: IN_TRANSACTION },
  pg_advisory_lock_shared: { does: 'takes a lock for the session', remedy: IN_TRANSACTION },
  pg_try_advisory_lock: { does: 'takes a lock for the session', remedy: IN_TRANSACTION },
  pg_try_advisory_lock_shared: { does: 'takes a lock for the session', remedy: IN_TRANSACTION },
};

function serverCalls(node: Node): Hit[] {
  return [...nodesOf(node, 'FuncCall')].flatMap((call) => {
    const name = functionName(call);
    const found = Object.hasOwn(CALLS, name) ? CALLS[name] : undefined;
    if (found === undefined) return [];
    return [{ at: call.location, message: `calls ${name}, which ${found.does}`, remedy: found.remedy }];
  });
}

const RECORD = /^fleet\./;

/** Whether a table is one of those that the fleet keeps its record in. */
export function isFleetTable(table: string): boolean {
  return RECORD.test(table);
}

function fleetTables(node: Node): string[] {
  return [...new Set(written(node))].filter(isFleetTable);
}

function written(node: Node): string[] {
  if ('AlterTableStmt' in node) return [tableKey(node.AlterTableStmt.relation)];
  if ('DropStmt' in node) return (node.DropStmt.objects ?? []).map(listKey);
  if ('TruncateStmt' in node) return [...nodesOf(node, 'RangeVar')].map(tableKey);
  if (!CALLING.some((tag) => tag in node)) return [];
  const changed: { relation?: NodeOf<'RangeVar'> }[] = [
    ...nodesOf(node, 'InsertStmt'),
    ...nodesOf(node, 'UpdateStmt'),
    ...nodesOf(node, 'DeleteStmt'),
    ...nodesOf(node, 'MergeStmt'),
  ];
  return changed.map(({ relation }) => tableKey(relation));
}

/**
 * Extensions that come with PostgreSQL 15 to 18 and are not marked as trusted: `superuser = true` without
 * `trusted = true` in their control files. Others are not known here, and pass.
 */
const UNTRUSTED = new Set([
  'adminpack',
  'amcheck',
  'autoinc',
  'bloom',
  'dblink',
  'file_fdw',
  'insert_username',
  'moddatetime',
  'old_snapshot',
  'pageinspect',
  'pg_buffercache',
  'pg_freespacemap',
  'pg_prewarm',
  'pg_stat_statements',
  'pg_surgery',
  'pg_visibility',
  'pg_walinspect',
  'pgrowlocks',
  'pgstattuple',
  'plperlu',
  'plpython3u',
  'pltclu',
  'postgres_fdw',
  'refint',
  'sslinfo',
  'xml2',
]);

function untrustedExtension({ node }: Subject): Hit[] {
  if (!('CreateExtensionStmt' in node)) return [];
  const { extname = '' } = node.CreateExtensionStmt;
  if (!UNTRUSTED.has(extname)) return [];
  return [{ message: `installs ${extname}, which takes a superuser` }];
}

function grantOf(node: Node): NodeOf<'GrantStmt'> | undefined {
  if ('GrantStmt' in node) return node.GrantStmt;
  if (!('AlterDefaultPrivilegesStmt' in node)) return undefined;
  return node.AlterDefaultPrivilegesStmt.action;
}
