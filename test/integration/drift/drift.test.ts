import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { SYSTEM_CALLER } from '../../../control-plane/access/caller.ts';
import { acceptDrift } from '../../../control-plane/drift/accept.ts';
import { findCheck, isCheckDue, type DriftCheckRecord } from '../../../control-plane/drift/check-store.ts';
import { checkDrift } from '../../../control-plane/drift/check.ts';
import { checkWhenDue, createDriftDriver } from '../../../control-plane/drift/driver.ts';
import { compareFingerprint } from '../../../control-plane/drift/drift.ts';
import { openReferences } from '../../../control-plane/drift/reference.ts';
import { SCRATCH_DATABASE } from '../../../control-plane/drift/scratch.ts';
import { startDriftCheck } from '../../../control-plane/drift/start.ts';
import {
  acceptedDifferences,
  knownDrift,
  listDrift,
  type DriftRow,
} from '../../../control-plane/drift/store.ts';
import { applyMigrations } from '../../../control-plane/releases/apply.ts';
import { MIGRATION_LOCK } from '../../../control-plane/releases/bookkeeping.ts';
import { publishRelease } from '../../../control-plane/releases/publish.ts';
import { readSchema } from '../../../control-plane/releases/schema.ts';
import { listMigrations, setCurrentRelease } from '../../../control-plane/releases/store.ts';
import { planRollout, startRollout } from '../../../control-plane/rollouts/verbs/start.ts';
import { RolloutSpec } from '../../../contract/rollout.ts';
import { FleetError } from '../../../platform/errors.ts';
import { startResumeTenant } from '../../../control-plane/tenants/resume.ts';
import { startSuspendTenant } from '../../../control-plane/tenants/suspend.ts';
import { getOperation } from '../../../control-plane/operations/store.ts';
import { setSchemaVersions } from '../../../control-plane/servers/database-store.ts';
import { databaseNames } from '../../../control-plane/servers/database.ts';
import { withClient, type PgAddress } from '../../../platform/pg.ts';
import { clusters } from '../../support/clusters.ts';
import { driveOnce } from '../../support/drive.ts';
import { rendered, run } from '../releases/tenant-database.ts';
import { startWorld, type World } from '../tenants/world.ts';

const ASKER = { caller: SYSTEM_CALLER, requestId: 'test' };

const MIGRATIONS = rendered(
  `CREATE TABLE notes (id serial PRIMARY KEY, body text NOT NULL);
   CREATE TYPE mood AS ENUM ('good', 'bad')`,
  `CREATE SCHEMA reports;
   CREATE TABLE reports.days (day date PRIMARY KEY, n bigint GENERATED ALWAYS AS IDENTITY);
   CREATE FUNCTION reports.today() RETURNS date LANGUAGE sql AS 'SELECT current_date';
   CREATE FUNCTION note_count() RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM notes';
   GRANT EXECUTE ON FUNCTION note_count() TO PUBLIC`,
  'ALTER TABLE notes ADD COLUMN done boolean NOT NULL DEFAULT false',
);

