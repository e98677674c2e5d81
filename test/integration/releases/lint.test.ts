import assert from 'node:assert/strict';
import type { PublishRelease } from '../../../contract/release.ts';
import { SYSTEM_CALLER } from '../../../control-plane/access/caller.ts';
import { publishRelease } from '../../../control-plane/releases/publish.ts';
import { listFindings } from '../../../control-plane/releases/store.ts';
import { FleetError, sqlState } from '../../../platform/errors.ts';
import { freshRegistry, type TestRegistry } from '../../support/registry.ts';
import { rendered } from './tenant-database.ts';

const TASKS = 'CREATE TABLE tasks (id bigint PRIMARY KEY, title text)';
const INDEX = { upSql: '\nCREATE INDEX tasks_title ON tasks (title)', upLine: 2 };
const ALLOW = [{ rule: 'require-concurrent-index-creation', reason: 'the table is empty everywhere' }];

let test: TestRegistry;

function publish(request: PublishRelease): Promise<string> {
  return test.registry.transaction((tx) => publishRelease(tx, request, SYSTEM_CALLER, 'request-1'));
}

async function refused(request: PublishRelease): Promise<FleetError> {
  const error: unknown = await publish(request).then(
    () => undefined,
    (reason: unknown) => reason,
  );
  assert(error instanceof FleetError, String(error));
  const { rows } = await test.registry.query('SELECT name FROM migrations');
  assert.equal(rows.length, 0, 'a refused publish changes nothing');
  return error;
}

async function lastEntry(): Promise<{ after: Record<string, unknown>; reason: string | null }> {
  const { rows } = await test.registry.query<{ after: Record<string, unknown>; reason: string | null }>(
    `SELECT after, reason FROM audit_log WHERE action = 'release.publish' ORDER BY seq DESC LIMIT 1`,
  );
  assert(rows[0] !== undefined);
  return rows[0];
}

async function addServer(version: number | null): Promise<void> {
  await test.registry.query(
    `INSERT INTO regions (name, jurisdiction, domain) VALUES ('eu', 'eu', 'eu.localhost') ON CONFLICT DO NOTHING`,
  );
  await test.registry.query(
    `INSERT INTO servers (id, name, region, provider, mode, state, host, port, tls, admin_user, admin_database,
                          max_databases, max_connections, server_version)
     SELECT gen_random_uuid(), 'eu-' || count(*), 'eu', 'postgres', 'shared', 'ready', 'localhost', 5432 + count(*),
            'disable', 'x', 'x', 9, 9, $1 FROM servers`,
    [version],
  );
}

describe('linting what is published', () => {
  beforeEach(async () => {
    test = await freshRegistry();
  });
  afterEach(() => test.drop());

  it('refuses errors with rule, place, lock and remedy, all of them at once', async () => {
    const migrations = rendered(TASKS, INDEX, 'ALTER TABLE tasks DROP COLUMN title');
    const error = await refused({ migrations });
    assert.deepEqual([error.code, error.status], ['lint_failed', 422]);
    assert.deepEqual(
      error.errors?.map(({ path, code }) => [path, code]),
      [
        ['0002_m.sql:3', 'require-concurrent-index-creation'],
        ['0003_m.sql (up):1', 'ban-drop-column'],
      ],
    );
    assert.match(
      error.errors?.[0]?.message ?? '',
      /SHARE blocks writes of tasks .*; instead: build it concurrently/,
    );
    assert.match(error.fix ?? '', /allow=RULE reason/);
  });

  it('knows the tables of what is published already', async () => {
    await publish({ migrations: rendered(TASKS), name: 'one' });
    await assert.rejects(publish({ migrations: rendered(TASKS, INDEX) }), { code: 'lint_failed' });
    await publish({ migrations: rendered(TASKS, 'ALTER TABLE tasks ALTER COLUMN title TYPE varchar') });
  });

  it('publishes what is allowed, audits it with its reason, and keeps all findings for good', async () => {
    const style = 'CREATE TABLE notes (body json)';
    await publish({ migrations: rendered(TASKS, { ...INDEX, allow: ALLOW }, style) });
    const findings = await listFindings(test.registry, 0, 3);
    assert.deepEqual(
      findings.map(({ migration, rule, allowed }) => [migration, rule, allowed]),
      [
        ['0002_m', 'require-concurrent-index-creation', 'the table is empty everywhere'],
        ['0003_m', 'prefer-jsonb', null],
      ],
    );
    assert.deepEqual((await lastEntry()).after.lint, {
      warnings: 1,
      allowed: [
        {
          rule: 'require-concurrent-index-creation',
          location: '0002_m.sql:3',
          reason: 'the table is empty everywhere',
        },
      ],
    });
    for (const change of [
      "UPDATE migration_findings SET findings = '[]'",
      'DELETE FROM migration_findings',
    ]) {
      await assert.rejects(test.registry.query(change), (error: unknown) => sqlState(error) === 'FL003');
    }
  });

  it('takes a history up to its baseline as it stands, and lints what comes behind', async () => {
    const baseline = { migration: '0002_m', reason: 'ran in the old product for years' };
    const drop = 'ALTER TABLE tasks DROP COLUMN title';
    const error = await refused({ migrations: rendered(TASKS, INDEX, drop), baseline });
    assert.deepEqual(
      error.errors?.map(({ code }) => code),
      ['ban-drop-column'],
    );
    await publish({ migrations: rendered(TASKS, INDEX), baseline });
    const entry = await lastEntry();
    assert.deepEqual([entry.after.baseline, entry.reason], [baseline, baseline.reason]);
    const [finding] = await listFindings(test.registry, 0, 2);
    assert.equal(finding?.allowed, baseline.reason);
  });

  it('refuses a baseline that is not there, and to allow what is no rule or cannot be allowed', async () => {
    const migrations = rendered(TASKS);
    const missing = await refused({ migrations, baseline: { migration: '0009_x', reason: 'x' } });
    assert.deepEqual([missing.code, missing.status], ['baseline_not_found', 422]);
    for (const rule of ['no-such-rule', 'syntax-error']) {
      const allow = [{ rule, reason: 'x' }];
      const error = await refused({ migrations: rendered({ upSql: TASKS, allow }) });
      assert.equal(error.code, 'migration_invalid');
      assert.equal(error.errors?.[0]?.path, '0001_m.sql');
    }
  });

  it('lints for the versions of the fleet’s servers', async () => {
    const migrations = rendered(TASKS, 'ALTER TABLE tasks ADD CONSTRAINT t NOT NULL title NOT VALID');
    const rules = async () => (await refused({ migrations })).errors?.map(({ code }) => code);
    assert.deepEqual(await rules(), ['newer-syntax'], 'without a server: all that are supported');
    await addServer(180_004);
    await addServer(150_018);
    assert.deepEqual(await rules(), ['newer-syntax']);
    await test.registry.query(`UPDATE servers SET state = 'retired' WHERE server_version < 160000`);
    await addServer(null);
    assert.deepEqual(await rules(), ['newer-syntax'], 'of one server nobody knows the version');
    await test.registry.query(`UPDATE servers SET server_version = 180000 WHERE server_version IS NULL`);
    await publish({ migrations });
  });
});
