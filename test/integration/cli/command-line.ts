import assert from 'node:assert/strict';
import type { Fleet } from '../../support/fleet.ts';
import { fleet as run, type CliOptions, type CliRun } from '../../unit/cli/harness.ts';

/** The command line against one fleet, as its admin: `cli` runs a line, `json` answers what it prints. */
export function commandLine(server: () => Fleet) {
  const env = (): NodeJS.ProcessEnv => ({ FLEET_URL: server().url, FLEET_TOKEN: server().adminToken });
  const cli = (line: string, options: CliOptions = {}): Promise<CliRun> =>
    run(line.split(' '), { env: env(), ...options });
  const json = async <T>(line: string): Promise<T> => {
    const { code, stdout, stderr } = await cli(`${line} -o json`);
    assert.equal(code, 0, stderr);
    return JSON.parse(stdout) as T;
  };
  return { cli, json, env };
}
