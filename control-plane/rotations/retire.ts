import { isUnreachable } from '../../platform/errors.ts';
import { SYSTEM_CALLER } from '../access/caller.ts';
import { audit } from '../audit/audit.ts';
import type { Driver } from '../operations/driver.ts';
import type { Lease } from '../operations/lease.ts';
import { lockVersions, lookAgain, noteRetired } from '../secrets/store.ts';
import { databaseNames } from '../servers/database.ts';
import { countSessions, disableLogin, endSessions } from '../tenants/roles.ts';
import type { RotationDeps } from './deps.ts';
import { findRotatedOut, RETIRABLE_SQL, type RotatedOut } from './store.ts';

/** 15 s: a server that is away takes seconds to minutes to come back, and each look costs a connection time-out. */
const UNREACHABLE_MS = 15_000;
/** 5 s: an app that has acknowledged has closed its sessions; whoever is left is a person at a prompt. */
const SESSIONS_LEFT_MS = 5_000;

/** Kind of the resource: one previous version. */
export const RETIRE = 'secret';

/**
 * Closes logins that were rotated out, when no app needs them: all live instances of the region have acknowledged what
 * came after, and no session is left; or when their time of grace is over, whoever has not; or at once, where they have
 * leaked. The sweeper finds them, so that nothing has to wait anywhere, and a tenant can be suspended or deleted
 * meanwhile.
 */
export function createRetireDriver(deps: RotationDeps): Driver {
  return { kind: RETIRE, openIdsSql: RETIRABLE_SQL, drive: (id, lease) => retire(deps, id, lease) };
}

async function retire(deps: RotationDeps, id: string, lease: Lease): Promise<void> {
  const version = await findRotatedOut(deps.registry, id);
  if (version === undefined) return;
  const { serverId, login, tenant, behind, isOverdue, revoked } = version;
  const mayBeUsed = !isOverdue && !revoked;
  if (mayBeUsed && behind > 0) return;
  try {
    const sessions = await deps.servers.admin(serverId, (admin) => countSessions(admin, login));
    if (mayBeUsed && sessions > 0) await lease.transaction((tx) => lookAgain(tx, id, SESSIONS_LEFT_MS));
    else await closeVersion(deps, version, reasonOf(version, sessions), lease);
  } catch (error) {
    if (!isUnreachable(error)) throw error;
    deps.logger.warn('an old login cannot be closed: its server does not answer', { tenant, login, error });
    await lease.transaction((tx) => lookAgain(tx, id, UNREACHABLE_MS));
  }
}

async function closeVersion(
  deps: RotationDeps,
  { id, subject, login, tenant, region, serverId, databaseId, revoked }: RotatedOut,
  because: string,
  lease: Lease,
): Promise<void> {
  await lease.transaction(async (tx) => {
    // Held until the login is closed: a rotation that needs it for a newer version waits, and opens it afterwards.
    const versions = await lockVersions(tx, subject);
    if (versions.find((one) => one.id === id)?.stage !== 'previous') return;
    lease.signal.throwIfAborted();
    await deps.servers.admin(serverId, async (admin) => {
      await disableLogin(admin, databaseNames(databaseId), login);
      if (revoked) await endSessions(admin, [login]);
    });
    await deps.secrets.destroyVersion(tx, id);
    await noteRetired(tx, id, because);
    audit(tx, {
      actor: SYSTEM_CALLER.name,
      actorRole: SYSTEM_CALLER.role,
      action: 'secret.retire',
      resource: `tenant:${tenant}`,
      region,
      before: { versionId: id, login, stage: 'previous' },
      after: { versionId: id, login, stage: 'retired' },
      reason: because,
    });
  });
  deps.logger.info('a login that was rotated out is closed', { tenant, login, because });
}

function reasonOf({ behind, isOverdue, revoked }: RotatedOut, sessions: number): string {
  if (revoked) return 'it was revoked at once';
  if (!isOverdue || (behind === 0 && sessions === 0)) {
    return 'every app instance has acknowledged the newer version';
  }
  return `its time was over: ${behind} app instances had not acknowledged the newer version, ${sessions} sessions were left`;
}
