import type { GateStatus } from '../../../contract/gate.ts';
import type {
  InFlightTarget,
  RolloutEta,
  RolloutOverview,
  RolloutProgress,
} from '../../../contract/progress.ts';
import type { RolloutSpec, RolloutWave } from '../../../contract/rollout.ts';
import type { Queryable } from '../../../platform/pg.ts';
import { estimateEnd, type EtaWave } from './eta.ts';
import { lastEvents } from './events.ts';
import { gatesOf, type Gate } from '../gates/gate.ts';
import { limitsText } from '../gates/limits.ts';
import {
  backfillSums,
  deferrals,
  failureGroups,
  inFlightTargets,
  leftByServer,
  outagesOf,
  recentDurations,
  skipsOf,
  type InFlightRow,
  type LeftRow,
} from './progress-store.ts';
import { rolloutNotFound } from '../rollout.ts';
import { findRollout, type RolloutRecord } from '../store.ts';
import { readOverview } from './view.ts';
import { listWaves, type WaveRecord } from '../wave-store.ts';

/** More are not read by anybody; `GET /targets` has them all. */
const IN_FLIGHT_SHOWN = 50;
const FAILURES_SHOWN = 20;
const SKIPS_SHOWN = 20;
const EVENTS_SHOWN = 20;
/** The pace of now: in a wave of 16 at once the last dozen rounds. */
const PACE_OF = 200;

/**
 * All that a watcher shows of a rollout, as far as a reader of `regions` may see it (null: everywhere). It takes the
 * registry a few milliseconds, however many targets there are.
 * @throws FleetError 404 `rollout_not_found`
 */
export async function readProgress(
  db: Queryable,
  id: string,
  regions: string[] | null,
): Promise<RolloutProgress> {
  const rollout = await findRollout(db, id);
  if (rollout === undefined) throw rolloutNotFound(id);
  const overview = await readOverview(db, id, regions);
  const inFlight = await inFlightTargets(db, id);
  const { failed, unreachable, deferred, pending, skipped } = overview.counts;
  const away = unreachable > 0 || pending > 0;
  return {
    ...overview,
    now: rollout.now.toISOString(),
    eta: overview.state === 'running' ? await readEta(db, rollout, overview, inFlight) : null,
    ...(overview.state === 'running' ? whyNoEta(inFlight, regions) : {}),
    gateLimits: gateLimits(rollout.spec),
    inFlight: inFlight
      .filter((row) => regions === null || regions.includes(row.region))
      .slice(0, IN_FLIGHT_SHOWN)
      .map(inFlightView),
    failures: failed === 0 ? [] : await failureGroups(db, id, { regions, limit: FAILURES_SHOWN }),
    outages: (away ? await outagesOf(db, id, regions) : []).map(({ since, nextTryAt, ...outage }) => ({
      ...outage,
      since: instant(since),
      nextTryAt: instant(nextTryAt),
    })),
    deferred: (deferred === 0 ? [] : await deferrals(db, id, regions)).map(({ nextAt, ...rest }) => ({
      ...rest,
      nextAt: instant(nextAt),
    })),
    skipped: skipped === 0 ? [] : await skipsOf(db, id, { regions, limit: SKIPS_SHOWN }),
    backfills: await backfillSums(db, id, regions),
    events: await lastEvents(db, id, { regions, limit: EVENTS_SHOWN }),
  };
}

function inFlightView(row: InFlightRow): InFlightTarget {
  const { waveOrdinal: _wave, elapsedMs: _elapsed, startedAt, migrationSince, ...target } = row;
  return { ...target, startedAt: instant(startedAt), migrationSince: instant(migrationSince) };
}

function gateLimits(spec: RolloutSpec): Record<string, string> {
  return Object.fromEntries(Object.entries(spec.gates ?? {}).map(([name, gate]) => [name, limitsText(gate)]));
}

async function readEta(
  db: Queryable,
  rollout: RolloutRecord,
  overview: RolloutOverview,
  inFlight: readonly InFlightRow[],
): Promise<RolloutEta | null> {
  const { id, now, spec } = rollout;
  const recentMs = await recentDurations(db, id, PACE_OF);
  const left = await leftByServer(db, id);
  const waves = await listWaves(db, id);
  return estimateEnd({
    now,
    total: overview.total,
    recentMs,
    waves: waves.map((wave) => {
      const shown = overview.waves.find(({ name }) => name === wave.name);
      return etaWave(wave, {
        now,
        left: left.filter((row) => row.wave === wave.ordinal),
        inFlight: inFlight.filter((row) => row.waveOrdinal === wave.ordinal),
        gates: gatesOf(spec, wave),
        standing: shown?.gates ?? [],
      });
    }),
  });
}

function isHeld({ backfill }: Pick<InFlightRow, 'backfill'>): boolean {
  return typeof backfill?.reason === 'string';
}

function whyNoEta(
  inFlight: readonly InFlightRow[],
  regions: string[] | null,
): Pick<RolloutProgress, 'noEta'> {
  const held = inFlight.filter(isHeld);
  if (held.length === 0) return {};
  const shown = held.find(({ region }) => regions === null || regions.includes(region));
  return { noEta: { code: 'held', targets: held.length, reason: shown?.backfill?.reason ?? null } };
}

interface WaveFacts {
  now: Date;
  left: readonly LeftRow[];
  inFlight: readonly InFlightRow[];
  gates: readonly Gate[];
  standing: readonly GateStatus[];
}

function etaWave(wave: WaveRecord, { now, left, inFlight, gates, standing }: WaveFacts): EtaWave {
  const watched: RolloutWave['state'][] = ['baking', 'gating'];
  const ended = watched.includes(wave.state);
  const waived = wave.waivedBy !== null;
  const baked = wave.bakeUntil === null ? wave.bakeSeconds * 1_000 : wave.bakeUntil.getTime() - now.getTime();
  const closed = left.flatMap(({ closedUntil }) => (closedUntil === null ? [] : [closedUntil.getTime()]));
  const gateMs = gates.map((gate) =>
    gateLength(gate, ended ? standing.find((row) => row.gate === gate.name) : undefined, now),
  );
  return {
    ordinal: wave.ordinal,
    state: wave.state,
    dependsOn: wave.dependsOn,
    parallel: wave.parallel,
    perServer: wave.perServer,
    waiting: new Map(left.map(({ server, waiting }) => [server, waiting])),
    running: inFlight.map(({ server, elapsedMs, backfill }) => ({
      server,
      elapsedMs,
      held: isHeld({ backfill }),
      backfillMs: typeof backfill?.etaSeconds === 'number' ? backfill.etaSeconds * 1_000 : null,
    })),
    closedMs: closed.length === 0 ? null : Math.max(...closed) - now.getTime(),
    bakeMs: waived ? 0 : Math.max(0, baked),
    gatesMs: waived ? 0 : Math.max(0, ...gateMs),
    lacksApproval: wave.approve && wave.approvedAt === null,
  };
}

/** Milliseconds until the gate passes if every measurement succeeds: from the end of the targets, or from now. */
function gateLength(gate: Gate, standing: GateStatus | undefined, now: Date): number {
  const { count, intervalMs } = gate.rules;
  if (count === null || gate.dryRun) return 0;
  if (standing === undefined) return gate.delayMs + (count - 1) * intervalMs;
  if (standing.nextAt === null) return 0;
  const more = Math.max(0, count - standing.counts.success - 1);
  return Math.max(0, Date.parse(standing.nextAt) - now.getTime()) + more * intervalMs;
}

function instant(date: Date | null): string | null {
  return date === null ? null : date.toISOString();
}
