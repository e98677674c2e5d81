import type { Command } from 'commander';
import { Operation } from '../../contract/operation.ts';
import { Release } from '../../contract/release.ts';
import { RolloutSummary } from '../../contract/rollout.ts';
import { Region, Server } from '../../contract/server.ts';
import { operationView } from '../output/operation-view.ts';
import { regionView, serverView } from '../output/fleet-views.ts';
import { rolloutView } from '../output/rollout-view.ts';
import type { Paint } from '../output/style.ts';
import { renderFields, renderTable } from '../output/table.ts';
import type { View } from '../output/view.ts';
import type { OpenSession, Session } from '../session.ts';

/** The newest of each kind are enough for an overview; the lists have the rest. */
const SHOWN = 5;

interface FleetStatus {
  controlPlane: string;
  context: string | null;
  tenants: number;
  release: string | null;
  behind: number;
  regions: Region[];
  servers: Server[];
  rollouts: RolloutSummary[];
  operations: Operation[];
}

export function addStatusCommand(program: Command, open: OpenSession): void {
  program
    .command('status')
    .description('the fleet at a glance: regions, servers, release, open rollouts and operations')
    .action(async () => await status(open()));
}

async function status(session: Session): Promise<void> {
  const found = await readStatus(session);
  session.out.text(statusText(found, session.out.paint), found, found.controlPlane);
}

async function readStatus(session: Session): Promise<FleetStatus> {
  const client = session.client();
  const { url, context } = session.connection();
  const [regions, servers, releases, rollouts, running, failed] = await Promise.all([
    client.list('/api/v1/regions', Region),
    client.list('/api/v1/servers', Server),
    client.list('/api/v1/releases', Release),
    client.list('/api/v1/rollouts', RolloutSummary, {}, SHOWN),
    client.list('/api/v1/operations', Operation, { state: 'running' }, SHOWN),
    client.list('/api/v1/operations', Operation, { state: 'failed' }, SHOWN),
  ]);
  const release = releases.find((each) => each.current);
  return {
    controlPlane: url,
    context,
    tenants: regions.reduce((sum, region) => sum + region.tenants, 0),
    release: release?.name ?? null,
    behind: release?.behind ?? 0,
    regions,
    servers,
    rollouts: rollouts.filter((rollout) => rollout.finishedAt === null),
    operations: [...running, ...failed],
  };
}

function statusText(status: FleetStatus, paint: Paint): string {
  const header = renderFields(
    status,
    [
      {
        title: 'control plane',
        value: (each) => `${each.controlPlane}${each.context === null ? '' : ` (${each.context})`}`,
      },
      { title: 'tenants', value: (each) => each.tenants },
      {
        title: 'release',
        value: (each) => each.release && `${each.release} (${each.behind} databases behind)`,
      },
    ],
    paint,
  );
  const blocks = [
    block('regions', status.regions, regionView, paint),
    block('servers', status.servers, serverView, paint),
    block('open rollouts', status.rollouts, rolloutView, paint),
    block('running and failed operations', status.operations, operationView, paint),
  ];
  return [header, ...blocks.filter((text) => text !== '')].join('\n\n');
}

function block<T>(title: string, items: T[], view: View<T>, paint: Paint): string {
  if (items.length === 0) return '';
  const columns = view.columns.filter((column) => column.wide !== true && column.detail !== true);
  return `${paint('bold', title)}\n${renderTable(items, columns, paint, undefined)}`;
}
