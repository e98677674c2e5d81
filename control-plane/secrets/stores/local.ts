import type { KeyService } from '../keys/key-service.ts';
import { deleteOwnerValues, deleteSealed, insertSealed, readSealed } from '../store.ts';
import type { SecretStore } from './secret-store.ts';

/**
 * The `local` secret store: values in the registry, each sealed under its owner's key. They come and go in
 * the transaction that moves their version.
 */
export function localStore(keys: KeyService): SecretStore {
  return {
    isRemote: false,
    locate: undefined,
    ensure: async (db, place, value) => {
      if (await insertSealed(db, place.versionId, await keys.seal(db, place, value))) return value;
      const [found] = (await keys.open(db, await readSealed(db, [place.versionId]))).values();
      if (found === undefined) throw new Error(`the value of secret version ${place.versionId} vanished`);
      return found;
    },
    read: async (db, places) => {
      const sealed = await readSealed(
        db,
        places.map((place) => place.versionId),
      );
      return keys.open(db, sealed);
    },
    settle: async (db, subject) => {
      for (const { versionId, stage } of subject) {
        if (stage === 'retired') await deleteSealed(db, versionId);
      }
    },
    destroyOwner: async (db, owner, _subjects, days) => {
      await deleteOwnerValues(db, owner.owner);
      return keys.scheduleDestruction(db, owner, days);
    },
    keepOwner: (db, owner) => keys.cancelDestruction(db, owner),
    endOwner: (db, owner) => keys.endDestruction(db, owner),
  };
}
