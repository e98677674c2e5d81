import { FleetError } from '../../platform/errors.ts';
import type { Registry } from '../registry/registry.ts';
import type { Secrets } from '../secrets/secret.ts';
import { findStaged } from '../secrets/store.ts';

/**
 * The logins of a server have one password each, and change it in place: in the middle of a rotation, or where one was
 * cut there, it is the current one or the pending one, and only the server knows which.
 */
interface Deps {
  registry: Registry;
  secrets: Secrets;
}

/** What the password may be, the current one first, beside those that the server has refused. */
export async function passwordBeside(
  deps: Deps,
  subject: string,
  refused: readonly string[],
): Promise<string | undefined> {
  // In this order: one that becomes current in between is seen.
  const pending = await pendingPassword(deps, subject);
  const current = await deps.secrets.current(deps.registry, subject);
  return [current?.password, pending].find((one) => one !== undefined && !refused.includes(one));
}

async function pendingPassword({ registry, secrets }: Deps, subject: string): Promise<string | undefined> {
  const version = await findStaged(registry, subject, 'pending');
  if (version === undefined) return undefined;
  try {
    return await secrets.password(registry, version.id);
  } catch (error) {
    // Given up in this moment.
    if (error instanceof FleetError && error.code === 'secret_not_found') return undefined;
    throw error;
  }
}

/** Id of the version that logins get that are made now: a rotation under way will come by those that were before. */
export async function newestVersion({ registry }: Deps, subject: string): Promise<string> {
  const pending = await findStaged(registry, subject, 'pending');
  const version = pending ?? (await findStaged(registry, subject, 'current'));
  if (version !== undefined) return version.id;
  throw new FleetError({
    code: 'server_has_no_admin',
    status: 409,
    message: `there is no credential for ${subject}: its server was removed, or is not ready yet`,
    fix: 'fleet server list',
  });
}
