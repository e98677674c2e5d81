import PQueue from 'p-queue';
import { randomPassword } from '../../platform/crypto.ts';
import { FleetError, SQLSTATE, sqlState } from '../../platform/errors.ts';
import type { Logger } from '../../platform/logging.ts';
import type { Queryable } from '../../platform/pg.ts';
import type { Registry, Transaction } from '../registry/registry.ts';
import { findDestruction, type Destruction } from './destruction-store.ts';
import { endDestructions, keepKey, keyDestroyed, requestDestruction } from './destruction.ts';
import { deleteDataKey } from './key-store.ts';
import type { KeyService } from './keys/key-service.ts';
import { localKeys } from './keys/local.ts';
import type { MasterKey } from './keys/master-key.ts';
import { placeOf, settleAll, settleSubject, type SettleDeps } from './settle.ts';
import {
  deleteOwnerValues,
  deleteSealed,
  findStaged,
  findVersion,
  findVersions,
  insertSealed,
  insertVersion,
  lockVersion,
  lockVersions,
  moveStage,
  retireOwner,
  type VersionRow,
} from './store.ts';
import { localStore } from './stores/local.ts';
import type { SecretStore } from './stores/secret-store.ts';

export type SecretStage = 'pending' | 'current' | 'previous' | 'retired';
export type SecretEvent = 'promote' | 'supersede' | 'recall' | 'retire' | 'revive';

const STAGES: Record<SecretStage, Partial<Record<SecretEvent, SecretStage>>> = {
  pending: { promote: 'current', retire: 'retired' },
  current: { supersede: 'previous', retire: 'retired' },
  // A rotation that cannot be ended goes back: what was current is to be it again.
  previous: { recall: 'pending', retire: 'retired' },
  // Only an operation that was undone and is tried again brings its version back, with a new value.
  retired: { revive: 'pending' },
};

/** The stage after `event`, or undefined when the event has no meaning in this stage. Total and pure. */
export function transitionStage(stage: SecretStage, event: SecretEvent): SecretStage | undefined {
  return STAGES[stage][event];
}

/** The stages that the event may start from: updates carry them as the expected old stage. */
export function stageSources(event: SecretEvent): SecretStage[] {
  return (Object.keys(STAGES) as SecretStage[]).filter((stage) => STAGES[stage][event] !== undefined);
}

/** The stage that the event leads to; it is the same from wherever it may start. */
export function stageAfter(event: SecretEvent): SecretStage {
  const [stage] = stageSources(event);
  const next = stage === undefined ? undefined : STAGES[stage][event];
  if (next === undefined) throw new Error(`${event} leads nowhere`);
  return next;
}

/** Subject of the credentials that open a database. */
export function databaseSubject(databaseId: string): string {
  return `database:${databaseId}`;
}

/** A credential to be stored. The id is made with the operation, so that a repeated step finds its version. */
export interface NewVersion {
  id: string;
  /** `tenant:<id>` or `server:<id>`: whose data key seals the value. */
  owner: string;
  /** `database:<id>` or `server:<id>`: what the credential opens. */
  subject: string;
  region: string;
  login: string;
}

export interface Credential {
  versionId: string;
  login: string;
  password: string;
}

