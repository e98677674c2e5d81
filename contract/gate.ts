import { z } from 'zod';
import { Duration } from './duration.ts';
import { Instant } from './page.ts';

/** What a gate is asked about: each target as it is done, the wave as a whole, or the fleet all the time. */
export const GateScope = z.enum(['target', 'wave', 'fleet']);
export type GateScope = z.infer<typeof GateScope>;

const common = {
  on: GateScope.optional(),
  /** Between two measurements. */
  interval: Duration.default('30s'),
  /** Measurements that must succeed; absent: one, or as many as fit into the bake. */
  count: z.number().int().min(1).max(10_000).optional(),
  /** Before the first measurement, counted from the end of the wave's targets. */
  initialDelay: Duration.optional(),
  /** Failed measurements that are borne: one more fails the gate. */
  failureLimit: z.number().int().min(0).default(0),
  /** Measurements without enough data that are borne: one more pauses the rollout. */
  inconclusiveLimit: z.number().int().min(0).default(0),
  /** Errors of the source in a row that are borne: one more pauses the rollout. */
  consecutiveErrorLimit: z.number().int().min(0).default(4),
  /** Fewer samples than this are no data. */
  minSamples: z.number().int().min(1).default(1),
  /** Measured and shown, but decides nothing. */
  dryRun: z.boolean().default(false),
};

const thresholds = {
  max: z.number().optional(),
  min: z.number().optional(),
  equals: z.number().optional(),
};

/** One query, run as the owner, read only, on every database in scope; its first column is the value. */
export const SqlGate = z.strictObject({ sql: z.string().min(1).max(10_000), ...thresholds, ...common });
/** What the tenant apps report of exactly the migrated tenants. */
export const MetricGate = z.strictObject({
  metric: z.enum(['requests.error_rate', 'requests.latency_p95']),
  ...thresholds,
  /** At most this many times the same tenants' value before the wave. */
  maxIncrease: z.number().positive().optional(),
  over: Duration.default('5m'),
  ...common,
});
export const HttpGate = z.strictObject({
  http: z.url({ protocol: /^https?$/ }),
  status: z.number().int().min(100).max(599).default(200),
  ...common,
});
/** A PromQL query whose result is one number, asked at the server's `/api/v1/query`. */
export const PrometheusGate = z.strictObject({
  prometheus: z.url({ protocol: /^https?$/ }),
  query: z.string().min(1).max(10_000),
  ...thresholds,
  ...common,
});
/** What the control plane looks at by itself on the databases and servers in scope. */
export const CheckGate = z.strictObject({
  check: z.enum(['schema', 'invalid_indexes', 'blocked_sessions', 'replication_lag']),
  max: z.number().optional(),
  ...common,
});

export const GateSpec = z.union([SqlGate, MetricGate, HttpGate, PrometheusGate, CheckGate]);
export type GateSpec = z.infer<typeof GateSpec>;

export const MeasurementOutcome = z.enum(['success', 'failure', 'inconclusive', 'error']);
export type MeasurementOutcome = z.infer<typeof MeasurementOutcome>;

export const GateMeasurement = z.object({
  gate: z.string(),
  wave: z.string().nullable(),
  /** Only where the gate asks each target. */
  tenant: z.string().nullable(),
  outcome: MeasurementOutcome,
  value: z.number().nullable(),
  samples: z.number().int(),
  message: z.string(),
  measuredAt: Instant,
});
export type GateMeasurement = z.infer<typeof GateMeasurement>;

/** Where a gate of a wave stands, for the eyes of a person. */
export const GateStatus = z.object({
  gate: z.string(),
  state: z.enum(['waiting', 'measuring', 'passed', 'failed', 'inconclusive', 'error']),
  dryRun: z.boolean(),
  counts: z.object({
    success: z.number().int(),
    failure: z.number().int(),
    inconclusive: z.number().int(),
    error: z.number().int(),
  }),
  last: GateMeasurement.nullable(),
});
export type GateStatus = z.infer<typeof GateStatus>;
