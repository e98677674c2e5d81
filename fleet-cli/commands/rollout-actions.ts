import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { parse, YAMLParseError } from 'yaml';
import { z } from 'zod';
import { Rollout, RolloutSpec, RolloutSummary } from '../../contract/rollout.ts';
import { AnyBody, change } from '../change.ts';
import { path } from '../client.ts';
import { confirmYes } from '../confirm.ts';
import { CliError, usageError } from '../errors.ts';
import { EXIT } from '../exit.ts';
import { renderRolloutPlan, RolloutPlan } from '../output/rollout-plan.ts';
import { rolloutView } from '../output/rollout-view.ts';
import { checkInput, type Session } from '../session.ts';
import {
  followRollout,
  lineWriter,
  readRollout,
  requireSuccess,
  rolloutId,
  showRollout,
} from './rollout-watch.ts';

export interface SpecFlags {
  release?: string;
  detailedExitcode?: boolean;
}

export interface ListFlags {
  state?: string;
  release?: string;
  limit?: number;
}

export async function listRollouts({ client, out }: Session, { limit, ...filter }: ListFlags): Promise<void> {
  out.list(await client().list('/api/v1/rollouts', RolloutSummary, filter, limit), rolloutView);
}

/** Asks for the plan that a start would store. @throws CliError exit 6 with --detailed-exitcode and work to do. */
export async function planRollout(
  session: Session,
  file: string | undefined,
  flags: SpecFlags,
): Promise<void> {
  const body = readSpec(session, file, flags);
  const request = { method: 'POST' as const, path: '/api/v1/rollouts/plan', body };
  const plan = (await session.client().send(request, RolloutPlan)).body;
  session.out.text(renderRolloutPlan(plan, session.out.paint), plan, plan.release);
  if (flags.detailedExitcode !== true || plan.total === 0) return;
  throw new CliError({
    code: 'changes_found',
    exitCode: EXIT.changes,
    message: `${plan.total} targets are behind release ${plan.release}`,
    fix: 'fleet rollout start with the same file',
  });
}

/** Stores the plan and starts it; or starts one that is stored, when an id is given. */
export async function startRollout(
  session: Session,
  file: string | undefined,
  flags: SpecFlags,
): Promise<void> {
  const id =
    file !== undefined && z.uuid().safeParse(file).success ? file : await storePlan(session, file, flags);
  if (id === undefined) return;
  // Nothing was behind, and it has succeeded at once: there is nothing to start.
  if (session.globals.dryRun === true || (await readRollout(session, id)).state === 'planned') {
    const started = await change(
      session,
      { method: 'POST', path: path`/api/v1/rollouts/${id}/start` },
      AnyBody,
    );
    if (started === undefined) return;
  }
  if (session.globals.wait !== true) {
    showRollout(session, await readRollout(session, id));
    session.out.note(`watch it: fleet rollout get ${id} -w`);
    return;
  }
  const rollout = await followRollout(
    session,
    id,
    lineWriter((line) => session.out.note(line)),
  );
  showRollout(session, rollout);
  requireSuccess(rollout);
}

export async function actOnRollout(
  session: Session,
  name: string,
  verb: 'pause' | 'resume' | 'abort' | 'retry',
  flags: { reason?: string; target?: string },
): Promise<void> {
  const id = await rolloutId(session, name);
  if (verb === 'abort') await confirmYes(session, `End rollout ${id} for good?`);
  const request = {
    method: 'POST' as const,
    path: `${path`/api/v1/rollouts/${id}`}/${verb}`,
    body: { ...flags },
  };
  if ((await change(session, request, AnyBody)) === undefined) return;
  if (session.globals.wait !== true || verb === 'pause' || verb === 'abort') {
    showRollout(session, await readRollout(session, id));
    return;
  }
  const rollout = await followRollout(
    session,
    id,
    lineWriter((line) => session.out.note(line)),
  );
  showRollout(session, rollout);
  requireSuccess(rollout);
}

async function storePlan(
  session: Session,
  file: string | undefined,
  flags: SpecFlags,
): Promise<string | undefined> {
  const body = readSpec(session, file, flags);
  const reply = await change(
    session,
    { method: 'POST', path: '/api/v1/rollouts', body },
    Rollout.pick({ id: true }),
  );
  return reply?.body.id;
}

/** The spec of a file, of --release alone (one wave with everything), or of both: the flag names the release. */
function readSpec({ io }: Session, file: string | undefined, { release }: SpecFlags): RolloutSpec {
  if (file === undefined && release === undefined) {
    throw usageError('neither a file nor a release is given', 'pass FILE, or --release RELEASE');
  }
  const content = file === undefined ? {} : parseYaml(resolve(io.cwd, file));
  const spec = typeof content === 'object' && content !== null ? content : { release: content };
  const what = file ?? `release ${release ?? ''}`;
  return checkInput(RolloutSpec, release === undefined ? spec : { ...spec, release }, what);
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