describe('drift', () => {
  let world: World;
  const databases = new Map<string, { id: string; address: PgAddress; tenantId: string }>();

  before(async () => {
    world = await startWorld();
    await publish(1, 'r1');
    await add('early');
    await publish(3, 'r3');
    await world.registry.transaction((tx) => setCurrentRelease(tx, 'r3'));
    await add('late');
    await add('us-late', 'us');
  });
  after(() => world.stop());

  async function publish(count: number, name: string): Promise<void> {
    const migrations = MIGRATIONS.slice(0, count);
    await world.registry.transaction((tx) => publishRelease(tx, { name, migrations }, SYSTEM_CALLER, 'test'));
  }

  async function add(slug: string, region: 'eu' | 'us' = 'eu'): Promise<void> {
    const { id: tenantId } = await world.create(slug, { region });
    const { rows } = await world.registry.query<{ id: string; name: string }>(
      "SELECT id, name FROM databases WHERE tenant_id = $1 AND state = 'ready'",
      [tenantId],
    );
    const [{ id, name } = { id: '', name: '' }] = rows;
    databases.set(slug, { id, tenantId, address: { ...clusters()[region].superuser, database: name } });
  }

  function place(slug: string) {
    const found = databases.get(slug);
    if (found === undefined) throw new Error(`no tenant ${slug}`);
    return found;
  }

  /** What somebody does at a psql prompt. */
  async function tamper(slug: string, sql: string): Promise<void> {
    const { id, address } = place(slug);
    await run(address, `SET ROLE ${databaseNames(id).ownerRole}; ${sql}`);
  }

  async function migrate(slug: string): Promise<void> {
    const { id } = place(slug);
    const { rows } = await world.registry.query<{ server: string; name: string; ownerRole: string }>(
      'SELECT server_id AS server, name, owner_role AS "ownerRole" FROM databases WHERE id = $1',
      [id],
    );
    const [database] = rows;
    if (database === undefined) throw new Error(`no database of ${slug}`);
    const { schemaVersion } = await applyMigrations(
      await world.deps.servers.migrator(database.server, {
        database: database.name,
        ownerRole: database.ownerRole,
      }),
      {
        ...{ ownerRole: database.ownerRole, release: 'r3', applicationName: 'test' },
        migrations: await listMigrations(world.registry),
      },
    );
    await setSchemaVersions(world.registry, [{ databaseId: id, schemaVersion }]);
  }

  async function check(match: object = {}): Promise<DriftCheckRecord> {
    const id = randomUUID();
    await world.registry.transaction((tx) =>
      startDriftCheck(tx, { id, match, caller: SYSTEM_CALLER, requestId: 'test' }),
    );
    await driveOnce(world.registry, createDriftDriver(world.deps), id);
    const record = await findCheck(world.registry, id);
    if (record === undefined) throw new Error('the check is gone');
    return record;
  }

  const list = (): Promise<DriftRow[]> => listDrift(world.registry, { regions: null, limit: 100 });

  async function scratchDatabases(): Promise<number> {
    const { rowCount } = await withClient(clusters().eu.superuser, { applicationName: 'test' }, (client) =>
      client.query('SELECT 1 FROM pg_database WHERE datname = $1', [SCRATCH_DATABASE]),
    );
    return rowCount ?? 0;
  }

  it('is none in what was born from a template, and in what was migrated step by step', async () => {
    const first = await check();
    assert.deepEqual(first.counts, { same: 3, drifted: 0, accepted: 0, busy: 0, unread: 0 });
    assert.equal(first.state, 'succeeded');
    await migrate('early');
    const second = await check();
    assert.deepEqual({ ...second.counts, list: await list() }, { ...first.counts, list: [] });
  });

  it('makes each reference once, and leaves no scratch database', async () => {
    const { rows } = await world.registry.query<{ made: number }>(
      'SELECT count(*)::int AS made FROM schema_references',
    );
    assert.equal(rows[0]?.made, 2);
    assert.equal(await scratchDatabases(), 0);
    await run(clusters().eu.superuser, `CREATE DATABASE ${SCRATCH_DATABASE} OWNER fleet_admin`);
    await check({ tenants: ['late'] });
    assert.equal(await scratchDatabases(), 0, 'what a killed worker left is still there');
  });

  it('can be asked for in a session that is there already, before DDL', async () => {
    const { id, address } = place('late');
    const names = databaseNames(id);
    const roles = { ...names, logins: [names.loginA, names.loginB] };
    const references = await openReferences(world.deps);
    const { rows } = await world.registry.query<{ id: string }>("SELECT id FROM servers WHERE region = 'eu'");
    const expected = await references.at(3, { serverId: rows[0]?.id ?? '', serverMajor: 18 });
    const accepted = await acceptedDifferences(world.registry, [id]);
    await withClient(address, { applicationName: 'test' }, async (client) => {
      await client.query('BEGIN');
      const found = await readSchema(client, roles);
      await client.query('COMMIT');
      assert.equal(compareFingerprint(found, expected, accepted.get(id) ?? null).verdict, 'same');
    });
  });

  it('is found, shown as a diff with its first sighting, and told to rollouts', async () => {
    await tamper('late', 'ALTER TABLE notes ADD COLUMN extra text; CREATE INDEX mine ON notes (body)');
    const found = await check({ region: 'eu' });
    assert.deepEqual(found.counts, { same: 1, drifted: 1, accepted: 0, busy: 0, unread: 0 });
    const [drift, ...others] = await list();
    assert.equal(others.length, 0);
    assert.equal(drift?.tenant, 'late');
    assert.equal(drift.state, 'drifted');
    assert.deepEqual(drift.changes, [
      '~ notes: + column extra text',
      '~ notes: + index mine USING btree (body)',
    ]);
    assert.match(drift.diff, /^--- expected\n\+\+\+ found\n@@ .* @@.*\n[^]*^\+ {2}column extra text$/m);
    await tamper('late', 'ALTER TABLE notes DROP COLUMN extra');
    const { drifted, unread } = await checkDrift(
      world.deps,
      [...databases.values()].map(({ id }) => id),
    );
    assert.deepEqual([drifted.map(({ tenant }) => tenant), unread], [['late'], []]);
    const [later] = await list();
    assert.deepEqual(later?.changes, ['~ notes: + index mine USING btree (body)']);
    assert.deepEqual(later.since, drift.since);
    const known = await knownDrift(world.registry, [place('late').id, place('early').id]);
    assert.deepEqual(
      known.map(({ tenant }) => tenant),
      ['late'],
    );
  });

  it('is accepted by name, as it was seen, until it changes or ends', async () => {
    const [drift] = await list();
    const tenant = { id: place('late').tenantId, slug: 'late', region: 'eu' };
    const accept = (fingerprint?: string) =>
      world.registry.transaction((tx) =>
        acceptDrift(tx, tenant, { reason: 'fast list', fingerprint, ...ASKER }),
      );
    await assert.rejects(accept('another'), { code: 'drift_changed', status: 409 });
    const accepted = await accept(drift?.fingerprint);
    assert.equal(accepted.state, 'accepted');
    assert.equal((await check()).counts.accepted, 1);
    assert.deepEqual(await knownDrift(world.registry, [place('late').id]), []);
    const { rows } = await world.registry.query(
      "SELECT actor, reason FROM audit_log WHERE action = 'drift.accept'",
    );
    assert.deepEqual(rows, [{ actor: 'system', reason: 'fast list' }]);

    await tamper('late', 'CREATE TABLE more (id int)');
    assert.equal((await check()).counts.drifted, 1);
    await tamper('late', 'DROP TABLE more');
    assert.equal((await check()).counts.accepted, 1);
    await tamper('late', 'DROP INDEX mine');
    assert.equal((await check()).counts.same, 3);
    await assert.rejects(accept(), { code: 'no_drift', status: 409 });
    await tamper('late', 'CREATE INDEX mine ON notes (body)');
    assert.equal((await check()).counts.drifted, 1, 'what was mended is not accepted for ever');
  });

  it('stays accepted when the database goes on to the next version', async () => {
    await accept('late');
    MIGRATIONS.push(...rendered('', '', '', 'CREATE TABLE later (id int)').slice(3));
    await publish(4, 'r4');
    await migrate('late');
    assert.deepEqual((await check({ tenants: ['late'] })).counts.accepted, 1);
    assert.equal((await list())[0]?.schemaVersion, '0004_m');
    await tamper('late', 'DROP INDEX mine');
  });

  async function accept(slug: string): Promise<void> {
    const tenant = { id: place(slug).tenantId, slug, region: 'eu' };
    await world.registry.transaction((tx) => acceptDrift(tx, tenant, { reason: 'known', ...ASKER }));
  }

  it('includes a record of migrations that is not the published one', async () => {
    await tamper('late', "INSERT INTO pgmigrations (name, run_on) VALUES ('by_hand', now())");
    assert.equal((await check({ tenants: ['late'] })).counts.drifted, 1);
    assert.deepEqual((await list())[0]?.changes, ['+ migration by_hand was never published']);
    await tamper('late', "DELETE FROM pgmigrations WHERE name = 'by_hand'");
    const { address } = place('late');
    await run(address, "UPDATE fleet.migrations SET checksum = 'edited' WHERE name = '0004_m'");
    assert.equal((await check({ tenants: ['late'] })).counts.drifted, 1);
    const published = (await listMigrations(world.registry)).at(-1)?.checksum;
    const edited = `migration 0004_m was applied with checksum edited, published with ${published}`;
    assert.deepEqual((await list())[0]?.changes, [`+ ${edited}`]);
    const known = await knownDrift(world.registry, [place('late').id]);
    assert.deepEqual(known[0]?.changes, [`+ ${edited}`], 'a start names the tenant and both checksums');
    await run(address, `UPDATE fleet.migrations SET checksum = '${published}' WHERE name = '0004_m'`);
    assert.equal((await check({ tenants: ['late'] })).counts.same, 1);
  });

  it('is not looked for while somebody migrates, and says what it could not read', async () => {
    await withClient(place('late').address, { applicationName: 'test' }, async (client) => {
      await client.query('SELECT pg_advisory_lock($1)', [MIGRATION_LOCK]);
      assert.equal((await check({ tenants: ['late'] })).counts.busy, 1);
    });
    await tamper('late', 'ALTER TABLE pgmigrations RENAME TO gone');
    const { counts, unread, state } = await check({ tenants: ['late', 'early'] });
    assert.deepEqual(counts, { same: 1, drifted: 0, accepted: 0, busy: 0, unread: 1 });
    assert.deepEqual(
      [state, unread[0]?.tenant, unread[0]?.error.code],
      ['succeeded', 'late', 'sqlstate_42P01'],
    );
    await tamper('late', 'ALTER TABLE gone RENAME TO pgmigrations');
  });

  it('begins again where the worker of a check died', async () => {
    const id = randomUUID();
    await world.registry.transaction((tx) =>
      startDriftCheck(tx, { id, match: {}, caller: SYSTEM_CALLER, requestId: null }),
    );
    await world.registry.query(
      `UPDATE drift_checks SET state = 'running', started_at = now(), counts = '{"same": 2}' WHERE id = $1`,
      [id],
    );
    await driveOnce(world.registry, createDriftDriver(world.deps), id);
    const record = await findCheck(world.registry, id);
    assert.deepEqual([record?.state, record?.counts.same], ['succeeded', 3]);
  });

  it('keeps a rollout from starting before it is mended or accepted', async () => {
    await tamper('early', 'CREATE TABLE planted (id int)');
    await check({ tenants: ['early'] });
    const start = () =>
      world.registry.transaction(async (tx) => {
        const id = await planRollout(tx, RolloutSpec.parse({ release: 'r4' }), ASKER);
        await startRollout(tx, id, ASKER);
        throw new Error('started');
      });
    await assert.rejects(start(), (error: unknown) => {
      assert(error instanceof FleetError, String(error));
      assert.deepEqual(
        [error.code, error.errors],
        ['schema_drifted', [{ path: 'early', message: '+ table planted (1 column)' }]],
      );
      return true;
    });
    await tamper('early', 'DROP TABLE planted');
    await check({ tenants: ['early'] });
    await assert.rejects(start(), /^Error: started$/);
  });

  it('keeps a suspended tenant from catching up before it is mended or accepted', async () => {
    const { tenantId, id } = place('early');
    const drive = async (start: typeof startSuspendTenant) => {
      const operation = await world.request((request) => start(request.tx, tenantId, request));
      await world.drive(operation);
      return getOperation(world.registry, operation);
    };
    assert.equal((await drive(startSuspendTenant))?.state, 'succeeded');
    await world.registry.transaction((tx) => setCurrentRelease(tx, 'r4'));
    await tamper('early', 'CREATE TABLE planted (id int)');
    const refused = await drive(startResumeTenant);
    assert.deepEqual([refused?.state, refused?.error?.code], ['failed', 'schema_drifted']);
    assert.equal((await knownDrift(world.registry, [id])).length, 1);
    await accept('early');
    assert.equal((await drive(startResumeTenant))?.state, 'succeeded');
    assert.equal((await check({ tenants: ['early'] })).counts.accepted, 1);
  });

  it('is looked for again when the last look at the whole fleet is too old', async () => {
    const HOUR_MS = 3_600_000;
    assert.equal(await isCheckDue(world.registry, HOUR_MS), false);
    await world.registry.query("UPDATE drift_checks SET created_at = now() - interval '2 hours'");
    assert.equal(await isCheckDue(world.registry, HOUR_MS), false, 'the fleet is younger than that');
    await world.registry.query("UPDATE databases SET created_at = now() - interval '3 hours'");
    const before = await openChecks();
    await checkWhenDue(world.deps, HOUR_MS);
    await checkWhenDue(world.deps, HOUR_MS);
    assert.equal((await openChecks()) - before, 1);
  });

  async function openChecks(): Promise<number> {
    const { rows } = await world.registry.query<{ open: number }>(
      "SELECT count(*)::int AS open FROM drift_checks WHERE state = 'queued'",
    );
    return rows[0]?.open ?? 0;
  }
});
