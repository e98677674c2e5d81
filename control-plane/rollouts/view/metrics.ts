import { Registry as MetricsRegistry } from 'prom-client';
import { GATE_STATES } from '../../../contract/gate.ts';
import type { BackfillSum } from '../../../contract/progress.ts';
import { ROLLOUT_STATES, TARGET_STATES, WAVE_STATES } from '../../../contract/rollout.ts';
import type { Logger } from '../../../platform/logging.ts';
import { countVerdicts, type Verdicts } from '../../drift/verdict-store.ts';
import type { Registry } from '../../registry/registry.ts';
import { storedCounter, storedGauge, storedHistogram, type Tell } from './metric-kinds.ts';
import {
  countEnded,
  countHalts,
  migrationTimes,
  presentRollout,
  type Counted,
  type Distribution,
  type PresentRollout,
} from './metrics-store.ts';
import { backfillSums } from './progress-store.ts';

/**
 * What Prometheus is told of rollouts and drift. All of it is read from the registry when it is asked for: workers that
 * come and go lose nothing, and every process says the same, so that over several the highest counts, not their sum.
 * No label names a tenant or a rollout: there is one rollout at a time, and releases are a handful a week.
 */

/** Milliseconds that one reading serves: scrapers come each 15 s or so, and several of them at once cost one. */
const FRESH_MS = 5_000;
/** Milliseconds. A migration takes 3 ms to some seconds, an index on a large table hours. */
const BOUNDS_MS = [5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 10_000, 60_000, 600_000, 3_600_000];

interface Reading {
  present: (PresentRollout & { duration: Distribution; lockWait: Distribution }) | undefined;
  backfills: BackfillSum[];
  ended: Counted;
  halts: Counted;
  drift: Verdicts;
}

/** Undefined where the registry does not answer. */
type Read = () => Promise<Reading | undefined>;

export function fleetMetrics(deps: { registry: Registry; logger: Logger }): MetricsRegistry {
  const metrics = new MetricsRegistry();
  const read = createReader(deps);
  describeRegistry(metrics, read);
  describePresent(metrics, read);
  describeTimes(metrics, read);
  describeBackfills(metrics, read);
  describeTotals(metrics, read);
  return metrics;
}

async function readAll(registry: Registry): Promise<Reading> {
  const present = await presentRollout(registry);
  return {
    present:
      present === undefined
        ? undefined
        : { ...present, ...(await migrationTimes(registry, present.id, BOUNDS_MS)) },
    backfills: present === undefined ? [] : await backfillSums(registry, present.id, null),
    ended: await countEnded(registry),
    halts: await countHalts(registry),
    drift: await countVerdicts(registry),
  };
}

/** All metrics of one scrape, and of several at once, share one reading. */
function createReader({ registry, logger }: { registry: Registry; logger: Logger }): Read {
  let readAt = -Infinity;
  let last: Promise<Reading | undefined> = Promise.resolve(undefined);
  return () => {
    if (performance.now() - readAt < FRESH_MS) return last;
    readAt = performance.now();
    last = readAll(registry).catch((error: unknown) => {
      // What the process itself knows is told all the same, and that it has no registry is seen there.
      logger.warn('metrics of rollouts could not be read', { error });
      return undefined;
    });
    return last;
  };
}

function describeRegistry(metrics: MetricsRegistry, read: Read): void {
  const up = { name: 'flotilla_registry_up', help: 'Whether the registry answers' };
  storedGauge(metrics, up, async (tell) => tell({}, (await read()) === undefined ? 0 : 1));
  const drift = {
    name: 'flotilla_drift_databases',
    help: 'Databases of live tenants by what the last look at their schema said',
    labels: ['verdict'],
  };
  storedGauge(metrics, drift, async (tell) => {
    const drift = { ...(await read())?.drift };
    for (const [verdict, count] of Object.entries<number>(drift)) tell({ verdict }, count);
  });
}