/** Versions of credentials and their values. A version's value is never changed once it was handed out. */
export interface Secrets {
  /** Whether values and keys are outside the registry, and no master key wraps them. */
  readonly isRemote: boolean;
  /** Where tenant apps read a subject's values by their own right. Undefined: they are handed out by us. */
  readonly locate: SecretStore['locate'];
  /** Stores a new random password in stage pending. Idempotent by id. @throws FleetError `secret_pending` */
  createVersion(tx: Queryable, version: NewVersion): Promise<void>;
  /** Stores a given password in stage current; what was current becomes previous. Idempotent by id. */
  importVersion(tx: Queryable, version: NewVersion, password: string): Promise<void>;
  /**
   * The value of a version that is committed and not retired.
   * @throws FleetError `secret_not_found` (never made, or destroyed), and what the store refuses with
   */
  password(db: Queryable, versionId: string): Promise<string>;
  /** Passwords of many versions in one query; those without a value are missing. */
  passwords(db: Queryable, versionIds: string[]): Promise<Map<string, string>>;
  /** What opens the subject now. */
  current(db: Queryable, subject: string): Promise<Credential | undefined>;
  /** What opened the subject before, where it was not destroyed yet. */
  previous(db: Queryable, subject: string): Promise<{ versionId: string; login: string } | undefined>;
  /** pending → current, current → previous, previous → retired with its value destroyed. Idempotent. */
  promote(tx: Queryable, versionId: string): Promise<void>;
  /** Makes the previous version current again, and the current one previous. Harmless when it is current. */
  recall(tx: Queryable, versionId: string): Promise<void>;
  /** Retires one version and destroys its value. Harmless when it is gone. */
  destroyVersion(tx: Queryable, versionId: string): Promise<void>;
  /**
   * Retires all versions of the owner and destroys its key: nothing of it can be read again. At once where the store can
   * do that, else after the fleet's retention.
   */
  destroyOwner(tx: Transaction, owner: string): Promise<void>;
  /**
   * The same after the fleet's retention, for owners that somebody may have deleted by mistake. `name` is what people
   * call it. Undefined when it never had a credential, and so no key. Repeated, it changes nothing.
   */
  shredOwner(tx: Transaction, owner: string, name: string): Promise<Destruction | undefined>;
  /**
   * Keeps the key of an owner that was shredded: what is still there of what was sealed under it opens again. Its
   * credentials stay destroyed. @throws FleetError 404 `key_not_scheduled`, 410 `key_destroyed`
   */
  keepKey(tx: Transaction, owner: string): Promise<Destruction>;
  /** Destroys the keys whose retention is over. Harmless at any time. */
  endDestructions(registry: Registry, logger: Logger): Promise<void>;
  /** Tells a remote store what was committed and what it does not know yet. Harmless at any time. */
  settle(logger: Logger): Promise<void>;
}

/** How a fleet wants its secrets kept. */
export interface SecretOptions {
  /** Days between the deletion of an owner and the end of its key; 7 to 30. */
  retentionDays: number;
}

/** The longest that KMS has: who deletes a tenant by mistake notices within a month. */
export const DEFAULT_RETENTION_DAYS = 30;
const DEFAULTS: SecretOptions = { retentionDays: DEFAULT_RETENTION_DAYS };

/** Where values are, and what seals those that wait for a remote store. */
interface Values {
  store: SecretStore;
  held: KeyService;
  /** For a remote store: its own way to the registry, which sees what is committed and nothing else. */
  registry: SettleDeps['registry'] | undefined;
  settling: PQueue;
  options: SecretOptions;
}

/** Each holds a connection of the registry while the store answers: a slow store must not take all 20. */
const SETTLING_MAX = 4;

/** Secrets in the local store, under `masterKey` (32 bytes). */
export function createSecrets(masterKey: MasterKey, options = DEFAULTS): Secrets {
  const keys = localKeys(masterKey);
  return secretsIn({ store: localStore(keys), held: keys, options }, undefined);
}

/** Secrets in a remote store. Values given by a person are sealed under `masterKey` until the store has them. */
export function createRemoteSecrets(
  masterKey: MasterKey,
  store: SecretStore,
  registry: SettleDeps['registry'],
  options = DEFAULTS,
): Secrets {
  return secretsIn({ store, held: localKeys(masterKey), options }, registry);
}

