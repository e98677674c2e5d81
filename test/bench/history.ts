import { resolve } from 'node:path';
import type { Rollout } from '../../contract/rollout.ts';
import { readSchema } from '../../control-plane/releases/schema.ts';
import { schemaDiff } from '../../control-plane/releases/schema-diff.ts';
import { renderMigrations } from '../../fleet-cli/release/render.ts';
import { quoteIdent, withClient } from '../../platform/pg.ts';
import { startFleet, type Fleet } from '../support/fleet.ts';
import { provisionMany } from './fleet.ts';
import { note } from './report.ts';

const TENANTS = 50;
const PARALLEL = 8;

type Rendered = Awaited<ReturnType<typeof renderMigrations>>;

interface DatabaseNames {
  name: string;
  server_id: string;
  owner_role: string;
  rw_role: string;
}

/**
 * A whole history of migrations of another project over 50 tenants, against a plain run of the same files, one after
 * the other, by a bare connection on a copy of a tenant's database. Every fingerprint must be that of the plain run.
 * @param folder of the history; taken as a baseline, for it was not written for a fleet
 */
export async function benchHistory(folder: string): Promise<void> {
  const migrations = await renderMigrations(resolve(folder));
  const fleet = await startFleet({ publish: false });
  try {
    await publish(fleet, 'first', migrations.slice(0, 1));
    note(`provisioning ${TENANTS} databases …`);
    await provisionMany(fleet, 'history', TENANTS);
    const databases = await listDatabases(fleet);
    const plain = await plainRun(fleet, databases[0], migrations.slice(1));
    await publish(fleet, 'whole', migrations);
    const started = performance.now();
    await rollOut(fleet);
    note(
      `${migrations.length} migrations over ${TENANTS} tenants in ${((performance.now() - started) / 1000).toFixed(1)} s`,
    );
    for (const database of databases) await compare(fleet, database, plain);
    note(`all ${databases.length} schemas are that of the plain run: ${plain.fingerprint}`);
  } finally {
    await fleet.stop();
  }
}

async function publish(fleet: Fleet, name: string, migrations: Rendered): Promise<void> {
  const baseline = { migration: migrations.at(-1)?.name ?? '', reason: 'the history of another project' };
  await fleet.admin.ok('POST', '/api/v1/releases', { name, migrations, baseline });
}

async function listDatabases(fleet: Fleet): Promise<[DatabaseNames, ...DatabaseNames[]]> {
  const { rows } = await fleet.registry.query<DatabaseNames>(
    "SELECT name, server_id, owner_role, rw_role FROM databases WHERE state = 'ready' ORDER BY name",
  );
  const [first, ...rest] = rows;
  if (first === undefined) throw new Error('the fleet has no databases');
  return [first, ...rest];
}

/** On a copy made before the rollout, as the database's own owner. */
async function plainRun(fleet: Fleet, of: DatabaseNames, migrations: Rendered) {
  const copy = `${of.name}_plain`;
  await fleet.controlPlane.deps.servers.admin(of.server_id, (admin) =>
    admin.query(`CREATE DATABASE ${quoteIdent(copy)} TEMPLATE ${quoteIdent(of.name)}`),
  );
  await fleet.controlPlane.deps.servers.admin(of.server_id, (admin) =>
    // A copy has none of the rights on the database itself.
    admin.query(`GRANT CREATE, TEMPORARY ON DATABASE ${quoteIdent(copy)} TO ${quoteIdent(of.owner_role)}`),
  );
  const address = await fleet.controlPlane.deps.servers.address(of.server_id, copy);
  await withClient(address, { applicationName: 'plain' }, async (client) => {
    await client.query(
      `SET ROLE ${quoteIdent(of.owner_role)}; SET search_path = public; SET TimeZone = 'UTC'`,
    );
    for (const { name, upSql } of migrations) {
      await client.query(upSql).catch((error: unknown) => {
        throw new Error(`the plain run fails at ${name}`, { cause: error });
      });
    }
  });
  return schemaOf(fleet, { ...of, name: copy });
}

async function rollOut(fleet: Fleet): Promise<void> {
  const { id } = await fleet.admin.ok<Rollout>('POST', '/api/v1/rollouts', {
    release: 'whole',
    waves: [
      { name: 'canary', count: 1 },
      { name: 'rest', parallel: PARALLEL, perServer: PARALLEL },
    ],
  });
  const response = await fetch(`${fleet.url}/api/v1/rollouts/${id}/events`, {
    headers: { authorization: `Bearer ${fleet.adminToken}`, accept: 'text/event-stream' },
  });
  await response.text();
  const rollout = await fleet.admin.ok<Rollout>('GET', `/api/v1/rollouts/${id}`);
  if (rollout.state === 'succeeded' && rollout.counts.verified === TENANTS) return;
  const failed = rollout.targets.find(({ error }) => error !== null);
  throw new Error(
    `the rollout ${rollout.state}: ${JSON.stringify({ cause: rollout.cause, failed }, null, 2)}`,
  );
}

async function compare(
  fleet: Fleet,
  database: DatabaseNames,
  plain: Awaited<ReturnType<typeof schemaOf>>,
): Promise<void> {
  const found = await schemaOf(fleet, database);
  if (found.fingerprint === plain.fingerprint) return;
  const { diff } = schemaDiff(plain.description, found.description, {
    before: 'plain',
    after: database.name,
  });
  throw new Error(`${database.name} is not what the plain run makes:\n${diff}`);
}

/** The tables are compared, not who logs in: a copy has no logins of its own. */
async function schemaOf(fleet: Fleet, { name, server_id, owner_role, rw_role }: DatabaseNames) {
  const address = await fleet.controlPlane.deps.servers.address(server_id, name);
  const roles = { ownerRole: owner_role, rwRole: rw_role, logins: [] };
  return withClient(address, { applicationName: 'compare' }, (client) => readSchema(client, roles));
}
