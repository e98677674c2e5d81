import type { Tenant, TenantState } from '../../contract/tenant.ts';
import { FleetError } from '../../platform/errors.ts';
import { wrongState } from '../http/conflict.ts';

/**
 *   provisioning ─▶ active ⇄ suspended        active ⇄ moving
 *        │            └────┬─────┘
 *        ▼                 ▼
 *      failed ───────▶ offboarding ─▶ deleted
 *
 * A failed tenant is retried (back to provisioning) or deleted. `deleted` is the end: the row stays as
 * history and its slug is free again.
 */
export const TENANT_EVENTS = [
  'activate',
  'withdraw',
  'fail',
  'retry',
  'suspend',
  'resume',
  'move',
  'moved',
  'offboard',
  'delete',
] as const;
export type TenantEvent = (typeof TENANT_EVENTS)[number];

const TRANSITIONS: Record<TenantState, Partial<Record<TenantEvent, TenantState>>> = {
  provisioning: { activate: 'active', fail: 'failed' },
  // `withdraw` is the undo of activating, for a create that is cancelled in its last moment.
  active: { suspend: 'suspended', move: 'moving', offboard: 'offboarding', withdraw: 'provisioning' },
  suspended: { resume: 'active', offboard: 'offboarding' },
  moving: { moved: 'active' },
  // A create that was left half undone may fail once more while its leftovers are cleared away.
  failed: { retry: 'provisioning', fail: 'failed', offboard: 'offboarding' },
  offboarding: { delete: 'deleted' },
  deleted: {},
};

/** The state after `event`, or undefined when the event has no meaning in this state. Total and pure. */
export function transition(state: TenantState, event: TenantEvent): TenantState | undefined {
  return TRANSITIONS[state][event];
}

/** The states from which `event` leads somewhere. */
export function statesBefore(event: TenantEvent): TenantState[] {
  return (Object.keys(TRANSITIONS) as TenantState[]).filter(
    (state) => transition(state, event) !== undefined,
  );
}

/**
 * The state after `event` as a person asked for it.
 * @throws FleetError 409 `wrong_state`, saying which states allow it.
 */
export function requireTransition(tenant: Pick<Tenant, 'slug' | 'state'>, event: TenantEvent): TenantState {
  const next = transition(tenant.state, event);
  if (next !== undefined) return next;
  throw tenantInWrongState(tenant, event);
}

/** @returns 409 `wrong_state` */
export function tenantInWrongState(
  { slug, state }: Pick<Tenant, 'slug' | 'state'>,
  event: TenantEvent,
): FleetError {
  return wrongState({ noun: 'tenant', name: slug, state }, event, statesBefore(event));
}

/** Owner of the tenant's data key and subject of its operations. */
export function tenantSubject(tenantId: string): string {
  return `tenant:${tenantId}`;
}

/** @returns 404 `tenant_not_found` */
export function tenantNotFound(nameOrId: string): FleetError {
  return new FleetError({
    code: 'tenant_not_found',
    status: 404,
    message: `there is no tenant ${nameOrId}`,
    fix: 'fleet tenant list',
  });
}
