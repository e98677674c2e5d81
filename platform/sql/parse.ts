import { hasSqlDetails, parse, type Node } from 'libpg-query';

/** A node of the parse tree by its tag: `NodeOf<'IndexStmt'>`. */
export type NodeOf<K extends string> =
  Extract<Node, Record<K, unknown>> extends Record<K, infer V> ? V : never;

/** A single statement, as PostgreSQL's own parser cut it. */
export interface ParsedStatement {
  node: Node | undefined;
  text: string;
  /** Line of the statement's first word in the given SQL, from 1. */
  line: number;
  /** The statement's bytes, and where they begin: the tree's locations are byte offsets in the whole SQL. */
  source: StatementSource;
}

export interface StatementSource {
  part: Buffer;
  start: number;
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
 * Cuts SQL into its statements and parses them with the grammar of PostgreSQL 18. An empty text or one of
 * comments only has none.
 * @throws SqlSyntaxError
 */
export async function parseSql(sql: string): Promise<ParsedStatement[]> {
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
    return {
      node: stmt,
      text: part.toString('utf8').trim(),
      line: bytes.subarray(0, start).toString('utf8').split('\n').length,
      source: { part, start },
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
