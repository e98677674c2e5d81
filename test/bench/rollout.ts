import { withClient, type PgAddress } from '../../platform/pg.ts';
import { eachAtOnce } from '../support/concurrency.ts';
import { startFleet, type Fleet } from '../support/fleet.ts';
import { provisionMany, publishExtra, rolloutToEnd } from './fleet.ts';
import { note, report } from './report.ts';
import { timed } from './statistics.ts';

const DATABASES = 500;
const PARALLEL = 16;
const RUNS = 3;

/** The migration whose cost is measured; the floor runs the same text. */
export function benchSql(table: string): string {
  return `CREATE TABLE ${table} (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), note text NOT NULL);
CREATE INDEX ${table}_note ON ${table} (note);
ALTER TABLE tasks ADD COLUMN ${table}_flag boolean NOT NULL DEFAULT false;`;
}

/** A 1-migration release over 500 databases with all bookkeeping, against the bare SQL on bare connections. */
export async function benchRollout(): Promise<void> {
  const fleet = await startFleet();
  try {
    note(`provisioning ${DATABASES} databases …`);
    await provisionMany(fleet, 'bench', DATABASES, 8);
    const addresses = await databaseAddresses(fleet);
    const ours: number[] = [];
    const floors: number[] = [];
    const extra: { name: string; upSql: string }[] = [];
    for (let run = 1; run <= RUNS; run += 1) {
      floors.push(await timed(() => bareRollout(addresses, benchSql(`floor_${run}`))));
      extra.push({ name: `1${run}00_bench`, upSql: benchSql(`bench_${run}`) });
      await publishExtra(fleet, `bench-${run}`, extra);
      ours.push(await timed(() => rolloutToEnd(fleet, `bench-${run}`, PARALLEL)));
    }
    report({
      title: `rollout: 1 migration over ${DATABASES} databases, ${PARALLEL} at once`,
      unit: 'ms',
      floorName: 'the same SQL in a transaction on bare pg connections, 16 at once',
      ours,
      floors,
      budget: { kind: 'at most', ratio: 1.25 },
    });
  } finally {
    await fleet.stop();
  }
}

async function bareRollout(addresses: PgAddress[], sql: string): Promise<void> {
  await eachAtOnce(addresses, PARALLEL, (address) =>
    withClient(address, { applicationName: 'floor' }, (client) => client.query(`BEGIN; ${sql} COMMIT`)),
  );
}

/** Addresses of all databases as the server's admin: the same login as the rollout's own. */
export async function databaseAddresses(fleet: Fleet): Promise<PgAddress[]> {
  const { rows } = await fleet.registry.query<{ server_id: string; name: string }>(
    "SELECT server_id, name FROM databases WHERE state = 'ready' ORDER BY name",
  );
  return Promise.all(rows.map((row) => fleet.controlPlane.deps.servers.address(row.server_id, row.name)));
}
