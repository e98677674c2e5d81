import type { Command } from 'commander';
import { ReleaseDetail, WithdrawnRelease, WithdrawRelease } from '../../contract/release.ts';
import { change } from '../change.ts';
import { path } from '../client.ts';
import { confirmName } from '../confirm.ts';
import type { View } from '../output/view.ts';
import { checkInput, type OpenSession, type Session } from '../session.ts';

export function addReleaseWithdraw(release: Command, open: OpenSession): void {
  release
    .command('withdraw <release>')
    .description(
      'take the newest release back, as long as no database has it; its migrations may be published anew; wants --confirm RELEASE',
    )
    .requiredOption('--reason <text>', 'why, for the audit log and for whoever asks for the release')
    .action(async (name: string, flags: { reason: string }) => await withdraw(open(), name, flags.reason));
}

/** Takes a release out. It is looked at first: a wrong name fails before a question is asked. */
async function withdraw(session: Session, given: string, reason: string): Promise<void> {
  const body = checkInput(WithdrawRelease, { reason }, `the withdrawal of ${given}`);
  const { name } = (await session.client().get(path`/api/v1/releases/${given}`, ReleaseDetail)).body;
  await confirmName(session, name, `withdraw release ${name}`);
  const at = path`/api/v1/releases/${name}/withdraw`;
  const reply = await change(session, { method: 'POST', path: at, body }, WithdrawnRelease);
  if (reply === undefined) return;
  session.out.one(reply.body, withdrawnView);
  session.out.note('next: mend the folder, and fleet release publish FOLDER');
}

const withdrawnView: View<WithdrawnRelease> = {
  noun: 'withdrawn releases',
  name: (release) => release.name,
  columns: [
    { title: 'release', value: (release) => release.name },
    { title: 'migrations', value: (release) => release.migrations.join(', ') },
    { title: 'withdrawn by', value: (release) => release.withdrawnBy },
    { title: 'at', value: (release) => release.withdrawnAt },
    { title: 'reason', value: (release) => release.reason },
    { title: 'checksum', value: (release) => release.checksum, wide: true },
  ],
};
