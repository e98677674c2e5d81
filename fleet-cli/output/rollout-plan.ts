import { borne } from '../../contract/budget.ts';
import type { ContractBlockers } from '../../contract/app.ts';
import type { Budget, Rollout, RolloutTarget, RolloutWave } from '../../contract/rollout.ts';
import { cleaned } from './clean.ts';
import {
  approvalText,
  lackingText,
  laterText,
  migrationsText,
  NAMES_SHOWN,
  planBlocks,
} from './plan-blocks.ts';
import { someOf } from './plural.ts';
import { estimateText, rehearsalText } from './rehearsal-view.ts';
import { hindrances, isHindered, planStateText, queuedText } from './plan-state.ts';
import { causeText } from './rollout-lines.ts';
import { nextWords } from './rollout-next.ts';
import type { Paint } from './style.ts';
import { renderFields, renderTable } from './table.ts';

/** A stored plan as a person reads it before starting it. */
export function renderRolloutPlan(raw: Rollout, paint: Paint): string {
  const plan = cleaned(raw);
  const fields = renderFields(
    plan,
    [
      { title: 'rollout', value: (each) => each.id },
      { title: 'release', value: (each) => each.release },
      { title: 'state', value: (each) => planStateText(each, paint) },
      { title: 'cause', value: causeText },
      { title: 'queued', value: queuedText },
      { title: 'next', value: (each) => (isHindered(each) ? undefined : nextWords(each)) },
      { title: 'author', value: (each) => each.author },
      { title: 'approval', value: approvalText },
      { title: 'targets', value: (each) => each.total },
      { title: 'migrations', value: migrationsText },
      { title: 'lacking', value: lackingText },
      { title: 'budget', value: (each) => each.plan?.budget && budgetText(each.plan.budget) },
      { title: 'takes', value: (each) => estimateText(each.estimate, laterText(each)) },
      { title: 'rehearsal', value: (each) => rehearsalText(each.rehearsal, paint) },
    ],
    paint,
  );
  const waves = renderTable<RolloutWave>(
    plan.waves,
    [
      { title: 'wave', value: (wave) => wave.name },
      { title: 'targets', value: (wave) => wave.total, right: true },
      { title: 'parallel', value: (wave) => wave.parallel, right: true },
      { title: 'per server', value: (wave) => wave.perServer, right: true },
      { title: 'may fail', value: (wave) => mayFailText(wave, plan.targets) },
      { title: 'bake', value: (wave) => bakeText(wave.bakeSeconds), right: true },
      { title: 'after', value: (wave) => wave.dependsOn.join(', ') },
      { title: 'then', value: thenText },
      { title: 'deferred', value: (wave) => wave.counts.deferred, right: true },
      { title: 'tenants', value: (wave) => tenantsText(plan.targets, wave.name) },
    ],
    paint,
    undefined,
  );
  const hindered = [...hindrances(plan, paint), ...blockedText(plan.contract, paint)];
  return [fields, waves, ...planBlocks(plan, paint), ...hindered].join('\n\n');
}

interface Behind {
  who: string;
  region: string;
  at: string | null;
  lastSeen: string | null;
  why: string;
}

/** Who has to be brought along before the plan can be started, as it holds contract steps. */
function blockedText(blockers: ContractBlockers | undefined, paint: Paint): string[] {
  if (blockers === undefined) return [];
  const { instances, tenants, elsewhere, steps } = blockers;
  const rows: Behind[] = [
    ...instances.map(({ instance, region, appVersion: at, lastSeen, reason: why }) => {
      return { who: `app ${instance}`, region, at, lastSeen, why };
    }),
    ...tenants.map(({ tenant, region, state, schemaVersion: at, needs }) => {
      return { who: `tenant ${tenant} (${state})`, region, at, lastSeen: null, why: `lacks ${needs}` };
    }),
  ];
  if (rows.length + elsewhere === 0) return [];
  const table = renderTable<Behind>(
    rows,
    [
      { title: 'behind', value: (row) => row.who },
      { title: 'region', value: (row) => row.region },
      { title: 'at', value: (row) => row.at },
      { title: 'last seen', value: (row) => row.lastSeen },
      { title: 'why', value: (row) => row.why },
    ],
    paint,
    undefined,
  );
  const more = elsewhere === 0 ? '' : `\nand ${elsewhere} in regions that you may not see`;
  return [`cannot start: contract steps wait (${steps.join(', ')})\n${table}${more}`];
}

/** A share in targets: that 1 % of 50 bears none is seen before the first one fails. Those without a date do not run. */
function mayFailText({ budget, name, total }: RolloutWave, targets: readonly RolloutTarget[]): string {
  const { failures } = budget;
  const limits = limitsText(budget);
  if (typeof failures === 'number') return [String(failures), ...limits].join(', ');
  const out = targets.filter(
    ({ wave, state, notBefore }) =>
      wave === name && (state === 'skipped' || (state === 'deferred' && notBefore === null)),
  );
  const base = total - out.length;
  return [`${failures} of ${base}: ${borne(failures, base) || 'none'}`, ...limits].join(', ');
}

/** What the wave passes through after its targets, before those that wait for it. */
function thenText(wave: RolloutWave): string {
  return [...wave.gates.map(({ gate }) => gate), ...(wave.approve ? ['approval'] : [])].join(', ');
}

/** The other ways in which a budget stops, as far as it says so. */
function limitsText({ consecutive, unreachable, minTargets }: Budget): string[] {
  return [
    ...(consecutive === undefined ? [] : [`${consecutive} in a row stop`]),
    ...(unreachable === undefined ? [] : [`${unreachable} unreachable`]),
    ...(minTargets === undefined ? [] : [`a share from ${minTargets} on`]),
  ];
}

/** As a spec writes it: `10m`. */
function bakeText(seconds: number): string | undefined {
  if (seconds === 0) return undefined;
  if (seconds % 3_600 === 0) return `${seconds / 3_600}h`;
  return seconds % 60 === 0 ? `${seconds / 60}m` : `${seconds}s`;
}

function budgetText(budget: Budget): string {
  return [`${budget.failures} may fail over all waves`, ...limitsText(budget)].join(', ');
}

function tenantsText(targets: RolloutTarget[], wave: string): string {
  const names = targets.filter((target) => target.wave === wave).map((target) => target.tenant);
  return someOf(names, NAMES_SHOWN);
}
