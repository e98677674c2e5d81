import type { RolloutPlan } from '../../../contract/rollout-plan.ts';
import type { Rollout, RolloutState } from '../../../contract/rollout.ts';
import type { Queryable } from '../../../platform/pg.ts';
import { rolesWith } from '../../access/role.ts';
import { summaryOf } from '../../drift/version-diff.ts';
import type { Migration } from '../../releases/release.ts';
import { findRelease, listFindings, listMigrations } from '../../releases/store.ts';
import { targetsByMissing, waitingMembers, type LackingTargets } from './plan-store.ts';
import { startProblems } from './start-problems.ts';
import { findActiveRollout, findRollout, type RolloutRecord } from '../store.ts';
import { listWaves, type WaveRecord } from '../wave-store.ts';
import { groupWaiting } from './windows.ts';

/** In these states somebody has to decide on the plan, or on what is left of it. */
const DECIDED_ON: readonly RolloutState[] = ['planned', 'awaiting_approval'];

/**
 * What a person decides on, as far as they may see it; undefined where there is nothing to decide. A few queries,
 * however many targets there are.
 */
export async function planOf(db: Queryable, id: string, regions: string[] | null): Promise<Rollout['plan']> {
  const rollout = await findRollout(db, id);
  if (rollout === undefined || !DECIDED_ON.includes(rollout.state)) return undefined;
  const { spec } = rollout;
  const head = (await findRelease(db, rollout.release))?.headOrdinal ?? 0;
  const published = await listMigrations(db, head);
  const lacking = await targetsByMissing(db, id, regions);
  const names = new Set(lacking.flatMap(({ missing }) => missing));
  const migrations = published.filter(({ name }) => names.has(name));
  const first = migrations[0]?.ordinal ?? head + 1;
  const findings = await listFindings(db, first - 1, head);
  return {
    migrations: migrations.map(summaryOf),
    starts: lacking.map((targets) => startOf(targets, published)),
    lint: findings.filter(({ migration }) => names.has(migration)),
    approvals: approvalsOf(rollout, await listWaves(db, id)),
    waiting: groupWaiting(await waitingMembers(db, id, regions), spec.calendar ?? []),
    gates: spec.gates ?? {},
    ...(rollout.state === 'planned' ? { cannotStart: await startProblems(db, rollout, regions) } : {}),
    ...(rollout.queuedAt === null ? {} : await whatIsAhead(db)),
    ...(spec.budget === undefined ? {} : { budget: spec.budget }),
  };
}

async function whatIsAhead(db: Queryable): Promise<Pick<RolloutPlan, 'behind'>> {
  const active = await findActiveRollout(db);
  if (active === undefined) return {};
  const { id, release, state } = active;
  return { behind: { id, release, state } };
}

function startOf(
  { missing, targets }: LackingTargets,
  published: readonly Migration[],
): RolloutPlan['starts'][number] {
  const first = published.findIndex(({ name }) => name === missing[0]);
  return { from: published[first - 1]?.name ?? null, targets, missing };
}

function approvalsOf(rollout: RolloutRecord, waves: readonly WaveRecord[]): RolloutPlan['approvals'] {
  const whose = { notBy: rollout.author, roles: rolesWith('rollout:approve') };
  const given = ({ approvedBy, approvedAt }: Pick<WaveRecord, 'approvedBy' | 'approvedAt'>) => ({
    approvedBy,
    approvedAt: approvedAt?.toISOString() ?? null,
  });
  return [
    ...(rollout.spec.approve ? [{ wave: null, ...whose, ...given(rollout) }] : []),
    ...waves.filter(({ approve }) => approve).map((wave) => ({ wave: wave.name, ...whose, ...given(wave) })),
  ];
}
