import type { Registry } from '../../registry/registry.ts';
import type { Secrets } from '../../secrets/secret.ts';
import { serverNotFound } from '../server.ts';
import { findServer } from '../store.ts';
import type { Provider } from './provider.ts';

/** The admin that a server was registered with: its password is a secret version, never part of an input. */
export interface GivenAdmin {
  serverId: string;
  user: string;
  versionId: string;
}

/** Any PostgreSQL server that exists already: nothing is made, nothing is taken away. */
export function postgresProvider(
  deps: { registry: Registry; secrets: Secrets },
  given: GivenAdmin,
): Provider {
  return {
    open: async () => {
      const server = await findServer(deps.registry, given.serverId);
      if (server === undefined) throw serverNotFound(given.serverId);
      return {
        host: server.host,
        port: server.port,
        tls: server.tls,
        database: server.adminDatabase,
        user: given.user,
        password: await deps.secrets.password(deps.registry, given.versionId),
      };
    },
    discard: () => Promise.resolve(),
  };
}
