import { RolloutProgress } from '../../contract/progress.ts';
import type { RolloutState } from '../../contract/rollout.ts';
import { path } from '../client.ts';
import { follow } from '../follow.ts';
import { rolloutFrame } from '../output/rollout-frame.ts';
import { createLines } from '../output/rollout-lines.ts';
import type { Session } from '../session.ts';

/** States in which nothing happens any more without a person; a plan waits for its start. */
const OVER: ReadonlySet<RolloutState> = new Set([
  'planned',
  'succeeded',
  'failed',
  'aborted',
  'halted',
  'undone',
]);

/** Redrawing more often than every 200 ms flickers and tells no one more. */
const REDRAW_MS = 200;
/** Clocks in the picture go on by themselves, each second. */
const TICK_MS = 1_000;
/** What terminals were that do not tell their height. */
const ROWS = 24;

/** Follows it until nothing happens any more by itself. Its progress is read, however many targets it has. */
export async function followRollout(
  session: Session,
  id: string,
  onUpdate: (progress: RolloutProgress) => void,
): Promise<RolloutProgress> {
  const at = path`/api/v1/rollouts/${id}`;
  return await follow(session, {
    path: `${at}/progress`,
    events: `${at}/events`,
    everyMs: REDRAW_MS,
    schema: RolloutProgress,
    over: ({ state }) => OVER.has(state),
    onUpdate,
    subject: `rollout ${id}`,
    again: `fleet rollout status ${id}`,
  });
}

/** Prints lines for what happens; each one once. */
export function lineWriter(write: (line: string) => void): (progress: RolloutProgress) => void {
  const lines = createLines();
  return (progress) => lines(progress).forEach(write);
}

/** The picture, redrawn in place until it is over; the last one stays. */
export async function drawRollout(session: Session, id: string): Promise<RolloutProgress> {
  // Loaded here only: no other command draws.
  const { createLogUpdate } = await import('log-update');
  const { stdout } = session.io;
  const redraw = createLogUpdate(stdout);
  let shown: { progress: RolloutProgress; readAt: number } | undefined;
  let drawnAt = -Infinity;
  const draw = () => {
    if (shown === undefined) return;
    drawnAt = performance.now();
    const now = Date.parse(shown.progress.now) + drawnAt - shown.readAt;
    // The cursor stands on a line of its own below the picture.
    const size = { columns: stdout.columns, rows: (stdout.rows ?? ROWS) - 1 };
    redraw(rolloutFrame(shown.progress, session.out.paint, size, now).join('\n'));
  };
  const ticker = setInterval(() => {
    if (performance.now() - drawnAt >= TICK_MS) draw();
  }, REDRAW_MS);
  try {
    return await followRollout(session, id, (progress) => {
      shown = { progress, readAt: performance.now() };
      draw();
    });
  } finally {
    clearInterval(ticker);
    redraw.done();
  }
}
