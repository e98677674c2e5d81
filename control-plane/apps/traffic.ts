import type { Queryable } from '../../platform/pg.ts';
import { percentileMs } from './latency.ts';
import { sumTraffic } from './store.ts';

/** Requests to the tenants of some databases, over all instances of their apps. */
export interface Traffic {
  requests: number;
  /** Those that their handler or database failed (5xx). */
  errors: number;
  /** Null without requests. */
  p95Ms: number | null;
}

/**
 * What exactly these databases' tenants got between two instants. Apps count by the minute: only minutes that are
 * wholly in between are counted, and of the present one what was reported until `to`.
 */
export async function trafficOf(
  db: Queryable,
  databaseIds: readonly string[],
  from: Date,
  to: Date,
): Promise<Traffic> {
  if (databaseIds.length === 0) return { requests: 0, errors: 0, p95Ms: null };
  const { errors, latency } = await sumTraffic(db, databaseIds, from, to);
  const requests = latency.reduce((sum, count) => sum + count, 0);
  return { requests, errors, p95Ms: percentileMs(latency, P95) };
}

const P95 = 0.95;
