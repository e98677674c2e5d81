import type { Logger } from '../../platform/logging.ts';
import type { Registry } from '../registry/registry.ts';
import type { Secrets } from '../secrets/secret.ts';
import type { ServerAccess } from '../servers/access.ts';

/** What rotations work with. */
export interface RotationDeps {
  registry: Registry;
  secrets: Secrets;
  servers: ServerAccess;
  logger: Logger;
}
