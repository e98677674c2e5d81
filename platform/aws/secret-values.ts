import { GetSecretValueCommand, type SecretsManagerClient } from '@aws-sdk/client-secrets-manager';
import { LRUCache } from 'lru-cache';
import { isRetryable } from '../errors.ts';
import { AWS_ERROR, isAws } from './failures.ts';

/** One version of a secret in Secrets Manager. */
export interface SecretVersion {
  name: string;
  versionId: string;
}

/** Undefined when there is no such secret, or no such version of it. Other errors are AWS's own. */
export async function getSecretValue(
  client: SecretsManagerClient,
  { name, versionId }: SecretVersion,
): Promise<string | undefined> {
  try {
    const command = new GetSecretValueCommand({ SecretId: name, VersionId: versionId });
    return (await client.send(command)).SecretString;
  } catch (error) {
    if (isAws(error, AWS_ERROR.resourceNotFound)) return undefined;
    throw error;
  }
}

/**
 * A version's value never changes, so its age does not matter; five minutes bound how long a process serves
 * what was taken away from it in AWS, and leave a fleet of thousands far below the quota of reads.
 */
export const CACHE_TTL_MS = 300_000;
/** Two versions for each of 10,000 databases, some 200 bytes each. */
const CACHE_MAX = 20_000;

/** Values in memory, for those who read the same version again. */
export interface ValueCache<V extends SecretVersion> {
  /** From memory, else by one question for all who ask at once. What there is not is not remembered. */
  read(version: V): Promise<string | undefined>;
  keep(version: SecretVersion, value: string): void;
  forget(version: SecretVersion): void;
  /** Forgets all secrets whose name begins so. */
  forgetAll(prefix: string): void;
}

/** `clock` is what the cache goes by, in ms; for tests. */
export function cacheValues<V extends SecretVersion>(
  get: (version: V) => Promise<string | undefined>,
  clock?: { now(): number },
): ValueCache<V> {
  const cache = new LRUCache<string, string, () => Promise<string | undefined>>({
    max: CACHE_MAX,
    ttl: CACHE_TTL_MS,
    ...(clock === undefined ? {} : { perf: clock, ttlResolution: 0 }),
    // While AWS does not answer, what it has said before goes on to be used.
    fetchMethod: (_key, old, { context: ask }) =>
      ask().catch((error: unknown) => {
        if (old !== undefined && isRetryable(error)) return old;
        throw error;
      }),
  });
  return {
    read: (version) => cache.fetch(keyOf(version), { context: () => get(version) }),
    keep: (version, value) => void cache.set(keyOf(version), value),
    forget: (version) => void cache.delete(keyOf(version)),
    forgetAll: (prefix) => {
      for (const key of cache.keys()) if (key.startsWith(prefix)) cache.delete(key);
    },
  };
}

function keyOf({ name, versionId }: SecretVersion): string {
  return `${name} ${versionId}`;
}
