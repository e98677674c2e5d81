import type { BackfillProgress } from '../../contract/backfill.ts';
import type { RolloutTarget } from '../../contract/rollout.ts';
import type { Paint } from './style.ts';
import { renderTable } from './table.ts';
import type { Column } from './view.ts';

/** The slowest ones say when it ends; `-o json` has every target. */
const MAX_BACKFILLS = 8;

interface Row {
  tenant: string;
  state: RolloutTarget['state'];
  progress: BackfillProgress;
}

const columns: Column<Row>[] = [
  { title: 'backfill', value: ({ tenant }) => tenant },
  { title: 'migration', value: ({ progress }) => progress.migration },
  { title: 'rows', value: ({ progress }) => rowsText(progress), right: true },
  { title: 'rows/s', value: ({ progress }) => count(progress.rate), right: true },
  { title: 'left', value: ({ progress }) => seconds(progress.etaSeconds), right: true },
  { title: 'held', value: ({ progress }) => seconds(progress.heldMs / 1_000), right: true },
  { title: 'notes', value: notes },
];

/** Backfills that are under way or left half way, those first that take longest; undefined for none. */
export function renderBackfills(targets: RolloutTarget[], paint: Paint): string | undefined {
  const rows = targets
    .flatMap(({ tenant, state, progress }) => (progress === null ? [] : [{ tenant, state, progress }]))
    .filter(({ state }) => state !== 'verified' && state !== 'undone')
    .sort((a, b) => (b.progress.etaSeconds ?? Infinity) - (a.progress.etaSeconds ?? Infinity) || 0);
  if (rows.length === 0) return undefined;
  const table = renderTable(rows.slice(0, MAX_BACKFILLS), columns, paint, undefined);
  const more = rows.length - MAX_BACKFILLS;
  return more > 0 ? `${table}\n  and ${more} more` : table;
}

function rowsText({ rowsDone, rowsEstimated }: BackfillProgress): string {
  const share = rowsEstimated === 0 ? '' : ` (${Math.floor((rowsDone / rowsEstimated) * 100)} %)`;
  return `${count(rowsDone)} of ~${count(rowsEstimated)}${share}`;
}

function notes({ state, progress }: Row, paint: Paint): string | undefined {
  const said = [
    state === 'running' ? '' : state,
    progress.reason === null || state !== 'running' ? '' : `held: ${progress.reason}`,
    progress.quarantined === 0 ? '' : paint('bad', `${progress.quarantined} ranges left out`),
  ];
  return said.filter((part) => part !== '').join(', ') || undefined;
}

function count(value: number | null): string | undefined {
  return value === null ? undefined : Math.round(value).toLocaleString('en');
}

/** The time in two units at most: an estimate is no better. */
function seconds(value: number | null): string | undefined {
  if (value === null) return undefined;
  const whole = Math.round(value);
  if (whole < 60) return `${whole}s`;
  if (whole < 3_600) return `${Math.floor(whole / 60)}m ${whole % 60}s`;
  return `${Math.floor(whole / 3_600)}h ${Math.floor((whole % 3_600) / 60)}m`;
}
