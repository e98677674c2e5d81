import { z } from 'zod';
import { Duration, durationSeconds } from './duration.ts';
import { Instant } from './page.ts';

/**
 * What a gate is asked about: each target as it is done, the wave as a whole once its targets are done and through
 * its bake, or everything that the rollout has changed so far, all the time.
 */
export const GateScope = z.enum(['target', 'wave', 'fleet']);
export type GateScope = z.infer<typeof GateScope>;

const common = {
  /** Absent: `wave` where a wave names the gate, `fleet` where none does. */
  on: GateScope.optional(),
  /** Between two measurements. */
  interval: Duration.refine((text) => durationSeconds(text) > 0, 'at least 1s').default('30s'),
  /** Measurements that must succeed; absent: as many as fit into the bake, at least one. For the scope `wave`. */
  count: z.number().int().min(1).max(10_000).optional(),
  /** Before the first measurement, from the end of the wave's targets on; absent: 2m for metrics, else none. */
  initialDelay: Duration.optional(),
  /** Failed measurements that are borne: one more fails the gate, and the rollout halts. */
  failureLimit: z.number().int().min(0).default(0),
  /** Measurements without enough data, and those missed, that are borne: one more pauses the rollout. */
  inconclusiveLimit: z.number().int().min(0).default(0),
  /** Errors of the source in a row that are borne: one more pauses the rollout. */
  consecutiveErrorLimit: z.number().int().min(0).default(4),
  /** Measured and shown, but decides nothing. */
  dryRun: z.boolean().default(false),
};

const thresholds = {
  max: z.number().optional(),
  min: z.number().optional(),
  equals: z.number().optional(),
};
type Thresholds = { [name in keyof typeof thresholds]?: number | undefined } & {
  maxIncrease?: number | undefined;
};

/** A gate that compares with nothing would never fail. */
function compares(gate: Thresholds): boolean {
  return [gate.max, gate.min, gate.equals, gate.maxIncrease].some((limit) => limit !== undefined);
}

/** Fewer samples than this are no data. */
const minSamples = z.number().int().min(1).default(1);

/** What stands in a URL is shown to everybody who may read the rollout. */
const Endpoint = z
  .url({ protocol: /^https?$/ })
  .max(2_000)
  .refine((text) => {
    const url = URL.canParse(text) ? new URL(text) : undefined;
    return url?.username === '' && url.password === '';
  }, 'no user name and password in the URL: it is shown to all readers');

/**
 * One query, run as the owner, read only, on every database in scope: the first column of its first row is the
 * value, and each database's has to be within the thresholds. NULL or no row is no data. Samples are databases.
 */
export const SqlGate = z
  .strictObject({ sql: z.string().min(1).max(10_000), ...thresholds, minSamples, ...common })
  .refine(compares, 'give max, min or equals');
/** What the tenant apps report of exactly the migrated tenants since their migration. Samples are requests. */
export const MetricGate = z
  .strictObject({
    /** A share from 0 to 1, or milliseconds. */
    metric: z.enum(['requests.error_rate', 'requests.latency_p95']),
    ...thresholds,
    /**
     * At most this many times the same tenants' value in the time before the wave. A past without any error
     * counts as one with a single error.
     */
    maxIncrease: z.number().positive().optional(),
    /** How far back is looked, at most to the migration. */
    over: Duration.refine(
      (text) => durationSeconds(text) >= 120,
      'at least 2m: apps count by the minute',
    ).default('5m'),
    minSamples,
    ...common,
    // A target that has just been migrated has had no requests since.
    on: GateScope.exclude(['target']).optional(),
  })
  .refine(compares, 'give max, min, equals or maxIncrease');
/** A GET that must answer with `status`; another status fails, no answer within 5 s is an error of the source. */
export const HttpGate = z.strictObject({
  http: Endpoint,
  status: z.number().int().min(100).max(599).default(200),
  ...common,
});
/** A PromQL query whose result is one number, asked at the server's `/api/v1/query`. Nothing or NaN is no data. */
export const PrometheusGate = z
  .strictObject({
    prometheus: Endpoint,
    query: z.string().min(1).max(10_000),
    ...thresholds,
    ...common,
  })
  .refine(compares, 'give max, min or equals');
/**
 * What the control plane looks at by itself on the databases and servers in scope. `schema`: equal to the canary's.
 * `invalid_indexes`: their number in each database (max 0). `blocked_sessions`: sessions of each database that have
 * waited for a lock for more than a second (max 0). `replication_lag`: seconds, of each server's replicas (max 10).
 * Samples are databases, or servers.
 */
export const CheckGate = z.strictObject({
  check: z.enum(['schema', 'invalid_indexes', 'blocked_sessions', 'replication_lag']),
  max: z.number().min(0).optional(),
  minSamples,
  ...common,
});

export const GateSpec = z.union([SqlGate, MetricGate, HttpGate, PrometheusGate, CheckGate]);
export type GateSpec = z.infer<typeof GateSpec>;

export const MeasurementOutcome = z.enum(['success', 'failure', 'inconclusive', 'error']);
export type MeasurementOutcome = z.infer<typeof MeasurementOutcome>;

export const GateMeasurement = z.object({
  gate: z.string(),
  scope: GateScope,
  /** The wave that ran meanwhile. */
  wave: z.string(),
  /** Whose database gave the value; null where none did, and where the reader may not see it. */
  tenant: z.string().nullable(),
  outcome: MeasurementOutcome,
  /** Of many databases the one that decides: of the first that did not succeed, else the largest. */
  value: z.number().nullable(),
  samples: z.number().int(),
  message: z.string(),
  measuredAt: Instant,
});
export type GateMeasurement = z.infer<typeof GateMeasurement>;

export const GateMeasurementFilter = z.object({
  gate: z.string().optional(),
  wave: z.string().optional(),
  outcome: MeasurementOutcome.optional(),
});

export const GATE_STATES = ['waiting', 'measuring', 'passed', 'failed', 'inconclusive', 'error'] as const;
export const GateState = z.enum(GATE_STATES);
export type GateState = z.infer<typeof GateState>;

/** Where a gate of a wave stands, for the eyes of a person. */
export const GateStatus = z.object({
  gate: z.string(),
  scope: GateScope,
  state: GateState,
  dryRun: z.boolean(),
  /** Successes that pass it; null where it measures as long as the wave lasts, or each target. */
  count: z.number().int().nullable(),
  /** Since the wave's targets ended, or the gate was begun anew. `missed` measurements count as inconclusive. */
  counts: z.object({
    success: z.number().int(),
    failure: z.number().int(),
    inconclusive: z.number().int(),
    error: z.number().int(),
    missed: z.number().int(),
  }),
  nextAt: Instant.nullable(),
  last: GateMeasurement.nullable(),
});
export type GateStatus = z.infer<typeof GateStatus>;
