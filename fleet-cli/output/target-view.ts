import type { RolloutTarget } from '../../contract/rollout.ts';
import { onOneLine } from './fit.ts';
import { heldText } from './held-text.ts';
import { stateText, type Paint } from './style.ts';
import { renderTable } from './table.ts';
import { spell } from './time.ts';
import type { Column, View } from './view.ts';

/** Targets as a list, and one of them whole, with everything that was applied to its database. */
export const targetView: View<RolloutTarget> = {
  noun: 'targets',
  name: (target) => target.tenant,
  columns: [
    { title: 'tenant', value: (target) => target.tenant, whole: true },
    { title: 'wave', value: (target) => target.wave },
    { title: 'server', value: (target) => target.server },
    { title: 'region', value: (target) => target.region, detail: true },
    { title: 'state', value: (target, paint) => stateText(paint, target.state) },
    { title: 'tries', value: (target) => target.tries, right: true },
    { title: 'took', value: ({ durationMs }) => milliseconds(durationMs), right: true },
    { title: 'lock wait', value: ({ lockWaitMs }) => milliseconds(lockWaitMs), right: true },
    { title: 'rows', value: (target) => target.rows, right: true },
    {
      title: 'migrations',
      value: ({ applied, missing }) => `${applied?.length ?? 0}/${missing.length}`,
      right: true,
    },
    { title: 'why', value: whyText },
    { title: 'fix', value: ({ error }) => error?.fix, detail: true },
    { title: 'runs at', value: (target) => target.notBefore, detail: true },
    { title: 'started', value: (target) => target.startedAt, detail: true },
    { title: 'ended', value: (target) => target.finishedAt, detail: true },
    { title: 'backfill', value: backfillText, detail: true },
  ],
  below: appliedText,
};

/** Of one that a person has left behind their word counts, whatever had failed before it. */
function whyText({ state, error, reason, skippedBy }: RolloutTarget): string | undefined {
  if (state === 'skipped') {
    const by = typeof skippedBy === 'string' ? ` (${skippedBy})` : '';
    const before = error === null ? '' : `; before: ${error.code}: ${error.message}`;
    return onOneLine(`${reason ?? 'skipped'}${by}${before}`);
  }
  return error === null ? (reason ?? undefined) : onOneLine(`${error.code}: ${error.message}`);
}

function backfillText({ progress }: RolloutTarget): string | undefined {
  if (progress === null) return undefined;
  const { migration, rowsDone, rowsEstimated, heldMs, etaSeconds, reason, quarantined } = progress;
  return [
    `${migration}: ${rowsDone} of ~${rowsEstimated} rows`,
    ...(etaSeconds === null ? [] : [`${spell(etaSeconds)} left`]),
    ...(heldMs < 1_000 ? [] : [`held ${spell(heldMs / 1_000)} in all`]),
    ...(reason === null ? [] : [heldText(reason)]),
    ...(quarantined === 0 ? [] : [`${quarantined} ranges left out`]),
  ].join(' · ');
}

interface Step {
  name: string;
  durationMs: number | null;
  lockWaitMs: number | null;
  rows: number | null;
  /** Not applied yet. */
  absent?: boolean;
}

const stepColumns: Column<Step>[] = [
  {
    title: 'migration',
    value: ({ name, absent }, paint) => (absent === true ? paint('dim', `${name} (not applied)`) : name),
  },
  { title: 'took', value: ({ durationMs }) => milliseconds(durationMs), right: true },
  { title: 'lock wait', value: ({ lockWaitMs }) => milliseconds(lockWaitMs), right: true },
  { title: 'rows', value: (step) => step.rows, right: true },
];

/** A row for each migration, those that were sent statement by statement with a row for each of these. */
function appliedText({ applied = [], missing }: RolloutTarget, paint: Paint): string | undefined {
  const steps = applied.flatMap(({ statements = [], ...step }): Step[] => [
    step,
    ...statements.map(({ command, ...statement }) => ({
      ...statement,
      name: `  ${command}`,
      lockWaitMs: null,
    })),
  ]);
  const names = new Set(applied.map(({ name }) => name));
  const left = missing
    .filter((name) => !names.has(name))
    .map((name) => ({
      name,
      absent: true,
      durationMs: null,
      lockWaitMs: null,
      rows: null,
    }));
  if (steps.length + left.length === 0) return undefined;
  return renderTable([...steps, ...left], stepColumns, paint, undefined);
}

function milliseconds(value: number | null | undefined): string | undefined {
  if (value === null || value === undefined) return undefined;
  return value < 1_000
    ? `${value}ms`
    : value < 60_000
      ? `${(value / 1_000).toFixed(1)}s`
      : spell(value / 1_000);
}
