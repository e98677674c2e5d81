// Installs moto's server, AWS as the tests have it, into the git-ignored `.moto/`. Says nothing when it is
// there. Without Python it says so and ends with 0: the tests that need it are skipped then, by name.
import { readFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { pythonEnvironment } from './python.mjs';

const ROOT = resolve(dirname(fileURLToPath(import.meta.url)), '..');
const requirements = readFileSync(join(ROOT, 'test', 'support', 'moto-requirements.txt'), 'utf8');
/** `npm run test:aws` is of no use without; elsewhere the tests are skipped. */
const isRequired = process.argv.includes('--required');

const problem = pythonEnvironment(join(ROOT, '.moto'), requirements, () =>
  say('installing moto (AWS for tests), once'),
);
if (problem !== undefined) {
  say(
    `moto cannot be installed: the tests on AWS are SKIPPED; they need Python 3.10 or later with venv\n${problem}`,
  );
  process.exit(isRequired ? 1 : 0);
}

function say(text) {
  process.stderr.write(`flotilla: ${text}\n`);
}
