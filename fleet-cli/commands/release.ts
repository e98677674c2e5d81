import type { Command } from 'commander';
import {
  PublishedRelease,
  PublishRelease,
  Release,
  ReleaseDetail,
  type RenderedMigration,
} from '../../contract/release.ts';
import { change } from '../change.ts';
import { path } from '../client.ts';
import { usageError } from '../errors.ts';
import { parseCount } from '../globals.ts';
import { releaseView } from '../output/fleet-views.ts';
import { allowedText, findingNotes, lintCell } from '../output/lint-view.ts';
import { renderTable } from '../output/table.ts';
import type { View } from '../output/view.ts';
import { renderFolder } from '../release/folder.ts';
import { checkInput, type OpenSession, type Session } from '../session.ts';
import { addReleaseDiff } from './release-diff.ts';
import { lintFolder, parseServers, type LintFlags } from './release-lint.ts';
import { addReleaseWithdraw } from './release-withdraw.ts';

export function addReleaseCommands(program: Command, open: OpenSession): void {
  const release = program.command('release').description('immutable, ordered sets of migrations');
  release
    .command('publish <folder>')
    .description('render a folder of migrations to SQL and publish it; unchanged, it is only shown again')
    .option('--name <name>', 'name of the release (default: year.month.number)')
    .option('--baseline <migration>', 'take the migrations up to this one as they stand: a history of old')
    .option('--reason <text>', 'why, for the audit log; with --baseline')
    .option('--up-to <migration>', 'end the release there, before a contract step that has to wait')
    .option(
      '--allow-out-of-order',
      'take new migrations that sort before published ones; every database runs them behind those',
    )
    .action(async (folder: string, flags: PublishFlags) => await publish(open(), folder, flags));
  release
    .command('lint <folder>')
    .description('look for what a migration must not do to a database in use; asks no server')
    .option('--server-version <range>', 'versions of PostgreSQL to lint for, e.g. 15..18 or 18', parseServers)
    .option('--baseline <migration>', 'pass over the migrations up to this one')
    .option('--detailed-exitcode', 'exit 6 when there are findings, warnings too')
    .action(async (folder: string, flags: LintFlags) => await lintFolder(open(), folder, flags));
  release
    .command('list')
    .description('list releases, newest first; * marks the one new tenants are born at')
    .option('--limit <count>', 'at most this many', parseCount)
    .action(async (flags: { limit?: number }) => await list(open(), flags.limit));
  release
    .command('get <name>')
    .description('show a release and its migrations')
    .action(async (name: string) => await get(open(), name));
  addReleaseDiff(release, open);
  addReleaseWithdraw(release, open);
}

interface PublishFlags {
  name?: string;
  baseline?: string;
  reason?: string;
  upTo?: string;
  allowOutOfOrder?: boolean;
}

async function publish(session: Session, folder: string, flags: PublishFlags): Promise<void> {
  const { name, baseline: migration, reason, upTo, allowOutOfOrder } = flags;
  if ((migration === undefined) !== (reason === undefined)) {
    throw usageError('--baseline and --reason belong together', 'give both, or neither');
  }
  const input = {
    ...(name === undefined ? {} : { name }),
    ...(migration === undefined ? {} : { baseline: { migration, reason } }),
    ...(upTo === undefined ? {} : { upTo }),
    ...(allowOutOfOrder === true ? { allowOutOfOrder } : {}),
    migrations: cutAfter(await renderFolder(session.io.cwd, folder), upTo),
  };
  const body = checkInput(PublishRelease, input, `the release in ${folder}`);
  const reply = await change(session, { method: 'POST', path: '/api/v1/releases', body }, PublishedRelease);
  if (reply === undefined) return;
  session.out.one(reply.body, publishedView);
  for (const line of findingNotes(reply.body.findings)) session.out.note(line);
  if (reply.body.behind > 0)
    session.out.note(`next: fleet rollout plan --release ${reply.body.name}, then fleet rollout rehearse`);
}

function cutAfter(migrations: RenderedMigration[], name: string | undefined): RenderedMigration[] {
  const last = migrations.findIndex((migration) => migration.name === name);
  if (name !== undefined && last < 0) {
    throw usageError(`${name} is no migration of the folder`, 'name one without the ending of its file');
  }
  return name === undefined ? migrations : migrations.slice(0, last + 1);
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
        {
          title: 'migration',
          value: (step) => (step.outOfOrder ? `${step.name} (out of order)` : step.name),
        },
        { title: 'phase', value: phaseCell },
        { title: 'transaction', value: (step) => (step.transactional ? 'on' : 'off') },
        { title: 'reversible', value: (step) => (step.reversible ? 'yes' : 'no') },
        { title: 'lint', value: (step) => lintCell(step.findings) },
        { title: 'checksum', value: (step) => step.checksum.slice(0, CHECKSUM_SHOWN) },
      ],
      paint,
      undefined,
    ) + allowedText(release.steps.flatMap((step) => step.findings)),
};

function phaseCell({ phase, requiresApp }: ReleaseDetail['steps'][number]): string {
  return requiresApp === null ? phase : `${phase} (app >= ${requiresApp})`;
}

/** Twelve hex digits tell migrations apart; `-o json` has all 64. */
const CHECKSUM_SHOWN = 12;
