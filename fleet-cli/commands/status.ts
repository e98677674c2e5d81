import type { Command } from 'commander';
import { Release } from '../../contract/release.ts';
import { Region, Server } from '../../contract/server.ts';
import {
  failedLately,
  openOperations,
  openRollouts,
  plannedRollouts,
  unreachableServers,
} from '../attention.ts';
import { renderStatus, type FleetStatus } from '../output/status-view.ts';
import type { OpenSession, Session } from '../session.ts';

export function addStatusCommand(program: Command, open: OpenSession): void {
  program
    .command('status')
    .description('the fleet at a glance: regions, servers, newest release, open rollouts and operations')
    .action(async () => await status(open()));
}

async function status(session: Session): Promise<void> {
  const found = await readStatus(session);
  session.out.text(renderStatus(found, session.out.paint), found, found.controlPlane);
}

async function readStatus(session: Session): Promise<FleetStatus> {
  const client = session.client();
  const { url, context } = session.connection();
  const [regions, servers, releases, rollouts, planned, operations, failed] = await Promise.all([
    client.list('/api/v1/regions', Region),
    client.list('/api/v1/servers', Server),
    client.list('/api/v1/releases', Release),
    openRollouts(client),
    plannedRollouts(client),
    openOperations(client),
    failedLately(client),
  ]);
  return {
    controlPlane: url,
    context,
    tenants: regions.reduce((sum, region) => sum + region.tenants, 0),
    release: releases[0]?.name ?? null,
    currentRelease: releases.find((each) => each.current)?.name ?? null,
    behind: releases[0]?.behind ?? 0,
    regions,
    servers,
    unreachableServers: unreachableServers(servers).map((server) => server.name),
    rollouts,
    plannedRollouts: planned,
    operations,
    failedOperations: failed,
  };
}
