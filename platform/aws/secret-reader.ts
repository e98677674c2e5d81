import { SecretsManagerClient } from '@aws-sdk/client-secrets-manager';
import { FleetError } from '../errors.ts';
import { awsClientConfig, openAwsCalls, type AwsClientOptions, type AwsPatience } from './calls.ts';
import { AWS_ERROR, isAws } from './failures.ts';
import { cacheValues, getSecretValue, type SecretVersion } from './secret-values.ts';

/** Reads versions of secrets in one region of AWS, and changes nothing. */
export interface SecretReader {
  /**
   * The version's value, from memory where it was read before.
   * @throws FleetError `secret_missing`, `secret_unusable`, `aws_access_denied`, `aws_not_authenticated`,
   *   `aws_throttled`, `aws_unavailable`
   */
  read(version: SecretVersion): Promise<string>;
  /** Forgets all versions of the secret. */
  forget(name: string): void;
  close(): void;
}

/** Two tries of a second each: someone's request waits for it, which itself gives up after 3 s. */
const IMPATIENT: AwsPatience = { maxAttempts: 2, connectMs: 500, requestMs: 1_000 };

export function openSecretReader(awsRegion: string, options: AwsClientOptions = {}): SecretReader {
  const client = new SecretsManagerClient(awsClientConfig(awsRegion, options, IMPATIENT));
  const calls = openAwsCalls(awsRegion);
  const cache = cacheValues((version) =>
    calls.call('Secrets Manager', 'secretsmanager:GetSecretValue', () => getSecretValue(client, version)),
  );
  return {
    read: async (version) => {
      const value = await cache.read(version).catch((error: unknown) => {
        throw isUnusable(error) ? unusable(version, error) : error;
      });
      if (value === undefined) throw missing(version);
      return value;
    },
    forget: (name) => cache.forgetAll(`${name} `),
    close: () => {
      client.destroy();
      calls.close();
    },
  };
}

/** The secret is being deleted, or its key is disabled or being destroyed. */
function isUnusable(error: unknown): boolean {
  return isAws(
    error,
    AWS_ERROR.invalidRequest,
    AWS_ERROR.decryptionFailure,
    AWS_ERROR.keyState,
    AWS_ERROR.disabled,
  );
}

function missing({ name, versionId }: SecretVersion): FleetError {
  return new FleetError({
    code: 'secret_missing',
    status: 503,
    message: `Secrets Manager has no version ${versionId} of the secret ${name}`,
    fix: 'look whether it was deleted by hand; `fleet secret rotate` makes a new version',
  });
}

function unusable({ name }: SecretVersion, cause: unknown): FleetError {
  return new FleetError({
    code: 'secret_unusable',
    status: 503,
    message: `Secrets Manager cannot open the secret ${name}: it is being deleted, or its key is disabled`,
    fix: `aws secretsmanager describe-secret --secret-id ${name} says which; restore the secret or enable its key`,
    cause,
  });
}
