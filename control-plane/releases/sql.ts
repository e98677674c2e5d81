import { hasSqlDetails, parse, type Node } from 'libpg-query';

/**
 * A single statement of a migration, as PostgreSQL's own parser cut it, and how it may be run:
 * - `transactional`: in a transaction, like most statements
 * - the others only outside of one; each says how to tell, after a crash, whether it has been done
 * - `forbidden`: not in a migration at all, for the reason given
 */
export interface Statement {
  text: string;
  /** Line of the statement's first word in the given SQL, from 1. */
  line: number;
  kind: StatementKind;
}

export type StatementKind =
  | { run: 'transactional' }
  | { run: 'create-index'; index: IndexFacts }
  | { run: 'drop-index'; indexes: { schema: string; name: string }[]; ifExists: boolean }
  | { run: 'repeatable'; rebuildsIndexes: boolean }
  | { run: 'forbidden'; reason: string };

/** What tells an index that an earlier attempt has built from a namesake. */
export interface IndexFacts {
  schema: string;
  name: string;
  /** The table as the statement names it, quoted where needed. */
  table: string;
  /** The statement with `pg_temp.fleet_probe` in place of its table, and without CONCURRENTLY. */
  probe: string;
}

/** SQL that PostgreSQL's parser refuses. `line` counts from 1 in the given SQL. */
export class SqlSyntaxError extends Error {
  readonly line: number;

  constructor(message: string, line: number) {
    super(message);
    this.name = 'SqlSyntaxError';
    this.line = line;
  }
}

/**
 * Cuts SQL into its statements. An empty text or one of comments only has none.
 * @throws SqlSyntaxError
 */
export async function parseStatements(sql: string): Promise<Statement[]> {
  // The parser takes a C string: anything behind a NUL would go unseen.
  const nul = sql.indexOf('\0');
  if (nul >= 0) throw new SqlSyntaxError('holds a NUL character', sql.slice(0, nul).split('\n').length);
  if (sql.trim() === '') return [];
  const bytes = Buffer.from(sql, 'utf8');
  const { stmts } = await parse(sql).catch((error: unknown) => {
    throw asSyntaxError(error, sql);
  });
  return (stmts ?? []).map(({ stmt, stmt_location: start = 0, stmt_len: length = 0 }) => {
    const part = bytes.subarray(start, length > 0 ? start + length : undefined);
    const text = part.toString('utf8');
    const line = bytes.subarray(0, start).toString('utf8').split('\n').length;
    return {
      text: text.trim(),
      line,
      kind: stmt === undefined ? TRANSACTIONAL : classify(stmt, { part, start }),
    };
  });
}

function asSyntaxError(error: unknown, sql: string): unknown {
  if (!hasSqlDetails(error)) return error;
  return new SqlSyntaxError(error.message, lineAt(sql, error.sqlDetails?.cursorPosition ?? 0));
}

/** The line, from 1, of the character at `offset`: counted in code points, as PostgreSQL reports positions. */
export function lineAt(sql: string, offset: number): number {
  return Array.from(sql).slice(0, offset).join('').split('\n').length;
}

const TRANSACTIONAL: StatementKind = { run: 'transactional' };

const TRANSACTION_CONTROL =
  'BEGIN, COMMIT, ROLLBACK and SAVEPOINT break the transaction that holds the migration and its record; ' +
  'leave them out, or use `-- fleet: transaction=off`';

