import type { Command } from 'commander';
import { Server } from '../../contract/server.ts';
import { failedLately, openRollouts } from '../attention.ts';
import { AnyBody } from '../change.ts';
import type { Reply } from '../client.ts';
import { CliError, toCliError } from '../errors.ts';
import { EXIT } from '../exit.ts';
import type { Paint } from '../output/style.ts';
import type { OpenSession, Session } from '../session.ts';
import { checkInstances, checkOperations, checkRollouts, checkServers, type Check } from './doctor-fleet.ts';

/** The floor of package.json's engines. */
const MIN_NODE: readonly [number, number] = [20, 19];

/** Keys and audit entries carry times; beyond 5 s of difference they begin to mislead. */
const MAX_CLOCK_SKEW_MS = 5_000;

export function addDoctorCommand(program: Command, open: OpenSession): void {
  program
    .command('doctor')
    .description(
      'check Node, context, control plane, key, clock, servers, rollouts and operations, and say how to mend what is wrong',
    )
    .action(async () => await doctor(open()));
}

async function doctor(session: Session): Promise<void> {
  const checks = await runChecks(session);
  const text = checks.map((check) => checkLine(check, session.out.paint)).join('\n');
  session.out.text(text, checks, checks.map((check) => `${check.check} ${check.result}`).join('\n'));
  const failed = checks.filter((check) => check.result === 'fail');
  if (failed.length === 0) return;
  throw new CliError({
    code: 'checks_failed',
    exitCode: EXIT.failed,
    message: `failed: ${failed.map((check) => check.check).join(', ')}`,
    fix: failed[0]?.fix,
  });
}

/** In order; what rests on a failed check is left out, as it would only fail for the same reason. */
async function runChecks(session: Session): Promise<Check[]> {
  const checks: Check[] = [checkNode(process.versions.node)];
  const context = await attempt('context', () => Promise.resolve(session.connection()));
  if ('failed' in context) return [...checks, context.failed];
  const { url, source } = context.value;
  checks.push({ check: 'context', result: 'ok', message: `${url} (from ${source})` });
  const alive = await attempt('control plane', () => session.client().get('/healthz', AnyBody));
  if ('failed' in alive) return [...checks, alive.failed];
  checks.push({ check: 'control plane', result: 'ok', message: 'answers' }, checkClock(alive.value));
  const ready = await attempt('readiness', () => session.client().get('/readyz', AnyBody));
  checks.push('failed' in ready ? ready.failed : { check: 'readiness', result: 'ok', message: 'can serve' });
  return [...checks, ...(await checkFleet(session))];
}

/** A key that is refused is the last finding: everything behind it would be refused for the same reason. */
async function checkFleet(session: Session): Promise<Check[]> {
  const client = session.client();
  const servers = await attempt('key', () => client.list('/api/v1/servers', Server));
  if ('failed' in servers) return [servers.failed];
  const rollouts = await attempt('rollouts', () => openRollouts(client));
  const operations = await attempt('operations', () => failedLately(client));
  return [
    { check: 'key', result: 'ok', message: 'accepted' },
    ...checkServers(servers.value),
    ...checkInstances(servers.value),
    ...('failed' in rollouts ? [rollouts.failed] : checkRollouts(rollouts.value)),
    ...('failed' in operations ? [operations.failed] : checkOperations(operations.value)),
  ];
}

/** Whether this Node is one that the programs are tested with. */
export function checkNode(version: string): Check {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  const enough = major > MIN_NODE[0] || (major === MIN_NODE[0] && minor >= MIN_NODE[1]);
  if (enough) return { check: 'node', result: 'ok', message: version };
  const fix = `install Node ${MIN_NODE.join('.')} or newer`;
  return { check: 'node', result: 'fail', message: `${version} is too old`, fix };
}

function checkClock(reply: Reply<unknown>): Check {
  if (reply.date === undefined)
    return { check: 'clock', result: 'warn', message: 'the answer carries no date' };
  const skew = Math.abs(Date.now() - reply.date.getTime());
  if (skew <= MAX_CLOCK_SKEW_MS)
    return { check: 'clock', result: 'ok', message: 'agrees with the control plane' };
  const message = `differs from the control plane by ${Math.round(skew / 1_000)} s`;
  return { check: 'clock', result: 'warn', message, fix: 'switch on time synchronisation (NTP) on both' };
}

async function attempt<T>(check: string, work: () => Promise<T>): Promise<{ value: T } | { failed: Check }> {
  try {
    return { value: await work() };
  } catch (error) {
    const { exitCode, message, fix } = toCliError(error);
    if (exitCode === EXIT.interrupted) throw error;
    return { failed: { check, result: 'fail', message, ...(fix === undefined ? {} : { fix }) } };
  }
}

function checkLine({ check, result, message, fix }: Check, paint: Paint): string {
  const mark = { ok: paint('good', '✔ ok  '), warn: paint('warn', '! warn'), fail: paint('bad', '✖ fail') }[
    result
  ];
  return `${mark}  ${check.padEnd(13)}  ${message}${fix === undefined ? '' : `\n        ${paint('dim', 'fix:')} ${fix}`}`;
}
