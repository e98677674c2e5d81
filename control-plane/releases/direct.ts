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
 * Applies the next migration without asking first: lock, proof that the database is where the registry believes
 * it to be and that its schema is still the proven one, migration and records in one message. Nearly always the belief is right, and a round trip of its own
 * that reads cold catalogues is a tenth of a small migration. Where it is not, the proof divides by zero before
 * anything else has run. Answers undefined then, and the caller takes the careful way in the same session.
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
 * nobody has touched the schema.
 */
function proofOf(applied: readonly Migration[], stamp: SchemaStamp | undefined): Proof {
  const expected = applied.map(({ name, checksum }) => `${name} ${checksum}`).join('\n');
  const digest = createHash('md5').update(expected).digest('hex');
  const place = `pg_try_advisory_lock(${MIGRATION_LOCK}) AND NOT EXISTS (SELECT FROM fleet.progress)
  AND ${quoteLiteral(digest)} = (SELECT md5(coalesce(string_agg(p.name || ' ' || m.checksum, E'\\n' ORDER BY p.id), ''))
    FROM public.pgmigrations p LEFT JOIN fleet.migrations m ON m.name = p.name)`;
  const schema = stamp === undefined ? '' : `\n  AND ${stampHoldsSql(stamp)}`;
  const sql = (fact: string): string => `SELECT 1 / (${fact})::int;\n`;
  return { sql: sql(place + schema), again: sql(place) };
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
