import {
  CreateSecretCommand,
  DeleteSecretCommand,
  DescribeSecretCommand,
  PutSecretValueCommand,
  UpdateSecretVersionStageCommand,
  type DescribeSecretCommandOutput,
} from '@aws-sdk/client-secrets-manager';
import { AWS_ERROR, isAws } from '../../../platform/aws/failures.ts';
import { awsTags, ownerPath, secretName, SECRETS_COMPONENT } from '../../../platform/aws/names.ts';
import { cacheValues, getSecretValue, type SecretVersion } from '../../../platform/aws/secret-values.ts';
import { FleetError } from '../../../platform/errors.ts';
import type { AwsRegions } from '../aws/regions.ts';
import type { SecretPlace, SecretSubject } from '../keys/key-service.ts';
import type { KmsKeys } from '../keys/kms.ts';
import type { SecretStore, StagedPlace } from './secret-store.ts';

export interface AwsStoreDeps {
  regions: AwsRegions;
  keys: KmsKeys;
  /** What the cache goes by, in ms; for tests. */
  clock?: { now(): number };
}

const LABELS = [
  // First: AWS moves AWSPREVIOUS by itself when it moves AWSCURRENT.
  ['AWSCURRENT', 'current'],
  ['AWSPENDING', 'pending'],
  ['AWSPREVIOUS', 'previous'],
] as const;

/** A version of ours, and where AWS has it. */
type Version = SecretPlace & SecretVersion;

/**
 * The `aws` secret store: a secret of Secrets Manager for each subject, in its owner's region and under its
 * owner's KMS key, with a version for each of ours. The version's id is the request's token, which AWS never
 * takes for two values.
 */
export function awsStore(deps: AwsStoreDeps): SecretStore {
  const { fleet } = deps.regions;
  const cache = cacheValues<Version>((version) => getValue(deps, version), deps.clock);
  const versionOf = (place: SecretPlace): Version => ({ ...place, name: secretName(fleet, place) });
  return {
    isRemote: true,
    locate: (subject) => secretName(fleet, subject),
    ensure: async (_db, place, value) => {
      const kept =
        (await getValue(deps, versionOf(place))) ?? (await putValue(deps, versionOf(place), value));
      cache.keep(versionOf(place), kept);
      return kept;
    },
    read: async (_db, places) => {
      const read = async (place: SecretPlace) =>
        [place.versionId, await cache.read(versionOf(place))] as const;
      const values = await Promise.all(places.map(read));
      return new Map(values.filter((entry): entry is readonly [string, string] => entry[1] !== undefined));
    },
    settle: async (_db, subject) => {
      for (const place of subject) if (place.stage === 'retired') cache.forget(versionOf(place));
      await moveLabels(deps, subject);
    },
    destroyOwner: async (db, owner, subjects, days) => {
      cache.forgetAll(`${ownerPath(fleet, owner)}/`);
      for (const subject of subjects) await deleteSecret(deps, { ...owner, subject }, days);
      return deps.keys.scheduleDestruction(db, owner, days);
    },
    keepOwner: (db, owner) => deps.keys.cancelDestruction(db, owner),
    endOwner: (db, owner) => deps.keys.endDestruction(db, owner),
  };
}

/** Undefined when there is no such secret, or no such version of it. */
function getValue(deps: AwsStoreDeps, version: Version): Promise<string | undefined> {
  return send(deps, version, 'secretsmanager:GetSecretValue', ({ secrets }) =>
    getSecretValue(secrets, version),
  );
}

/** Who was first with this version has decided its value. */
async function putValue(deps: AwsStoreDeps, place: Version, value: string): Promise<string> {
  const put = () => putVersion(deps, place, value);
  try {
    await put().catch(async (error: unknown) => {
      if (!isAws(error, AWS_ERROR.resourceNotFound)) throw error;
      await createSecret(deps, place);
      await put();
    });
    return value;
  } catch (error) {
    if (!isAws(error, AWS_ERROR.resourceExists)) throw error;
    const first = await getValue(deps, place);
    if (first === undefined) throw error;
    return first;
  }
}

async function putVersion(deps: AwsStoreDeps, place: SecretPlace, value: string): Promise<void> {
  await send(deps, place, 'secretsmanager:PutSecretValue', ({ secrets }) =>
    secrets.send(
      new PutSecretValueCommand({
        SecretId: secretName(deps.regions.fleet, place),
        ClientRequestToken: place.versionId,
        SecretString: value,
        VersionStages: ['AWSPENDING'],
      }),
    ),
  );
}

async function createSecret(deps: AwsStoreDeps, place: SecretPlace): Promise<void> {
  const KmsKeyId = await deps.keys.ensureKey(place);
  const { fleet } = deps.regions;
  const tags = awsTags(fleet, place.region, SECRETS_COMPONENT, [place.owner, place.subject]);
  try {
    await send(deps, place, 'secretsmanager:CreateSecret', ({ secrets }) =>
      secrets.send(
        new CreateSecretCommand({
          Name: secretName(deps.regions.fleet, place),
          KmsKeyId,
          Tags: Object.entries(tags).map(([Key, Value]) => ({ Key, Value })),
        }),
      ),
    );
  } catch (error) {
    // Another process was first.
    if (!isAws(error, AWS_ERROR.resourceExists)) throw error;
  }
}

