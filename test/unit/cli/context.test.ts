import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { resolveConnection } from '../../../fleet-cli/connection.ts';
import { writeContexts } from '../../../fleet-cli/contexts.ts';
import { fleet, inFolder } from './harness.ts';

const none = {};

/** A project folder with a context `local`, as `npm start` leaves it, and the user's own with `prod`. */
function bothFiles(folder: string): { project: string; cwd: string } {
  const project = join(folder, 'project');
  const cwd = join(project, 'deep', 'down');
  mkdirSync(cwd, { recursive: true });
  writeContexts(join(project, '.flotilla', 'context.json'), {
    contexts: { local: { url: 'http://127.0.0.1:4600', tokenFile: 'admin.token' } },
    current: 'local',
  });
  writeFileSync(join(project, '.flotilla', 'admin.token'), 'project-token\n');
  writeContexts(join(folder, '.config', 'flotilla', 'contexts.json'), {
    contexts: { prod: { url: 'https://fleet.example.com' } },
    current: 'prod',
  });
  return { project, cwd };
}

describe('the choice of a control plane', () => {
  it("is the project's from any folder below it, and the user's elsewhere", async () => {
    await inFolder((folder, env) => {
      const { cwd } = bothFiles(folder);
      const inside = resolveConnection(none, { env, cwd });
      assert.deepEqual(
        [inside.url, inside.token, inside.context],
        ['http://127.0.0.1:4600', 'project-token', 'local'],
      );
      const outside = resolveConnection(none, { env, cwd: folder });
      assert.deepEqual([outside.url, outside.token], ['https://fleet.example.com', undefined]);
      return Promise.resolve();
    });
  });

  it('follows the flag, then FLEET_URL, then FLEET_CONTEXT', async () => {
    await inFolder((folder, home) => {
      const { cwd } = bothFiles(folder);
      const env = { ...home, FLEET_URL: 'http://env:1/', FLEET_CONTEXT: 'local' };
      assert.equal(resolveConnection({ context: 'prod' }, { env, cwd }).url, 'https://fleet.example.com');
      assert.equal(resolveConnection(none, { env, cwd }).url, 'http://env:1');
      const named = { env: { ...home, FLEET_CONTEXT: 'prod' }, cwd };
      assert.equal(resolveConnection(none, named).url, 'https://fleet.example.com');
      return Promise.resolve();
    });
  });

  it("never sends a context's token to FLEET_URL, and prefers a token of the environment", async () => {
    await inFolder((folder, home) => {
      const { cwd } = bothFiles(folder);
      assert.equal(
        resolveConnection(none, { env: { ...home, FLEET_URL: 'http://env:1' }, cwd }).token,
        undefined,
      );
      assert.equal(
        resolveConnection(none, { env: { ...home, FLEET_TOKEN: 'env-token' }, cwd }).token,
        'env-token',
      );
      writeFileSync(join(folder, 'token'), 'file-token\n');
      const fromFile = { env: { ...home, FLEET_TOKEN_FILE: 'token' }, cwd: folder };
      assert.equal(resolveConnection(none, fromFile).token, 'file-token');
      return Promise.resolve();
    });
  });

  it('says what is missing or wrong, with exit 2', async () => {
    await inFolder(async (folder, env) => {
      const missing = await fleet(['tenant', 'list'], { env, cwd: folder });
      assert.equal(missing.code, 2);
      assert.match(missing.stderr, /npm start/);
      const file = join(folder, '.config', 'flotilla', 'contexts.json');
      mkdirSync(join(folder, '.config', 'flotilla'), { recursive: true });
      writeFileSync(file, '{ nonsense');
      const broken = await fleet(['tenant', 'list'], { env, cwd: folder });
      assert.equal(broken.code, 2);
      assert.ok(broken.stderr.includes(file));
    });
  });
});

describe('fleet context', () => {
  it('adds, lists, shows, chooses and removes, and keeps tokens in 0600 files only', async () => {
    await inFolder(async (folder, env) => {
      const options = { env, cwd: folder };
      const stdin = { ...options, stdin: 'flt_secret\n' };
      const added = await fleet(
        ['context', 'add', 'prod', '--url', 'https://a.example', '--token-stdin'],
        stdin,
      );
      assert.equal(added.code, 0, added.stderr);
      assert.equal((await fleet(['context', 'add', 'test', '--url', 'https://b.example'], options)).code, 0);
      const config = join(folder, '.config', 'flotilla');
      assert.equal(statSync(join(config, 'contexts.json')).mode & 0o777, 0o600);
      assert.equal(statSync(join(config, 'tokens', 'prod.token')).mode & 0o777, 0o600);
      assert.ok(!readFileSync(join(config, 'contexts.json'), 'utf8').includes('flt_secret'));
      assert.equal(resolveConnection(none, options).token, 'flt_secret');

      assert.equal((await fleet(['context', 'use', 'test'], options)).code, 0);
      const list = await fleet(['context', 'list', '-o', 'json'], options);
      const rows = JSON.parse(list.stdout) as { name: string; current: boolean }[];
      assert.deepEqual(
        rows.map((row) => [row.name, row.current]),
        [
          ['prod', false],
          ['test', true],
        ],
      );
      assert.match((await fleet(['context', 'show'], options)).stdout, /https:\/\/b\.example/);

      assert.equal((await fleet(['context', 'remove', 'prod'], options)).code, 0);
      assert.throws(() => statSync(join(config, 'tokens', 'prod.token')));
      assert.equal((await fleet(['context', 'remove', 'prod'], options)).code, 3);
      const unknown = await fleet(['context', 'use', 'prod'], options);
      assert.equal(unknown.code, 3);
      assert.match(unknown.stderr, /no context "prod"\n {2}fix: there are: test/);
    });
  });

  it('shows where the token is kept, wherever it was said', async () => {
    await inFolder(async (folder, env) => {
      const { project, cwd } = bothFiles(folder);
      const kept = join(project, '.flotilla', 'admin.token');
      const shown = async (...argv: string[]) => await fleet(['context', 'show', ...argv], { env, cwd });
      assert.match((await shown()).stdout, new RegExp(`token file +${kept}\n`));
      assert.match((await shown('local')).stdout, new RegExp(`token file +${kept}\n`));
      const { stdout } = await shown('-o', 'json');
      assert.equal((JSON.parse(stdout) as { tokenFile: string }).tokenFile, kept);
      const given = { ...env, FLEET_URL: 'http://env:1', FLEET_TOKEN_FILE: kept };
      assert.match((await fleet(['context', 'show'], { env: given, cwd })).stdout, new RegExp(kept));
    });
  });

  it('changes nothing on a dry run', async () => {
    await inFolder(async (folder, env) => {
      const options = { env, cwd: folder };
      await fleet(['context', 'add', 'a', '--url', 'http://a.example', '--dry-run'], options);
      const list = await fleet(['context', 'list', '-o', 'json'], options);
      assert.equal(list.stdout, '[]\n');
    });
  });

  it('warns that the choice of the project still counts in its folder', async () => {
    await inFolder(async (folder, env) => {
      const { cwd } = bothFiles(folder);
      const used = await fleet(['context', 'use', 'prod'], { env, cwd });
      assert.match(used.stderr, /still chooses local/);
    });
  });
});
