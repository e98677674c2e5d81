import type { Logger } from '../../platform/logging.ts';
import type { Registry } from '../registry/registry.ts';
import type { Secrets } from '../secrets/secret.ts';
import type { ServerAccess } from '../servers/access.ts';

/** What the steps of a tenant's operations work with. */
export interface TenantDeps {
  registry: Registry;
  secrets: Secrets;
  servers: ServerAccess;
  logger: Logger;
}
