import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import type { Command } from 'commander';
import { z } from 'zod';
import { Rehearsal, StartRehearsal } from '../../contract/rehearsal.ts';
import { change } from '../change.ts';
import { path } from '../client.ts';
import { CliError, usageError } from '../errors.ts';
import { EXIT } from '../exit.ts';
import { follow } from '../follow.ts';
import { collect, parseCount, parseDuration } from '../globals.ts';
import { counted } from '../output/plural.ts';
import { gapsText, rehearsalLine, renderRehearsal } from '../output/rehearsal-view.ts';
import { checkInput, type OpenSession, type Session } from '../session.ts';
import { PlanAnswer, readSpec, sayNothingToDo, type SpecFlags } from './rollout-actions.ts';
import { rolloutId } from './rollout-watch.ts';

interface RehearseFlags extends SpecFlags {
  file?: string;
  tenant?: string[];
  clone?: string[];
  clones?: number;
  lockTimeout?: number;
  maxHold?: number;
  reason?: string;
  strict?: boolean;
}

export function addRehearse(rollout: Command, open: OpenSession): void {
  rollout
    .command('rehearse [rollout]')
    .description(
      'try a rollout on all its targets, in transactions that are rolled back, and say who would fail; ROLLOUT is the id of a plan, "latest", or a YAML file that is planned first',
    )
    .option('-f, --file <file>', 'plan this YAML file first, and rehearse that plan')
    .option('--release <release>', 'plan this release in one wave, or the release for the file')
    .option('--tenant <tenant>', 'only this tenant; may be repeated', collect)
    .option('--clone <tenant>', 'on a copy of this database instead of in it; may be repeated', collect)
    .option('--clones <count>', 'on copies of so many of the biggest databases without a session', parseCount)
    .option('--lock-timeout <duration>', 'wait no longer for a lock (200ms)', parseDuration)
    .option('--max-hold <duration>', 'end each transaction after this time at the latest (2s)', parseDuration)
    .option('--strict', 'exit 5 also when anything was left untried on any target')
    .option('--reason <text>', 'why, for the audit log')
    .action(async (name: string | undefined, flags: RehearseFlags) => await rehearse(open(), name, flags));
}

/** @throws CliError exit 5 when a target would fail, or nothing could be tried; see `requireTried` */
async function rehearse(session: Session, name: string | undefined, flags: RehearseFlags): Promise<void> {
  const { tenant: tenants, clone, clones, lockTimeout: lockTimeoutMs, maxHold: maxHoldMs, reason } = flags;
  const given = { tenants, clone, clones, lockTimeoutMs, maxHoldMs, reason };
  checkInput(StartRehearsal, given, 'the rehearsal');
  const rolloutOf = await planned(session, name, flags);
  if (rolloutOf === undefined) return;
  const at = path`/api/v1/rollouts/${rolloutOf}/rehearsals`;
  const reply = await change(session, { method: 'POST', path: at, body: given }, Rehearsal);
  if (reply === undefined) return;
  const { id } = reply.body;
  if (session.globals.wait === false) {
    session.out.text(renderRehearsal(reply.body, session.out.paint), reply.body, id);
    session.out.note(`not waiting; look again: fleet api GET ${at}/${id}`);
    return;
  }
  const ended = await followRehearsal(session, `${at}/${id}`, id);
  session.out.text(renderRehearsal(ended, session.out.paint), ended, id);
  const gaps = gapsText(ended);
  if (gaps !== undefined) session.out.note(`not everything was tried: ${gaps}; ${cloneFix(ended)}`);
  requirePassing(ended);
  requireTried(ended, flags.strict === true);
}

function cloneFix({ rolloutId: id }: Rehearsal): string {
  return `on a copy: fleet rollout rehearse ${id} --clone TENANT`;
}

/** The rollout to rehearse: one that is there, or a new plan. Undefined where nothing is left to do. */
async function planned(
  session: Session,
  name: string | undefined,
  flags: RehearseFlags,
): Promise<string | undefined> {
  const isFile = name !== undefined && name !== 'latest' && !z.uuid().safeParse(name).success;
  if (isFile && flags.file === undefined && !existsSync(resolve(session.io.cwd, name))) {
    throw usageError(`"${name}" is neither a rollout nor a file`, 'fleet rollout list');
  }
  const file = flags.file ?? (isFile ? name : undefined);
  if (name !== undefined && !isFile) {
    if (file !== undefined || flags.release !== undefined) {
      throw usageError('both a rollout and what to plan are given', 'pass one of them');
    }
    return await rolloutId(session, name);
  }
  const body = readSpec(session, file, flags);
  const reply = await change(session, { method: 'POST', path: '/api/v1/rollouts/plan', body }, PlanAnswer);
  if (reply === undefined) return undefined;
  if ('nothingToDo' in reply.body) {
    sayNothingToDo(session, reply.body);
    return undefined;
  }
  session.out.note(`planned rollout ${reply.body.id}; to start it: fleet rollout start ${reply.body.id}`);
  return reply.body.id;
}

async function followRehearsal(session: Session, at: string, id: string): Promise<Rehearsal> {
  let last = '';
  return await follow(session, {
    path: at,
    schema: Rehearsal,
    over: ({ finishedAt }) => finishedAt !== null,
    onUpdate: (rehearsal) => {
      const line = rehearsalLine(rehearsal);
      if (line !== last && rehearsal.finishedAt === null) session.out.note(line);
      last = line;
    },
    subject: `rehearsal ${id}`,
    again: `fleet api GET ${at}`,
  });
}

function requirePassing({ id, rolloutId: rollout, state, error, counts, failures }: Rehearsal): void {
  if (state === 'succeeded' && counts.fails === 0) return;
  const [first] = failures;
  throw new CliError({
    code: error?.code ?? 'rehearsal_failed',
    exitCode: EXIT.unhealthy,
    message: error?.message ?? `${counted(counts.fails, 'target')} of rollout ${rollout} would fail`,
    why: first === undefined ? `rehearsal ${id} has ${state}` : `${first.tenants[0] ?? ''}: ${first.message}`,
    fix: error?.fix ?? `mend them, then fleet rollout rehearse ${rollout}`,
  });
}

/**
 * A rehearsal that has tried nothing of what some migration does, on nobody who passed at least a part, is no word for
 * the rollout. The strict want each target to have passed everything.
 * @throws CliError exit 5
 */
function requireTried(rehearsal: Rehearsal, strict: boolean): void {
  const { id, rolloutId: rollout, counts, partly, total, untried } = rehearsal;
  const whole = counts.passes + counts.skipped;
  const isEnough = strict ? whole === total : counts.passes + partly > 0 || untried.length === 0;
  if (isEnough) return;
  throw new CliError({
    code: 'rehearsal_incomplete',
    exitCode: EXIT.unhealthy,
    message: strict
      ? `${counted(total - whole, 'target')} of rollout ${rollout} did not pass everything`
      : `no target of rollout ${rollout} passes anything of it`,
    why: gapsText(rehearsal) ?? `rehearsal ${id} could not look at them`,
    fix: cloneFix(rehearsal),
  });
}
