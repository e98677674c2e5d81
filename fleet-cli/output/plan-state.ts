import type { Rollout, RolloutSummary } from '../../contract/rollout.ts';
import { stateText, type Paint } from './style.ts';
import { age } from './time.ts';

/** A plan waits for a person, for its turn, or for a person again as it was refused when its turn came. */
export function planStateText({ state, queuedAt, cause }: RolloutSummary, paint: Paint): string {
  if (state !== 'planned') return stateText(paint, state);
  if (queuedAt !== null) return `${stateText(paint, state)} (queued)`;
  return cause === null ? stateText(paint, state) : `${stateText(paint, state)} ${paint('bad', '(refused)')}`;
}

/** Since when it waits, and for what. */
export function queuedText({ queuedAt, plan }: Rollout): string | undefined {
  if (queuedAt === null) return undefined;
  const since = `for ${age(queuedAt) ?? ''} (since ${queuedAt})`;
  if (plan?.behind === undefined) return since;
  const { id, release, state } = plan.behind;
  return `${since}, behind rollout ${id} of release ${release}, which is ${state}`;
}

/** Whether a start would be refused as things stand. */
export function isHindered({ plan, contract }: Rollout): boolean {
  if ((plan?.cannotStart?.length ?? 0) > 0) return true;
  if (contract === undefined) return false;
  return contract.instances.length + contract.tenants.length + contract.elsewhere > 0;
}

/** Why the plan cannot be started now, each with what to do. */
export function hindrances({ plan }: Rollout, paint: Paint): string[] {
  const problems = plan?.cannotStart ?? [];
  if (problems.length === 0) return [];
  const lines = problems.flatMap(({ code, message, fix }) => [
    `  ${paint('bad', '✖')} ${code}: ${message}`,
    ...(fix === undefined ? [] : [`      ${paint('dim', fix)}`]),
  ]);
  return [[paint('bold', 'cannot start now'), ...lines].join('\n')];
}
