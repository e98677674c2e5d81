import type { Node } from 'libpg-query';
import { isConcurrentReindex, refusedStatement } from '../../platform/sql/refused.ts';
import { parseSql, type NodeOf, type StatementSource } from '../../platform/sql/parse.ts';

export { lineAt, SqlSyntaxError } from '../../platform/sql/parse.ts';

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

/**
 * Cuts SQL into its statements. An empty text or one of comments only has none.
 * @throws SqlSyntaxError
 */
export async function parseStatements(sql: string): Promise<Statement[]> {
  return (await parseSql(sql)).map(({ node, text, line, source }) => ({
    text,
    line,
    kind: node === undefined ? TRANSACTIONAL : classify(node, source),
  }));
}

const TRANSACTIONAL: StatementKind = { run: 'transactional' };

function classify(node: Node, source: StatementSource): StatementKind {
  const reason = refusedStatement(node);
  if (reason !== undefined) return { run: 'forbidden', reason };
  if ('IndexStmt' in node && node.IndexStmt.concurrent === true) return createIndex(node.IndexStmt, source);
  if ('DropStmt' in node && node.DropStmt.concurrent === true) return dropIndex(node.DropStmt);
  if ('ReindexStmt' in node && isConcurrentReindex(node.ReindexStmt)) {
    return { run: 'repeatable', rebuildsIndexes: true };
  }
  if ('VacuumStmt' in node && node.VacuumStmt.is_vacuumcmd === true) {
    return { run: 'repeatable', rebuildsIndexes: false };
  }
  return TRANSACTIONAL;
}

function createIndex(node: NodeOf<'IndexStmt'>, { part, start }: StatementSource): StatementKind {
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
      name: node.idxname ?? '',
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
