import type { Command } from 'commander';
import { AuditEntry, AuditVerification } from '../../contract/audit.ts';
import { CliError } from '../errors.ts';
import { EXIT } from '../exit.ts';
import { parseCount } from '../globals.ts';
import { auditView } from '../output/fleet-views.ts';
import type { View } from '../output/view.ts';
import type { OpenSession, Session } from '../session.ts';

interface ListFlags {
  actor?: string;
  action?: string;
  resource?: string;
  limit: number;
}

/** The log has no end: without --limit the newest page is what a person looks for. */
const DEFAULT_LIMIT = 100;

export function addAuditCommands(program: Command, open: OpenSession): void {
  const audit = program.command('audit').description('the hash-chained log of every change');
  audit
    .command('list')
    .description('list audit entries, newest first')
    .option('--actor <name>', 'only by this actor')
    .option('--action <action>', 'only this action, e.g. tenant.create')
    .option('--resource <resource>', 'only of this resource, e.g. tenant:acme')
    .option('--limit <count>', 'at most this many', parseCount, DEFAULT_LIMIT)
    .action(async (flags: ListFlags) => await list(open(), flags));
  audit
    .command('verify')
    .description('check that no entry was changed, removed or moved')
    .action(async () => await verify(open()));
}

async function list({ client, out }: Session, { limit, ...filter }: ListFlags): Promise<void> {
  out.list(await client().list('/api/v1/audit', AuditEntry, filter, limit), auditView);
}

async function verify({ client, out }: Session): Promise<void> {
  const { body } = await client().get('/api/v1/audit/verify', AuditVerification);
  out.one(body, verificationView);
  if (body.valid) return;
  throw new CliError({
    code: 'audit_broken',
    exitCode: EXIT.failed,
    message: `the audit chain is broken at entry ${body.firstBad?.seq ?? 'unknown'}: ${body.firstBad?.reason ?? ''}`,
    fix: 'compare that entry with a backup of the registry; treat it as tampering until it is explained',
  });
}

const verificationView: View<AuditVerification> = {
  noun: 'verification',
  name: (result) => result.head,
  columns: [
    {
      title: 'chain',
      value: (result, paint) => (result.valid ? paint('good', '✔ valid') : paint('bad', '✖ broken')),
    },
    { title: 'entries', value: (result) => result.entries },
    { title: 'head', value: (result) => result.head },
    { title: 'first bad', value: (result) => result.firstBad?.seq },
  ],
};
