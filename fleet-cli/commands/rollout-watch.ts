import { RolloutProgress } from '../../contract/progress.ts';
import { Rollout, RolloutSummary, RolloutTarget, type TargetState } from '../../contract/rollout.ts';
import { openRollouts } from '../attention.ts';
import { path } from '../client.ts';
import { CliError, usageError } from '../errors.ts';
import { EXIT } from '../exit.ts';
import { isWatching, type WatchFlags } from '../globals.ts';
import { rolloutFrame } from '../output/rollout-frame.ts';
import { causeText } from '../output/rollout-lines.ts';
import { renderRolloutPlan } from '../output/rollout-plan.ts';
import { targetView } from '../output/target-view.ts';
import { checkId, type Session } from '../session.ts';
import { drawRollout, followRollout, lineWriter } from './rollout-live.ts';

/** Plans younger than the last started rollout: more than these are not looked through. */
const NEWEST_LOOKED_AT = 100;

export interface GetFlags extends WatchFlags {
  /** One tenant's target, whole. */
  target?: string;
  /** Only targets in this state. */
  state?: TargetState;
}

/** Shows a rollout; with -w until it is over. @throws CliError exit 5 when it was waited for and has not succeeded. */
export async function getRollout(session: Session, name: string, flags: GetFlags): Promise<void> {
  const id = await rolloutId(session, name);
  if (flags.target !== undefined || flags.state !== undefined) return showTargets(session, id, flags);
  if (!isWatching(session, flags)) return showRollout(session, id);
  const { stdout } = session.io;
  const { structured, format } = session.out;
  if (structured || format === 'name') {
    const ended = await followRollout(session, id, () => undefined);
    await showRollout(session, id);
    return requireSuccess(ended);
  }
  const print = (line: string) => void stdout.write(`${line}\n`);
  if (stdout.isTTY !== true) return requireSuccess(await followRollout(session, id, lineWriter(print)));
  requireSuccess(await drawRollout(session, id));
}

/** Waits for the end, and shows it. @throws CliError exit 5 unless it has succeeded, 1 after --timeout. */
export async function rolloutStatus(session: Session, name: string): Promise<void> {
  const id = await rolloutId(session, name);
  await waitForRollout(session, id);
}

/** The same of one that was just started: messages while it lasts, the picture or the document at its end. */
export async function waitForRollout(session: Session, id: string): Promise<void> {
  const ended = await followRollout(
    session,
    id,
    lineWriter((line) => session.out.note(line)),
  );
  await showRollout(session, id);
  requireSuccess(ended);
}

export function requireSuccess(rollout: RolloutSummary): void {
  if (rollout.state === 'succeeded') return;
  if (rollout.state === 'planned') {
    throw new CliError({
      code: 'rollout_planned',
      exitCode: EXIT.unhealthy,
      message: `rollout ${rollout.id} of release ${rollout.release} is only planned; nothing runs`,
      fix: `fleet rollout start ${rollout.id}`,
    });
  }
  const halted = rollout.state === 'halted';
  throw new CliError({
    code: `rollout_${rollout.state}`,
    exitCode: EXIT.unhealthy,
    message: `rollout ${rollout.id} of release ${rollout.release} ended as ${rollout.state}`,
    why: causeText(rollout),
    fix:
      rollout.cause?.fix ?? (halted ? `mend the cause, then fleet rollout retry ${rollout.id}` : undefined),
  });
}

/** The id behind a name: `latest` is the newest open rollout, else the newest started one, else the newest plan. */
export async function rolloutId(session: Session, name: string): Promise<string> {
  if (name !== 'latest') return checkId(name, 'rollout');
  const [open] = await openRollouts(session.client());
  if (open !== undefined) return open.id;
  const newest = await session.client().list('/api/v1/rollouts', RolloutSummary, {}, NEWEST_LOOKED_AT);
  const found = newest.find((rollout) => rollout.startedAt !== null) ?? newest[0];
  if (found !== undefined) return found.id;
  throw new CliError({
    code: 'rollout_not_found',
    exitCode: EXIT.conflict,
    message: 'there is no rollout yet',
    fix: 'fleet rollout start --release RELEASE',
  });
}

/** The picture of now; of a plan what it would do; with `wide` every target; in `json` and `yaml` all that is known. */
export async function showRollout({ client, out }: Session, id: string): Promise<void> {
  const at = path`/api/v1/rollouts/${id}`;
  if (out.format === 'name') return out.text(id, { id }, id);
  const { body: progress } = await client().get(`${at}/progress`, RolloutProgress);
  // Whoever is to approve a plan has to see it, not how far it is.
  const isPlan = progress.startedAt === null && progress.finishedAt === null;
  const plain = out.format === 'table' && !isPlan;
  const rollout = plain ? undefined : (await client().get(at, Rollout)).body;
  const size = { columns: undefined, rows: undefined };
  const picture = rolloutFrame(progress, out.paint, size, Date.parse(progress.now)).join('\n');
  if (rollout === undefined) return out.text(picture, progress, id);
  const shown = isPlan ? renderRolloutPlan(rollout, out.paint) : picture;
  const wide = out.format === 'wide';
  out.text(wide ? `${shown}\n\n` : shown, { ...progress, ...rollout }, id);
  if (wide) out.list(rollout.targets, targetView);
}

async function showTargets(session: Session, id: string, { target, state, watch }: GetFlags): Promise<void> {
  const { client, out } = session;
  if (watch === true) throw usageError('single targets cannot be watched', 'leave --watch out');
  const at = path`/api/v1/rollouts/${id}/targets`;
  if (target === undefined) return out.list(await client().list(at, RolloutTarget, { state }), targetView);
  if (state !== undefined) throw usageError('give --target or --state, not both');
  out.one((await client().get(at + path`/${target}`, RolloutTarget)).body, targetView);
}
