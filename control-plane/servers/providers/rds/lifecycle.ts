import { FleetError } from '../../../../platform/errors.ts';
import { brokenInstance, conditionOf, requireOurs, SERVER_TAG, type Instance } from './instance.ts';
import type { Changes, Instances, Order, Place } from './instances.ts';
import { quotaProblem } from './quota.ts';
import { notYet, patiently, waiting } from './waiting.ts';

/**
 * What the fleet does with one instance. RDS has no token that makes a call harmless twice, so each of these looks
 * first, does at most one thing, and says by a WaitingError that somebody must look again. Done, they change nothing.
 */

/** Makes the instance where there is none, and answers it once it takes connections. @throws WaitingError */
export async function ensureInstance(
  instances: Instances,
  serverId: string,
  order: Order,
): Promise<Instance> {
  return patiently(async () => {
    const before = await instances.find(order);
    if (before === undefined) {
      await requireQuota(instances, order);
      await instances.create(order);
    }
    const instance = before ?? (await instances.find(order));
    // Just ordered: RDS does not know everywhere of it at once.
    if (instance === undefined) throw waiting(`instance ${order.identifier} is being made in RDS`);
    requireOurs(instance, serverId);
    return takesConnections(instance) ? instance : notYet(instance);
  });
}

function takesConnections(instance: Instance): boolean {
  return conditionOf(instance.status) === 'usable' && instance.host !== undefined;
}

async function requireQuota(instances: Instances, { region, spec }: Order): Promise<void> {
  const problem = quotaProblem(await instances.quotas(region), { ...spec, awsRegion: region });
  if (problem !== undefined) throw problem;
}

/**
 * Deletes the server's own instance and answers when it is gone. One that is another's is left alone.
 * @param finalSnapshot what RDS keeps of it; null keeps nothing
 * @throws WaitingError, FleetError `instance_broken` when there can be no final snapshot of it
 */
export async function removeInstance(
  instances: Instances,
  serverId: string,
  place: Place,
  finalSnapshot: string | null,
): Promise<void> {
  return patiently(async () => {
    const instance = await findOurs(instances, serverId, place);
    if (instance === undefined) return;
    const condition = conditionOf(instance.status);
    if (condition === 'deleting') notYet(instance);
    if (condition === 'broken' && finalSnapshot !== null) throw brokenInstance(instance);
    // Only one that runs can be changed, and leaves a snapshot.
    if (condition === 'stopped') await start(instances, serverId, place);
    if (instance.spec.deletionProtection) await instances.change(place, { deletionProtection: false });
    await instances.remove(place, finalSnapshot);
    const after = await findOurs(instances, serverId, place);
    if (after !== undefined) notYet(after);
  });
}

/** Stops the server's own instance: RDS starts it again by itself after seven days. @throws WaitingError */
export async function ensureStopped(instances: Instances, serverId: string, place: Place): Promise<void> {
  return patiently(async () => {
    const instance = await requireInstance(instances, serverId, place);
    const condition = conditionOf(instance.status);
    if (condition === 'stopped') return;
    if (condition !== 'usable') notYet(instance);
    await instances.stop(place);
    const after = await requireInstance(instances, serverId, place);
    if (conditionOf(after.status) !== 'stopped')
      throw waiting(`instance ${place.identifier} is being stopped in RDS`);
  });
}

/** Starts the server's own instance where it is stopped. @throws WaitingError */
export async function ensureStarted(instances: Instances, serverId: string, place: Place): Promise<void> {
  return patiently(async () => {
    const instance = await requireInstance(instances, serverId, place);
    const condition = conditionOf(instance.status);
    if (condition === 'usable') return;
    if (condition !== 'stopped') notYet(instance);
    await start(instances, serverId, place);
  });
}

async function start(instances: Instances, serverId: string, place: Place): Promise<void> {
  await instances.start(place);
  const after = await requireInstance(instances, serverId, place);
  if (!takesConnections(after)) throw waiting(`instance ${place.identifier} is being started in RDS`);
}

/** Changes the server's own instance until RDS has it so. @throws WaitingError */
export async function ensureChanged(
  instances: Instances,
  serverId: string,
  place: Place,
  changes: Changes,
): Promise<void> {
  return patiently(async () => {
    const before = await requireInstance(instances, serverId, place);
    if (conditionOf(before.status) !== 'usable') notYet(before);
    if (isSo(before, changes)) return;
    await instances.change(place, changes);
    const after = await requireInstance(instances, serverId, place);
    if (!isSo(after, changes)) throw waiting(`instance ${place.identifier} is being changed in RDS`);
    if (!takesConnections(after)) notYet(after);
  });
}

/** Of a version it is enough that it begins as wanted: RDS makes 18.1 of 18. */
function isSo({ spec }: Instance, { engineVersion, ...others }: Changes): boolean {
  const isVersion = engineVersion === undefined || `${spec.engineVersion}.`.startsWith(`${engineVersion}.`);
  return (
    isVersion && Object.entries(others).every(([key, value]) => spec[key as keyof typeof others] === value)
  );
}

/** @throws FleetError 502 `instance_missing`, 409 `instance_name_taken` */
export async function requireInstance(
  instances: Instances,
  serverId: string,
  place: Place,
): Promise<Instance> {
  const instance = await instances.find(place);
  if (instance === undefined) {
    throw new FleetError({
      code: 'instance_missing',
      status: 502,
      message: `there is no instance ${place.identifier} on RDS any more`,
      fix: 'restore it there under the same name from its last snapshot or backup, then try again',
    });
  }
  requireOurs(instance, serverId);
  return instance;
}

async function findOurs(instances: Instances, serverId: string, place: Place): Promise<Instance | undefined> {
  const instance = await instances.find(place);
  return instance?.tags[SERVER_TAG] === serverId ? instance : undefined;
}

/** Takes a snapshot of the instance and answers when it is complete. @throws WaitingError */
export async function ensureSnapshot(
  instances: Instances,
  serverId: string,
  place: Place,
  snapshot: { identifier: string; tags: Record<string, string> },
): Promise<void> {
  return patiently(async () => {
    const at = { region: place.region, identifier: snapshot.identifier };
    const before = await instances.findSnapshot(at);
    if (before === undefined) {
      await requireInstance(instances, serverId, place);
      await instances.createSnapshot(place, snapshot.identifier, snapshot.tags);
    }
    const { status = 'being made', percent = 0 } = before ?? (await instances.findSnapshot(at)) ?? {};
    if (status === 'failed') throw failedSnapshot(snapshot.identifier);
    if (status !== 'available') {
      throw waiting(`snapshot ${snapshot.identifier} is ${status} in RDS, ${percent} % of it done`);
    }
  });
}

function failedSnapshot(identifier: string): FleetError {
  return new FleetError({
    code: 'snapshot_failed',
    status: 502,
    message: `snapshot ${identifier} failed in RDS`,
    fix: 'read the events of the instance in RDS, delete that snapshot there, then take another',
  });
}
