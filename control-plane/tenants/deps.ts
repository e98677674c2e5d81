import type { Logger } from '../../platform/logging.ts';
import type { Registry } from '../registry/registry.ts';
import type { Hold } from '../releases/backfill-run.ts';
import type { SchemaGuard } from '../releases/guard.ts';
import type { Secrets } from '../secrets/secret.ts';
import type { Rds } from '../servers/providers/rds/rds.ts';
import type { ServerAccess } from '../servers/access.ts';

/** What the steps of a tenant's operations work with. */
export interface TenantDeps {
  registry: Registry;
  secrets: Secrets;
  servers: ServerAccess;
  /** Where enterprise tenants get servers of their own; undefined where no region has a site on RDS. */
  rds?: Rds | undefined;
  logger: Logger;
  /** Says before each chunk of a backfill why it may not run now; null: it may. */
  throttle: Throttle;
  /** Refuses to migrate a database whose schema is not what its migrations make. */
  guard: (databaseId: string) => SchemaGuard;
}

export type Throttle = (place: {
  databaseId: string;
  serverId: string;
  database: string;
}) => () => Promise<Hold | null>;
