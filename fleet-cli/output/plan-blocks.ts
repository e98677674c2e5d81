import type { RolloutPlan } from '../../contract/rollout-plan.ts';
import type { Rollout, RolloutTarget } from '../../contract/rollout.ts';
import { gateText } from './gate-text.ts';
import { renderFindings } from './lint-view.ts';
import { counted, someOf } from './plural.ts';
import { migrationText } from './schema-diff-view.ts';
import type { Paint } from './style.ts';
import { renderTable } from './table.ts';

/** Names shown in one cell or line; `-o json` has all. */
export const NAMES_SHOWN = 4;
/** Versions that targets start from: more of them no one reads. */
const STARTS_SHOWN = 5;

/** Everything that some target lacks, each with what is not usual about it. */
export function migrationsText({ plan, targets }: Rollout): string {
  if (plan !== undefined) return plan.migrations.map(migrationText).join('\n');
  return [...new Set(targets.flatMap(({ missing }) => missing))].join('\n');
}

/** `40 targets lack 2: a, b`. */
export function lackingText({ plan }: Rollout): string | undefined {
  const lines = plan?.starts
    .slice(0, STARTS_SHOWN)
    .map(
      ({ targets, missing }) =>
        `${counted(targets, 'target')} ${targets === 1 ? 'lacks' : 'lack'} ${missing.length}: ${someOf(missing, NAMES_SHOWN)}`,
    );
  const more = (plan?.starts.length ?? 0) - STARTS_SHOWN;
  return lines === undefined ? undefined : [...lines, ...(more > 0 ? [`and ${more} more`] : [])].join('\n');
}

/** Whose word is needed, and who has given it. */
export function approvalText({ plan, approve }: Rollout): string | undefined {
  if (plan === undefined) return approve ? 'by somebody else than its author' : undefined;
  const lines = plan.approvals.map(({ wave, notBy, roles, approvedBy, approvedAt }) => {
    const what = wave === null ? 'the plan' : `after wave ${wave}`;
    if (approvedBy !== null) return `${what}: given by ${approvedBy} at ${approvedAt}`;
    return `${what}: by another than ${notBy}, with the role ${roles.join(' or ')}`;
  });
  return lines.join('\n');
}

/** The gates, the targets that do not run at once, and what lint said; each only where there is something. */
export function planBlocks(rollout: Rollout, paint: Paint): string[] {
  const { plan, targets } = rollout;
  if (plan === undefined) return [];
  const gates = Object.entries(plan.gates);
  return [
    ...(gates.length === 0 ? [] : [renderGates(gates, paint)]),
    ...(plan.waiting.length === 0 ? [] : [renderWaiting(plan.waiting, targets, paint)]),
    ...(plan.lint.length === 0 ? [] : [`${paint('bold', 'lint')}\n${renderFindings(plan.lint, paint)}`]),
  ];
}

type Gate = [name: string, spec: RolloutPlan['gates'][string]];

function renderGates(gates: Gate[], paint: Paint): string {
  return renderTable<Gate>(
    gates,
    [
      { title: 'gate', value: ([name]) => name },
      { title: 'asks', value: ([, spec]) => gateText(spec) },
      { title: 'every', value: ([, spec]) => spec.interval, right: true },
    ],
    paint,
    undefined,
  );
}

type Waiting = RolloutPlan['waiting'][number];

function renderWaiting(waiting: Waiting[], targets: readonly RolloutTarget[], paint: Paint): string {
  return renderTable<Waiting>(
    waiting,
    [
      { title: 'not now', value: ({ targets: count }) => counted(count, 'target') },
      { title: 'wave', value: ({ wave }) => wave },
      { title: 'why', value: whyText },
      { title: 'first', value: ({ first, timeZone }) => localText(first, timeZone) },
      { title: 'last', value: ({ last, timeZone }) => localText(last, timeZone) },
      { title: 'tenants', value: (group) => tenantsText(group, targets) },
    ],
    paint,
    undefined,
  );
}

/** `2 targets later (from 2026-11-23 22:00 Europe/Berlin)`: those that wait for a window, or to come back. */
export function laterText({ plan }: Rollout): string | undefined {
  const deferred = plan?.waiting.filter(({ state }) => state === 'deferred') ?? [];
  if (deferred.length === 0) return undefined;
  const count = deferred.reduce((sum, { targets }) => sum + targets, 0);
  const [soonest] = deferred
    .filter(({ first }) => first?.startsWith('9999-') === false)
    .sort((a, b) => Date.parse(a.first ?? '') - Date.parse(b.first ?? ''));
  const from = soonest && localText(soonest.first, soonest.timeZone);
  return `${counted(count, 'target')} later${from === undefined ? '' : ` (from ${from})`}`;
}

function whyText({ state, reason }: Waiting): string {
  return state === 'skipped' ? `left behind: ${reason}` : (reason ?? '');
}

function tenantsText({ wave, state, reason, first }: Waiting, targets: readonly RolloutTarget[]): string {
  const names = targets
    .filter((target) => target.wave === wave && target.state === state && target.reason === reason)
    .filter(({ notBefore }) => (notBefore === null) === (first === null))
    .map(({ tenant }) => tenant);
  return someOf(names, NAMES_SHOWN);
}

/** An instant on the clocks of a time zone: `2026-11-23 22:00 Europe/Berlin`. */
function localText(instant: string | null, timeZone: string): string | undefined {
  if (instant === null) return undefined;
  // The end of what PostgreSQL and JavaScript agree on stands for a window that never opens again.
  if (instant.startsWith('9999-')) return 'never';
  // Sweden writes dates as ISO 8601 does.
  const clock = new Intl.DateTimeFormat('sv-SE', { timeZone, dateStyle: 'short', timeStyle: 'short' });
  return `${clock.format(new Date(instant))} ${timeZone}`;
}
