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
 * tags that it is meant for the fleet and the region, and gets the server's tag. From then on it is compared with what it is now. It is never
 * deleted by the fleet.
 * @throws FleetError `instance_not_found`, `instance_not_marked`, `server_already_registered`
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
  requireMarked(found, { 'fleet:fleet': fleet, 'fleet:region': region });
  await requireFree(deps, found, serverId);
  await patiently(() => instances.tag(region, found.arn, tagsOf(fleet, server)));
  await transaction((tx) =>
    insertInstance(tx, { serverId, identifier, spec: found.spec, adopted: true, tenantId: null }),
  );
}

/**
 * A person has set both tags: that it may be taken at all, and for whose tenants. That it stands in the right region of
 * AWS is not enough where two of the fleet share one; and without the first the control plane has no right to mark it.
 */
function requireMarked({ identifier, tags }: Instance, wanted: Record<string, string>): void {
  const wrong = Object.entries(wanted).filter(([tag, value]) => tags[tag] !== value);
  if (wrong.length === 0) return;
  const words = wrong.map(([tag]) => (tags[tag] === undefined ? `no tag ${tag}` : `${tag}=${tags[tag]}`));
  throw new FleetError({
    code: 'instance_not_marked',
    status: 409,
    message: `instance ${identifier} has ${words.join(' and ')}, so that it may be somebody else's`,
    fix: `if it is meant for this fleet and region, tag it ${wrong.map((pair) => pair.join('=')).join(' and ')}; then try again`,
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
