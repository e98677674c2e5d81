// Installs moto's server, AWS as the tests have it, into the git-ignored `.moto/`. Says nothing when it is
// there. Without Python it says so and ends with 0: the tests that need it are skipped then, by name.
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = resolve(dirname(fileURLToPath(import.meta.url)), '..');
const FOLDER = join(ROOT, '.moto');
const REQUIREMENTS = join(ROOT, 'test', 'support', 'moto-requirements.txt');
const STAMP = join(FOLDER, 'requirements.txt');
const wanted = readFileSync(REQUIREMENTS, 'utf8');
/** `npm run test:aws` is of no use without; elsewhere the tests are skipped. */
const isRequired = process.argv.includes('--required');

if (existsSync(STAMP) && readFileSync(STAMP, 'utf8') === wanted) process.exit(0);
say('installing moto (AWS for tests), once');
rmSync(FOLDER, { recursive: true, force: true });
const isDone =
  run('python3', ['-m', 'venv', FOLDER]) &&
  run(join(FOLDER, 'bin', 'pip'), ['install', '--quiet', '--disable-pip-version-check', '-r', REQUIREMENTS]);
if (isDone) writeFileSync(STAMP, wanted);
else {
  rmSync(FOLDER, { recursive: true, force: true });
  say('moto cannot be installed: the tests on AWS are SKIPPED; they need Python 3.10 or later with venv');
  process.exit(isRequired ? 1 : 0);
}

function run(command, args) {
  return spawnSync(command, args, { stdio: ['ignore', process.stderr, process.stderr] }).status === 0;
}

function say(text) {
  process.stderr.write(`flotilla: ${text}\n`);
}