/** Statement nodes that reach beyond the tenant's own database, or cannot be repeated after a crash. */
const FORBIDDEN: Record<string, string> = {
  TransactionStmt: TRANSACTION_CONTROL,
  DeclareCursorStmt: 'a cursor has no reader here',
  AlterDatabaseSetStmt: 'ALTER DATABASE reaches beyond what a migration owns',
  AlterRoleSetStmt: 'ALTER ROLE reaches beyond the database that is migrated',
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

/** The bytes of a statement, and where they begin in the text whose positions the parser gives. */
interface Source {
  part: Buffer;
  start: number;
}

function classify(node: Node, source: Source): StatementKind {
  if ('VariableSetStmt' in node) return classifySetting(node.VariableSetStmt.kind, node.VariableSetStmt.name);
  if ('IndexStmt' in node && node.IndexStmt.concurrent === true) return createIndex(node.IndexStmt, source);
  if ('DropStmt' in node && node.DropStmt.concurrent === true) return dropIndex(node.DropStmt);
  if ('ReindexStmt' in node) return classifyReindex(node.ReindexStmt);
  if ('VacuumStmt' in node && node.VacuumStmt.is_vacuumcmd === true) {
    return { run: 'repeatable', rebuildsIndexes: false };
  }
  if ('AlterTableStmt' in node) return classifyAlterTable(node.AlterTableStmt);
  if ('CopyStmt' in node && node.CopyStmt.filename === undefined) {
    return forbidden('COPY from or to the client has no client here; use INSERT');
  }
  if ('SelectStmt' in node && node.SelectStmt.intoClause !== undefined) {
    return forbidden('SELECT INTO: use CREATE TABLE … AS');
  }
  if (holdsUnsafeCall(node)) return forbidden('changes the role, the lock or the record that it runs under');
  const [tag = ''] = Object.keys(node);
  const reason = FORBIDDEN[tag];
  return reason === undefined ? TRANSACTIONAL : forbidden(reason);
}

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

function forbidden(reason: string): StatementKind {
  return { run: 'forbidden', reason };
}

const SESSION_IDENTITY = new Set(['role', 'session_authorization']);

function classifySetting(kind: string | undefined, name: string | undefined): StatementKind {
  if (kind === 'VAR_RESET_ALL') return forbidden('RESET ALL drops the time-outs the migration runs under');
  if (!SESSION_IDENTITY.has(name?.toLowerCase() ?? '')) return TRANSACTIONAL;
  return forbidden('changing the role would leave objects that the tenant does not own');
}

type NodeOf<K extends string> = Extract<Node, Record<K, unknown>> extends Record<K, infer V> ? V : never;

function createIndex(node: NodeOf<'IndexStmt'>, { part, start }: Source): StatementKind {
  if (node.idxname === undefined) {
    return forbidden('CREATE INDEX CONCURRENTLY needs a name, to tell after a crash whether it was built');
  }
  const at = (node.relation?.location ?? 0) - start;
  const rest = part.subarray(at).toString('utf8');
  const [table = ''] = TABLE_NAME.exec(rest) ?? [];
  const head = part
    .subarray(0, at)
    .toString('utf8')
    .replace(/\bconcurrently\b/i, '');
  return {
    run: 'create-index',
    index: {
      schema: node.relation?.schemaname ?? DEFAULT_SCHEMA,
      name: node.idxname,
      table,
      probe: `${head}pg_temp.fleet_probe ${rest.slice(table.length)}`.trim(),
    },
  };
}

/** A name at the start of a text, perhaps with its schema; the parser has found that there is one. */
const TABLE_NAME = /^(?:(?:"(?:[^"]|"")+"|[^\s."(]+)\s*\.\s*)?(?:"(?:[^"]|"")+"|[^\s."(]+)/;

/** The search path of every migration session begins with it. */
const DEFAULT_SCHEMA = 'public';

function dropIndex(node: NodeOf<'DropStmt'>): StatementKind {
  const indexes = (node.objects ?? []).flatMap((object) => {
    if (!('List' in object)) return [];
    const parts = (object.List.items ?? []).map((item) => ('String' in item ? (item.String.sval ?? '') : ''));
    return [{ schema: parts.at(-2) ?? DEFAULT_SCHEMA, name: parts.at(-1) ?? '' }];
  });
  return { run: 'drop-index', indexes, ifExists: node.missing_ok === true };
}

function classifyReindex(node: NodeOf<'ReindexStmt'>): StatementKind {
  const concurrent = (node.params ?? []).some(
    (param) => 'DefElem' in param && param.DefElem.defname === 'concurrently',
  );
  const whole = node.kind === 'REINDEX_OBJECT_SYSTEM' || node.kind === 'REINDEX_OBJECT_DATABASE';
  if (whole) return forbidden('REINDEX of a whole database or its catalogue needs rights a tenant has not');
  return concurrent ? { run: 'repeatable', rebuildsIndexes: true } : TRANSACTIONAL;
}

function classifyAlterTable(node: NodeOf<'AlterTableStmt'>): StatementKind {
  const detaches = (node.cmds ?? []).some(
    (command) =>
      'AlterTableCmd' in command &&
      command.AlterTableCmd.def !== undefined &&
      'PartitionCmd' in command.AlterTableCmd.def &&
      command.AlterTableCmd.def.PartitionCmd.concurrent === true,
  );
  if (!detaches) return TRANSACTIONAL;
  return forbidden('DETACH PARTITION CONCURRENTLY cannot be repeated after a crash; use DETACH PARTITION');
}
