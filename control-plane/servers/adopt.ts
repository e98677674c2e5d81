import { FleetError } from '../../platform/errors.ts';
import type { Transaction } from '../registry/registry.ts';
import { requireRds, type RdsDeps } from './providers/rds.ts';
import { SERVER_TAG, tagsOf, type Instance } from './providers/rds/instance.ts';
import { patiently } from './providers/rds/waiting.ts';
import { insertInstance } from './providers/rds/store.ts';
import { alreadyRegistered } from './registration.ts';
import { findServer } from './store.ts';

/**
 * Takes an instance that somebody else made, Terraform mostly, into the fleet: it is found by its name, proves by its
 * tag that it is of the region, and gets the server's tag. From then on it is compared with what it is now. It is never
 * deleted by the fleet.
 * @throws FleetError `instance_not_found`, `instance_of_other_region`, `server_already_registered`
 */
export async function adoptInstance(
  deps: RdsDeps,
  server: { serverId: string; region: string; instance: string },
  transaction: <T>(work: (tx: Transaction) => Promise<T>) => Promise<T>,
): Promise<void> {
  const { serverId, region, instance: identifier } = server;
  const { fleet, instances } = requireRds(deps, region);
  const found = await patiently(() => instances.find({ region, identifier }));
  if (found === undefined) throw notFound(identifier, region);
  requireRegion(found, region);
  await requireFree(deps, found, serverId);
  await patiently(() => instances.tag(region, found.arn, tagsOf(fleet, server)));
  await transaction((tx) =>
    insertInstance(tx, { serverId, identifier, spec: found.spec, adopted: true, tenantId: null }),
  );
}

/** Residency: that it stands in the right region of AWS is not enough where two of the fleet share one. */
function requireRegion({ identifier, tags }: Instance, region: string): void {
  const marked = tags['fleet:region'];
  if (marked === region) return;
  throw new FleetError({
    code: 'instance_of_other_region',
    status: 409,
    message:
      marked === undefined
        ? `instance ${identifier} has no tag fleet:region, so that it may be anybody's`
        : `instance ${identifier} belongs to region ${marked} by its tag fleet:region`,
    fix: `tag it fleet:region=${region} if it is meant for tenants of ${region}, then try again`,
  });
}

/** The tag of a server that is no more, or never came to be, binds nobody. */
async function requireFree({ registry }: RdsDeps, { tags }: Instance, serverId: string): Promise<void> {
  const owner = tags[SERVER_TAG];
  if (owner === undefined || owner === serverId) return;
  const other = await findServer(registry, owner);
  if (other !== undefined && other.state !== 'retired') throw alreadyRegistered(other.name);
}

function notFound(identifier: string, region: string): FleetError {
  return new FleetError({
    code: 'instance_not_found',
    status: 422,
    message: `there is no PostgreSQL instance ${identifier} on RDS where ${region} is`,
    fix: 'aws rds describe-db-instances shows which there are',
  });
}
