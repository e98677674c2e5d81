import { LRUCache } from 'lru-cache';
import type { LocalRoute } from '../../contract/route.ts';
import type { AwsClientOptions } from '../../platform/aws/calls.ts';
import type { SecretReader } from '../../platform/aws/secret-reader.ts';
import { FleetError } from '../../platform/errors.ts';
import type { Logger } from '../../platform/logging.ts';
import type { Credentials } from './credentials.ts';
import { RoutingError } from './problem.ts';

/** Where in AWS the credentials of the app's region are. */
export interface AwsSecretStore {
  awsRegion: string;
  /** For tests; otherwise the SDK's own chain finds the app's role. */
  client?: AwsClientOptions;
}

/** 2 s: a tenant whose secret cannot be read must not become a flood of questions to AWS. */
const REFUSED_MS = 2_000;
/** More tenants than that fail together only when AWS itself does: then the circuit breaker holds questions off. */
const REFUSED_MAX = 10_000;

/** What clients are told, by the code of the reader's error. */
const ANSWERS: Record<string, { code: string; retryAfterS: number }> = {
  secret_missing: { code: 'credential_missing', retryAfterS: 30 },
  secret_unusable: { code: 'credential_unusable', retryAfterS: 30 },
  aws_access_denied: { code: 'credential_denied', retryAfterS: 30 },
  aws_not_authenticated: { code: 'credential_denied', retryAfterS: 30 },
  aws_throttled: { code: 'credential_throttled', retryAfterS: 5 },
};
const UNAVAILABLE = { code: 'credential_unavailable', retryAfterS: 5 };

/**
 * Credentials that the app reads from Secrets Manager by its own role, by the version that the route names. The
 * control plane never sees them pass. Values that were read once are served from memory while AWS is away.
 */
export function awsCredentials(store: AwsSecretStore, logger: Logger): Credentials {
  const refused = new LRUCache<string, RoutingError>({ max: REFUSED_MAX, ttl: REFUSED_MS });
  // Here: whoever has the other store does not pay for loading the SDK.
  const opening = import('../../platform/aws/secret-reader.ts').then(({ openSecretReader }) =>
    openSecretReader(store.awsRegion, store.client),
  );
  // Told by each question that fails for it.
  opening.catch(() => undefined);
  return {
    get: async (route) => {
      const known = refused.get(route.credentialVersion);
      if (known !== undefined) throw known;
      try {
        const password = await readVersion(await opening, route);
        return { credentialVersion: route.credentialVersion, login: route.login, password };
      } catch (error) {
        const answer = refusal(error);
        refused.set(route.credentialVersion, answer);
        const { code } = answer;
        logger.warn("a credential cannot be read; the tenant's open connections go on", {
          tenant: route.slug,
          version: route.credentialVersion,
          code,
          error,
        });
        throw answer;
      }
    },
    // A version's value never changes: what opens the database instead, the route feed says.
    renew: () => Promise.resolve(undefined),
    forget: ({ secret }) => {
      if (secret !== undefined)
        void opening.then(
          (reader) => reader.forget(secret),
          () => undefined,
        );
    },
    close: () =>
      void opening.then(
        (reader) => reader.close(),
        () => undefined,
      ),
  };
}

async function readVersion(reader: SecretReader, route: LocalRoute): Promise<string> {
  if (route.secret !== undefined) {
    return reader.read({ name: route.secret, versionId: route.credentialVersion });
  }
  throw new FleetError({
    code: 'secret_missing',
    status: 503,
    message: 'the route feed names no secret: the control plane keeps credentials itself',
    fix: 'start both with the same FLEET_SECRET_STORE',
  });
}

/** Whose secret it is and what AWS said stays in the log: clients are told as much as they can use. */
function refusal(cause: unknown): RoutingError {
  const code = cause instanceof Error && 'code' in cause ? String(cause.code) : '';
  return new RoutingError({
    ...(ANSWERS[code] ?? UNAVAILABLE),
    status: 503,
    message: "the credential of the tenant's database cannot be read just now",
    cause,
  });
}
