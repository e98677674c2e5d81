import { isUnreachable, summarizeError } from '../../../platform/errors.ts';
import type { Registry } from '../../registry/registry.ts';
import type { Hold } from '../../releases/backfill-run.ts';
import type { ServerAccess } from '../../servers/access.ts';
import { LOAD_LIMITS, overload, readLoad, type Load, type LoadLimits } from './load.ts';
import { findHold } from './store.ts';

export interface ThrottleDeps {
  registry: Registry;
  servers: ServerAccess;
  limits?: LoadLimits | undefined;
}

/** A leave holds for half a second, in milliseconds: about one chunk. */
const LEAVE_MS = 500;
/** A switch is looked at each second, in milliseconds: a person waits for the effect. */
const SWITCH_MS = 1_000;

/**
 * Answers before each chunk of one database why it may not run: an operator's switch, then the load of its server. What
 * cannot be asked holds it too: nobody knows what it would do. A server that is away is left to the chunk to find.
 */
export function createThrottle(
  deps: ThrottleDeps,
  target: { databaseId: string; serverId: string; database: string },
): () => Promise<Hold | null> {
  let before: Load | undefined;
  let leaveUntil = 0;
  const readServer = async (): Promise<Load | undefined> => {
    try {
      return await deps.servers.admin(target.serverId, (client) => readLoad(client, target.database));
    } catch (error) {
      if (isUnreachable(error)) return undefined;
      throw error;
    }
  };
  const ask = async (): Promise<Hold | null> => {
    const hold = await findHold(deps.registry, target);
    if (hold !== undefined) {
      return { reason: `held for the ${hold.scope} by ${hold.by}: ${hold.reason}`, againMs: SWITCH_MS };
    }
    const load = await readServer();
    const reason = load === undefined ? null : overload(load, before, deps.limits ?? LOAD_LIMITS);
    before = load;
    return reason === null ? null : { reason };
  };
  return async () => {
    if (performance.now() < leaveUntil) return null;
    try {
      const hold = await ask();
      if (hold === null) leaveUntil = performance.now() + LEAVE_MS;
      return hold;
    } catch (error) {
      return { reason: `what may hold it cannot be asked: ${summarizeError(error).message}` };
    }
  };
}
