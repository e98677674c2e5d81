import { createHash } from 'node:crypto';
import { FleetError, sqlState, SQLSTATE } from '../../platform/errors.ts';
import { quoteLiteral, type PgClient } from '../../platform/pg.ts';
import { applyInTransaction } from './apply-step.ts';
import { MIGRATION_LOCK, type DatabaseState } from './bookkeeping.ts';
import type { Migration } from './release.ts';
import { stampHoldsSql, type SchemaStamp } from './stamp.ts';
import type { MigrationRun } from './statistics.ts';
import type { Proof, StepRequest } from './step.ts';

/**
 * Applies the next migration without asking first: lock, proof that the database is where the registry believes it to
 * be and that its schema is still the proven one, migration and records in one message. Nearly always the belief is
 * right, and a round trip of its own that reads cold catalogues is a tenth of a small migration. Where it is not, the
 * proof divides by zero before anything else has run. Answers undefined then, and the caller takes the careful way in
 * the same session.
 * @param believed name of the last migration that the registry knows of in this database; null for none
 * @param stamp of the schema that was proven there; undefined: any schema will do
 * @throws FleetError as applyMigrations does, for a migration that fails
 */
export async function applyDirectly(
  client: PgClient,
  migrations: Migration[],
  believed: string | null,
  stamp: SchemaStamp | undefined,
  request: StepRequest & { release: string },
): Promise<{ state: DatabaseState; ran: MigrationRun } | undefined> {
  const place = believed === null ? 0 : migrations.findIndex(({ name }) => name === believed) + 1;
  const next = migrations[place];
  if (next?.transactional !== true || (believed !== null && place === 0)) return undefined;
  const before = migrations.slice(0, place);
  try {
    const ran = await applyInTransaction(client, next, { ...request, proof: proofOf(before, stamp) });
    return { ran, state: stateAfter([...before, next]) };
  } catch (error) {
    const state = error instanceof FleetError ? sqlState(error.cause) : undefined;
    if (!UNPROVEN.has(state ?? '')) throw error;
    await client.query('ROLLBACK');
    return undefined;
  }
}

/**
 * What a wrong belief looks like: the division, no right to look, nothing to look at. A migration may fail so by
 * itself; the careful way then finds that out again.
 */
const UNPROVEN = new Set<string>([
  SQLSTATE.divisionByZero,
  SQLSTATE.insufficientPrivilege,
  SQLSTATE.undefinedTable,
]);

/**
 * The lock is ours; exactly these are applied, with these checksums; nothing is half done, no newer owner was here; and
 * nobody has touched the schema. The three tables are read one behind the other, as they lie: a join and a sort of them
 * cost a cold session two milliseconds; so do operators (see countSql in stamp.ts). Rows that were moved only lead to
 * the careful way. The lock is a statement of its own: one that takes it and reads would read as of before it had the
 * lock.
 */
function proofOf(applied: readonly Migration[], stamp: SchemaStamp | undefined): Proof {
  const lines = [...applied.map(({ name }) => name), ...applied.map(({ checksum }) => checksum)];
  const digest = createHash('md5').update(lines.join('\n')).digest('hex');
  const place = `texteq(${quoteLiteral(digest)}, (SELECT md5(coalesce(string_agg(r.line, E'\\n'), '')) FROM (
    SELECT name::text FROM public.pgmigrations UNION ALL SELECT checksum FROM fleet.migrations
    UNION ALL SELECT migration FROM fleet.progress) AS r (line)))`;
  const schema = stamp === undefined ? '' : `\n  AND ${stampHoldsSql(stamp)}`;
  const demand = (fact: string): string => `SELECT int4div(1, CASE WHEN ${fact} THEN 1 ELSE 0 END);\n`;
  const lock = demand(`pg_try_advisory_lock(${MIGRATION_LOCK})`);
  return { sql: lock + demand(place + schema), again: lock + demand(place), statements: 2 };
}

function stateAfter(applied: readonly Migration[]): DatabaseState {
  return {
    locked: true,
    applied: applied.map(({ name, checksum }) => ({ name, checksum })),
    appliedBy: new Map(),
    interrupted: null,
    begun: false,
    fences: new Map(),
  };
}
