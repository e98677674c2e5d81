import type { TargetState, WaveState } from '../../../contract/rollout.ts';
import type { Queryable } from '../../../platform/pg.ts';
import type { Gate, Measured, MeasuredTenant, Reading } from './gate.ts';
import type { Judgement } from './judge.ts';

/**
 * SQL of `rollout_measurements` and `rollout_gates`, and the gates' reads of rollouts, waves and targets; what the API
 * shows of them is read in view-store.ts.
 */
export interface MeasurementRow extends Measured {
  gate: string;
  databaseId: string | null;
  tenant: MeasuredTenant | null;
  message: string;
}

/** What the clock of a wave's gates is read from; all of it stored. */
export interface WaveClock {
  state: WaveState;
  rolloutStartedAt: Date | null;
  startedAt: Date | null;
  /** When its last target ended: the bake and the gates begin. Null while they run. */
  doneAt: Date | null;
  /** Whether any of its databases was migrated, and is still there. */
  hasVerified: boolean;
  /** Since when a gate counts that a person has begun anew. */
  since: ReadonlyMap<string, Date>;
  /** By the registry's clock. */
  now: Date;
}

/** Reads it in one statement. */
export async function readWaveClock(db: Queryable, rolloutId: string, wave: number): Promise<WaveClock> {
  const { rows } = await db.query<WaveClock & { since: Record<string, string> | null }>(
    `SELECT w.state, r.started_at AS "rolloutStartedAt", w.started_at AS "startedAt", w.done_at AS "doneAt",
            EXISTS (SELECT FROM rollout_targets t JOIN databases d ON d.id = t.database_id AND d.state = 'ready'
                     WHERE t.rollout_id = $1 AND t.wave = $2 AND t.state = 'verified') AS "hasVerified",
            (SELECT jsonb_object_agg(g.gate, g.since) FROM rollout_gates g
              WHERE g.rollout_id = $1 AND g.wave = $2 AND g.since IS NOT NULL) AS since,
            clock_timestamp() AS now
       FROM rollouts r JOIN rollout_waves w ON w.rollout_id = r.id
      WHERE r.id = $1 AND w.ordinal = $2`,
    [rolloutId, wave],
  );
  const [row] = rows;
  if (row === undefined) throw new Error(`rollout ${rolloutId} has no wave ${wave}`);
  const since = Object.entries<string>(row.since ?? {}).map(([gate, at]) => [gate, new Date(at)] as const);
  return { ...row, since: new Map(since) };
}

/** A database that gates look at. */
export interface GateTarget {
  databaseId: string;
  tenant: MeasuredTenant;
  serverId: string;
  server: string;
  /** Of PostgreSQL; null until the server was asked. */
  serverMajor: number | null;
  database: string;
  ownerRole: string;
  rwRole: string;
  logins: string[];
  wave: number;
  state: TargetState;
  startedAt: Date | null;
  finishedAt: Date | null;
}

const TENANT = "json_build_object('id', n.id, 'slug', n.slug, 'region', n.region)";
const TARGET_SQL = `
  SELECT t.database_id AS "databaseId", ${TENANT} AS tenant, d.server_id AS "serverId",
         s.name AS server, s.server_version / 10000 AS "serverMajor", d.name AS database,
         d.owner_role AS "ownerRole", d.rw_role AS "rwRole", ARRAY[d.login_a, d.login_b] AS logins, t.wave, t.ordinal,
         t.state, t.started_at AS "startedAt", t.finished_at AS "finishedAt"
    FROM rollout_targets t
    JOIN databases d ON d.id = t.database_id AND d.state = 'ready'
    JOIN tenants n ON n.id = t.tenant_id AND n.state NOT IN ('offboarding', 'deleted')
    JOIN servers s ON s.id = d.server_id`;

/**
 * The rollout's targets in one of the states, in the order of the plan: of all waves, of one wave, or one database.
 * Without those whose database is gone.
 */
export async function gateTargets(
  db: Queryable,
  rolloutId: string,
  which: {
    states: readonly TargetState[] | null;
    wave?: number | undefined;
    databaseId?: string | undefined;
  },
): Promise<GateTarget[]> {
  const { rows } = await db.query<GateTarget>(
    `${TARGET_SQL}
      WHERE t.rollout_id = $1 AND ($2::text[] IS NULL OR t.state = ANY ($2)) AND ($3::int IS NULL OR t.wave = $3)
        AND ($4::uuid IS NULL OR t.database_id = $4)
      ORDER BY t.wave, t.ordinal`,
    [rolloutId, which.states, which.wave ?? null, which.databaseId ?? null],
  );
  return rows;
}

