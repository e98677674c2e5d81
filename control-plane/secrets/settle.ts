import { randomPassword } from '../../platform/crypto.ts';
import type { Logger } from '../../platform/logging.ts';
import type { Queryable } from '../../platform/pg.ts';
import { findUntold } from './destruction-store.ts';
import { tellStore } from './destruction.ts';
import type { Registry } from '../registry/registry.ts';
import type { KeyService } from './keys/key-service.ts';
import { findToSettle, findUnsettled, lockSettling, markOwnerSettled, markSettled } from './settle-store.ts';
import { deleteSealed, readSealed, type VersionRow } from './store.ts';
import type { SecretStore, StagedPlace } from './stores/secret-store.ts';

/**
 * Brings a remote store to what the registry has committed. The registry is never ahead of itself: a version
 * and its stage are committed first, the store is told afterwards, and what it was told is noted last. So a
 * crash anywhere leaves an intent that the next call carries out again, with the same version id.
 */
export interface SettleDeps {
  registry: Pick<Registry, 'query' | 'transaction'>;
  store: SecretStore;
  /** Seals the values that were given by a person until the store has them. */
  held: KeyService;
}

/** Subjects in one sweep: at the store's 50 writes a second a minute's sweep could take 1,000 with three each. */
const SWEEP_MAX = 1_000;

/**
 * Settles one subject; returns when the store knows its versions. The transaction changes nothing but the note
 * of what was done: it is there for the lock, so that two do not move labels against each other.
 * @throws FleetError of the store
 */
export async function settleSubject(deps: SettleDeps, subject: string): Promise<void> {
  await deps.registry.transaction(async (tx) => {
    await lockSettling(tx, subject);
    const versions = await findToSettle(tx, subject);
    for (const version of versions) {
      if (version.settledStage === null) await ensureValue(deps, tx, version);
    }
    await deps.store.settle(tx, versions.map(placeOf));
    for (const { id, stage } of versions) {
      await markSettled(tx, id, stage);
      if (stage !== 'retired') await deleteSealed(tx, id);
    }
  });
}

/** The value that somebody gave, else a new random one, unless an interrupted call has stored one before. */
async function ensureValue(deps: SettleDeps, tx: Queryable, version: VersionRow): Promise<void> {
  const held = await deps.held.open(tx, await readSealed(tx, [version.id]));
  await deps.store.ensure(tx, placeOf(version), held.get(version.id) ?? randomPassword());
}

/** Settles whatever waits, each subject on its own: one that fails is tried again by the next sweep. */
export async function settleAll(deps: SettleDeps, logger: Logger): Promise<void> {
  for (const subject of await findUnsettled(deps.registry, SWEEP_MAX)) {
    await settleSubject(deps, subject).catch((error: unknown) => {
      logger.warn('the secret store could not be told of a change; it is tried again', { subject, error });
    });
  }
  for (const owner of await findUntold(deps.registry, SWEEP_MAX)) {
    await settleOwner(deps, owner).catch((error: unknown) => {
      logger.warn('the secret store could not be told what becomes of a key; it is tried again', {
        owner,
        error,
      });
    });
  }
}

async function settleOwner(deps: SettleDeps, owner: string): Promise<void> {
  await deps.registry.transaction(async (tx) => {
    await tellStore(tx, deps.store, owner);
    await markOwnerSettled(tx, owner);
  });
}

export function placeOf(version: Omit<VersionRow, 'settledStage'>): StagedPlace {
  const { id, owner, subject, region, stage } = version;
  return { versionId: id, owner, subject, region, stage };
}
