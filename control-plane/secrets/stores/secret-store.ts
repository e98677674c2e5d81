import type { Queryable } from '../../../platform/pg.ts';
import type { KeyOwner, SecretPlace, SecretSubject } from '../keys/key-service.ts';
import type { SecretStage } from '../secret.ts';

/** A version and the stage that the registry has it in. */
export interface StagedPlace extends SecretPlace {
  stage: SecretStage;
}

/**
 * Where values of secret versions are. The registry says which versions there are and in which stage: a store
 * is told. Every call may be repeated.
 *
 * `db` is the caller's transaction: the local store is in it. A remote store leaves it alone, and is called
 * when the registry's own change has been committed (see settle.ts).
 */
export interface SecretStore {
  /** Whether it is outside the registry, reached over a network and by no transaction. */
  readonly isRemote: boolean;
  /** By which name whoever has the right reads a subject's values himself. Undefined: nobody but this program can. */
  readonly locate: ((subject: SecretSubject) => string) | undefined;
  /** Keeps `value` as the version's unless it has one already. Returns the one that it has then. */
  ensure(db: Queryable, place: SecretPlace, value: string): Promise<string>;
  /** Values by version id; of a version that has none there is no entry. */
  read(db: Queryable, places: SecretPlace[]): Promise<Map<string, string>>;
  /** Makes the store's view of one subject the registry's; destroys what is retired, as far as it can. */
  settle(db: Queryable, subject: StagedPlace[]): Promise<void>;
  /**
   * Destroys all values of the owner, and its key after `days`; until then it opens nothing. Returns when it is gone for
   * good; undefined: there was none.
   */
  destroyOwner(db: Queryable, owner: KeyOwner, subjects: string[], days: number): Promise<Date | undefined>;
  /** Makes the key usable again, as long as it is there. The values stay destroyed. @throws FleetError `key_missing` */
  keepOwner(db: Queryable, owner: KeyOwner): Promise<void>;
  /** Destroys the key if its day has come. Whether it is gone. */
  endOwner(db: Queryable, owner: KeyOwner): Promise<boolean>;
}
