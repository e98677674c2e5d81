import { Rotation, RotationPlan, StartRotation } from '../../contract/rotation.ts';
import { path } from '../client.ts';
import { confirmYes } from '../confirm.ts';
import { CliError } from '../errors.ts';
import { EXIT } from '../exit.ts';
import { follow } from '../follow.ts';
import { counted } from '../output/plural.ts';
import { rotationPlanView, rotationView } from '../output/rotation-view.ts';
import { checkInput, type Session } from '../session.ts';
import { matchOf, type Where } from '../where.ts';

/** What says which tenants, and how. */
export interface RunFlags {
  where?: Where;
  tenant?: string[];
  all?: boolean;
  parallel?: number;
  perServer?: number;
  now?: boolean;
  reason?: string;
}

/** Starts a run and follows it to its end; a dry run says whom it would take. */
export async function rotateMany(session: Session, flags: RunFlags): Promise<void> {
  const { where, tenant, all: _all, ...rest } = flags;
  const body = checkInput(StartRotation, { match: matchOf(where, tenant), ...rest }, 'the rotation');
  if (session.globals.dryRun === true) return await showPlan(session, body);
  if (flags.now === true) {
    await confirmYes(session, 'Close the present logins of all these tenants at once, with their sessions?');
  }
  const { body: run, status } = await session
    .client()
    .send({ method: 'POST', path: '/api/v1/rotations', body }, Rotation);
  if (status === 200) session.out.note('these tenants are being rotated already: this waits for that');
  if (session.globals.wait === false) {
    session.out.one(run, rotationView);
    return session.out.note(`not waiting; look again: fleet rotation get ${run.id}`);
  }
  await waitForRun(session, run.id);
}

async function showPlan(session: Session, body: StartRotation): Promise<void> {
  const request = { method: 'POST' as const, path: '/api/v1/rotations/plan', body };
  const { body: plan } = await session.client().send(request, RotationPlan);
  session.out.list(plan.targets, rotationPlanView);
  const deferred = plan.targets.filter((target) => target.deferred !== null).length;
  session.out.note(
    `dry run: ${counted(plan.total - deferred, 'tenant')} would be rotated, ${deferred} deferred; nothing was changed`,
  );
}

/** Follows a run, and shows it at its end. @throws CliError exit 5 unless it has succeeded */
export async function waitForRun(session: Session, id: string): Promise<void> {
  const ended = await follow(session, {
    path: path`/api/v1/rotations/${id}`,
    schema: Rotation,
    everyMs: READ_MS,
    over: (run) => run.finishedAt !== null,
    onUpdate: progressReporter(session),
    subject: `rotation run ${id}`,
    again: `fleet rotation get ${id} -w`,
  });
  session.out.one(ended, rotationView);
  if (ended.state === 'succeeded') {
    if (ended.counts.deferred > 0)
      session.out.note(`${counted(ended.counts.deferred, 'tenant')} not rotated now`);
    return;
  }
  throw new CliError({
    code: ended.error?.code ?? `rotation_${ended.state}`,
    exitCode: EXIT.unhealthy,
    message: ended.error?.message ?? `rotation run ${id} ended as ${ended.state}`,
    why: `rotation run ${id} ended as ${ended.state}`,
    fix: ended.error?.fix ?? `fleet rotation get ${id}`,
  });
}

/** A run takes minutes: twice a second is often enough. */
const READ_MS = 500;
/** Lines that tell how far it is, over the whole run. */
const PROGRESS_LINES = 10;

/** One line for each tenth of the run, and one for each tenant that is not rotated. */
function progressReporter({ out }: Session): (run: Rotation) => void {
  const told = new Set<string>();
  let tenth = -1;
  return ({ id, total, counts, attention }) => {
    if (tenth === -1) out.note(`rotating ${counted(total, 'tenant')} (run ${id})`);
    for (const { tenant, state, reason, error } of attention) {
      const line = `  ${out.notePaint(state === 'failed' ? 'bad' : 'warn', state)} ${tenant}: ${error?.message ?? reason ?? ''}`;
      if (!told.has(line)) out.note(line);
      told.add(line);
    }
    const ended = counts.rotated + counts.failed + counts.skipped;
    const now = Math.floor((PROGRESS_LINES * ended) / Math.max(1, total));
    if (now > tenth && ended > 0) out.note(`  ${counts.rotated} of ${total} rotated`);
    tenth = Math.max(now, tenth, 0);
  };
}
