import { parsePlPgSQL, scanSync, type Node } from 'libpg-query';
import { parseSql, SqlSyntaxError, type NodeOf } from '../sql/parse.ts';
import { nodesOf } from './tree.ts';

/** A statement that runs: one of the migration's own, or one inside the body of a DO. */
export interface Piece {
  node: Node;
  text: string;
  /** Byte offset of `text` in what the tree's locations count in. */
  start: number;
  /** Line in the migration's SQL of a byte offset of the tree; without one, of the statement itself. */
  lineOf: (at?: number) => number;
  /** Inside a DO; its statements count as one with it. */
  nested: boolean;
}

/** A migration's statements in the order in which they stand. */
export interface Pieces {
  pieces: Piece[];
  /** Lines with dynamic SQL that cannot be read before it runs. */
  opaque: number[];
  /** Lines with COMMIT or ROLLBACK inside a DO. */
  commits: number[];
}

/**
 * Cuts SQL into statements, and looks into DO blocks in PL/pgSQL: their plain statements, and EXECUTE of a
 * constant. Bodies of functions are not looked into: they do not run when they are made.
 * @throws SqlSyntaxError
 */
export async function cutPieces(sql: string): Promise<Pieces> {
  const all: Pieces = { pieces: [], opaque: [], commits: [] };
  for (const { node, text, line, source } of await parseSql(sql)) {
    if (node === undefined) continue;
    const lineOf = (at?: number): number => line + newlinesBefore(source.part, (at ?? 0) - source.start);
    all.pieces.push({ node, text, start: source.start, lineOf, nested: false });
    if (!('DoStmt' in node)) continue;
    const inner = await cutBody(node.DoStmt, text, bodyLine(node.DoStmt, lineOf));
    all.pieces.push(...inner.pieces);
    all.opaque.push(...inner.opaque);
    all.commits.push(...inner.commits);
  }
  return all;
}

function newlinesBefore(bytes: Buffer, end: number): number {
  return end <= 0 ? 0 : bytes.subarray(0, end).toString('utf8').split('\n').length - 1;
}

/** The line on which the body's quotes open: PL/pgSQL counts from there. */
function bodyLine(node: NodeOf<'DoStmt'>, lineOf: (at?: number) => number): number {
  const body = (node.args ?? []).find((arg) => 'DefElem' in arg && arg.DefElem.defname === 'as');
  return lineOf(body !== undefined && 'DefElem' in body ? body.DefElem.location : undefined);
}

function isPlPgSql(node: NodeOf<'DoStmt'>): boolean {
  return (node.args ?? []).every(
    (arg) =>
      !('DefElem' in arg) ||
      arg.DefElem.defname !== 'language' ||
      [...nodesOf(arg, 'String')].every(({ sval }) => sval === 'plpgsql'),
  );
}

async function cutBody(node: NodeOf<'DoStmt'>, text: string, firstLine: number): Promise<Pieces> {
  const found: Pieces = { pieces: [], opaque: [], commits: [] };
  // Whatever keeps the body from being read, a plain Error says so: only the server knows what it means.
  const tree: unknown = isPlPgSql(node) ? await parsePlPgSQL(text).catch(() => undefined) : undefined;
  if (tree === undefined) return { ...found, opaque: [firstLine] };
  for (const { tag, value } of bodyStatements(tree)) {
    const line = firstLine + (value.lineno ?? 1) - 1;
    if (tag === 'PLpgSQL_stmt_commit' || tag === 'PLpgSQL_stmt_rollback') found.commits.push(line);
    else await addStatement(found, sqlOf(tag, value), line);
  }
  return found;
}

interface BodyStatement {
  lineno?: number;
  sqlstmt?: Expression;
  /** Of PERFORM: the SELECT that it runs. */
  expr?: Expression;
  query?: Expression;
}

interface Expression {
  PLpgSQL_expr?: { query?: string };
}

const BODY_TAGS = new Set([
  'PLpgSQL_stmt_execsql',
  'PLpgSQL_stmt_perform',
  'PLpgSQL_stmt_dynexecute',
  'PLpgSQL_stmt_commit',
  'PLpgSQL_stmt_rollback',
]);

function* bodyStatements(value: unknown): Generator<{ tag: string; value: BodyStatement }> {
  if (typeof value !== 'object' || value === null) return;
  for (const [tag, child] of Object.entries(value)) {
    if (BODY_TAGS.has(tag)) yield { tag, value: child as BodyStatement };
    yield* bodyStatements(child);
  }
}

/** The SQL of a body's statement; `dynamic` where it is an expression that yields the SQL. */
function sqlOf(tag: string, value: BodyStatement): { sql: string; dynamic: boolean } {
  const dynamic = tag === 'PLpgSQL_stmt_dynexecute';
  const statement = dynamic ? value.query : (value.sqlstmt ?? value.expr);
  return { sql: statement?.PLpgSQL_expr?.query ?? '', dynamic };
}

async function addStatement(
  found: Pieces,
  { sql, dynamic }: { sql: string; dynamic: boolean },
  line: number,
): Promise<void> {
  const plain = dynamic ? await constantOf(sql) : sql;
  if (plain === undefined) {
    found.opaque.push(line);
    return;
  }
  try {
    for (const { node, text, source, line: inner } of await parseSql(plain)) {
      if (node === undefined) continue;
      const first = line + inner - 1;
      const lineOf = (at?: number): number => first + newlinesBefore(source.part, (at ?? 0) - source.start);
      found.pieces.push({ node, text, start: source.start, lineOf, nested: true });
    }
  } catch (error) {
    if (!(error instanceof SqlSyntaxError)) throw error;
    found.opaque.push(line);
  }
}

/** The text that an expression without anything variable stands for. */
async function constantOf(expression: string): Promise<string | undefined> {
  const [select] = await parseSql(`SELECT ${expression}`).catch(() => []);
  const [target] = nodesOf(select?.node, 'ResTarget');
  const value = target?.val;
  return value !== undefined && 'A_Const' in value ? value.A_Const.sval?.sval : undefined;
}

/**
 * The actions of an ALTER TABLE as written, in order, each with its offset: what stands between the commas
 * outside parentheses. `location` is where the table's name begins. Both count bytes from the statement's start.
 */
export function actionTexts(text: string, location: number): { text: string; at: number }[] {
  const bytes = Buffer.from(text, 'utf8');
  const tokens = scanSync(text).tokens.filter(
    ({ start, tokenName }) => start >= location && !/COMMENT$/.test(tokenName),
  );
  let next = 1;
  while (tokens[next]?.text === '.') next += 2;
  if (tokens[next]?.text === '*') next += 1;
  const actions: { text: string; at: number }[] = [];
  let depth = 0;
  let from: number | undefined;
  let end = 0;
  const close = (): void => {
    if (from !== undefined) actions.push({ text: bytes.subarray(from, end).toString('utf8'), at: from });
    from = undefined;
  };
  for (const token of tokens.slice(next)) {
    if (token.text === '(' || token.text === '[') depth += 1;
    if (token.text === ')' || token.text === ']') depth -= 1;
    if (token.text === ',' && depth === 0) {
      close();
    } else if (token.text !== ';') {
      from ??= token.start;
      end = token.end;
    }
  }
  close();
  return actions;
}
