import type { PgClient } from '../../platform/pg.ts';
import type { DatabaseState } from './bookkeeping.ts';
import { isSameStamp, readStamp, type SchemaStamp } from './stamp.ts';

/** Sees to it that migrations meet the schema that they were written for. */
export interface SchemaGuard {
  /** Of the last comparison; null where none is known. */
  stamp: SchemaStamp | null;
  /**
   * Compares the schema with what these migrations make, in the session that is about to change it, under the
   * migration lock. @throws FleetError `schema_drifted` where it is another, and nobody has accepted that
   */
  prove: (client: PgClient, applied: readonly string[]) => Promise<void>;
}

/**
 * Proves the schema under the migration lock, before any DDL. Answers the stamp of what is proven; null where
 * nothing could be said: what stands half done cannot be compared with anything, and is only ever finished.
 * @throws FleetError as SchemaGuard.prove
 */
export async function proveSchema(
  client: PgClient,
  state: Pick<DatabaseState, 'applied' | 'interrupted' | 'begun'>,
  guard: SchemaGuard | undefined,
): Promise<SchemaStamp | null> {
  if (guard === undefined || state.interrupted !== null || state.begun) return null;
  // Read ahead of the schema: what comes in between is found the next time.
  const stamp = await readStamp(client, state.applied.at(-1)?.name ?? null);
  if (stamp !== null && isSameStamp(stamp, guard.stamp)) return stamp;
  await guard.prove(
    client,
    state.applied.map(({ name }) => name),
  );
  return stamp;
}