function secretsIn(parts: Pick<Values, 'store' | 'held' | 'options'>, registry: Values['registry']): Secrets {
  const values = { ...parts, registry, settling: new PQueue({ concurrency: SETTLING_MAX }) };
  return {
    isRemote: values.store.isRemote,
    locate: parts.store.locate,
    createVersion: (tx, version) => createVersion(tx, values, version),
    importVersion: (tx, version, password) => importVersion(tx, values, version, password),
    password: (db, versionId) => readPassword(db, values, versionId),
    passwords: async (db, versionIds) => readAll(db, values, await findVersions(db, versionIds)),
    current: async (db, subject) => {
      const row = await findStaged(db, subject, 'current');
      if (row === undefined) return undefined;
      return { versionId: row.id, login: row.login, password: await readPassword(db, values, row.id) };
    },
    previous: async (db, subject) => {
      const row = await findStaged(db, subject, 'previous');
      return row === undefined ? undefined : { versionId: row.id, login: row.login };
    },
    promote,
    recall,
    destroyVersion,
    destroyOwner: (tx, owner) => destroyOwner(tx, values, owner),
    shredOwner: (tx, owner, name) => shredOwner(tx, values, owner, name),
    keepKey: (tx, owner) => keepKey(tx, values.store, owner),
    endDestructions: (on, logger) => endDestructions(on, values.store, logger),
    settle: async (logger) => {
      if (registry !== undefined) await settleAll({ ...parts, registry }, logger);
    },
  };
}

/** A remote store makes the value when it is told of the version: nothing of it is ever in the registry. */
async function createVersion(tx: Queryable, values: Values, version: NewVersion): Promise<void> {
  const inserted = await insertPending(tx, version);
  if (inserted === undefined) return assertSame(tx, version);
  if (!values.store.isRemote) await values.store.ensure(tx, placeOf(inserted), randomPassword());
}

async function insertPending(tx: Queryable, version: NewVersion): Promise<VersionRow | undefined> {
  try {
    return await insertVersion(tx, { ...version, stage: stageAfter('revive') }, stageSources('revive'));
  } catch (error) {
    if (sqlState(error) !== SQLSTATE.uniqueViolation) throw error;
    throw new FleetError({
      code: 'secret_pending',
      status: 409,
      message: `another credential of ${version.subject} is being set`,
      fix: 'wait until that rotation is over',
      retryable: true,
      cause: error,
    });
  }
}

/** What a person gave cannot be made again: it is held, sealed, in the transaction, until a remote store has it. */
async function importVersion(
  tx: Queryable,
  values: Values,
  version: NewVersion,
  password: string,
): Promise<void> {
  const inserted = await insertPending(tx, version);
  if (inserted === undefined) return assertSame(tx, version);
  await insertSealed(tx, version.id, await values.held.seal(tx, placeOf(inserted), password));
  await promote(tx, version.id);
}

/** A repeated call must mean the same thing; anything else is a mistake of the caller. */
async function assertSame(tx: Queryable, version: NewVersion): Promise<void> {
  const found = await findVersion(tx, version.id);
  if (found?.owner === version.owner && found.subject === version.subject && found.login === version.login)
    return;
  throw new Error(`secret version ${version.id} already stands for something else`);
}

async function readPassword(db: Queryable, values: Values, versionId: string): Promise<string> {
  const found = await findVersions(db, [versionId]);
  const value = (await readAll(db, values, found)).get(versionId);
  if (value !== undefined) return value;
  const isKnown = found.some((version) => version.stage !== 'retired' && version.settledStage !== null);
  if (isKnown) throw lostByStore(versionId);
  const destruction = found[0] === undefined ? undefined : await findDestruction(db, found[0].owner);
  if (destruction?.state === 'destroyed') throw keyDestroyed(destruction);
  throw new FleetError({
    code: 'secret_not_found',
    status: 404,
    message: `there is no value for secret version ${versionId}: it was destroyed or never made`,
  });
}

function lostByStore(versionId: string): FleetError {
  return new FleetError({
    code: 'secret_lost',
    status: 503,
    message: `the secret store has no value for secret version ${versionId}, and had one before`,
    fix: 'start with the FLEET_SECRET_STORE that this registry was used with; if it was deleted in the store, rotate it',
  });
}

