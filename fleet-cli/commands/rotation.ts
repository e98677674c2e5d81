import { Option, type Command } from 'commander';
import {
  Rotation,
  ROTATION_STATES,
  ROTATION_TARGET_STATES,
  RotationTarget,
} from '../../contract/rotation.ts';
import { change } from '../change.ts';
import { path } from '../client.ts';
import { isWatching, parseCount, WATCH_HELP, type WatchFlags } from '../globals.ts';
import { rotationTargetView, rotationView } from '../output/rotation-view.ts';
import { checkId, type OpenSession, type Session } from '../session.ts';
import { waitForRun } from './rotation-run.ts';

interface ListFlags {
  state?: string;
  limit?: number;
}

interface GetFlags extends WatchFlags {
  state?: string;
}

export function addRotationCommands(program: Command, open: OpenSession): void {
  const rotation = program
    .command('rotation')
    .description('rotation runs: many credentials, begun by secret rotate or by policy');
  rotation
    .command('list')
    .description('list rotation runs, newest first')
    .addOption(new Option('--state <state>', 'only runs in this state').choices(ROTATION_STATES))
    .option('--limit <count>', 'at most this many', parseCount)
    .action(async (flags: ListFlags) => await list(open(), flags));
  rotation
    .command('get <id>')
    .description('show how far a run is, and who was not rotated')
    .addOption(
      new Option('--state <state>', 'list its tenants in this state').choices(ROTATION_TARGET_STATES),
    )
    .option('-w, --watch', WATCH_HELP)
    .action(async (id: string, flags: GetFlags) => await get(open(), id, flags));
  rotation
    .command('cancel <id>')
    .description('begin no further tenant; those in work are ended')
    .action(async (id: string) => await cancel(open(), id));
}

async function list({ client, out }: Session, { limit, ...filter }: ListFlags): Promise<void> {
  out.list(await client().list('/api/v1/rotations', Rotation, filter, limit), rotationView);
}

async function get(session: Session, id: string, flags: GetFlags): Promise<void> {
  const at = path`/api/v1/rotations/${checkId(id, 'rotation')}`;
  if (flags.state !== undefined) {
    const targets = await session.client().list(`${at}/targets`, RotationTarget, { state: flags.state });
    return session.out.list(targets, rotationTargetView);
  }
  if (isWatching(session, flags)) return await waitForRun(session, id);
  session.out.one((await session.client().get(at, Rotation)).body, rotationView);
}

async function cancel(session: Session, id: string): Promise<void> {
  const at = path`/api/v1/rotations/${checkId(id, 'rotation')}/cancel`;
  const reply = await change(session, { method: 'POST', path: at }, Rotation);
  if (reply === undefined) return;
  session.out.one(reply.body, rotationView);
  if (reply.body.counts.running > 0) session.out.note('what is in work is ended first');
}
