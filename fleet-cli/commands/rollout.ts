import { Option, type Command } from 'commander';
import { ROLLOUT_STATES, TARGET_STATES } from '../../contract/rollout.ts';
import { parseCount, WATCH_HELP } from '../globals.ts';
import type { OpenSession } from '../session.ts';
import {
  listRollouts,
  startRollout,
  supersedeRollout,
  type ListFlags,
  type SpecFlags,
  type StartFlags,
} from './rollout-actions.ts';
import { planRollout, showDiff, type PlanFlags } from './rollout-plan.ts';
import { addRehearse } from './rollout-rehearse.ts';
import { addVerbs } from './rollout-verbs.ts';
import { getRollout, rolloutStatus, type GetFlags } from './rollout-watch.ts';

export function addRolloutCommands(program: Command, open: OpenSession): void {
  const rollout = program.command('rollout').description('bring a release to the fleet in waves');
  addPlanning(rollout, open);
  addRehearse(rollout, open);
  rollout
    .command('list')
    .description('list rollouts, newest first')
    .addOption(new Option('--state <state>', 'only in this state').choices(ROLLOUT_STATES))
    .option('--release <release>', 'only of this release')
    .option('--limit <count>', 'at most this many', parseCount)
    .action(async (flags: ListFlags) => await listRollouts(open(), flags));
  rollout
    .command('get <id>')
    .description(
      'show waves, what is in flight and what fails; ID may be "latest"; -o wide lists all targets',
    )
    .option('-w, --watch', WATCH_HELP)
    .option('--target <tenant>', "only this tenant's target, with each of its migrations")
    .addOption(new Option('--state <state>', 'only the targets in this state').choices(TARGET_STATES))
    .option('--diff', 'as it was planned, with what it makes of the schemas')
    .action(async (id: string, flags: GetFlags & { diff?: boolean }) =>
      flags.diff === true ? await showDiff(open(), id) : await getRollout(open(), id, flags),
    );
  rollout
    .command('status <id>')
    .description(
      'wait until it is over: exit 0 only when it succeeded, 5 when it halted or failed, 1 after --timeout',
    )
    .action(async (id: string) => await rolloutStatus(open(), id));
  addVerbs(rollout, open);
}

function addPlanning(rollout: Command, open: OpenSession): void {
  rollout
    .command('plan [file]')
    .description(
      'store a plan and show whom it takes in which waves, what it changes, and whose word it needs; starts nothing, and stores nothing when no database is behind',
    )
    .option('--release <release>', 'plan this release in one wave, or the release for FILE')
    .option('--no-diff', 'do not compare schemas, which may take seconds for a new release')
    .option('--detailed-exitcode', 'exit 6 when there is something to do, 0 when there is nothing')
    .action(async (file: string | undefined, flags: PlanFlags) => await planRollout(open(), file, flags));
  rollout
    .command('start [file]')
    .description(
      'start a rollout from a YAML file, of a release in one wave, or one that is planned (by its id)',
    )
    .option('--release <release>', 'take this release in one wave, or the release for FILE')
    .option('--queue', 'wait for the active rollout to end instead of being refused')
    .option('--supersede <id>', 'take the place of this halted, paused or aborted rollout')
    .option('--despite-rehearsal', 'start although the last rehearsal has shown that targets would fail')
    .option('--detailed-exitcode', 'exit 6 when something was started, 0 when there was nothing to do')
    .option('--reason <text>', 'why, for the audit log')
    .action(async (file: string | undefined, flags: StartFlags) => await startRollout(open(), file, flags));
  rollout
    .command('supersede <id> [file]')
    .description('start a rollout in the place of one that is halted, paused or aborted')
    .option('--release <release>', 'take this release in one wave, or the release for FILE')
    .action(
      async (id: string, file: string | undefined, flags: SpecFlags) =>
        await supersedeRollout(open(), id, file, flags),
    );
}
