// Makes a fresh clone runnable: installs dependencies, compiles dist/, links `fleet` and `flotilla` for npx.
// Runs before every npm script that needs them, so it needs nothing but Node itself, says nothing when there
// is nothing to do, and decides by content, not by time stamps (git sets those as it likes).
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  chmodSync,
  existsSync,
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = resolve(dirname(fileURLToPath(import.meta.url)), '..');
/** The floor of package.json's `engines`: the first Node 20 that loads ES modules by `require`. */
const NODE_FLOOR = [20, 19];
const SOURCES = ['contract', 'platform', 'control-plane', 'tenant-app', 'fleet-cli', 'scripts', 'test'];
const INSTALL_STAMP = join(ROOT, 'node_modules', '.flotilla-lock');
const BUILD_STAMP = join(ROOT, 'dist', '.flotilla-build');
/** Outside node_modules and dist, which an installation or a person may delete meanwhile. */
const LOCK = join(ROOT, '.bootstrap.lock');
/** Ten minutes: an installation over a slow line; whoever waits longer is told who holds the lock. */
const LOCK_WAIT_MS = 600_000;
const LOCK_POLL_MS = 100;
const PROGRAMS = { fleet: 'fleet-cli', flotilla: 'control-plane' };

checkNode();
if (isReady()) process.exit(0);
takeLock();
try {
  if (!isInstalled()) install();
  if (!isBuilt()) build();
  linkPrograms();
} finally {
  rmSync(LOCK, { force: true });
}

function checkNode() {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
  const isEnough = major > NODE_FLOOR[0] || (major === NODE_FLOOR[0] && minor >= NODE_FLOOR[1]);
  if (isEnough) return;
  fail(`Flotilla needs Node.js ${NODE_FLOOR.join('.')} or later; this is ${process.versions.node}.`, [
    'install a newer one, e.g. `nvm install 24`, or from https://nodejs.org/',
  ]);
}

function isReady() {
  return isInstalled() && isBuilt() && Object.keys(PROGRAMS).every(isLinked);
}

function isInstalled() {
  return existsSync(INSTALL_STAMP) && readFileSync(INSTALL_STAMP, 'utf8') === lockHash();
}

function lockHash() {
  return sha256([readFileSync(join(ROOT, 'package-lock.json'))]);
}

function isBuilt() {
  return existsSync(BUILD_STAMP) && readFileSync(BUILD_STAMP, 'utf8') === sourcesHash();
}

function sourcesHash() {
  const files = SOURCES.flatMap((folder) => typeScriptFiles(join(ROOT, folder)));
  const all = [join(ROOT, 'tsconfig.json'), join(ROOT, 'tsconfig.build.json'), ...files.sort()];
  return sha256(all.flatMap((file) => [relative(ROOT, file), readFileSync(file)]));
}

function typeScriptFiles(folder) {
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) return typeScriptFiles(path);
    return entry.name.endsWith('.ts') ? [path] : [];
  });
}

function sha256(parts) {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part).update('\0');
  return hash.digest('hex');
}

function install() {
  if (!isInstalledByNpm()) {
    say('installing dependencies (once, about half a minute)');
    // Development dependencies too: the compiler is one. npm may be told elsewhere to leave them out.
    runNpm(['ci', '--include=dev', '--no-audit', '--no-fund']);
  }
  writeFileSync(INSTALL_STAMP, lockHash());
}

/** Whether `npm install` was run by hand: npm's own record then has every package in the locked version. */
function isInstalledByNpm() {
  const record = join(ROOT, 'node_modules', '.package-lock.json');
  if (!existsSync(record)) return false;
  const installed = JSON.parse(readFileSync(record, 'utf8')).packages;
  const locked = JSON.parse(readFileSync(join(ROOT, 'package-lock.json'), 'utf8')).packages;
  return Object.entries(locked).every(
    ([path, entry]) => path === '' || entry.optional || installed[path]?.version === entry.version,
  );
}

function runNpm(args) {
  const npm = process.env.npm_execpath;
  const command = npm?.endsWith('.js') ? [process.execPath, npm] : ['npm'];
  run([...command, ...args], 'the installation of dependencies failed', [
    'read the message of npm above; behind a proxy or a mirror, set it up in ~/.npmrc',
  ]);
}

function build() {
  say('compiling');
  // Types are not checked here (`npm run typecheck` does): that would triple the time to the first start.
  const compiler = join(ROOT, 'node_modules', 'typescript', 'bin', 'tsc');
  const hash = sourcesHash();
  run([process.execPath, compiler, '-p', 'tsconfig.build.json', '--noCheck'], 'the sources do not compile', [
    'correct what is named above',
  ]);
  writeFileSync(BUILD_STAMP, hash);
}

function linkPrograms() {
  mkdirSync(join(ROOT, 'node_modules', '.bin'), { recursive: true });
  for (const name of Object.keys(PROGRAMS)) {
    if (!existsSync(program(name))) continue;
    chmodSync(program(name), 0o755);
    rmSync(link(name), { force: true });
    symlinkSync(relative(dirname(link(name)), program(name)), link(name));
  }
}

function isLinked(name) {
  try {
    return resolve(dirname(link(name)), readlinkSync(link(name))) === program(name);
  } catch {
    // No link yet, or a plain file in its place.
    return false;
  }
}

function program(name) {
  return join(ROOT, 'dist', PROGRAMS[name], 'main.js');
}

function link(name) {
  return join(ROOT, 'node_modules', '.bin', name);
}

function takeLock() {
  const deadline = Date.now() + LOCK_WAIT_MS;
  while (!tryLock()) {
    const holder = lockHolder();
    if (holder !== undefined && !isAlive(holder)) rmSync(LOCK, { force: true });
    if (Date.now() > deadline) fail(`another bootstrap (process ${holder}) holds ${LOCK}`, ['end it']);
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, LOCK_POLL_MS);
  }
}

function tryLock() {
  // Linked, not written in place: a lock that exists always names its holder, whenever we are killed.
  const own = `${LOCK}.${process.pid}`;
  writeFileSync(own, String(process.pid));
  try {
    linkSync(own, LOCK);
    return true;
  } catch (error) {
    if (error.code === 'EEXIST') return false;
    throw error;
  } finally {
    rmSync(own, { force: true });
  }
}

function lockHolder() {
  try {
    return Number(readFileSync(LOCK, 'utf8')) || undefined;
  } catch {
    // Released this moment.
    return undefined;
  }
}

function isAlive(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error.code === 'EPERM';
  }
}

function run([command, ...args], message, fixes) {
  // Standard output belongs to the program that comes after us (`npm start | …`).
  const result = spawnSync(command, args, { cwd: ROOT, stdio: ['ignore', process.stderr, process.stderr] });
  if (result.status === 0) return;
  rmSync(LOCK, { force: true });
  fail(message, fixes);
}

function say(text) {
  process.stderr.write(`flotilla: ${text} …\n`);
}

function fail(message, fixes) {
  process.stderr.write(`flotilla: ${message}\n${fixes.map((fix) => `  fix: ${fix}\n`).join('')}`);
  process.exit(1);
}