/** What a remote store does not have yet it is told first, by a transaction that sees committed versions only. */
async function readAll(db: Queryable, values: Values, found: VersionRow[]): Promise<Map<string, string>> {
  const { registry, store } = values;
  const versions = found.filter((version) => version.stage !== 'retired');
  if (registry !== undefined) {
    const waiting = versions.filter((version) => version.settledStage === null);
    for (const subject of new Set(waiting.map((version) => version.subject))) {
      await values.settling.add(() => settleSubject({ ...values, registry }, subject));
    }
  }
  return store.read(db, versions.map(placeOf));
}

/** Only the local store can destroy a key at once. */
async function destroyOwner(tx: Transaction, values: Values, owner: string): Promise<void> {
  if (values.store.isRemote) return void (await shredOwner(tx, values, owner, null));
  await retireAll(tx, owner);
  await deleteDataKey(tx, owner);
}

/** A remote store is told after the commit, by the next sweep: what cannot be undone is not begun before. */
async function shredOwner(
  tx: Transaction,
  { store, options }: Values,
  owner: string,
  name: string | null,
): Promise<Destruction | undefined> {
  const region = await retireAll(tx, owner);
  // The one that has sealed what waited for the remote store.
  if (store.isRemote) await deleteDataKey(tx, owner);
  return region === undefined
    ? undefined
    : requestDestruction(tx, store, { owner, region, name, ...options });
}

/** Returns the region that the owner's credentials were in; undefined when it never had one. */
async function retireAll(tx: Queryable, owner: string): Promise<string | undefined> {
  const [region] = await retireOwner(tx, owner, { from: stageSources('retire'), to: stageAfter('retire') });
  await deleteOwnerValues(tx, owner);
  return region;
}

async function promote(tx: Queryable, versionId: string): Promise<void> {
  const asked = await findVersion(tx, versionId);
  const versions = asked === undefined ? [] : await lockVersions(tx, asked.subject);
  const wanted = versions.find((version) => version.id === versionId);
  if (wanted?.stage === 'current') return;
  if (wanted === undefined || transitionStage(wanted.stage, 'promote') === undefined) {
    throw new FleetError({
      code: 'secret_not_pending',
      status: 409,
      message: `secret version ${versionId} is ${wanted?.stage ?? asked?.stage ?? 'unknown'}, not pending`,
    });
  }
  // In this order, as at most one version of a subject stands in each stage.
  for (const version of versions.filter((other) => other.stage === 'previous')) {
    await destroyVersion(tx, version.id);
  }
  for (const version of versions.filter((other) => other.stage === 'current')) {
    await move(tx, version, 'supersede');
  }
  await move(tx, wanted, 'promote');
}

async function recall(tx: Queryable, versionId: string): Promise<void> {
  const asked = await findVersion(tx, versionId);
  const versions = asked === undefined ? [] : await lockVersions(tx, asked.subject);
  const previous = versions.find(({ id, stage }) => id === versionId && stage === 'previous');
  if (previous === undefined) return;
  // By way of pending, as at most one version of a subject stands in each stage.
  await move(tx, previous, 'recall');
  await promote(tx, versionId);
}

/** Moves a version whose row is locked: finding it elsewhere than it was read is a fault, and nothing is written. */
async function move(
  tx: Queryable,
  version: Pick<VersionRow, 'id' | 'stage'>,
  event: SecretEvent,
): Promise<void> {
  const next = transitionStage(version.stage, event);
  if (next === undefined || !(await moveStage(tx, version.id, version.stage, next))) {
    throw new Error(`secret version ${version.id} is not ${version.stage}: it cannot ${event}`);
  }
}

async function destroyVersion(tx: Queryable, versionId: string): Promise<void> {
  const found = await lockVersion(tx, versionId);
  if (found === undefined) return;
  await deleteSealed(tx, versionId);
  // Retired already: destroyed by an earlier run of the step.
  if (transitionStage(found.stage, 'retire') !== undefined) await move(tx, found, 'retire');
}
