import { Option, type Command } from 'commander';
import { OPERATION_STATES, Operation } from '../../contract/operation.ts';
import { AnyBody, change, showAtEnd, waitForOperation } from '../change.ts';
import { path } from '../client.ts';
import { isWatching, parseCount, WATCH_HELP, type WatchFlags } from '../globals.ts';
import { operationView } from '../output/operation-view.ts';
import { checkId, type OpenSession, type Session } from '../session.ts';

interface ListFlags {
  state?: string;
  kind?: string;
  subject?: string;
  limit?: number;
}

export function addOperationCommands(program: Command, open: OpenSession): void {
  const operation = program.command('operation').description('durable long-running work');
  operation
    .command('list')
    .description('list operations, newest first')
    .addOption(new Option('--state <state>', 'only operations in this state').choices(OPERATION_STATES))
    .option('--kind <kind>', 'only this kind, e.g. tenant.create')
    .option('--subject <subject>', 'only of this subject, e.g. tenant:<id>')
    .option('--limit <count>', 'at most this many', parseCount)
    .action(async (flags: ListFlags) => await list(open(), flags));
  operation
    .command('get <id>')
    .description('show an operation and its steps')
    .option('-w, --watch', WATCH_HELP)
    .action(async (id: string, flags: WatchFlags) => await get(open(), id, flags));
  operation
    .command('retry <id>')
    .description(
      'try a failed operation again: from its first step where it was undone, else from where it stopped',
    )
    .action(async (id: string) => await act(open(), id, 'retry'));
  operation
    .command('cancel <id>')
    .description('stop an operation after the step in hand and undo what it did')
    .action(async (id: string) => await act(open(), id, 'cancel'));
}

async function list({ client, out }: Session, { limit, ...filter }: ListFlags): Promise<void> {
  out.list(await client().list('/api/v1/operations', Operation, filter, limit), operationView);
}

async function get(session: Session, id: string, flags: WatchFlags): Promise<void> {
  checkId(id, 'operation');
  const show = async () => {
    const { body } = await session.client().get(path`/api/v1/operations/${id}`, Operation);
    session.out.one(body, operationView);
  };
  if (!isWatching(session, flags)) return await show();
  await showAtEnd(async () => await waitForOperation(session, id), show);
}

async function act(session: Session, id: string, verb: 'retry' | 'cancel'): Promise<void> {
  const at = path`/api/v1/operations/${checkId(id, 'operation')}`;
  const reply = await change(session, { method: 'POST', path: `${at}/${verb}` }, AnyBody);
  if (reply === undefined) return;
  // A cancel that is waited for ends as `cancelled`, which is what was wanted: only a retry has to succeed.
  if (verb === 'retry' && session.globals.wait !== false) await waitForOperation(session, id);
  session.out.one((await session.client().get(at, Operation)).body, operationView);
}