/** The first verified target of the rollout on each major version of PostgreSQL. */
export async function canaryTargets(db: Queryable, rolloutId: string): Promise<GateTarget[]> {
  const { rows } = await db.query<GateTarget>(
    `SELECT DISTINCT ON ("serverMajor") * FROM (${TARGET_SQL}
              WHERE t.rollout_id = $1 AND t.state = 'verified') AS verified
      ORDER BY "serverMajor", wave, ordinal`,
    [rolloutId],
  );
  return rows;
}

/** Everything that was measured for a wave's gates, in its order. */
export async function waveMeasurements(
  db: Queryable,
  rolloutId: string,
  wave: number,
): Promise<MeasurementRow[]> {
  const { rows } = await db.query<MeasurementRow>(
    `SELECT m.gate, m.outcome, m.measured_at AS "measuredAt", m.database_id AS "databaseId",
            m.took_ms AS "tookMs", CASE WHEN n.id IS NOT NULL THEN ${TENANT} END AS tenant, m.message
       FROM rollout_measurements m LEFT JOIN tenants n ON n.id = m.tenant_id
      WHERE m.rollout_id = $1 AND m.wave = $2
      ORDER BY m.measured_at, m.id`,
    [rolloutId, wave],
  );
  return rows;
}

export interface NewMeasurement extends Reading {
  gate: Gate;
  databaseId?: string | undefined;
  measuredAt: Date;
  tookMs: number;
}

export async function insertMeasurements(
  db: Queryable,
  place: { rolloutId: string; wave: number },
  measurements: readonly NewMeasurement[],
): Promise<void> {
  const rows = measurements.map(({ gate, tenant, ...row }) => ({
    ...row,
    gate: gate.name,
    scope: gate.scope,
    tenantId: tenant?.id,
  }));
  await db.query(
    `INSERT INTO rollout_measurements (rollout_id, wave, gate, scope, tenant_id, database_id, outcome, value,
                                       samples, message, measured_at, took_ms)
     SELECT $1, $2, gate, scope, "tenantId", "databaseId", outcome, value, samples, message, "measuredAt", "tookMs"
       FROM jsonb_to_recordset($3::jsonb) AS m (gate text, scope text, "tenantId" uuid, "databaseId" uuid,
              outcome text, value double precision, samples int, message text, "measuredAt" timestamptz, "tookMs" int)`,
    [place.rolloutId, place.wave, JSON.stringify(rows)],
  );
}

/**
 * Why a wave passed or did not is asked within weeks of its rollout, and a quarter of a year is three of most people's
 * releases; how each gate ended stays with its wave. Days after the rollout's end.
 */
const MEASUREMENTS_KEPT_DAYS = 90;

/** Forgets the measurements of rollouts that ended long ago. */
export async function forgetOldMeasurements(db: Queryable): Promise<void> {
  await db.query(
    `DELETE FROM rollout_measurements m USING rollouts r
      WHERE r.id = m.rollout_id AND r.finished_at < now() - $1 * interval '1 day'`,
    [MEASUREMENTS_KEPT_DAYS],
  );
}

/** Stores how the gates stand, for readers. */
export async function writeJudgements(
  db: Queryable,
  place: { rolloutId: string; wave: number },
  judged: readonly { gate: string; judgement: Judgement }[],
): Promise<void> {
  const rows = judged.map(({ gate, judgement }) => ({ gate, ...judgement }));
  await db.query(
    `INSERT INTO rollout_gates AS g (rollout_id, wave, gate, state, counts, next_at)
     SELECT $1, $2, gate, state, counts, "nextAt"
       FROM jsonb_to_recordset($3::jsonb) AS j (gate text, state text, counts jsonb, "nextAt" timestamptz)
      ORDER BY gate
     ON CONFLICT (rollout_id, wave, gate) DO UPDATE
       SET state = excluded.state, counts = excluded.counts, next_at = excluded.next_at`,
    [place.rolloutId, place.wave, JSON.stringify(rows)],
  );
}

/**
 * Begins gates anew, in the transaction of the verb that lets a stopped rollout go on: what was measured before stays
 * as history and counts no more. `all` for a retry, where everything is proved again; `unfinished` for a resume,
 * where passed gates stay passed, and the time that the rollout stood still is not held against the others.
 */
export async function restartGates(
  tx: Queryable,
  rolloutId: string,
  which: 'all' | 'unfinished',
): Promise<void> {
  await tx.query(
    `UPDATE rollout_gates g
        SET since = clock_timestamp(), state = 'waiting', next_at = NULL,
            counts = '{"success": 0, "failure": 0, "inconclusive": 0, "error": 0, "missed": 0}'
       FROM rollout_waves w
      WHERE g.rollout_id = $1 AND w.rollout_id = g.rollout_id AND w.ordinal = g.wave AND w.state <> 'passed'
        AND ($2 OR g.state <> 'passed')`,
    [rolloutId, which === 'all'],
  );
}
