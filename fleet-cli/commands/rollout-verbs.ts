import type { Command } from 'commander';
import { RolloutStanding } from '../../contract/progress.ts';
import { change } from '../change.ts';
import { path } from '../client.ts';
import { confirmName, confirmYes } from '../confirm.ts';
import { brokenOf } from '../output/rollout-bar.ts';
import type { OpenSession, Session } from '../session.ts';
import { showOrFollow } from './rollout-actions.ts';
import { rolloutId } from './rollout-watch.ts';

/** What a person says to a rollout that is there. */
interface Verb {
  name: string;
  description: string;
  /** Flags of its own, beside `--reason`. */
  options?: [flags: string, description: string][];
  /** Those that must be given. */
  required?: [flags: string, description: string][];
  /** Whether the rollout goes on by it, so that `--wait` has something to wait for. */
  goesOn?: boolean;
  confirm?: (session: Session, id: string, flags: VerbFlags) => Promise<void>;
  /** Beside the flags. */
  body?: (session: Session) => object;
}

interface VerbFlags {
  reason?: string;
  target?: string;
  wave?: string;
  full?: boolean;
  force?: boolean;
}

const VERBS: Verb[] = [
  {
    name: 'approve',
    description:
      "let a plan run, or the waves behind one that has passed; by somebody else than the plan's author",
    options: [['--wave <wave>', 'only this wave']],
    goesOn: true,
  },
  { name: 'pause', description: 'start no new target; those in flight finish' },
  { name: 'resume', description: 'go on after a pause', goesOn: true },
  {
    name: 'promote',
    description: 'leave the present pause, bake, gate or halt, and only that, without waiting for it',
    options: [['--full', 'pass over the rest of all bakes, gates and approvals']],
    goesOn: true,
    confirm: (session, id, { full }) =>
      full === true
        ? confirmName(session, id, `pass over all bakes, gates and approvals of rollout ${id}`)
        : Promise.resolve(),
  },
  {
    name: 'abort',
    description: 'end it for good; what is applied stays applied',
    options: [['--force', 'cancel running statements too; a CONCURRENTLY still ends by itself']],
    confirm: (session, id) => confirmYes(session, `End rollout ${id} for good?`),
  },
  {
    name: 'retry',
    description:
      'try failed and unreachable targets again and go on; those that are named also while it runs',
    options: [
      ['--target <tenant>', "only this tenant's target; also one that was skipped"],
      ['--wave <wave>', 'only targets of this wave'],
    ],
    goesOn: true,
  },
  {
    name: 'skip',
    description: 'leave one tenant behind; later rollouts pass it by until a wave names it',
    required: [['--target <tenant>', 'the tenant']],
  },
  {
    name: 'undo',
    description: 'take back what it has changed, the last wave first, by a rollout of its own',
    goesOn: true,
    confirm: (session, id) =>
      session.globals.confirm === undefined
        ? confirmYes(session, `Take back what rollout ${id} has changed?`)
        : Promise.resolve(),
    // Whether data goes with it only the control plane knows: it asks for the release's name then.
    body: ({ globals: { confirm } }) => ({ confirm }),
  },
];

export function addVerbs(rollout: Command, open: OpenSession): void {
  for (const verb of VERBS) {
    const command = rollout.command(`${verb.name} <id>`).description(verb.description);
    for (const [flags, description] of verb.required ?? []) command.requiredOption(flags, description);
    for (const [flags, description] of verb.options ?? []) command.option(flags, description);
    if (verb.name === 'skip')
      command.requiredOption('--reason <text>', 'why; it is shown wherever the tenant is behind');
    else command.option('--reason <text>', 'why, for the audit log');
    command.action(async (id: string, flags: VerbFlags) => await say(open(), id, verb, flags));
  }
}

async function say(session: Session, name: string, verb: Verb, flags: VerbFlags): Promise<void> {
  const id = await rolloutId(session, name);
  await verb.confirm?.(session, id, flags);
  const request = {
    method: 'POST' as const,
    path: `${path`/api/v1/rollouts/${id}`}/${verb.name}`,
    body: { ...flags, ...verb.body?.(session) },
  };
  const reply = await change(session, request, RolloutStanding);
  if (reply === undefined) return;
  await showOrFollow(session, reply.body, session.globals.wait === true && verb.goesOn === true);
  const { id: of, state, counts } = reply.body;
  if (verb.name === 'skip' && state === 'halted' && brokenOf(counts) === 0)
    session.out.note(`next: fleet rollout retry ${of} goes on without the tenants left behind`);
}
