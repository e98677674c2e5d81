import type { StartProblem } from '../../../contract/rollout-plan.ts';
import type { FleetError } from '../../../platform/errors.ts';
import type { Queryable } from '../../../platform/pg.ts';
import { findTroubles } from './health.ts';
import { wouldFail } from '../rehearsals/refuse.ts';
import { failingRehearsals } from '../rehearsals/store.ts';
import { alreadyActive } from '../rollout.ts';
import { findActiveRollout, type RolloutRecord } from '../store.ts';
import { countTargets } from '../target-store.ts';

/**
 * What would refuse a start of the plan now, as a reader of `regions` (null: everywhere) may be told; beside contract
 * steps that wait, which are told of by themselves. Asked in the same words as a start is refused, and changes nothing.
 */
export async function startProblems(
  db: Queryable,
  rollout: RolloutRecord,
  regions: string[] | null,
): Promise<StartProblem[]> {
  const { pending } = await countTargets(db, rollout.id, null);
  if (pending === 0) return [];
  const problems: StartProblem[] = [];
  const active = await findActiveRollout(db);
  if (active !== undefined && rollout.queuedAt === null) problems.push(problem(alreadyActive(active), []));
  const isSeen = ({ region }: { region: string }): boolean => regions?.includes(region) ?? true;
  for await (const { named, say } of findTroubles(db, rollout)) {
    const seen = named.filter(isSeen);
    problems.push(
      problem(
        say(seen),
        seen.map(({ name }) => name),
      ),
    );
  }
  const fails = await failingRehearsals(db, rollout.release, rollout.id);
  if (fails.length > 0) {
    const seen = fails.filter(isSeen);
    problems.push(
      problem(
        wouldFail(rollout, seen, fails.length),
        seen.map(({ tenant }) => tenant),
      ),
    );
  }
  return problems;
}

function problem({ code, message, fix }: FleetError, names: string[]): StartProblem {
  return { code, message, ...(fix === undefined ? {} : { fix }), names };
}
