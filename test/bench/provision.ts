import { randomUUID } from 'node:crypto';
import { quoteIdent } from '../../platform/pg.ts';
import { eachAtOnce } from '../support/concurrency.ts';
import { startFleet, type Fleet } from '../support/fleet.ts';
import { provisionMany } from './fleet.ts';
import { note, report } from './report.ts';
import { median, quantile, timed } from './statistics.ts';

const TENANTS = 50;
const AT_ONCE = 4;
const RUNS = 3;

/** `POST /tenants` to active, 50 tenants, 4 at once, against bare `CREATE DATABASE … TEMPLATE`, 4 at once. */
export async function benchProvision(): Promise<void> {
  const fleet = await startFleet();
  try {
    // The first tenant makes the golden template; its cost is paid once per release and server.
    await provisionMany(fleet, 'warm-up', 2);
    const ours: number[] = [];
    const floors: number[] = [];
    const each: number[] = [];
    for (let run = 1; run <= RUNS; run += 1) {
      floors.push(await timed(() => bareCopies(fleet)));
      ours.push(
        await timed(async () => each.push(...(await provisionMany(fleet, `run-${run}`, TENANTS, AT_ONCE)))),
      );
    }
    report({
      title: `provision: ${TENANTS} tenants, ${AT_ONCE} at once`,
      unit: 'ms',
      floorName: 'bare CREATE DATABASE … TEMPLATE of the same template, 4 at once',
      ours,
      floors,
      budget: { kind: 'at most', ratio: 1.6 },
    });
    note(
      `one tenant, from POST to active: p50 ${median(each).toFixed(0)} ms, p95 ${quantile(each, 0.95).toFixed(0)} ms`,
    );
  } finally {
    await fleet.stop();
  }
}

async function bareCopies(fleet: Fleet): Promise<void> {
  const { rows } = await fleet.registry.query<{ server_id: string }>(
    'SELECT server_id FROM databases LIMIT 1',
  );
  const serverId = rows[0]?.server_id ?? '';
  const { servers } = fleet.controlPlane.deps;
  const template = await servers.admin(serverId, async (client) => {
    const found = await client.query<{ datname: string }>(
      "SELECT datname FROM pg_database WHERE datname LIKE 'fleet\\_template\\_%' ORDER BY oid DESC LIMIT 1",
    );
    return found.rows[0]?.datname ?? 'template1';
  });
  const names = Array.from({ length: TENANTS }, () => `bare_${randomUUID().replaceAll('-', '')}`);
  await eachAtOnce(names, AT_ONCE, (name) =>
    servers.admin(serverId, (client) =>
      client.query(`CREATE DATABASE ${quoteIdent(name)} TEMPLATE ${quoteIdent(template)}`),
    ),
  );
}
