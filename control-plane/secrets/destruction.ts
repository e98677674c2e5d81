import type { KeyDestruction } from '../../contract/secret.ts';
import { FleetError } from '../../platform/errors.ts';
import type { Logger } from '../../platform/logging.ts';
import type { Queryable } from '../../platform/pg.ts';
import { SYSTEM_CALLER } from '../access/caller.ts';
import { audit } from '../audit/audit.ts';
import type { Registry, Transaction } from '../registry/registry.ts';
import {
  findDue,
  insertDestruction,
  lockDestruction,
  moveDestruction,
  type Destruction,
  type NewDestruction,
} from './destruction-store.ts';
import { findSubjects } from './settle-store.ts';
import type { SecretStore } from './stores/secret-store.ts';

/**
 *   requested ─told─▶ scheduled ─end─▶ destroyed
 *     ▲   │keep          │keep            ▲
 *     │   └──▶ keeping ◀─┘                │
 *     │          │told  └─ it was too late┘
 *     └─request─ kept
 *
 * The key of a deleted owner. From `requested` on it opens nothing; until `destroyed` it can be kept, and is then as it
 * was. In `requested` and `keeping` the store has to be told; the local one is told in the same transaction.
 */
export type DestructionState = KeyDestruction['state'];
export type DestructionEvent = 'request' | 'told' | 'keep' | 'end';

const TRANSITIONS: Record<DestructionState, Partial<Record<DestructionEvent, DestructionState>>> = {
  requested: { told: 'scheduled', keep: 'keeping' },
  scheduled: { keep: 'keeping', end: 'destroyed' },
  keeping: { told: 'kept', request: 'requested', end: 'destroyed' },
  kept: { request: 'requested' },
  destroyed: {},
};

/** The state after `event`, or undefined when the event has no meaning in this state. Total and pure. */
export function transitionDestruction(
  state: DestructionState,
  event: DestructionEvent,
): DestructionState | undefined {
  return TRANSITIONS[state][event];
}

/** Destructions that one sweep ends; at two calls of the store each, some minutes of AWS. */
const SWEEP_MAX = 1_000;

/**
 * Wants the owner's key destroyed after its retention. Repeated, it changes nothing, but for a key that was kept: its
 * retention begins anew.
 */
export async function requestDestruction(
  tx: Transaction,
  store: SecretStore,
  wanted: NewDestruction,
): Promise<Destruction> {
  await insertDestruction(tx, wanted);
  await move(tx, await lock(tx, wanted.owner), 'request');
  if (!store.isRemote) await tellStore(tx, store, wanted.owner);
  return lock(tx, wanted.owner);
}

/**
 * Wants the key kept after all: what was sealed under it and still is somewhere (in a backup) opens again.
 * @throws FleetError 404 `key_not_scheduled`, 409 `key_destroyed`
 */
export async function keepKey(tx: Transaction, store: SecretStore, owner: string): Promise<Destruction> {
  const found = await lock(tx, owner);
  if (found.state === 'destroyed') throw keyDestroyed(found);
  await move(tx, found, 'keep');
  if (!store.isRemote) await tellStore(tx, store, owner);
  return lock(tx, owner);
}

/** Tells the store what is wanted of the owner's key, and notes that it knows. Harmless when it does. */
export async function tellStore(tx: Transaction, store: SecretStore, owner: string): Promise<void> {
  const found = await lock(tx, owner);
  if (found.state === 'requested') {
    const goneAt = await store.destroyOwner(tx, found, await findSubjects(tx, owner), found.retentionDays);
    // Without a key there is nothing to wait for.
    const told = { ...found, goneAt: goneAt ?? new Date() };
    await move(tx, found, 'told', told.goneAt);
    auditKey(tx, told, 'key.destruction_scheduled');
  } else if (found.state === 'keeping') {
    await move(tx, found, (await isKept(tx, store, found)) ? 'told' : 'end');
  }
}

/** False when it was too late: the key is gone. */
async function isKept(tx: Queryable, store: SecretStore, found: Destruction): Promise<boolean> {
  try {
    await store.keepOwner(tx, found);
    return true;
  } catch (error) {
    if (error instanceof FleetError && error.code === 'key_missing') return false;
    throw error;
  }
}

/** Destroys the keys whose retention is over, each with its audit entry; what fails is tried by the next sweep. */
export async function endDestructions(registry: Registry, store: SecretStore, logger: Logger): Promise<void> {
  for (const owner of await findDue(registry, SWEEP_MAX)) {
    await registry
      .transaction((tx) => end(tx, store, owner, logger))
      .catch((error: unknown) => {
        logger.warn('a key could not be destroyed; it is tried again', { owner, error });
      });
  }
}

async function end(tx: Transaction, store: SecretStore, owner: string, logger: Logger): Promise<void> {
  const found = await lock(tx, owner);
  if (found.state !== 'scheduled' || found.goneAt > new Date()) return;
  if (!(await store.endOwner(tx, found))) {
    logger.warn('a key is still there although its retention is over', { owner, goneAt: found.goneAt });
    return;
  }
  await move(tx, found, 'end');
  auditKey(tx, found, 'key.destroyed');
  logger.info('a key is destroyed', { owner });
}

function auditKey(
  tx: Transaction,
  found: Destruction,
  action: 'key.destruction_scheduled' | 'key.destroyed',
): void {
  const { owner, name, region, requestedAt, retentionDays, goneAt } = found;
  const [kind = '', id = ''] = owner.split(':');
  audit(tx, {
    actor: SYSTEM_CALLER.name,
    actorRole: SYSTEM_CALLER.role,
    action,
    resource: `${kind}:${name ?? id}`,
    region,
    after: { id, requestedAt: requestedAt.toISOString(), retentionDays, goneAt: goneAt.toISOString() },
  });
}

async function lock(tx: Queryable, owner: string): Promise<Destruction> {
  const found = await lockDestruction(tx, owner);
  if (found !== undefined) return found;
  throw new FleetError({
    code: 'key_not_scheduled',
    status: 404,
    message: `the key of ${owner} is not to be destroyed`,
    fix: 'nothing has to be kept: only deleting its tenant destroys a key',
  });
}

/** An event that has no meaning (any more) changes nothing. */
async function move(
  tx: Queryable,
  { owner, state }: Destruction,
  event: DestructionEvent,
  goneAt?: Date,
): Promise<void> {
  const next = transitionDestruction(state, event);
  if (next !== undefined) await moveDestruction(tx, owner, { from: state, to: next, goneAt });
}

/** @returns 410 `key_destroyed` */
export function keyDestroyed({ owner, name, destroyedAt }: Destruction): FleetError {
  const when = destroyedAt === null ? '' : ` on ${destroyedAt.toISOString()}`;
  return new FleetError({
    code: 'key_destroyed',
    status: 410,
    message: `the key of ${name ?? owner} was destroyed${when}: nothing that was sealed under it can be read again`,
    fix: 'no backup brings it back; data that was exported before stands for itself',
  });
}
