import type { z } from 'zod';
import type { SqlGate } from '../../../contract/gate.ts';
import type { PgClient } from '../../../platform/pg.ts';
import { withMigrationSession } from '../../releases/session.ts';
import type { Reading } from './gate.ts';
import { combine, noAnswer, readValue } from './reading.ts';
import { askEach, type SourceDeps, type Subject } from './source.ts';
import type { GateTarget } from './store.ts';

/** Of a gate's sessions; never that of a rollout, whose sessions a successor ends. */
export const GATE_APPLICATION = 'fleet-gate';

/** A gate's query runs on a live database again and again: one that needs longer would be felt by its tenant. */
const STATEMENT_TIMEOUT_MS = 5_000;

/** Asks the gate's query on every migrated database; each answer has to be within the limits. */
export async function readSql(
  deps: SourceDeps,
  spec: z.infer<typeof SqlGate>,
  subject: Subject,
): Promise<Reading> {
  const parts = await askEach(deps, subject, subject.targets, async (target) => {
    const value = await inReadOnlySession(deps, target, subject.signal, (client) =>
      firstValue(client, spec.sql),
    );
    const number = toNumber(value);
    return number === undefined ? noAnswer('the answer is no number') : readValue(number, spec);
  });
  return combine(parts, { one: 'database', minSamples: spec.minSamples });
}

/** Runs `work` as the database's owner in a transaction that can write nothing. */
export async function inReadOnlySession<T>(
  deps: Pick<SourceDeps, 'servers'>,
  target: GateTarget,
  signal: AbortSignal,
  work: (client: PgClient) => Promise<T>,
): Promise<T> {
  const address = await deps.servers.migrator(target.serverId, target);
  const session = { applicationName: GATE_APPLICATION, ownerRole: target.ownerRole, signal };
  return withMigrationSession(address, session, async (client) => {
    await client.query(
      `BEGIN READ ONLY; SET LOCAL statement_timeout = ${STATEMENT_TIMEOUT_MS}; SET LOCAL lock_timeout = 1000`,
    );
    const result = await work(client);
    await client.query('ROLLBACK');
    return result;
  });
}

/**
 * First column of the first row. A named (so: prepared) statement is one statement only, so that nothing can end the
 * transaction; a cursor takes nothing but a query, and reads no more of its rows than that one.
 */
async function firstValue(client: PgClient, sql: string): Promise<unknown> {
  await client.query({ name: 'gate', text: `DECLARE gate NO SCROLL CURSOR FOR ${sql}` });
  const { rows } = await client.query<unknown[]>({ text: 'FETCH 1 FROM gate', rowMode: 'array' });
  return rows[0]?.[0] ?? null;
}

/** Numbers come as text where they do not fit a double for sure. Undefined: it is none. */
function toNumber(value: unknown): number | null | undefined {
  if (value === null || typeof value === 'number') return value;
  if (typeof value === 'boolean') return value ? 1 : 0;
  if (value === 'NaN') return Number.NaN;
  if (typeof value !== 'string' || value.trim() === '') return undefined;
  const number = Number(value);
  return Number.isNaN(number) ? undefined : number;
}
