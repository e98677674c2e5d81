import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { parse, YAMLParseError } from 'yaml';
import { z } from 'zod';
import { RolloutStanding } from '../../contract/progress.ts';
import { NothingToPlan, Rollout, RolloutSpec, RolloutSummary } from '../../contract/rollout.ts';
import { change } from '../change.ts';
import { path } from '../client.ts';
import { confirmYes } from '../confirm.ts';
import { CliError, usageError } from '../errors.ts';
import { EXIT } from '../exit.ts';
import { nowhereText } from '../output/rehearsal-view.ts';
import { rolloutView } from '../output/rollout-view.ts';
import { checkInput, type Session } from '../session.ts';
import { rolloutId, showRollout, waitForRollout } from './rollout-watch.ts';

export const PlanAnswer = z.union([NothingToPlan, Rollout]);

export interface SpecFlags {
  release?: string;
  detailedExitcode?: boolean;
}

export interface StartFlags extends SpecFlags {
  queue?: boolean;
  supersede?: string | undefined;
  despiteRehearsal?: boolean;
  reason?: string;
}

export interface ListFlags {
  state?: string;
  release?: string;
  limit?: number;
}

export async function listRollouts({ client, out }: Session, { limit, ...filter }: ListFlags): Promise<void> {
  out.list(await client().list('/api/v1/rollouts', RolloutSummary, filter, limit), rolloutView);
}

export function sayNothingToDo({ out }: Session, answer: NothingToPlan): void {
  const { release } = answer;
  out.text(`nothing to do: no database is behind release ${release}; no plan was stored`, answer, '');
  if (!answer.current) out.note(`to let new tenants begin at it: fleet rollout start --release ${release}`);
}

/**
 * Plans and starts in one request; or starts a plan that is stored, when its id is given.
 * @throws CliError exit 6 with --detailed-exitcode when databases are behind, so that something was started
 */
export async function startRollout(
  session: Session,
  file: string | undefined,
  flags: StartFlags,
): Promise<void> {
  const named = await withIds(session, file, flags);
  const reply = await change(session, startRequest(session, named.file, named.flags), RolloutStanding);
  if (reply === undefined) return;
  const untried = reply.body.rehearsal && nowhereText(reply.body.rehearsal);
  if (typeof untried === 'string') session.out.note(`${untried} in its rehearsal`);
  await showOrFollow(session, reply.body, session.globals.wait === true);
  if (flags.detailedExitcode !== true || reply.body.total === 0) return;
  throw new CliError({
    code: 'changes_found',
    exitCode: EXIT.changes,
    message: `${reply.body.total} targets are behind release ${reply.body.release}`,
    fix: `fleet rollout status ${reply.body.id}`,
  });
}

/** `latest` stands for an id, both for the plan to start and for the rollout whose place it takes. */
async function withIds(session: Session, file: string | undefined, flags: StartFlags) {
  const idOf = async (name: string | undefined) =>
    name === 'latest' ? await rolloutId(session, name) : name;
  return { file: await idOf(file), flags: { ...flags, supersede: await idOf(flags.supersede) } };
}

function startRequest(session: Session, file: string | undefined, flags: StartFlags) {
  const { queue, supersede, despiteRehearsal, reason } = flags;
  if (file !== undefined && z.uuid().safeParse(file).success) {
    return {
      method: 'POST' as const,
      path: path`/api/v1/rollouts/${file}/start`,
      body: { queue, supersede, despiteRehearsal, reason },
    };
  }
  return {
    method: 'POST' as const,
    path: '/api/v1/rollouts',
    query: { queue: flagText(queue), supersede, despiteRehearsal: flagText(despiteRehearsal) },
    body: readSpec(session, file, flags),
  };
}

/** A flag that is not given is not sent. */
function flagText(flag: boolean | undefined): string | undefined {
  return flag === true ? 'true' : undefined;
}

/** Starts a rollout in the place of one that is halted, paused or aborted. */
export async function supersedeRollout(
  session: Session,
  name: string,
  file: string | undefined,
  flags: SpecFlags,
): Promise<void> {
  const id = await rolloutId(session, name);
  await confirmYes(session, `End rollout ${id} for good, and start another in its place?`);
  await startRollout(session, file, { ...flags, supersede: id });
}

/** Shows where it stands; with `wait`, when it is over. @throws CliError exit 5 unless it has then succeeded */
export async function showOrFollow(session: Session, rollout: RolloutStanding, wait: boolean): Promise<void> {
  if (wait) return waitForRollout(session, rollout.id);
  await showRollout(session, rollout.id);
  if (rollout.state === 'running') session.out.note(`watch it: fleet rollout get ${rollout.id} -w`);
  if (rollout.state === 'awaiting_approval')
    session.out.note(`it waits for somebody else: fleet rollout approve ${rollout.id}`);
  if (rollout.queuedAt !== null) session.out.note('it waits in the queue until the active rollout is over');
}

/** The spec of a file, of --release alone (one wave with everything), or of both: the flag names the release. */
export function readSpec({ io }: Session, file: string | undefined, { release }: SpecFlags): RolloutSpec {
  if (file === undefined && release === undefined) {
    throw usageError('neither a file nor a release is given', 'pass FILE, or --release RELEASE');
  }
  const content = file === undefined ? {} : parseYaml(resolve(io.cwd, file));
  if (typeof content !== 'object' || content === null || Array.isArray(content)) {
    throw usageError(
      `the file ${file ?? ''} holds no rollout`,
      'write "release: RELEASE" and its waves; for a release without a file: --release RELEASE',
    );
  }
  const what = file ?? `release ${release ?? ''}`;
  return checkInput(RolloutSpec, release === undefined ? content : { ...content, release }, what);
}

function parseYaml(file: string): unknown {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch {
    throw usageError(
      `the file ${file} cannot be read`,
      'check its name; to take a release in one wave: --release RELEASE',
    );
  }
  try {
    return parse(text);
  } catch (error) {
    if (!(error instanceof YAMLParseError)) throw error;
    const line = error.linePos?.[0].line;
    const at = `${file}${line === undefined ? '' : `:${line}`}`;
    const errors = [{ path: at, message: error.message.split('\n')[0] ?? error.code }];
    throw usageError(`the file ${file} is not valid YAML`, 'correct the line named', errors);
  }
}
