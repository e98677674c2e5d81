import {
  CancelKeyDeletionCommand,
  CreateAliasCommand,
  CreateKeyCommand,
  DecryptCommand,
  DescribeKeyCommand,
  EnableKeyCommand,
  GenerateDataKeyCommand,
  ScheduleKeyDeletionCommand,
  type KeyMetadata,
} from '@aws-sdk/client-kms';
import { awsTags, keyAlias, SECRETS_COMPONENT } from '../../../platform/aws/names.ts';
import { FleetError } from '../../../platform/errors.ts';
import { isSealedFor, open, seal, UnsealError } from '../../../platform/sealing.ts';
import { AWS_ERROR, isAws, unavailable } from '../../../platform/aws/failures.ts';
import type { AwsRegion, AwsRegions } from '../aws/regions.ts';
import { keyMissing, keyPendingDestruction, refusing } from '../refusals.ts';
import {
  bindingOf,
  LEAST_RETENTION_DAYS,
  MOST_RETENTION_DAYS,
  type KeyOwner,
  type KeyService,
  type SecretPlace,
} from './key-service.ts';

/** A KMS key for each owner, in the owner's region; found again by its alias. */
export interface KmsKeys extends KeyService {
  /** ARN of the owner's key, made if there is none. @throws FleetError `key_pending_destruction`, `key_disabled` */
  ensureKey(owner: KeyOwner): Promise<string>;
  /** @throws FleetError `key_missing`, `key_pending_destruction`, `key_disabled` when the owner's key cannot be used */
  requireUsable(owner: KeyOwner): Promise<void>;
}

/** 'FLK' | format (1) | length of the wrapped data key (2) | data key as KMS has wrapped it | sealed value. */
const MAGIC = Buffer.from('FLK1');
const LENGTH_BYTES = 2;

/**
 * Values sealed under data keys of KMS: one for each value, wrapped by the owner's key with the value's place
 * as encryption context, so that KMS itself refuses it for another place, and has it in its log.
 */
export function kmsKeys(regions: AwsRegions): KmsKeys {
  return {
    ensureKey: (owner) => ensureKey(regions, owner),
    requireUsable: async (owner) => {
      requireUsable(await findKey(regions, owner), owner.owner);
    },
    seal: (_db, place, value) => sealUnder(regions, place, value),
    open: async (_db, values) =>
      new Map(
        await Promise.all(
          values.map(
            async ({ place, sealed }) => [place.versionId, await openUnder(regions, place, sealed)] as const,
          ),
        ),
      ),
    scheduleDestruction: (_db, owner, days) => scheduleDestruction(regions, owner, days),
    cancelDestruction: (_db, owner) => cancelDestruction(regions, owner),
    endDestruction: async (_db, owner) => (await findKey(regions, owner)) === undefined,
  };
}

async function sealUnder(regions: AwsRegions, place: SecretPlace, value: string): Promise<Buffer> {
  const aws = regions.of(place.region);
  const KeyId = await ensureKey(regions, place);
  const made = await onKey(regions, place, 'kms:GenerateDataKey', () =>
    aws.kms.send(
      new GenerateDataKeyCommand({ KeyId, KeySpec: 'AES_256', EncryptionContext: bindingOf(place) }),
    ),
  );
  const wrapped = Buffer.from(made.CiphertextBlob ?? []);
  const length = Buffer.alloc(LENGTH_BYTES);
  length.writeUInt16BE(wrapped.length);
  const dataKey = Buffer.from(made.Plaintext ?? []);
  const sealed = seal(dataKey, Buffer.from(value, 'utf8'), Object.values(bindingOf(place)));
  return Buffer.concat([MAGIC, length, wrapped, sealed]);
}

async function openUnder(regions: AwsRegions, place: SecretPlace, bytes: Buffer): Promise<string> {
  const refuse = <T>(work: () => T): T => refusing('value', `a sealed value of ${place.owner}`, work);
  const { wrapped, sealed } = refuse(() => split(bytes));
  const bound = Object.values(bindingOf(place));
  const aws = regions.of(place.region);
  const opened = onKey(regions, place, 'kms:Decrypt', () =>
    aws.kms.send(
      new DecryptCommand({
        // Named, so that a value wrapped under another owner's key is refused although we may use that one.
        KeyId: keyAlias(regions.fleet, place),
        CiphertextBlob: wrapped,
        EncryptionContext: bindingOf(place),
      }),
    ),
  );
  const { Plaintext } = await opened.catch((error: unknown) => {
    if (!isAws(error, AWS_ERROR.invalidCiphertext, AWS_ERROR.incorrectKey)) throw error;
    // KMS has one answer for changed bytes and for another context: the value itself says which it is.
    return refuse(() => {
      throw new UnsealError(isSealedFor(sealed, bound) ? 'tampered' : 'swapped');
    });
  });
  return refuse(() => open(Buffer.from(Plaintext ?? []), sealed, bound)).toString('utf8');
}

function split(bytes: Buffer): { wrapped: Buffer; sealed: Buffer } {
  const start = MAGIC.length + LENGTH_BYTES;
  if (bytes.length < start) throw new UnsealError('truncated');
  if (!bytes.subarray(0, MAGIC.length).equals(MAGIC)) throw new UnsealError('unknown_format');
  const end = start + bytes.readUInt16BE(MAGIC.length);
  if (bytes.length <= end) throw new UnsealError('truncated');
  return { wrapped: bytes.subarray(start, end), sealed: bytes.subarray(end) };
}

