import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { setTimeout as wait } from 'node:timers/promises';
import { applyMigrations } from '../../../control-plane/releases/apply.ts';
import { HALF_DONE_SQL } from '../../../control-plane/releases/bookkeeping.ts';
import { startChild } from '../../support/child.ts';
import type { ApplyTask } from './apply-child.ts';
import { makeTestServer, published, read, type TestServer } from './tenant-database.ts';

/** Milliseconds after the start of applying at which the process is killed; spread over its whole run. */
const KILLED_AFTER_MS = [0, 30, 70, 120, 180, 260];

describe('a process killed while it applies', () => {
  let server: TestServer;

  before(async () => {
    server = await makeTestServer();
  });
  after(() => server.drop());

  for (const [round, delay] of KILLED_AFTER_MS.entries()) {
    it(`leaves a database that the next one finishes (after ${delay} ms)`, async () => {
      const { address, ownerRole, superuser } = await server.makeDatabase();
      const pause = 'SELECT pg_sleep(0.03)';
      const migrations = await published(
        `CREATE TABLE log (what text); CREATE TABLE a (id int); ${pause}`,
        `INSERT INTO log VALUES ('2'); ${pause}`,
        {
          upSql: `INSERT INTO log VALUES ('3a'); CREATE INDEX CONCURRENTLY a_id ON a (id);
                  INSERT INTO log VALUES ('3b'); ${pause}; DROP INDEX CONCURRENTLY IF EXISTS none;
                  CREATE UNIQUE INDEX CONCURRENTLY log_what ON log (what)`,
          transactional: false,
        },
        `INSERT INTO log VALUES ('4'); ${pause}`,
      );
      const rollout = randomUUID();
      const request = { ownerRole, migrations, release: 'r', applicationName: `fleet:${rollout}:1` };
      const task: ApplyTask = { address, request };
      const child = startChild('test/integration/releases/apply-child.ts', [], {
        APPLY_TASK: JSON.stringify(task),
      });
      await child.line((text) => text === 'applying');
      await wait(delay);
      await child.kill('SIGKILL');

      const successor = { ...request, applicationName: `fleet:${rollout}:2`, endOlderSessions: true };
      const { schemaVersion } = await applyMigrations(address, successor);
      assert.equal(schemaVersion, '0004_m', `round ${round}`);
      const log = await read<{ what: string }>(superuser, 'SELECT what FROM log ORDER BY what');
      assert.deepEqual(
        log.map(({ what }) => what),
        ['2', '3a', '3b', '4'],
      );
      const names = await read<{ name: string }>(superuser, 'SELECT name FROM pgmigrations ORDER BY id');
      assert.deepEqual(
        names.map(({ name }) => name),
        ['0001_m', '0002_m', '0003_m', '0004_m'],
      );
      const invalid = await read(superuser, 'SELECT 1 FROM pg_index WHERE NOT indisvalid');
      assert.deepEqual(invalid, []);
      assert.deepEqual(await read(superuser, HALF_DONE_SQL), []);
    });
  }
});
