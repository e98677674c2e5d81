import { PERMISSIONS, type Permission, type Role } from '../../contract/access.ts';
import { FleetError } from '../../platform/errors.ts';
import type { Caller } from './caller.ts';

const FOR_APPS: ReadonlySet<Permission> = new Set(['route:read', 'app:report']);

/**
 * What each role may do, inside the regions its key is bound to.
 *
 * - `viewer` reads the fleet: no audit log and no credentials' metadata.
 * - `onboarder` (sales operations) also creates tenants and watches them come up; nothing after that.
 * - `operator` (SRE) runs the fleet day and night, but makes no regions and no keys and does not read the log
 *   of what was done: who acts is not who audits. Approving is a permission of its own, and nobody's own plan is
 *   approved by it: it takes two operators, or an operator and an admin.
 * - `auditor` reads everything, the log too, and changes nothing.
 * - `admin` may do all that a person may. Not `route:read`: that hands out database passwords, and no person
 *   needs them; they go to a region's app only. Nor `app:report`: nobody speaks for an app.
 * - `app` (a region's tenant app) reads its region's routes and credentials, reports itself, and nothing else.
 */
export const ROLE_PERMISSIONS: Record<Role, ReadonlySet<Permission>> = {
  viewer: new Set(['fleet:read']),
  onboarder: new Set(['fleet:read', 'tenant:create']),
  operator: new Set([
    'fleet:read',
    'tenant:create',
    'tenant:write',
    'tenant:delete',
    'tenant:connect',
    'server:write',
    'release:publish',
    'rollout:write',
    'rollout:approve',
    'operation:write',
    'secret:read',
    'secret:rotate',
  ]),
  auditor: new Set(['fleet:read', 'audit:read', 'secret:read']),
  admin: new Set(PERMISSIONS.filter((permission) => !FOR_APPS.has(permission))),
  app: FOR_APPS,
};

/** @throws FleetError 403 `forbidden`, naming the roles that may. */
export function requirePermission(caller: Caller, permission: Permission): void {
  if (ROLE_PERMISSIONS[caller.role].has(permission)) return;
  const roles = rolesWith(permission);
  throw new FleetError({
    code: 'forbidden',
    status: 403,
    message: `role ${caller.role} does not have the permission ${permission}`,
    fix: `use a key with the role ${roles.join(' or ')}`,
  });
}

/** The roles that have the permission, as a refusal names them. */
export function rolesWith(permission: Permission): string[] {
  return Object.entries(ROLE_PERMISSIONS)
    .filter(([, permissions]) => permissions.has(permission))
    .map(([role]) => role);
}
