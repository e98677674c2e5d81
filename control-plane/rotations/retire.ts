import { SYSTEM_CALLER } from '../access/caller.ts';
import { audit } from '../audit/audit.ts';
import type { Driver } from '../operations/driver.ts';
import type { Lease } from '../operations/lease.ts';
import { lockVersions, lookAgain, noteRetired } from '../secrets/store.ts';
import { databaseNames } from '../servers/database.ts';
import { countSessions, disableLogin } from '../tenants/roles.ts';
import type { RotationDeps } from './deps.ts';
import { findRotatedOut, RETIRABLE_SQL, type RotatedOut } from './store.ts';

/** 5 s: an app that has acknowledged has closed its sessions; whoever is left is a person at a prompt. */
const SESSIONS_LEFT_MS = 5_000;

/**
 * Closes logins that were rotated out, when no app needs them: all live instances of the region have acknowledged what
 * came after, and no session is left; or when their time of grace is over, whoever has not. The sweeper finds them, so
 * that nothing has to wait anywhere, and a tenant can be suspended or deleted meanwhile.
 */
export function createRetireDriver(deps: RotationDeps): Driver {
  return { kind: 'secret', openIdsSql: RETIRABLE_SQL, drive: (id, lease) => retire(deps, id, lease) };
}

async function retire(deps: RotationDeps, id: string, lease: Lease): Promise<void> {
  const version = await findRotatedOut(deps.registry, id);
  if (version === undefined || (version.behind > 0 && !version.isOverdue)) return;
  const { serverId, databaseId, login } = version;
  const sessions = await deps.servers.admin(serverId, (admin) => countSessions(admin, login));
  if (sessions > 0 && !version.isOverdue) {
    await lease.transaction((tx) => lookAgain(tx, id, SESSIONS_LEFT_MS));
    return;
  }
  const because = reasonOf(version, sessions);
  await lease.transaction(async (tx) => {
    // Held until the login is closed: a rotation that needs it for a newer version waits, and opens it afterwards.
    const versions = await lockVersions(tx, version.subject);
    if (versions.find((one) => one.id === id)?.stage !== 'previous') return;
    lease.signal.throwIfAborted();
    await deps.servers.admin(serverId, (admin) => disableLogin(admin, databaseNames(databaseId), login));
    await deps.secrets.destroyVersion(tx, id);
    await noteRetired(tx, id, because);
    audit(tx, {
      actor: SYSTEM_CALLER.name,
      actorRole: SYSTEM_CALLER.role,
      action: 'secret.retire',
      resource: `tenant:${version.tenant}`,
      region: version.region,
      before: { versionId: id, login, stage: 'previous' },
      after: { versionId: id, login, stage: 'retired' },
      reason: because,
    });
  });
  deps.logger.info('a login that was rotated out is closed', { tenant: version.tenant, login, because });
}

function reasonOf({ behind, isOverdue }: RotatedOut, sessions: number): string {
  if (behind === 0 && sessions === 0) return 'every app instance has acknowledged the newer version';
  if (!isOverdue) return 'nobody needs it any more';
  return `its time was over: ${behind} app instances had not acknowledged the newer version, ${sessions} sessions were left`;
}
