import type { RenderedMigration } from '../../contract/release.ts';
import { FleetError, type FieldError } from '../../platform/errors.ts';
import { backfillComplaints } from './backfill-statement.ts';
import { parseStatements, SqlSyntaxError, type Statement } from './sql.ts';

/** Findings beyond this many say nothing new; the answer stays readable. */
const MAX_FINDINGS = 50;

/**
 * Parses every statement, up and down, and refuses what cannot be applied safely.
 * Returns the statements of each migration's up part, in the order given.
 * @throws FleetError 422 `migration_invalid` with `errors[].path` = file:line.
 */
export async function validateMigrations(migrations: RenderedMigration[]): Promise<Statement[][]> {
  const findings: FieldError[] = [];
  const parsed: Statement[][] = [];
  for (const migration of migrations) {
    findings.push(...markerFindings(migration));
    parsed.push(await checkPart(migration, 'up', findings));
    await checkPart(migration, 'down', findings);
  }
  const [first] = findings;
  if (first === undefined) return parsed;
  throw new FleetError({
    code: 'migration_invalid',
    status: 422,
    message: `${first.path}: ${first.message}${findings.length > 1 ? ` (and ${findings.length - 1} more)` : ''}`,
    errors: findings.slice(0, MAX_FINDINGS),
    fix: 'correct the files named and publish again; nothing was published',
  });
}

async function checkPart(
  migration: RenderedMigration,
  part: 'up' | 'down',
  findings: FieldError[],
): Promise<Statement[]> {
  const sql = part === 'up' ? migration.upSql : (migration.downSql ?? '');
  const report = (line: number, message: string): void => {
    findings.push({ path: place(migration, part, line), message });
  };
  try {
    const statements = await parseStatements(sql);
    for (const statement of statements) {
      const complaint = refusal(statement, migration.transactional);
      if (complaint !== undefined) report(statement.line, complaint);
    }
    if (part === 'up') {
      for (const { line, message } of await backfillComplaints(migration)) report(line, message);
    }
    return statements;
  } catch (error) {
    if (!(error instanceof SqlSyntaxError)) throw error;
    report(error.line, error.message);
    return [];
  }
}

function refusal({ kind }: Statement, transactional: boolean): string | undefined {
  if (kind.run === 'forbidden') return kind.reason;
  if (kind.run === 'transactional' || !transactional) return undefined;
  return 'cannot run in a transaction: put it into a file of its own, with `-- fleet: transaction=off` on top';
}

function place(migration: RenderedMigration, part: 'up' | 'down', line: number): string {
  const start = part === 'up' ? migration.upLine : migration.downLine;
  if (start !== undefined) return `${migration.file}:${start + line - 1}`;
  return `${migration.file} (${part}):${line}`;
}

const DOWN_MARKER = /^\s*--[\s-]*down\s+migration/im;

/** A file with only the down marker runs as a whole, its down part too: what node-pg-migrate 9 does. */
function markerFindings(migration: RenderedMigration): FieldError[] {
  if (!DOWN_MARKER.test(migration.upSql)) return [];
  return [
    {
      path: migration.file,
      message:
        'has a `-- Down Migration` marker inside its up part: put `-- Up Migration` before the up part',
    },
  ];
}
