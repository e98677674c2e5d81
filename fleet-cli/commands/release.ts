import { statSync } from 'node:fs';
import { resolve } from 'node:path';
import type { Command } from 'commander';
import { PublishedRelease, PublishRelease, Release, ReleaseDetail } from '../../contract/release.ts';
import { change } from '../change.ts';
import { path } from '../client.ts';
import { usageError } from '../errors.ts';
import { parseCount } from '../globals.ts';
import { releaseView } from '../output/fleet-views.ts';
import { renderTable } from '../output/table.ts';
import type { View } from '../output/view.ts';
import { checkInput, type OpenSession, type Session } from '../session.ts';

export function addReleaseCommands(program: Command, open: OpenSession): void {
  const release = program.command('release').description('immutable, ordered sets of migrations');
  release
    .command('publish <folder>')
    .description('render a folder of migrations to SQL and publish it; unchanged, it is only shown again')
    .option('--name <name>', 'name of the release (default: year.month.number)')
    .action(async (folder: string, flags: { name?: string }) => await publish(open(), folder, flags.name));
  release
    .command('list')
    .description('list releases, newest first; * marks the one new tenants are born at')
    .option('--limit <count>', 'at most this many', parseCount)
    .action(async (flags: { limit?: number }) => await list(open(), flags.limit));
  release
    .command('get <name>')
    .description('show a release and its migrations')
    .action(async (name: string) => await get(open(), name));
}

async function publish(session: Session, folder: string, name?: string): Promise<void> {
  const from = resolve(session.io.cwd, folder);
  if (statSync(from, { throwIfNoEntry: false })?.isDirectory() !== true) {
    throw usageError(`${from} is no folder`, 'name the folder that holds the migrations');
  }
  // Loaded here only: it brings the migration builder, which no other command needs.
  const { renderMigrations } = await import('../release/render.ts');
  const migrations = await renderMigrations(from);
  const input = { ...(name === undefined ? {} : { name }), migrations };
  const body = checkInput(PublishRelease, input, `the release in ${folder}`);
  const reply = await change(session, { method: 'POST', path: '/api/v1/releases', body }, PublishedRelease);
  if (reply === undefined) return;
  session.out.one(reply.body, publishedView);
  if (reply.body.behind > 0) session.out.note(`next: fleet rollout start --release ${reply.body.name}`);
}

async function list({ client, out }: Session, limit?: number): Promise<void> {
  out.list(await client().list('/api/v1/releases', Release, {}, limit), releaseView);
}

async function get({ client, out }: Session, name: string): Promise<void> {
  out.one((await client().get(path`/api/v1/releases/${name}`, ReleaseDetail)).body, detailView);
}

const publishedView: View<PublishedRelease> = {
  ...releaseView,
  columns: [
    {
      title: 'result',
      value: (release) =>
        release.alreadyPublished ? 'already published; nothing was changed' : 'newly published',
    },
    ...releaseView.columns,
  ],
};

const detailView: View<ReleaseDetail> = {
  ...releaseView,
  below: (release, paint) =>
    renderTable<ReleaseDetail['steps'][number]>(
      release.steps,
      [
        { title: 'migration', value: (step) => step.name },
        { title: 'phase', value: (step) => step.phase },
        { title: 'transaction', value: (step) => (step.transactional ? 'on' : 'off') },
        { title: 'reversible', value: (step) => (step.reversible ? 'yes' : 'no') },
        { title: 'checksum', value: (step) => step.checksum.slice(0, CHECKSUM_SHOWN) },
      ],
      paint,
      undefined,
    ),
};

/** Twelve hex digits tell migrations apart; `-o json` has all 64. */
const CHECKSUM_SHOWN = 12;
