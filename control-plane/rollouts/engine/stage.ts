import type { Tally } from './budget.ts';
import type { GateWatch } from './gate-watch.ts';
import type { Verdict } from './gating.ts';
import type { Outage } from './outage-store.ts';
import type { Run } from './run.ts';
import type { Slots } from './slots.ts';
import type { ClaimedTarget } from '../target-store.ts';
import type { OpenWave } from './wave.ts';

/** All waves that run, side by side under one owner: what is in flight, and what bounds it. */
export interface Stage {
  run: Run;
  slots: Slots;
  /** By ordinal. */
  waves: Map<number, OpenWave>;
  /** Over all waves. */
  tally: Tally;
  /** By server. */
  outages: Map<string, Outage>;
  /** Servers that were not reached since the outages were read: nothing more is started there before that. */
  lost: Set<string>;
  /** Targets in flight, by database. */
  inFlight: Map<string, ClaimedTarget>;
  /** Of the rollout's row when it was read last; another one means that somebody has spoken. */
  version: number;
  /** The version at which the queues of the open waves were read. */
  loadedVersion: number;
  /** Whether the rollout was running then. */
  running: boolean;
  /** Whether it was aborted, and by force. */
  aborted: 'no' | 'yes' | 'by force';
  /** The registry's clock minus this process's, in milliseconds. */
  clockSkewMs: number;
  /** When the next window opens, bake ends, gate measures or server is tried. */
  nextAt: Date | null;
  steeredAt: number;
  /** When it was asked last whether contract steps may run; by `performance.now`. */
  contractAt: number;
  announcedAt: number;
  /** What the gates of open waves were asked, and have said. */
  gates: GateWatch;
  /** What target gates said of targets whose results are not written yet. */
  verdicts: Map<string, Verdict>;
}

/** The registry's clock, as this process knows it. */
export function clockOf(stage: Stage): Date {
  return new Date(Date.now() + stage.clockSkewMs);
}

/** Has the driver look again at this instant, or before. */
export function wakeAt(stage: Stage, at: Date): void {
  if (stage.nextAt === null || at < stage.nextAt) stage.nextAt = at;
}
