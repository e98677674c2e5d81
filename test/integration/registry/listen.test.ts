import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { projectRoot } from '../../../platform/project.ts';
import { freshRegistry, type TestRegistry } from '../../support/registry.ts';
import { until } from '../../support/until.ts';

const run = promisify(execFile);

describe('listening on the registry', () => {
  let test: TestRegistry;

  before(async () => {
    test = await freshRegistry();
  });
  after(() => test.drop());

  const listening = async (): Promise<number[]> => {
    const { rows } = await test.registry.query<{ pid: number }>(
      "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN%'",
    );
    return rows.map((row) => row.pid);
  };

  it('hears again after its connection was cut, and nothing after it is closed', async () => {
    const heard: string[] = [];
    const subscription = await test.registry.listen('fleet_test', (payload) => heard.push(payload));
    await test.registry.query('SELECT pg_terminate_backend(pid) FROM unnest($1::int[]) AS pid', [
      await listening(),
    ]);
    await until('it listens again', () =>
      Promise.resolve(heard.filter((payload) => payload === '').length >= 2),
    );
    await test.registry.query("SELECT pg_notify('fleet_test', 'once more')");
    await until('it hears', () => Promise.resolve(heard.includes('once more')));
    await subscription.close();
    await until('its connection is gone', async () => (await listening()).length === 0);
  });

  it('leaves nothing going on when its first connection fails: the process can end', async () => {
    const module = pathToFileURL(join(projectRoot(), 'control-plane/registry/registry.ts')).href;
    const logging = pathToFileURL(join(projectRoot(), 'platform/logging.ts')).href;
    const program = `
      import { openRegistry } from '${module}';
      import { createLogger } from '${logging}';
      const nowhere = openRegistry('postgres://nobody:none@127.0.0.1:1/none', createLogger('test', 'silent'));
      await nowhere.listen('fleet_test', () => undefined).catch(() => process.stdout.write('refused'));
    `;
    const options = { cwd: projectRoot(), timeout: 20_000 };
    const { stdout } = await run(
      process.execPath,
      ['--import', 'tsx', '--input-type=module', '-e', program],
      options,
    );
    assert.equal(stdout, 'refused');
  });
});
