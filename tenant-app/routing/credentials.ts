import type { LocalRoute, RouteCredential } from '../../contract/route.ts';

/** Credentials of this process, in memory only. */
export interface Credentials {
  /** What opens the route's database, from memory where it is known. */
  get(route: LocalRoute): Promise<RouteCredential>;
  /**
   * After the server refused `refused`: what opens the database now, or undefined when that is the same, or
   * was asked a moment ago.
   */
  renew(databaseId: string, refused: RouteCredential): Promise<RouteCredential | undefined>;
  /** The route leads to its database no longer. */
  forget(route: LocalRoute): void;
  close(): void;
}

/** 5 s: a credential that the server refuses must not become a flood of questions to the control plane. */
const RENEW_COOLDOWN_MS = 5_000;

interface Known {
  version: string;
  credential: Promise<RouteCredential>;
  renewedAt: number;
}

/** Credentials that the control plane hands out: one question at a time and database. */
export function createCredentials(fetchOne: (databaseId: string) => Promise<RouteCredential>): Credentials {
  const known = new Map<string, Known>();

  const ask = (databaseId: string, version: string, renewedAt: number): Promise<RouteCredential> => {
    const credential = fetchOne(databaseId);
    const entry: Known = { version, credential, renewedAt };
    known.set(databaseId, entry);
    // A failed question is asked again by the next request; the one who waits for it gets the error.
    credential.catch(() => {
      if (known.get(databaseId) === entry) known.delete(databaseId);
    });
    return credential;
  };
  return {
    get: ({ databaseId, credentialVersion: version }) => {
      const found = known.get(databaseId);
      return found?.version === version ? found.credential : ask(databaseId, version, 0);
    },
    renew: async (databaseId, refused) => {
      const found = known.get(databaseId);
      const latest = await found?.credential.catch(() => undefined);
      if (latest !== undefined && latest.password !== refused.password) return latest;
      if (found !== undefined && performance.now() - found.renewedAt < RENEW_COOLDOWN_MS) return undefined;
      const version = found?.version ?? refused.credentialVersion;
      const renewed = await ask(databaseId, version, performance.now());
      return renewed.password === refused.password ? undefined : renewed;
    },
    forget: ({ databaseId }) => {
      known.delete(databaseId);
    },
    close: () => known.clear(),
  };
}
