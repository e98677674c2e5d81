import type { Node } from 'libpg-query';
import type { NodeOf } from './parse.ts';

/**
 * Why a migration may not hold this statement at all, inside a transaction or not: it reaches beyond the one
 * database that is migrated, breaks the bookkeeping around it, or cannot be repeated after a crash.
 * Undefined for every other statement.
 */
export function refusedStatement(node: Node): string | undefined {
  if ('TransactionStmt' in node && SAVE_POINTS.has(node.TransactionStmt.kind ?? '')) return undefined;
  const [tag = ''] = Object.keys(node);
  const reason = REFUSED[tag] ?? refusedForm(node);
  if (reason !== undefined) return reason;
  return holdsUnsafeCall(node) ? 'changes the role, the lock or the record that it runs under' : undefined;
}

function refusedForm(node: Node): string | undefined {
  if ('VariableSetStmt' in node) return refusedSetting(node.VariableSetStmt.kind, node.VariableSetStmt.name);
  if ('IndexStmt' in node) return refusedIndex(node.IndexStmt);
  if ('ReindexStmt' in node) return refusedReindex(node.ReindexStmt);
  if ('AlterTableStmt' in node) return refusedAlterTable(node.AlterTableStmt);
  if ('CopyStmt' in node) return refusedCopy(node.CopyStmt);
  return undefined;
}

/** Within the transaction that holds the migration they do no harm. */
const SAVE_POINTS = new Set(['TRANS_STMT_SAVEPOINT', 'TRANS_STMT_RELEASE', 'TRANS_STMT_ROLLBACK_TO']);

const TRANSACTION_CONTROL =
  'BEGIN, COMMIT and ROLLBACK break the transaction that holds the migration and its record; ' +
  'leave them out, or use `-- fleet: transaction=off`';

const REFUSED: Record<string, string> = {
  TransactionStmt: TRANSACTION_CONTROL,
  DeclareCursorStmt: 'a cursor has no reader here',
  AlterDatabaseSetStmt: 'ALTER DATABASE reaches beyond what a migration owns',
  AlterRoleSetStmt: 'ALTER ROLE reaches beyond the database that is migrated',
  CreateRoleStmt: 'CREATE ROLE makes a role for the whole server; the tenant has its roles already',
  AlterRoleStmt: 'ALTER ROLE changes a role of the whole server; the fleet keeps those of the tenants',
  DropRoleStmt: 'DROP ROLE takes a role from the whole server; the fleet keeps those of the tenants',
  GrantRoleStmt: 'GRANT of a role changes who may act as whom on the whole server',
  CreatedbStmt: 'CREATE DATABASE reaches beyond the database that is migrated',
  DropdbStmt: 'DROP DATABASE reaches beyond the database that is migrated',
  AlterDatabaseStmt: 'ALTER DATABASE reaches beyond what a migration owns',
  AlterSystemStmt: 'ALTER SYSTEM changes the whole server',
  CreateTableSpaceStmt: 'CREATE TABLESPACE changes the whole server',
  DropTableSpaceStmt: 'DROP TABLESPACE changes the whole server',
  CreateSubscriptionStmt: 'CREATE SUBSCRIPTION holds a password and opens connections to other servers',
  DiscardStmt: 'DISCARD drops the role and the lock that the migration runs under',
  LoadStmt: 'LOAD changes the session for the migrations after it',
};

const OWN_NAMES = /^(pg_advisory_unlock_all|pgmigrations)$/i;
/** In the body of a DO or a function, and in the first argument of set_config. */
const ROLE_CHANGE =
  /\b(?:set|reset)\s+(?:(?:local|session)\s+)?(?:role|session\s+authorization)\b|\bpg_advisory_unlock_all\b/i;
const ROLE_SETTING = /set_config\s*\(\s*'(?:role|session_authorization)'/i;

/**
 * For an early word: whoever hides it in dynamic SQL meets the server's own refusal when it runs. Looks at names
 * of functions and tables, and into the texts of bodies, as the parser read them.
 */
function holdsUnsafeCall(node: Node): boolean {
  const body = 'DoStmt' in node || 'CreateFunctionStmt' in node;
  let found = false;
  JSON.stringify(node, (key, value: unknown) => {
    if (typeof value === 'string' && (key === 'sval' || key === 'relname')) {
      found ||= OWN_NAMES.test(value);
      if (body) found ||= ROLE_CHANGE.test(value) || ROLE_SETTING.test(value);
    }
    if (key === 'FuncCall') found ||= ROLE_CALL.test(JSON.stringify(value));
    return value;
  });
  return found;
}

/** A call of set_config whose first argument is the role, as the parser's JSON shows it. */
const ROLE_CALL =
  /^\{"funcname":\[[^\]]*"sval":"set_config"\}\}\],"args":\[\{"A_Const":\{"sval":\{"sval":"(?:role|session_authorization)"/i;

function refusedCopy({ filename, is_program }: NodeOf<'CopyStmt'>): string {
  if (filename === undefined) return 'COPY from or to the client has no client here; use INSERT';
  return is_program === true
    ? 'COPY from or to a program runs it on the server, which no owner of a database may; use INSERT'
    : 'COPY from or to a file of the server takes rights that no owner of a database has; use INSERT';
}

const SESSION_IDENTITY = new Set(['role', 'session_authorization']);

function refusedSetting(kind: string | undefined, name: string | undefined): string | undefined {
  if (kind === 'VAR_RESET_ALL') return 'RESET ALL drops the time-outs the migration runs under';
  if (!SESSION_IDENTITY.has(name?.toLowerCase() ?? '')) return undefined;
  return 'changing the role would leave objects that the owner of the database does not own';
}

function refusedIndex(node: NodeOf<'IndexStmt'>): string | undefined {
  if (node.concurrent !== true || node.idxname !== undefined) return undefined;
  return 'CREATE INDEX CONCURRENTLY needs a name, to tell after a crash whether it was built';
}

function refusedReindex(node: NodeOf<'ReindexStmt'>): string | undefined {
  const whole = node.kind === 'REINDEX_OBJECT_SYSTEM' || node.kind === 'REINDEX_OBJECT_DATABASE';
  return whole
    ? 'REINDEX of a whole database or its catalogue needs rights that its owner has not'
    : undefined;
}

/** Whether a REINDEX says CONCURRENTLY. */
export function isConcurrentReindex(node: NodeOf<'ReindexStmt'>): boolean {
  return (node.params ?? []).some((param) => 'DefElem' in param && param.DefElem.defname === 'concurrently');
}

function refusedAlterTable(node: NodeOf<'AlterTableStmt'>): string | undefined {
  const detaches = (node.cmds ?? []).some(
    (command) =>
      'AlterTableCmd' in command &&
      command.AlterTableCmd.def !== undefined &&
      'PartitionCmd' in command.AlterTableCmd.def &&
      command.AlterTableCmd.def.PartitionCmd.concurrent === true,
  );
  if (!detaches) return undefined;
  return 'DETACH PARTITION CONCURRENTLY cannot be repeated after a crash; use DETACH PARTITION';
}
