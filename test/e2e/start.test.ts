import assert from 'node:assert/strict';
import { execFile, execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { createServer, type AddressInfo, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { clusterPid } from '../../control-plane/servers/providers/cluster.ts';
import { projectRoot } from '../../platform/project.ts';
import { isAlive } from '../../platform/processes.ts';
import type { RunFile } from '../../scripts/launcher/run-file.ts';
import type { Tenant } from '../../contract/tenant.ts';
import { callTenant } from '../support/api.ts';
import { startChild, type Child } from '../support/child.ts';
import { until } from '../support/until.ts';

const START = join('scripts', 'start.ts');
/** The promise of `npm start` after the installation. */
const READY_MS = 60_000;
const DEMO_TENANTS = 12;

/** The programs run compiled: their coverage would be counted twice. */
const QUIET = { NODE_V8_COVERAGE: '', FLEET_LOG_LEVEL: 'warn', FLEET_REGISTRY_URL: undefined };

describe('npm start', function () {
  this.timeout(120_000);
  let folder: string;
  let env: NodeJS.ProcessEnv;
  let start: Child | undefined;

  before(() => {
    execFileSync(process.execPath, [join('scripts', 'bootstrap.mjs')], {
      cwd: projectRoot(),
      stdio: 'ignore',
    });
    folder = mkdtempSync(join(tmpdir(), 'flotilla-start-'));
    env = { ...QUIET, FLEET_DATA_DIR: join(folder, 'data'), FLEET_PORT: '0', FLEET_APP_PORT: '0' };
  });
  after(async () => {
    if (start?.process.exitCode === null && start.process.signalCode === null) await start.kill('SIGINT');
    rmSync(folder, { recursive: true, force: true });
  });

  it('makes a fleet with demo tenants out of an empty folder', async () => {
    const started = performance.now();
    start = startChild(START, [], env);
    const running = await untilRunning(start);
    const seconds = (performance.now() - started) / 1000;
    assert.ok(seconds < READY_MS / 1000, `it took ${seconds} s`);
    for (const name of privateFiles(data())) assert.equal(statSync(name).mode & 0o777, 0o600, name);
    assert.equal(statSync(data()).mode & 0o777, 0o700);
    assert.deepEqual(Object.keys(running.apps), ['eu', 'us']);
    assert.equal(running.apps['eu']?.domain, 'eu.localhost');
  });

  it('leaves a context with which the CLI works at once', async () => {
    const all = JSON.parse((await fleet('tenant', 'list', '-o', 'json')).stdout) as Tenant[];
    assert.equal(all.length, DEMO_TENANTS);
    assert.ok(all.every((tenant) => tenant.state === 'active'));
    assert.deepEqual(
      new Set(all.map((tenant) => tenant.tier)),
      new Set(['standard', 'premium', 'enterprise']),
    );
    const created = await fleet('tenant', 'create', 'acme', '--region', 'eu', '--tier', 'premium', '--wait');
    assert.match(created.stdout, /http:\/\/acme\.eu\.localhost:\d+/);
  });

  it('serves a tenant in its own region only', async () => {
    const { apps } = runFile();
    const home = await whoami(apps['eu']?.url);
    assert.equal(home.status, 200);
    const own = JSON.parse((await fleet('tenant', 'get', 'acme', '-o', 'json')).stdout) as Tenant;
    assert.equal((home.body as { database: string }).database, own.database);
    assert.equal((await whoami(apps['us']?.url)).status, 421);
  });

  it('starts a program again that was killed', async () => {
    const { controlPlane } = runFile();
    assert.ok(controlPlane.pid !== undefined);
    process.kill(controlPlane.pid, 'SIGKILL');
    await until('the control plane runs again', async () => {
      return existsSync(join(data(), 'run.json')) && runFile().controlPlane.pid !== controlPlane.pid;
    });
    assert.equal(
      (await fleet('tenant', 'list', '-o', 'name')).stdout.trim().split('\n').length,
      DEMO_TENANTS + 1,
    );
  });

  it('refuses a second start on the same folder', async () => {
    const second = startChild(START, [], env);
    assert.equal(await exitCode(second), 1);
    assert.match(second.stderr(), /already running \(process \d+\)[^]*fix: /);
  });

  it('stops everything on Ctrl-C and keeps the data', async () => {
    const pids = runningPids();
    start?.process.kill('SIGINT');
    assert.equal(await exitCode(start), 0);
    assert.ok(!existsSync(join(data(), 'run.json')));
    await untilGone(pids);
    start = startChild(START, [], env);
    await untilRunning(start);
    assert.equal((await whoami(runFile().apps['eu']?.url)).status, 200);
  });

  it('leaves no program behind when it is killed, and starts again after that', async () => {
    const { controlPlane, apps } = runFile();
    const programs = [controlPlane.pid, ...Object.values(apps).map((app) => app.pid)];
    await start?.kill('SIGKILL');
    await untilGone(programs);
    start = startChild(START, [], env);
    const running = await untilRunning(start);
    assert.equal((await whoami(running.apps['eu']?.url)).status, 200);
    const pids = runningPids();
    start.process.kill('SIGTERM');
    assert.equal(await exitCode(start), 0);
    await untilGone(pids);
  });

  it('names the port that is taken, and the variable that moves it', async () => {
    const taken = await occupyPort();
    const port = (taken.address() as AddressInfo).port;
    const empty = { ...env, FLEET_DATA_DIR: join(folder, 'other'), FLEET_PORT: String(port) };
    const refused = startChild(START, [], empty);
    assert.equal(await exitCode(refused), 1);
    assert.match(refused.stderr(), new RegExp(`port ${port} is in use[^]*FLEET_PORT`));
    assert.deepEqual(readdirSync(join(folder, 'other')), []);
    taken.close();
  });

  const data = (): string => join(folder, 'data');
  const runFile = (): RunFile => JSON.parse(readFileSync(join(data(), 'run.json'), 'utf8')) as RunFile;

  async function untilRunning(child: Child): Promise<RunFile> {
    await until(
      'run.json is written',
      async () => {
        assert.equal(child.process.exitCode, null, child.stderr());
        return existsSync(join(data(), 'run.json')) && isAlive(runFile().controlPlane.pid ?? 0);
      },
      READY_MS,
    );
    return runFile();
  }

  /** All programs and PostgreSQL servers of the fleet. */
  function runningPids(): number[] {
    const { controlPlane, apps } = runFile();
    const clusters = readdirSync(join(data(), 'clusters')).map((name) =>
      clusterPid(join(data(), 'clusters', name)),
    );
    const pids = [controlPlane.pid, ...Object.values(apps).map((app) => app.pid), ...clusters];
    assert.ok(pids.length >= 6 && pids.every((pid) => pid !== undefined && isAlive(pid)));
    return pids.filter((pid) => pid !== undefined);
  }

  function fleet(...args: string[]): Promise<{ stdout: string; stderr: string }> {
    const program = join(projectRoot(), 'node_modules', '.bin', 'fleet');
    return promisify(execFile)(program, args, { env: { ...process.env, ...env } });
  }

  function whoami(app: string | undefined): Promise<{ status: number; body: unknown }> {
    return callTenant(app ?? '', 'acme.eu.localhost', 'GET', '/api/v1/whoami');
  }
});

function privateFiles(data: string): string[] {
  const names = ['run.json', 'context.json', 'admin.token', 'app-eu.token', 'master.key', 'registry.url'];
  return names.map((name) => join(data, name));
}

async function exitCode(child: Child | undefined): Promise<number | null> {
  if (child === undefined) return null;
  await until(
    'the program ends',
    async () => child.process.exitCode !== null || child.process.signalCode !== null,
  );
  return child.process.exitCode;
}

/** PostgreSQL gives up its pid file a moment before its process is gone. */
async function untilGone(pids: (number | undefined)[]): Promise<void> {
  await until('its processes have ended', async () => !pids.some((pid) => pid !== undefined && isAlive(pid)));
}

function occupyPort(): Promise<Server> {
  return new Promise((resolve) => {
    const server = createServer();
    server.listen(0, '127.0.0.1', () => resolve(server));
  });
}
