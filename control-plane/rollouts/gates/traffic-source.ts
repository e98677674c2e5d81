import type { z } from 'zod';
import { durationSeconds } from '../../../contract/duration.ts';
import type { MetricGate } from '../../../contract/gate.ts';
import { trafficOf, type Traffic } from '../../apps/traffic.ts';
import type { Reading } from './gate.ts';
import { noData, outOf } from './reading.ts';
import type { SourceDeps, Subject } from './source.ts';

type Metric = z.infer<typeof MetricGate>;

/**
 * What tenants got from their apps since their database was migrated, all of them together; with `maxIncrease` against
 * the same tenants' value in the time before the first of them was touched.
 */
export async function readTraffic(deps: SourceDeps, spec: Metric, subject: Subject): Promise<Reading> {
  const ask = deps.trafficOf ?? trafficOf;
  const { targets, now, before } = subject;
  const ids = targets.map(({ databaseId }) => databaseId);
  const overMs = durationSeconds(spec.over) * 1_000;
  const lastMigrated = Math.max(...targets.map(({ finishedAt }) => (finishedAt ?? now).getTime()));
  const from = new Date(Math.max(now.getTime() - overMs, lastMigrated));
  const traffic = await ask(deps.registry, ids, from, now);
  const value = valueOf(spec.metric, traffic);
  if (value === null || traffic.requests < spec.minSamples) {
    return {
      ...noData(`${traffic.requests} requests since the migration, at least ${spec.minSamples} needed`),
      samples: traffic.requests,
    };
  }
  const found = { value, samples: traffic.requests };
  const words = `${shown(spec.metric, value)} over ${traffic.requests} requests`;
  const reason = outOf(value, spec);
  if (reason !== undefined) return { ...found, outcome: 'failure', message: `${words}, ${reason}` };
  if (spec.maxIncrease === undefined) return { ...found, outcome: 'success', message: words };

  const baseline =
    before === null
      ? null
      : baselineOf(spec, await ask(deps.registry, ids, new Date(before.getTime() - overMs), before));
  if (baseline === null) {
    return { ...found, outcome: 'inconclusive', message: `${words}; too few before to compare with` };
  }
  const compared = `${words}, before ${shown(spec.metric, baseline)}`;
  return value > baseline * spec.maxIncrease
    ? { ...found, outcome: 'failure', message: `${compared}: more than ${spec.maxIncrease} times that` }
    : { ...found, outcome: 'success', message: compared };
}

function valueOf(metric: Metric['metric'], { requests, errors, p95Ms }: Traffic): number | null {
  if (requests === 0) return null;
  if (metric === 'requests.error_rate') return errors / requests;
  return p95Ms !== null && Number.isFinite(p95Ms) ? p95Ms : null;
}

/** A past without errors says no more than that they were rarer than one: one more now is no sign of anything. */
function baselineOf(spec: Metric, traffic: Traffic): number | null {
  if (traffic.requests < spec.minSamples) return null;
  return valueOf(spec.metric, { ...traffic, errors: Math.max(1, traffic.errors) });
}

function shown(metric: Metric['metric'], value: number): string {
  if (metric === 'requests.latency_p95') return `p95 of ${Math.round(value)} ms`;
  return `${Number((value * 100).toPrecision(3))} % errors`;
}