function describePresent(metrics: MetricsRegistry, read: Read): void {
  type About = (tell: Tell, present: PresentRollout) => void;
  const of = (name: string, help: string, labels: string[], about: About): void => {
    const named = {
      name: `flotilla_rollout_${name}`,
      help: `${help}; of the active rollout, or the last`,
      labels,
    };
    storedGauge(metrics, named, async (tell) => {
      const present = (await read())?.present;
      if (present !== undefined) about(tell, present);
    });
  };
  const byState = (
    name: string,
    help: string,
    states: readonly string[],
    counts: (of: PresentRollout) => Counted,
  ) =>
    of(name, help, ['state'], (tell, present) => {
      for (const state of states) tell({ state }, counts(present)[state] ?? 0);
    });
  of('info', 'Always 1', ['release'], (tell, { release }) => tell({ release }, 1));
  byState('state', '1 for the state that it is in', ROLLOUT_STATES, ({ state }) => ({ [state]: 1 }));
  byState('targets', 'Databases by state', TARGET_STATES, ({ targets }) => targets);
  byState('waves', 'Waves by state', WAVE_STATES, ({ waves }) => waves);
  byState('gates', 'Gates of its waves by state', GATE_STATES, ({ gates }) => gates);
  of('servers_away', 'Servers that do not answer', [], (tell, present) => tell({}, present.serversAway));
  of('started_timestamp_seconds', 'When it began', [], (tell, present) => tell({}, present.startedAt));
  of('last_target_timestamp_seconds', 'When a target ended last', [], (tell, present) =>
    tell({}, present.lastEndedAt ?? present.startedAt),
  );
}

function describeTimes(metrics: MetricsRegistry, read: Read): void {
  const of = (name: string, help: string, which: 'duration' | 'lockWait'): void =>
    storedHistogram(metrics, { name, help: `${help}; of the active rollout, or the last` }, async () => {
      const present = (await read())?.present;
      if (present === undefined) return undefined;
      return { labels: { release: present.release }, boundsMs: BOUNDS_MS, ...present[which] };
    });
  of(
    'flotilla_migration_duration_seconds',
    'Time of a migration on one database, waits included',
    'duration',
  );
  of(
    'flotilla_migration_lock_wait_seconds',
    'Time of a migration until the try that got its locks',
    'lockWait',
  );
}

function describeBackfills(metrics: MetricsRegistry, read: Read): void {
  const sum = (sums: readonly BackfillSum[], of: (each: BackfillSum) => number): number =>
    sums.reduce((total, each) => total + of(each), 0);
  const of = (name: string, help: string, value: (each: BackfillSum) => number): void =>
    storedGauge(
      metrics,
      { name: `flotilla_backfill_${name}`, help: `${help}; of those under way` },
      async (tell) => {
        const reading = await read();
        if (reading !== undefined) tell({}, sum(reading.backfills, value));
      },
    );
  of('running', 'Databases whose backfill runs', ({ running, held }) => running - held);
  of('held', 'Databases whose backfill is held', ({ held }) => held);
  of('waiting', 'Databases whose backfill was left half way', ({ waiting }) => waiting);
  of('rows', 'Rows that are through', ({ rowsDone }) => rowsDone);
  of('rows_estimated', 'Rows that there are', ({ rowsEstimated }) => rowsEstimated);
  of('held_seconds', 'Time that they were held', ({ heldMs }) => heldMs / 1_000);
}

function describeTotals(metrics: MetricsRegistry, read: Read): void {
  const of = (name: string, help: string, label: string, counts: (reading: Reading) => Counted): void =>
    storedCounter(metrics, { name, help, label }, async () => {
      const reading = await read();
      return reading === undefined ? {} : counts(reading);
    });
  of('flotilla_rollouts_total', 'Rollouts that are over, by how they ended', 'state', ({ ended }) => ended);
  of('flotilla_rollout_halts_total', 'Times that rollouts halted, by cause', 'code', ({ halts }) => halts);
}
