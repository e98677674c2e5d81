import type { GateScope, GateState, MeasurementOutcome } from '../../../contract/gate.ts';
import type { Queryable } from '../../../platform/pg.ts';
import type { GateCounts } from './judge.ts';

/** What the API reads of gates: measurements with names in place of ids. */

/** A measurement as the API shows it to those who may see its tenant's region. */
export interface ShownMeasurement {
  id: string;
  gate: string;
  scope: GateScope;
  wave: string;
  waveOrdinal: number;
  tenant: string | null;
  region: string | null;
  outcome: MeasurementOutcome;
  value: number | null;
  samples: number;
  message: string;
  measuredAt: Date;
}

const SHOWN = `
  SELECT m.id, m.gate, m.scope, w.name AS wave, m.wave AS "waveOrdinal", n.slug AS tenant, n.region, m.outcome,
         m.value, m.samples, m.message, m.measured_at AS "measuredAt"
    FROM rollout_measurements m
    JOIN rollout_waves w ON w.rollout_id = m.rollout_id AND w.ordinal = m.wave
    LEFT JOIN tenants n ON n.id = m.tenant_id`;

export interface MeasurementPage {
  gate?: string | undefined;
  wave?: string | undefined;
  outcome?: MeasurementOutcome | undefined;
  /** The page before ended with this one. */
  after?: string | undefined;
  limit: number;
}

/** Newest first. */
export async function listMeasurements(
  db: Queryable,
  rolloutId: string,
  page: MeasurementPage,
): Promise<ShownMeasurement[]> {
  const { rows } = await db.query<ShownMeasurement>(
    `${SHOWN}
      WHERE m.rollout_id = $1 AND ($2::text IS NULL OR m.gate = $2) AND ($3::text IS NULL OR w.name = $3)
        AND ($4::text IS NULL OR m.outcome = $4) AND ($5::bigint IS NULL OR m.id < $5)
      ORDER BY m.id DESC LIMIT $6`,
    [rolloutId, page.gate ?? null, page.wave ?? null, page.outcome ?? null, page.after ?? null, page.limit],
  );
  return rows;
}

export interface GateRow {
  wave: number;
  gate: string;
  state: GateState;
  counts: GateCounts;
  nextAt: Date | null;
}

export async function listGateRows(db: Queryable, rolloutId: string): Promise<GateRow[]> {
  const { rows } = await db.query<GateRow>(
    `SELECT wave, gate, state, counts, next_at AS "nextAt" FROM rollout_gates WHERE rollout_id = $1`,
    [rolloutId],
  );
  return rows;
}

/** The newest measurement of each gate of each wave. */
export async function lastMeasurements(db: Queryable, rolloutId: string): Promise<ShownMeasurement[]> {
  const { rows } = await db.query<ShownMeasurement>(
    `SELECT shown.* FROM rollout_gates g, LATERAL (
       ${SHOWN}
        WHERE m.rollout_id = g.rollout_id AND m.wave = g.wave AND m.gate = g.gate
        ORDER BY m.measured_at DESC, m.id DESC LIMIT 1) AS shown
      WHERE g.rollout_id = $1`,
    [rolloutId],
  );
  return rows;
}
