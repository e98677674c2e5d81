import PQueue from 'p-queue';
import { summarizeError } from '../../platform/errors.ts';
import type { Logger } from '../../platform/logging.ts';
import type { Registry } from '../registry/registry.ts';
import { readLiveSchema } from '../releases/schema-live.ts';
import type { ServerAccess } from '../servers/access.ts';
import { compareLive } from './compare.ts';
import { isFinding, isUnread, type Finding, type Look, type Unread } from './drift.ts';
import { recordFindings } from './record.ts';
import { openReferences, type References } from './reference.ts';
import { dropLeftover } from './scratch.ts';
import { targetsById, type DriftTarget } from './store.ts';

export interface DriftDeps {
  registry: Registry;
  servers: ServerAccess;
  logger: Logger;
}

/** A look is a connection and one query: 20 ms, most of them the server's. Four at once leave it to its tenants. */
const PER_SERVER = 4;
/** Over all servers: enough for eight of them, and half of what the registry and this process bear. */
const IN_ALL = 32;
/** Looks that are stored together. */
const BATCH = 50;

/**
 * Compares the schemas of these databases with what their migrations make, and stores what it finds. For rollouts,
 * before they start: `drifted` are those that nobody has accepted. Databases of tenants that are not live are
 * passed over.
 */
export async function checkDrift(
  deps: DriftDeps,
  databaseIds: readonly string[],
  options: { signal?: AbortSignal } = {},
): Promise<{ drifted: Finding[]; unread: Unread[] }> {
  const found = { drifted: [] as Finding[], unread: [] as Unread[] };
  await lookAt(deps, await targetsById(deps.registry, databaseIds), {
    ...options,
    onLooks: async (looks) => {
      const findings = looks.filter(isFinding);
      found.drifted.push(...findings.filter(({ comparison }) => comparison.verdict === 'drifted'));
      found.unread.push(...looks.filter(isUnread));
      await deps.registry.transaction((tx) => recordFindings(tx, findings));
    },
  });
  return found;
}

export interface LookOptions {
  /** Nothing new is begun after it has fired. */
  signal?: AbortSignal | undefined;
  /** Called with what was found, one batch after the other. */
  onLooks: (looks: Look[]) => Promise<void>;
}

/** Looks at each database, a few at a time on each server. */
export async function lookAt(
  deps: DriftDeps,
  targets: readonly DriftTarget[],
  options: LookOptions,
): Promise<void> {
  const references = await openReferences(deps);
  const all = new PQueue({ concurrency: IN_ALL });
  const servers = [...new Set(targets.map(({ serverId }) => serverId))];
  const perServer = new Map(servers.map((id) => [id, new PQueue({ concurrency: PER_SERVER })]));
  await Promise.all(servers.map((serverId) => clearLeftover(deps, serverId)));
  const look = (target: DriftTarget): Promise<Look | undefined> =>
    all.add(() => lookAtOne(deps, target, references, options.signal));
  for (let at = 0; at < targets.length && options.signal?.aborted !== true; at += BATCH) {
    const batch = targets.slice(at, at + BATCH);
    const looks = await Promise.all(
      batch.map(async (target) => perServer.get(target.serverId)?.add(() => look(target))),
    );
    await options.onLooks(looks.filter((found) => found !== undefined));
  }
}

async function clearLeftover({ servers, logger }: DriftDeps, serverId: string): Promise<void> {
  await dropLeftover(servers, serverId).catch((error: unknown) => {
    logger.debug('could not look for a scratch database that was left behind', { serverId, error });
  });
}

/** Undefined: stopped before it. */
async function lookAtOne(
  deps: DriftDeps,
  target: DriftTarget,
  references: References,
  signal: AbortSignal | undefined,
): Promise<Look | undefined> {
  if (signal?.aborted === true) return undefined;
  const { databaseId, tenant, region } = target;
  try {
    const address = await deps.servers.migrator(target.serverId, target);
    const live = await readLiveSchema(address, { applicationName: 'fleet-drift', roles: target });
    if (live === undefined) return { databaseId, tenant, region, error: null };
    return await compareLive(target, live, references);
  } catch (error) {
    deps.logger.warn('a schema could not be compared', { tenant, error });
    return { databaseId, tenant, region, error: summarizeError(error) };
  }
}
