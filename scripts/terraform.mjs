// Checks terraform/ as far as this machine can: formatting, validity and tests with mocked providers where
// Terraform and the provider are to be had, checkov where Python can install it. What cannot run is said as
// `skipped: …` and is no failure; test/unit/terraform.test.ts checks the most important everywhere.
import { spawnSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { pythonEnvironment } from './python.mjs';

const ROOT = resolve(dirname(fileURLToPath(import.meta.url)), '..');
const TERRAFORM = join(ROOT, 'terraform');
const CACHE = join(ROOT, 'node_modules', '.cache');
const PROGRAMS = ['control-plane', 'tenant-app', 'fleet-cli'];
const CHECKOV = '3.2.533';
/** Half an hour: a first download of provider or checkov over a slow line; more means that it hangs. */
const TIMEOUT_MS = 1_800_000;
/** The provider has 700 MB: all folders share one copy. */
const ENV = { ...process.env, TF_IN_AUTOMATION: '1', TF_PLUGIN_CACHE_DIR: join(CACHE, 'terraform') };

let failures = 0;
checkTerraform();
checkPolicies();
process.exit(failures === 0 ? 0 : 1);

function checkTerraform() {
  if (!runs('terraform', ['version']))
    return skip('terraform is not installed; nothing was formatted, validated or tested');
  check('formatted', 'terraform', ['fmt', '-check', '-diff', '-recursive', TERRAFORM]);
  const missing = providerProblem();
  if (missing !== undefined)
    return skip(`the provider hashicorp/aws cannot be had here; nothing was validated or tested\n${missing}`);
  for (const folder of rootModules()) {
    const name = relative(ROOT, folder);
    if (!check(`${name}: initialised`, 'terraform', ['init', '-backend=false', '-input=false'], folder))
      continue;
    check(`${name}: valid`, 'terraform', ['validate'], folder);
    if (existsSync(join(folder, 'tests'))) check(`${name}: tested`, 'terraform', ['test'], folder);
  }
}

/** What keeps the provider away, told apart from a mistake in a module by asking for nothing else. */
function providerProblem() {
  mkdirSync(ENV.TF_PLUGIN_CACHE_DIR, { recursive: true });
  const folder = mkdtempSync(join(tmpdir(), 'flotilla-terraform-'));
  try {
    copyFileSync(join(TERRAFORM, 'modules', 'key', 'versions.tf'), join(folder, 'versions.tf'));
    const init = run('terraform', ['init', '-backend=false', '-input=false', '-no-color'], folder);
    return init.status === 0 ? undefined : init.output;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function rootModules() {
  return ['modules', 'examples'].flatMap((kind) =>
    readdirSync(join(TERRAFORM, kind)).map((name) => join(TERRAFORM, kind, name)),
  );
}

function checkPolicies() {
  const folder = join(CACHE, `checkov-${CHECKOV}`);
  const problem = pythonEnvironment(folder, `checkov==${CHECKOV}\n`);
  if (problem !== undefined) return skip(`checkov ${CHECKOV} cannot be installed here\n${problem}`);
  const program = join(folder, 'bin', 'checkov');
  const quiet = ['--compact', '--quiet', '--skip-download'];
  check('checkov: terraform', program, ['--directory', TERRAFORM, '--framework', 'terraform', ...quiet]);
  const images = PROGRAMS.map((name) => join(ROOT, name, 'Dockerfile'));
  check('checkov: images', program, ['--file', ...images, '--framework', 'dockerfile', ...quiet]);
}

function check(what, program, args, folder = ROOT) {
  const { status, output } = run(program, args, folder);
  process.stdout.write(`${status === 0 ? 'ok' : 'FAILED'}: ${what}\n`);
  if (status === 0) return true;
  process.stdout.write(`${output}\n`);
  failures += 1;
  return false;
}

function skip(reason) {
  process.stdout.write(`skipped: ${reason}\n`);
}

function runs(program, args) {
  return run(program, args).status === 0;
}

function run(program, args, folder = ROOT) {
  const env = { ...ENV, LOG_LEVEL: 'CRITICAL' };
  const result = spawnSync(program, args, { cwd: folder, env, encoding: 'utf8', timeout: TIMEOUT_MS });
  const output = [result.stdout, result.stderr, result.error?.message].filter(Boolean).join('\n').trim();
  return { status: result.status, output };
}
