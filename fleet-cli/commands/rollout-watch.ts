import { Rollout, RolloutSummary, type RolloutState } from '../../contract/rollout.ts';
import { openRollouts } from '../attention.ts';
import { path } from '../client.ts';
import { CliError } from '../errors.ts';
import { EXIT } from '../exit.ts';
import { follow } from '../follow.ts';
import { isWatching, type WatchFlags } from '../globals.ts';
import { causeText, renderRollout, rolloutLine } from '../output/rollout-view.ts';
import { checkId, type Session } from '../session.ts';

/** States in which nothing happens any more without a person; a plan waits for its start. */
const OVER: ReadonlySet<RolloutState> = new Set([
  'planned',
  'succeeded',
  'failed',
  'aborted',
  'halted',
  'undone',
]);

/** Plans younger than the last started rollout: more than these are not looked through. */
const NEWEST_LOOKED_AT = 100;

/** Redrawing more often than every 200 ms flickers and tells no one more. */
const REDRAW_MS = 200;

/** Shows a rollout; with -w until it is over. @throws CliError exit 5 when it was waited for and has not succeeded. */
export async function getRollout(session: Session, name: string, flags: WatchFlags): Promise<void> {
  const id = await rolloutId(session, name);
  if (!isWatching(session, flags)) return showRollout(session, await readRollout(session, id));
  if (!session.out.structured) return requireSuccess(await watchRollout(session, id));
  const rollout = await followRollout(session, id, () => undefined);
  showRollout(session, rollout);
  requireSuccess(rollout);
}

/** Waits for the end. @throws CliError exit 5 unless it has succeeded. */
export async function rolloutStatus(session: Session, name: string): Promise<void> {
  const id = await rolloutId(session, name);
  const rollout = await followRollout(
    session,
    id,
    lineWriter((line) => session.out.note(line)),
  );
  showRollout(session, rollout);
  requireSuccess(rollout);
}

export function requireSuccess(rollout: Rollout): void {
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

async function readRollout(session: Session, id: string): Promise<Rollout> {
  return (await session.client().get(path`/api/v1/rollouts/${id}`, Rollout)).body;
}

export function showRollout({ out }: Session, rollout: Rollout): void {
  out.text(renderRollout(rollout, out.paint), rollout, rollout.id);
}

/** On a terminal the picture is redrawn in place; elsewhere one line for each change, and the picture at the end. */
async function watchRollout(session: Session, id: string): Promise<Rollout> {
  const { stdout } = session.io;
  if (stdout.isTTY !== true || session.out.format === 'name') {
    const print = (line: string) => void stdout.write(`${line}\n`);
    const rollout = await followRollout(session, id, lineWriter(print));
    showRollout(session, rollout);
    return rollout;
  }
  // Loaded here only: no other command draws.
  const { createLogUpdate } = await import('log-update');
  const redraw = createLogUpdate(stdout);
  let drawnAt = 0;
  const draw = (rollout: Rollout) => {
    const now = performance.now();
    if (now - drawnAt < REDRAW_MS && !OVER.has(rollout.state)) return;
    drawnAt = now;
    redraw(renderRollout(rollout, session.out.paint));
  };
  try {
    return await followRollout(session, id, draw);
  } finally {
    redraw.done();
  }
}

export async function followRollout(
  session: Session,
  id: string,
  onUpdate: (rollout: Rollout) => void,
): Promise<Rollout> {
  return await follow(session, {
    path: path`/api/v1/rollouts/${id}`,
    schema: Rollout,
    over: (rollout) => OVER.has(rollout.state),
    onUpdate,
    subject: `rollout ${id}`,
    again: `fleet rollout status ${id}`,
  });
}

/** Writes a line whenever it differs from the one before. */
export function lineWriter(write: (line: string) => void): (rollout: Rollout) => void {
  let last = '';
  return (rollout) => {
    const line = rolloutLine(rollout);
    if (line !== last) write(line);
    last = line;
  };
}
