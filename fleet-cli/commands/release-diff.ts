import type { Command } from 'commander';
import { ReleaseDiff } from '../../contract/schema-diff.ts';
import { path } from '../client.ts';
import { CliError } from '../errors.ts';
import { EXIT } from '../exit.ts';
import { renderReleaseDiff } from '../output/schema-diff-view.ts';
import type { OpenSession, Session } from '../session.ts';

export function addReleaseDiff(release: Command, open: OpenSession): void {
  release
    .command('diff <release> [other]')
    .description(
      'show what RELEASE brought, against the release before; or what changes from RELEASE to OTHER',
    )
    .option('--detailed-exitcode', 'exit 6 when they differ')
    .action(
      async (name: string, other: string | undefined, flags: DiffFlags) =>
        await diff(open(), { name: other ?? name, from: other === undefined ? undefined : name }, flags),
    );
}

interface DiffFlags {
  detailedExitcode?: boolean;
}

/** @throws CliError exit 6 with --detailed-exitcode when a migration lies between them */
async function diff(
  session: Session,
  { name, from }: { name: string; from: string | undefined },
  flags: DiffFlags,
): Promise<void> {
  const at = path`/api/v1/releases/${name}/diff`;
  const { body } = await session.client().get(at, ReleaseDiff, { from });
  session.out.text(renderReleaseDiff(body, session.out.paint), body, body.release);
  const count = body.migrations.length;
  if (flags.detailedExitcode !== true || count === 0) return;
  throw new CliError({
    code: 'changes_found',
    exitCode: EXIT.changes,
    message: `${count} ${count === 1 ? 'migration lies' : 'migrations lie'} between them`,
    fix: `fleet rollout plan --release ${name}`,
  });
}
