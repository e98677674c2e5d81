import { FleetError } from '../../../../platform/errors.ts';
import { WaitingError } from '../../../operations/waiting.ts';
import { WRONG_STATE } from './failures.ts';
import { brokenInstance, conditionOf, type Instance } from './instance.ts';

/** RDS takes minutes for whatever it does: a look each 15 s tells of the end soon enough, and 100 at once are 7 calls a second. */
const LOOK_MS = 15_000;
/** Making one takes 5 to 20 minutes, a large restore or a final snapshot an hour. Two hours mean that nothing comes any more. */
const LIMIT_MS = 2 * 3_600_000;

/** Thrown where RDS has been told what to do and is at it. */
export function waiting(what: string): WaitingError {
  return new WaitingError({ what, afterMs: LOOK_MS, limitMs: LIMIT_MS });
}

/** The instance is under way to something else: look again. @throws WaitingError, or `instance_broken` at once */
export function notYet(instance: Instance): never {
  if (conditionOf(instance.status) === 'broken') throw brokenInstance(instance);
  throw waiting(`instance ${instance.identifier} is ${instance.status} in RDS`);
}

const PASSING = new Set(['aws_throttled', 'aws_unavailable', WRONG_STATE]);

/**
 * Does a piece of work on RDS. Where AWS itself fails, is asked too often, or has something else to do with the
 * instance first, the step waits instead of failing: an outage of an hour must not undo what took as long.
 */
export async function patiently<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof FleetError && PASSING.has(error.code)) throw waiting(error.message);
    throw error;
  }
}
