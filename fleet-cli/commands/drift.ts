import { Option, type Command } from 'commander';
import { AcceptDrift, Drift, DRIFT_STATES, DriftCheck } from '../../contract/drift.ts';
import { change } from '../change.ts';
import { path } from '../client.ts';
import { CliError } from '../errors.ts';
import { EXIT } from '../exit.ts';
import { follow } from '../follow.ts';
import { collect, parseCount } from '../globals.ts';
import { driftCheckView, driftView, renderDiffs } from '../output/drift-view.ts';
import { checkInput, type OpenSession, type Session } from '../session.ts';
import { InstanceDrifts } from '../../contract/server.ts';
import { instanceDriftView } from '../output/fleet-views.ts';
import { collectWhere, matchOf, type Where } from '../where.ts';

interface CheckFlags {
  where?: Where;
  tenant?: string[];
  servers?: boolean;
  detailedExitcode?: boolean;
}

interface ListFlags {
  tenant?: string;
  state?: string;
  region?: string;
  limit?: number;
  diff?: boolean;
  detailedExitcode?: boolean;
}

const DETAILED = 'exit 6 when there is drift that nobody has accepted';

export function addDriftCommands(program: Command, open: OpenSession): void {
  const drift = program.command('drift').description('databases whose schema is not what migrations made it');
  drift
    .command('check')
    .description('compare schemas with what their migrations make')
    .option('--where <key=value>', 'only where region=, tier=, server= or label.KEY= is so', collectWhere)
    .option('--tenant <tenant>', 'only this tenant; may be repeated', collect)
    .option('--servers', 'compare the servers on RDS with what RDS has instead')
    .option('--detailed-exitcode', DETAILED)
    .action(
      async (flags: CheckFlags) => await (flags.servers === true ? checkServers : check)(open(), flags),
    );
  drift
    .command('list')
    .description('list databases that differ, as the last check found them')
    .option('--tenant <tenant>', 'only this tenant')
    .addOption(new Option('--state <state>', 'only in this state').choices(DRIFT_STATES))
    .option('--region <region>', 'only in this region')
    .option('--diff', 'print what differs as a unified diff')
    .option('--limit <count>', 'at most this many', parseCount)
    .option('--detailed-exitcode', DETAILED)
    .action(async (flags: ListFlags) => await list(open(), flags));
  drift
    .command('accept <tenant>')
    .description('take the present difference for intended; rollouts refuse the database no longer')
    .requiredOption('--reason <text>', 'why, for the audit log')
    .action(async (tenant: string, flags: { reason: string }) => await accept(open(), tenant, flags.reason));
}

async function check(session: Session, flags: CheckFlags): Promise<void> {
  const body = { match: matchOf(flags.where, flags.tenant) };
  const reply = await change(session, { method: 'POST', path: '/api/v1/drift/checks', body }, DriftCheck);
  if (reply === undefined) return;
  if (session.globals.wait === false) return session.out.one(reply.body, driftCheckView);
  const ended = await followCheck(session, reply.body.id);
  session.out.one(ended, driftCheckView);
  requireRead(ended);
  if (flags.detailedExitcode === true && ended.counts.drifted > 0) throw driftFound(ended.counts.drifted);
  if (ended.counts.drifted > 0) session.out.note('what differs: fleet drift list --diff');
}

async function checkServers(session: Session, flags: CheckFlags): Promise<void> {
  const request = { method: 'POST' as const, path: '/api/v1/drift/servers' };
  const reply = await change(session, request, InstanceDrifts);
  if (reply === undefined) return;
  const { items } = reply.body;
  session.out.list(items, instanceDriftView);
  if (flags.detailedExitcode !== true || items.length === 0) return;
  throw new CliError({
    code: 'drift_found',
    exitCode: EXIT.changes,
    message: `${items.length} ${items.length === 1 ? 'instance differs' : 'instances differ'} from the registry`,
    fix: 'docs/runbooks/stuck-instance.md says what to do about each',
  });
}

async function followCheck(session: Session, id: string): Promise<DriftCheck> {
  const at = path`/api/v1/drift/checks/${id}`;
  return await follow(session, {
    path: at,
    schema: DriftCheck,
    over: (state) => state.finishedAt !== null,
    onUpdate: () => undefined,
    subject: `drift check ${id}`,
    again: `fleet api GET ${at}`,
  });
}

/** A check that has not seen everything proves nothing of the rest. @throws CliError exit 5 */
function requireRead({ id, state, error, counts, unread }: DriftCheck): void {
  if (state === 'succeeded' && counts.unread === 0) return;
  const [first] = unread;
  throw new CliError({
    code: error?.code ?? 'drift_unread',
    exitCode: EXIT.unhealthy,
    message: error?.message ?? `${counts.unread} databases could not be looked at`,
    why: first === undefined ? `drift check ${id} has ${state}` : `${first.tenant}: ${first.error.message}`,
    fix: error?.fix ?? 'fleet server list, then check again',
  });
}

async function list(session: Session, flags: ListFlags): Promise<void> {
  const { diff, detailedExitcode, limit, ...filter } = flags;
  const found = await session.client().list('/api/v1/drift', Drift, filter, limit);
  if (diff === true && session.out.format === 'table' && found.length > 0) {
    session.out.text(renderDiffs(found, session.out.paint), found);
  } else {
    session.out.list(found, driftView);
  }
  const drifted = found.filter(({ state }) => state === 'drifted').length;
  if (detailedExitcode === true && drifted > 0) throw driftFound(drifted);
}

/** What is accepted is what is there now: a schema that changes in this moment is refused. */
async function accept(session: Session, tenant: string, reason: string): Promise<void> {
  const [drift] = await session.client().list('/api/v1/drift', Drift, { tenant }, 1);
  const input = { reason, ...(drift === undefined ? {} : { fingerprint: drift.fingerprint }) };
  const body = checkInput(AcceptDrift, input, '--reason');
  const request = { method: 'POST' as const, path: path`/api/v1/drift/tenants/${tenant}/accept`, body };
  const reply = await change(session, request, Drift);
  if (reply !== undefined) session.out.one(reply.body, driftView);
}

function driftFound(databases: number): CliError {
  return new CliError({
    code: 'drift_found',
    exitCode: EXIT.changes,
    message: `${databases} ${databases === 1 ? 'database differs' : 'databases differ'} from what the migrations make`,
    fix: 'fleet drift list --diff, then mend them or fleet drift accept TENANT --reason TEXT',
  });
}
