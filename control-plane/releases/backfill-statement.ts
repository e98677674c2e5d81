import type { Backfill } from '../../contract/backfill.ts';
import type { RenderedMigration } from '../../contract/release.ts';
import { parseSql, SqlSyntaxError, type ParsedStatement } from '../../platform/sql/parse.ts';
import { nodesOf } from '../../platform/sql-lint/tree.ts';

/** SQL with holes for the two ends of a range. */
export type RangedSql = (from: string, to: string) => string;

const CHANGES_ROWS = ['UpdateStmt', 'InsertStmt', 'DeleteStmt', 'MergeStmt'];
const ENDS = [1, 2];

/** Takes a statement apart at `$1` and `$2`, where PostgreSQL's own parser sees them. */
export async function rangedSql(sql: string): Promise<RangedSql> {
  const [statement] = await parseSql(sql);
  const bytes = Buffer.from(statement?.text ?? '', 'utf8');
  // Parsed alone, so that the places count from its own beginning.
  const [alone] = await parseSql(statement?.text ?? '');
  const places = alone === undefined ? [] : ends(alone).toSorted((a, b) => a.at - b.at);
  const parts: (string | 1 | 2)[] = [];
  let done = 0;
  for (const { at, number } of places) {
    parts.push(bytes.subarray(done, at).toString('utf8'), number === 1 ? 1 : 2);
    done = at + `$${number}`.length;
  }
  parts.push(bytes.subarray(done).toString('utf8'));
  return (from, to) => parts.map((part) => (part === 1 ? from : part === 2 ? to : part)).join('');
}

/** Whether the query is asked range by range. */
export async function isRanged(sql: string): Promise<boolean> {
  const [statement] = await parseSql(sql);
  return statement !== undefined && ends(statement).length > 0;
}

interface Complaint {
  /** In the up part, from 1. */
  line: number;
  message: string;
}

/** What keeps a migration from being run range by range; none for one that is no backfill. */
export async function backfillComplaints(migration: RenderedMigration): Promise<Complaint[]> {
  const { backfill } = migration;
  if (backfill === undefined) return [];
  const complaints = [...headComplaints(migration), ...(await verifyComplaints(backfill))];
  const [statement, second] = await parseSql(migration.upSql);
  if (statement?.node === undefined || second !== undefined || !changesRows(statement)) {
    const message = 'is a backfill: its up part is one UPDATE, INSERT, DELETE or MERGE and nothing else';
    return [...complaints.map((each) => ({ line: 1, message: each })), { line: second?.line ?? 1, message }];
  }
  const numbers = new Set(ends(statement).map(({ number }) => number));
  if (numbers.size !== ENDS.length || !ENDS.every((number) => numbers.has(number))) {
    complaints.push('is a backfill: its statement has to bound the key, e.g. WHERE id BETWEEN :from AND :to');
  }
  return complaints.map((message) => ({ line: statement.line, message }));
}

function headComplaints({ phase, transactional, statementTimeoutMs }: RenderedMigration): string[] {
  const complaints: string[] = [];
  if (phase !== 'migrate') complaints.push(`is a backfill, whose phase is migrate, not ${phase}`);
  if (transactional) complaints.push('is a backfill, which runs in many transactions, not in one');
  if (statementTimeoutMs !== null) {
    complaints.push('is a backfill, whose chunks have a time-out of their own: leave out statement-timeout');
  }
  return complaints;
}

async function verifyComplaints({ verify }: Backfill): Promise<string[]> {
  if (verify === null) return [];
  try {
    const [query, second] = await parseSql(verify);
    if (query?.node !== undefined && second === undefined && 'SelectStmt' in query.node) {
      const numbers = new Set(ends(query).map(({ number }) => number));
      if (numbers.size === 0 || ENDS.every((number) => numbers.has(number))) return [];
      return ['has a verify query with one end of a range: give both :from and :to, or none'];
    }
    return ['has a verify query that is not one SELECT'];
  } catch (error) {
    if (error instanceof SqlSyntaxError) return [`has a verify query that cannot be read: ${error.message}`];
    throw error;
  }
}

function changesRows({ node }: ParsedStatement): boolean {
  return node !== undefined && CHANGES_ROWS.some((tag) => tag in node);
}

function ends({ node }: ParsedStatement): { number: number; at: number }[] {
  return [...nodesOf(node, 'ParamRef')].map(({ number = 0, location = 0 }) => ({ number, at: location }));
}
