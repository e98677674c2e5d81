import type { RotationCounts } from '../../../contract/rotation.ts';
import type { TenantState } from '../../../contract/tenant.ts';
import type { ErrorSummary } from '../../../platform/errors.ts';
import type { RunEvent, RunRecord } from './run.ts';

/** A target that may be begun. */
export interface WaitingTarget {
  tenantId: string;
  slug: string;
  tenantState: TenantState;
  /** Null where it has no database. */
  serverId: string | null;
}

/** How a run stands, as it is read before each of its steps. */
export interface Standing {
  run: Pick<RunRecord, 'id' | 'parallel' | 'perServer' | 'now' | 'stop'>;
  counts: RotationCounts;
  /** Targets that failed one after the other, counted back from the last that ended. */
  failuresInARow: number;
  /** Server of each place that is taken: by a target in work, or one that rests after it. */
  taken: string[];
  /** In the order of the run. */
  waiting: WaitingTarget[];
  /** Deferred targets that are looked at again later. */
  later: number;
  /** Milliseconds since the last target was begun or ended. */
  quietMs: number;
}

export type NextStep =
  | { kind: 'begin'; targets: WaitingTarget[] }
  | { kind: 'wait' }
  | { kind: 'end'; event: RunEvent; error: ErrorSummary | null };

/** Three in a row is no bad luck of single tenants any more: what is wrong there would go on failing. */
const FAILURES_IN_A_ROW_MAX = 3;
/**
 * Begun in one step, of which there are five a second: a rotation changes Secrets Manager five times, and that takes
 * 50 changes a second for a whole account and region.
 */
const BEGUN_AT_ONCE_MAX = 2;

/**
 * What a run does next. Pure.
 * @param patienceMs how long it goes on for the sake of deferred targets alone
 */
export function nextStep(standing: Standing, patienceMs: number): NextStep {
  const { run, counts, failuresInARow, later, quietMs } = standing;
  const broken = failuresInARow >= FAILURES_IN_A_ROW_MAX;
  if (broken || run.stop !== null) {
    if (counts.running > 0) return { kind: 'wait' };
    if (broken) return { kind: 'end', event: 'fail', error: failedInARow(run.id, failuresInARow) };
    return { kind: 'end', event: 'cancel', error: run.stop };
  }
  const isAtWork = counts.pending > 0 || counts.running > 0;
  // Deferred ones come up again and again: that there is always one to look at must not keep a run going for ever.
  const mayGoOn = isAtWork || quietMs < patienceMs;
  const targets = mayGoOn ? fitting(standing) : [];
  if (targets.length > 0) return { kind: 'begin', targets };
  if (isAtWork || (mayGoOn && (later > 0 || standing.waiting.length > 0))) return { kind: 'wait' };
  if (counts.failed > 0) return { kind: 'end', event: 'fail', error: someFailed(run.id, counts) };
  return { kind: 'end', event: 'succeed', error: null };
}

/** Those that there is room for, in all and on their server. */
function fitting({ run, taken, waiting }: Standing): WaitingTarget[] {
  const places = [...taken];
  const chosen: WaitingTarget[] = [];
  for (const target of waiting) {
    if (places.length >= run.parallel || chosen.length >= BEGUN_AT_ONCE_MAX) break;
    const { serverId } = target;
    if (places.filter((server) => server === serverId).length >= run.perServer) continue;
    places.push(serverId ?? '');
    chosen.push(target);
  }
  return chosen;
}

/** What a tenant's state alone says of its target. */
export type Verdict =
  { may: 'begin' } | { may: 'defer'; reason: string; again: boolean } | { may: 'skip'; reason: string };

/** Pure. A suspended tenant's logins let nobody in, and nobody knows for how long. */
export function verdictOf(state: TenantState): Verdict {
  switch (state) {
    case 'active':
      return { may: 'begin' };
    case 'suspended':
      return { may: 'defer', reason: 'it is suspended: rotate it when it is resumed', again: false };
    case 'provisioning':
    case 'moving':
      return { may: 'defer', reason: `it is ${state}`, again: true };
    default:
      return { may: 'skip', reason: `it is ${state}` };
  }
}

function failedInARow(id: string, failures: number): ErrorSummary {
  return {
    code: 'rotations_fail',
    message: `${failures} rotations have failed one after the other: it was stopped`,
    fix: `fleet rotation get ${id} says why; mend it, then rotate again`,
  };
}

function someFailed(id: string, { failed }: RotationCounts): ErrorSummary {
  return {
    code: 'targets_failed',
    message: failed === 1 ? 'one tenant was not rotated' : `${failed} tenants were not rotated`,
    fix: `fleet rotation get ${id} says why; mend it, then rotate them again`,
  };
}
