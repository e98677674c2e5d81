import type { Operation } from '../../contract/operation.ts';
import type { RolloutSummary } from '../../contract/rollout.ts';
import type { Region, Server } from '../../contract/server.ts';
import { regionView, serverView } from './fleet-views.ts';
import { operationView } from './operation-view.ts';
import { rolloutView } from './rollout-view.ts';
import type { Paint } from './style.ts';
import { renderFields, renderTable } from './table.ts';
import type { View } from './view.ts';

/** The fleet at a glance; `-o json` prints exactly this. */
export interface FleetStatus {
  controlPlane: string;
  context: string | null;
  tenants: number;
  /** The newest release; null when there is none. */
  release: string | null;
  /** The release that new tenants are born at. */
  currentRelease: string | null;
  /** Databases that are not at the newest release. */
  behind: number;
  regions: Region[];
  servers: Server[];
  unreachableServers: string[];
  /** Started and not settled. */
  rollouts: RolloutSummary[];
  /** Stored plans that nobody started. */
  plannedRollouts: RolloutSummary[];
  /** Queued and running. */
  operations: Operation[];
  /** Of the last 24 hours. */
  failedOperations: Operation[];
}

/** Rows of a block that a person takes in at a glance; the lists and `-o json` have the rest. */
const ROWS = 10;

/** The overview for people: what is fine in few lines, what is open or broken in tables. */
export function renderStatus(status: FleetStatus, paint: Paint): string {
  const blocks = [
    header(status, paint),
    block('regions', status.regions, regionView, paint, 'fleet region list'),
    block('servers', status.servers, serverView, paint, 'fleet server list'),
    block('open rollouts', status.rollouts, rolloutView, paint, 'fleet rollout list'),
    block(
      'planned rollouts, not started',
      status.plannedRollouts,
      rolloutView,
      paint,
      'fleet rollout list --state planned',
    ),
    block(
      'queued and running operations',
      status.operations,
      operationView,
      paint,
      'fleet operation list --state running',
    ),
    block(
      'operations that failed in the last 24 h',
      status.failedOperations,
      operationView,
      paint,
      'fleet operation list --state failed',
    ),
  ];
  return blocks.filter((text) => text !== '').join('\n\n');
}

function header(status: FleetStatus, paint: Paint): string {
  return renderFields(
    status,
    [
      {
        title: 'control plane',
        value: (each) => `${each.controlPlane}${each.context === null ? '' : ` (${each.context})`}`,
      },
      { title: 'tenants', value: (each) => each.tenants },
      { title: 'newest release', value: (each) => releaseText(each, paint) },
      { title: 'rollouts', value: rolloutsText },
      { title: 'operations', value: (each) => operationsText(each, paint) },
      {
        title: 'unreachable',
        value: ({ unreachableServers: names }) =>
          names.length === 0 ? 'no server' : paint('bad', names.join(', ')),
      },
    ],
    paint,
  );
}

function releaseText({ release, currentRelease, behind }: FleetStatus, paint: Paint): string | null {
  if (release === null) return null;
  const databases = `${behind} ${behind === 1 ? 'database' : 'databases'} behind`;
  const standing = behind === 0 ? 'no database is behind' : paint('warn', databases);
  const born = currentRelease === release ? '' : `; new tenants begin at ${currentRelease ?? 'none'}`;
  return `${release} (${standing}${born})`;
}

function rolloutsText({ rollouts, plannedRollouts }: FleetStatus): string {
  const states = [...rollouts, ...plannedRollouts].map((rollout) => rollout.state);
  return countsOf(states) || 'none open';
}

function operationsText({ operations, failedOperations }: FleetStatus, paint: Paint): string {
  const open = countsOf(operations.map((operation) => operation.state)) || 'none open';
  const { length } = failedOperations;
  return length === 0 ? open : `${open}, ${paint('bad', `${length} failed in the last 24 h`)}`;
}

/** `2 queued, 1 running` */
function countsOf(states: string[]): string {
  return [...new Set(states)]
    .map((state) => `${states.filter((each) => each === state).length} ${state}`)
    .join(', ');
}

function block<T>(title: string, items: T[], view: View<T>, paint: Paint, all: string): string {
  if (items.length === 0) return '';
  const columns = view.columns.filter((column) => column.wide !== true && column.detail !== true);
  const more = items.length - ROWS;
  const rest = more > 0 ? `\nand ${more} more: ${all}` : '';
  return `${paint('bold', title)}\n${renderTable(items.slice(0, ROWS), columns, paint, undefined)}${rest}`;
}