/**
 * KMS knows no token for a new key: two calls at once may make two, of which the alias decides. The other is
 * scheduled for deletion, by the caller that lost; a crash in between leaves a key that nothing was sealed under.
 */
async function ensureKey(regions: AwsRegions, owner: KeyOwner): Promise<string> {
  const found = await findKey(regions, owner);
  if (found !== undefined) return requireUsable(found, owner.owner);
  const aws = regions.of(owner.region);
  const tags = awsTags(regions.fleet, owner.region, SECRETS_COMPONENT, [owner.owner]);
  const { KeyMetadata: made } = await aws.call('KMS', 'kms:CreateKey', () =>
    aws.kms.send(
      new CreateKeyCommand({
        Description: `Flotilla ${regions.fleet}: secrets of ${owner.owner}`,
        Tags: Object.entries(tags).map(([TagKey, TagValue]) => ({ TagKey, TagValue })),
      }),
    ),
  );
  const id = requireUsable(made, owner.owner);
  try {
    await aws.call('KMS', 'kms:CreateAlias', () =>
      aws.kms.send(
        new CreateAliasCommand({ AliasName: keyAlias(regions.fleet, owner), TargetKeyId: made?.KeyId }),
      ),
    );
    return id;
  } catch (error) {
    if (!isAws(error, AWS_ERROR.alreadyExists)) throw error;
    await scheduleDeletion(aws, made?.KeyId, LEAST_RETENTION_DAYS);
    return requireUsable(await findKey(regions, owner), owner.owner);
  }
}

async function findKey(regions: AwsRegions, owner: KeyOwner): Promise<KeyMetadata | undefined> {
  const aws = regions.of(owner.region);
  try {
    const { KeyMetadata: key } = await aws.call('KMS', 'kms:DescribeKey', () =>
      aws.kms.send(new DescribeKeyCommand({ KeyId: keyAlias(regions.fleet, owner) })),
    );
    return key;
  } catch (error) {
    if (isAws(error, AWS_ERROR.notFound)) return undefined;
    throw error;
  }
}

/** The key's ARN. @throws FleetError that says what state it is in instead */
function requireUsable(key: KeyMetadata | undefined, owner: string): string {
  if (key?.Arn === undefined) throw keyMissing(owner);
  if (key.KeyState === 'PendingDeletion') throw keyPendingDestruction(owner, key.DeletionDate);
  if (key.KeyState === 'Enabled') return key.Arn;
  throw new FleetError({
    code: 'key_disabled',
    status: 503,
    message: `the KMS key of ${owner} is ${key.KeyState === 'Disabled' ? 'disabled' : `in state ${key.KeyState ?? 'unknown'}`}`,
    fix: `aws kms enable-key --key-id ${key.Arn}; then everything goes on by itself`,
  });
}

async function scheduleDestruction(
  regions: AwsRegions,
  owner: KeyOwner,
  days: number,
): Promise<Date | undefined> {
  const key = await findKey(regions, owner);
  if (key === undefined) return undefined;
  if (key.KeyState === 'PendingDeletion') return key.DeletionDate;
  const window = Math.min(Math.max(days, LEAST_RETENTION_DAYS), MOST_RETENTION_DAYS);
  return scheduleDeletion(regions.of(owner.region), key.KeyId, window);
}

async function scheduleDeletion(
  aws: AwsRegion,
  KeyId: string | undefined,
  days: number,
): Promise<Date | undefined> {
  const { DeletionDate } = await aws.call('KMS', 'kms:ScheduleKeyDeletion', () =>
    aws.kms.send(new ScheduleKeyDeletionCommand({ KeyId, PendingWindowInDays: days })),
  );
  return DeletionDate;
}

/** KMS leaves a key disabled when its deletion was cancelled. */
async function cancelDestruction(regions: AwsRegions, owner: KeyOwner): Promise<void> {
  const key = await findKey(regions, owner);
  if (key === undefined) throw keyMissing(owner.owner);
  const aws = regions.of(owner.region);
  const { KeyId } = key;
  if (key.KeyState === 'PendingDeletion') {
    await aws.call('KMS', 'kms:CancelKeyDeletion', () =>
      aws.kms.send(new CancelKeyDeletionCommand({ KeyId })),
    );
  }
  await aws.call('KMS', 'kms:EnableKey', () => aws.kms.send(new EnableKeyCommand({ KeyId })));
}

/** Runs a call that uses the owner's key; what KMS answers of the key is told apart. */
async function onKey<T>(
  regions: AwsRegions,
  owner: KeyOwner,
  action: string,
  work: () => Promise<T>,
): Promise<T> {
  try {
    return await regions.of(owner.region).call('KMS', action, work);
  } catch (error) {
    if (isAws(error, AWS_ERROR.notFound)) throw keyMissing(owner.owner);
    if (!isAws(error, AWS_ERROR.disabled, AWS_ERROR.keyState)) throw error;
    requireUsable(await findKey(regions, owner), owner.owner);
    // Usable again between the two calls: so is the same call.
    throw unavailable(`the KMS key of ${owner.owner}`, error);
  }
}
