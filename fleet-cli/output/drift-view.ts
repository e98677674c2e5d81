import type { Drift, DriftCheck } from '../../contract/drift.ts';
import { stateText, type Paint } from './style.ts';
import { age, lasted } from './time.ts';
import type { View } from './view.ts';

/** Changes shown of each database in a list; `--diff` and `-o json` have all. */
const CHANGES_SHOWN = 2;

export const driftView: View<Drift> = {
  noun: 'drift',
  name: (drift) => drift.tenant,
  columns: [
    { title: 'tenant', value: (drift) => drift.tenant },
    { title: 'region', value: (drift) => drift.region },
    { title: 'state', value: (drift, paint) => stateText(paint, drift.state) },
    { title: 'since', value: (drift) => age(drift.since), right: true },
    { title: 'version', value: (drift) => drift.schemaVersion },
    { title: 'differs in', value: firstChanges },
    { title: 'server', value: (drift) => drift.server, wide: true },
    { title: 'database', value: (drift) => drift.database, wide: true },
    { title: 'checked', value: (drift) => age(drift.checkedAt), right: true, wide: true },
    { title: 'accepted by', value: (drift) => drift.accepted?.by, wide: true },
    { title: 'because', value: (drift) => drift.accepted?.reason, wide: true },
  ],
  below: (drift, paint) => colouredDiff(drift.diff, paint),
};

function firstChanges({ changes }: Drift): string {
  const more = changes.length > CHANGES_SHOWN ? ` (+${changes.length - CHANGES_SHOWN})` : '';
  return `${changes.slice(0, CHANGES_SHOWN).join('; ')}${more}`;
}

/** The unified diff of each database under its name. */
export function renderDiffs(drifts: Drift[], paint: Paint): string {
  return drifts
    .map((drift) => {
      const facts = `${drift.region}, ${drift.schemaVersion ?? 'no migration'}, ${drift.state}, since ${drift.since}`;
      return `${paint('bold', drift.tenant)} ${paint('dim', `(${facts})`)}\n${colouredDiff(drift.diff, paint)}`;
    })
    .join('\n');
}

/** A unified diff, its lines coloured as terminals do. */
export function colouredDiff(diff: string, paint: Paint): string {
  return diff
    .split('\n')
    .map((line) => {
      if (line.startsWith('@@')) return paint('busy', line);
      if (line.startsWith('+')) return paint('good', line);
      return line.startsWith('-') ? paint('bad', line) : line;
    })
    .join('\n');
}

export const driftCheckView: View<DriftCheck> = {
  noun: 'drift checks',
  name: (check) => check.id,
  columns: [
    { title: 'check', value: (check) => check.id, whole: true },
    { title: 'state', value: (check, paint) => stateText(paint, check.state) },
    { title: 'same', value: ({ counts }) => counts.same, right: true },
    { title: 'drifted', value: ({ counts }) => counts.drifted, right: true },
    { title: 'accepted', value: ({ counts }) => counts.accepted, right: true },
    { title: 'being migrated', value: ({ counts }) => counts.busy, right: true },
    { title: 'not read', value: ({ counts }) => counts.unread, right: true },
    { title: 'took', value: (check) => lasted(check.startedAt, check.finishedAt), right: true },
  ],
};