/**
 * Brings the staging labels to what the registry says. Each move names the version that has the label now, and
 * AWS refuses it if another has it meanwhile: one that comes late cannot take the label back.
 */
async function moveLabels(deps: AwsStoreDeps, subject: StagedPlace[]): Promise<void> {
  const [first] = subject;
  if (first === undefined) return;
  const SecretId = secretName(deps.regions.fleet, first);
  const isOver = subject.every((place) => place.stage === 'retired');
  let labelled = await describe(deps, first);
  // Gone, or going, with everything in it.
  if (isOver && (labelled === undefined || labelled.DeletedDate !== undefined)) return;
  for (const [VersionStage, stage] of LABELS) {
    const wanted = subject.find((place) => place.stage === stage)?.versionId;
    const holder = holderOf(labelled, VersionStage);
    // AWS lets no secret be without a current version once it had one.
    if (wanted === holder || (wanted === undefined && VersionStage === 'AWSCURRENT')) continue;
    await send(deps, first, 'secretsmanager:UpdateSecretVersionStage', ({ secrets }) =>
      secrets.send(
        new UpdateSecretVersionStageCommand({
          SecretId,
          VersionStage,
          MoveToVersionId: wanted,
          RemoveFromVersionId: holder,
        }),
      ),
    );
    if (VersionStage === 'AWSCURRENT') labelled = await describe(deps, first);
  }
}

function holderOf(secret: DescribeSecretCommandOutput | undefined, label: string): string | undefined {
  const versions = Object.entries(secret?.VersionIdsToStages ?? {});
  return versions.find(([, labels]) => labels.includes(label))?.[0];
}

async function deleteSecret(deps: AwsStoreDeps, place: SecretSubject, days: number): Promise<void> {
  const found = await describe(deps, place);
  if (found === undefined || found.DeletedDate !== undefined) return;
  await send(deps, place, 'secretsmanager:DeleteSecret', ({ secrets }) =>
    secrets.send(
      new DeleteSecretCommand({
        SecretId: secretName(deps.regions.fleet, place),
        RecoveryWindowInDays: days,
      }),
    ),
  );
}

/** Undefined when there is no such secret. */
async function describe(
  deps: AwsStoreDeps,
  place: SecretSubject,
): Promise<DescribeSecretCommandOutput | undefined> {
  const aws = deps.regions.of(place.region);
  try {
    return await aws.call('Secrets Manager', 'secretsmanager:DescribeSecret', () =>
      aws.secrets.send(new DescribeSecretCommand({ SecretId: secretName(deps.regions.fleet, place) })),
    );
  } catch (error) {
    if (isAws(error, AWS_ERROR.resourceNotFound)) return undefined;
    throw error;
  }
}

/** Runs one call; where AWS only says that it cannot, finds out whether the secret or its key is to blame. */
async function send<T>(
  deps: AwsStoreDeps,
  place: SecretSubject,
  action: string,
  work: (aws: ReturnType<AwsRegions['of']>) => Promise<T>,
): Promise<T> {
  const aws = deps.regions.of(place.region);
  try {
    return await aws.call('Secrets Manager', action, () => work(aws));
  } catch (error) {
    const isVague =
      isAws(
        error,
        AWS_ERROR.invalidRequest,
        AWS_ERROR.decryptionFailure,
        AWS_ERROR.encryptionFailure,
        AWS_ERROR.keyState,
        AWS_ERROR.disabled,
      ) ||
      (error instanceof FleetError && error.code === 'aws_access_denied');
    if (isVague) await blame(deps, place, error);
    throw error;
  }
}

/**
 * Says of the secret or its key what keeps it from being used, if that can be seen. Secrets Manager has one
 * error for many reasons, and reports a key that is disabled as a right that is missing.
 * @throws FleetError `secret_deleted`, `key_disabled`, `key_pending_destruction`, `key_missing`
 */
async function blame(deps: AwsStoreDeps, place: SecretSubject, cause: unknown): Promise<void> {
  const secret = await unlessDenied(describe(deps, place));
  if (secret?.DeletedDate !== undefined) throw secretDeleted(secretName(deps.regions.fleet, place), cause);
  await unlessDenied(deps.keys.requireUsable(place));
}

/** Who may not look is told of what was refused first. */
async function unlessDenied<T>(look: Promise<T>): Promise<T | undefined> {
  return look.catch((error: unknown) => {
    if (error instanceof FleetError && error.code === 'aws_access_denied') return undefined;
    throw error;
  });
}

function secretDeleted(name: string, cause: unknown): FleetError {
  return new FleetError({
    code: 'secret_deleted',
    status: 503,
    message: `the secret ${name} was deleted in AWS, and is gone for good when its recovery window is over`,
    fix: `aws secretsmanager restore-secret --secret-id ${name}`,
    cause,
  });
}
