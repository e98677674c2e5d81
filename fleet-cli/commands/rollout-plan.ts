import { Rollout } from '../../contract/rollout.ts';
import { RolloutSchemaDiff } from '../../contract/schema-diff.ts';
import { change } from '../change.ts';
import { path } from '../client.ts';
import { CliError } from '../errors.ts';
import { EXIT } from '../exit.ts';
import { isHindered } from '../output/plan-state.ts';
import { renderRolloutPlan } from '../output/rollout-plan.ts';
import { renderRolloutDiff } from '../output/schema-diff-view.ts';
import type { Session } from '../session.ts';
import { PlanAnswer, readSpec, sayNothingToDo, type SpecFlags } from './rollout-actions.ts';
import { rolloutId } from './rollout-watch.ts';

export interface PlanFlags extends SpecFlags {
  diff?: boolean;
}

/**
 * Stores a plan to be looked at; where no database is behind, says so and stores none.
 * @throws CliError exit 6 with --detailed-exitcode when there is work to do
 */
export async function planRollout(
  session: Session,
  file: string | undefined,
  flags: PlanFlags,
): Promise<void> {
  const body = readSpec(session, file, flags);
  const reply = await change(session, { method: 'POST', path: '/api/v1/rollouts/plan', body }, PlanAnswer);
  if (reply === undefined) return;
  const plan = reply.body;
  if ('nothingToDo' in plan) return sayNothingToDo(session, plan);
  await showPlan(session, plan, flags.diff !== false);
  const how = isHindered(plan)
    ? 'see why it cannot start now'
    : `to start it: fleet rollout start ${plan.id}`;
  session.out.note(`nothing is started; ${how}`);
  // Those that a person has left behind are shown, and stay as they are.
  const left = plan.total - plan.counts.skipped;
  if (flags.detailedExitcode !== true || left === 0) return;
  throw new CliError({
    code: 'changes_found',
    exitCode: EXIT.changes,
    message: `${left} targets are behind release ${plan.release}`,
    fix: `fleet rollout start ${plan.id}`,
  });
}

/** Shows a rollout as it was planned, with what it makes of the schemas. */
export async function showDiff(session: Session, name: string): Promise<void> {
  const id = await rolloutId(session, name);
  const { body } = await session.client().get(path`/api/v1/rollouts/${id}`, Rollout);
  await showPlan(session, body, true);
}

async function showPlan({ client, out }: Session, plan: Rollout, withDiff: boolean): Promise<void> {
  if (!withDiff || out.format === 'name') return out.text(renderRolloutPlan(plan, out.paint), plan, plan.id);
  const schemaDiff = await readDiff({ client, out }, plan.id);
  const diff = schemaDiff === null ? [] : [renderRolloutDiff(schemaDiff, out.paint)];
  const text = [renderRolloutPlan(plan, out.paint), ...diff].join('\n\n');
  out.text(text, { ...plan, schemaDiff }, plan.id);
}

/** The plan is stored: that it cannot be compared now must not look as if it were not. Null then. */
async function readDiff(
  { client, out }: Pick<Session, 'client' | 'out'>,
  id: string,
): Promise<RolloutSchemaDiff | null> {
  try {
    const at = path`/api/v1/rollouts/${id}/schema-diff`;
    return (await client().get(at, RolloutSchemaDiff)).body;
  } catch (error) {
    if (!(error instanceof CliError) || error.exitCode === EXIT.interrupted) throw error;
    out.note(`what it makes of the schemas is not shown: ${error.message}`);
    return null;
  }
}
