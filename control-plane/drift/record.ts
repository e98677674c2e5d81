import type { Queryable } from '../../platform/pg.ts';
import { setSchemaStamps } from '../servers/database-store.ts';
import type { Finding } from './drift.ts';
import { upsertFindings } from './store.ts';

/** Stores what was found, and the stamps of schemas that rollouts need not look at again: the same or accepted. */
export async function recordFindings(tx: Queryable, findings: readonly Finding[]): Promise<void> {
  await upsertFindings(tx, findings);
  const stamps = findings.map(({ databaseId, comparison, stamp }) => ({
    databaseId,
    stamp: comparison.verdict === 'drifted' ? null : stamp,
  }));
  await setSchemaStamps(tx, stamps);
}
