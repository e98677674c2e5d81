// Programs of Python that only tests and checks need, each in a virtual environment of its own.
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** Half an hour: a first download over a slow line; more means that it hangs. */
const TIMEOUT_MS = 1_800_000;

/**
 * Makes sure that `folder` has these packages (`name==version`, one a line). Does nothing when they are there.
 * @returns undefined, or what kept it from it; then there is no such folder
 */
export function pythonEnvironment(folder, requirements, beforeMaking = () => undefined) {
  const stamp = join(folder, 'requirements.txt');
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === requirements) return undefined;
  beforeMaking();
  rmSync(folder, { recursive: true, force: true });
  const packages = requirements.split(/\s+/).filter((line) => line !== '');
  const problem =
    run('python3', ['-m', 'venv', folder]) ??
    run(join(folder, 'bin', 'pip'), ['install', '--quiet', '--disable-pip-version-check', ...packages]);
  if (problem === undefined) writeFileSync(stamp, requirements);
  else rmSync(folder, { recursive: true, force: true });
  return problem;
}

function run(program, args) {
  const result = spawnSync(program, args, { encoding: 'utf8', timeout: TIMEOUT_MS });
  if (result.status === 0) return undefined;
  return [result.stdout, result.stderr, result.error?.message].filter(Boolean).join('\n').trim();
}
