import type { Queryable } from '../../../platform/pg.ts';

/** What a value is bound to: it opens for no other owner, subject or version. */
export interface SecretPlace {
  versionId: string;
  /** `tenant:<id>` or `server:<id>`: whose key seals the value. */
  owner: string;
  /** `database:<id>` or `server:<id>`: what the value opens. */
  subject: string;
  /** The fleet's region that the owner lives in: its key and its values are nowhere else. */
  region: string;
}

export interface SealedValue {
  place: SecretPlace;
  sealed: Buffer;
}

/** What has versions, and in whose name. */
export type SecretSubject = Pick<SecretPlace, 'owner' | 'subject' | 'region'>;

export type KeyOwner = Pick<SecretPlace, 'owner' | 'region'>;

/**
 * A key for each owner, made at first use, that never leaves the service. Destroying it makes everything that
 * was sealed under it unreadable, in backups too.
 *
 * `db` is where a service that has its keys in the registry finds them; others leave it alone.
 */
export interface KeyService {
  seal(db: Queryable, place: SecretPlace, value: string): Promise<Buffer>;
  /**
   * Values by version id.
   * @throws FleetError `wrong_master_key`, `secret_tampered`, `secret_swapped`, `secret_truncated`,
   *   `secret_format_unknown`, `key_missing`, `key_pending_destruction`, `key_disabled`
   */
  open(db: Queryable, values: SealedValue[]): Promise<Map<string, string>>;
  /**
   * From now on the owner's key opens and seals nothing; it is gone for good after `days` (7 to 30).
   * Idempotent: a second call changes no date. Returns when it will be gone; undefined when there is no key.
   */
  scheduleDestruction(db: Queryable, owner: KeyOwner, days: number): Promise<Date | undefined>;
  /** Makes the key usable again. Harmless when nothing was scheduled. @throws FleetError `key_missing` */
  cancelDestruction(db: Queryable, owner: KeyOwner): Promise<void>;
  /** Destroys the key if its day has come, where the service does not do so by itself. Whether it is gone for good. */
  endDestruction(db: Queryable, owner: KeyOwner): Promise<boolean>;
}

/** What KMS allows; the local service promises the same, so that a fleet may change from one to the other. */
export const LEAST_RETENTION_DAYS = 7;
export const MOST_RETENTION_DAYS = 30;

/** The fields of the binding under their names: KMS's encryption context, and the order of the local one. */
export function bindingOf(place: SecretPlace): Record<string, string> {
  return { purpose: 'value', owner: place.owner, subject: place.subject, version: place.versionId };
}
