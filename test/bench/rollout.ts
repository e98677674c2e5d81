import { quoteIdent, withClient, type PgAddress } from '../../platform/pg.ts';
import { eachAtOnce } from '../support/concurrency.ts';
import { startFleet, type Fleet } from '../support/fleet.ts';
import { provisionMany, publishExtra, rolloutToEnd } from './fleet.ts';
import { note, report } from './report.ts';
import { timed } from './statistics.ts';

const DATABASES = 500;
const PARALLEL = 16;
const RUNS = 5;
/** Four at once keep two cores and a disk busy; more only queue. */
const TWINS_AT_ONCE = 4;

/** The migration whose cost is measured; the floor runs the same text. */
export function benchSql(table: string): string {
  return `CREATE TABLE ${table} (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), note text NOT NULL);
CREATE INDEX ${table}_note ON ${table} (note);
ALTER TABLE tasks ADD COLUMN ${table}_flag boolean NOT NULL DEFAULT false;`;
}

/** A 1-migration release over 500 databases with all bookkeeping, against the bare SQL on bare connections. */
export async function benchRollout(): Promise<void> {
  const fleet = await startFleet({ checkAnswers: false });
  try {
    note(`provisioning ${DATABASES} databases …`);
    await provisionMany(fleet, 'bench', DATABASES, 8);
    note('copying one of them for the floor: what it runs would be drift in a tenant …');
    const addresses = await makeTwins(fleet);
    note('connecting to each once: the first session of a new database builds its caches …');
    await bareRollout(addresses, 'SELECT 1;');
    await bareRollout(await databaseAddresses(fleet), 'SELECT 1;');
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

/** As many databases that no tenant has, alike to the last byte; addressed as the server's admin. */
async function makeTwins(fleet: Fleet): Promise<PgAddress[]> {
  const { rows } = await fleet.registry.query<{ serverId: string; name: string }>(
    `SELECT server_id AS "serverId", name FROM databases WHERE state = 'ready' ORDER BY name LIMIT 1`,
  );
  const { serverId, name } = rows[0] ?? { serverId: '', name: '' };
  const { servers } = fleet.controlPlane.deps;
  const twins = Array.from({ length: DATABASES }, (_, index) => `floor_${index}`);
  await eachAtOnce(twins, TWINS_AT_ONCE, (twin) =>
    servers.admin(serverId, (admin) =>
      admin.query(`CREATE DATABASE ${quoteIdent(twin)} TEMPLATE ${quoteIdent(name)}`),
    ),
  );
  return Promise.all(twins.map((twin) => servers.address(serverId, twin)));
}

/** Addresses of the tenants' databases as their server's admin. */
export async function databaseAddresses(fleet: Fleet): Promise<PgAddress[]> {
  const { rows } = await fleet.registry.query<{ server_id: string; name: string }>(
    "SELECT server_id, name FROM databases WHERE state = 'ready' ORDER BY name",
  );
  return Promise.all(rows.map((row) => fleet.controlPlane.deps.servers.address(row.server_id, row.name)));
}
