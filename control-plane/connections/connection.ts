import type { Connection } from '../../contract/connection.ts';
import { FleetError } from '../../platform/errors.ts';

/**
 *   opening ─opened▶ open ─close▶ closed
 *      └──────────close─────────────▲
 *
 * A person's read-only login to a tenant's database. It is committed as `opening`, with the verifier of its password,
 * before the server is touched; `closed` is written when the server has it no more.
 */
export type ConnectionState = Connection['state'];
export type ConnectionEvent = 'opened' | 'close';

const TRANSITIONS: Record<ConnectionState, Partial<Record<ConnectionEvent, ConnectionState>>> = {
  opening: { opened: 'open', close: 'closed' },
  open: { close: 'closed' },
  closed: {},
};

/** The state after `event`, or undefined when the event has no meaning in this state. Total and pure. */
export function transitionConnection(
  state: ConnectionState,
  event: ConnectionEvent,
): ConnectionState | undefined {
  return TRANSITIONS[state][event];
}

/** What decides whether a connection has to end. */
export interface Standing {
  /** Who asked for its end. */
  closeAsked: string | null;
  expired: boolean;
  tenantState: string;
  /** Whether the database is the tenant's, and serves. */
  databaseReady: boolean;
}

/** Why the connection has to end now; undefined: it may go on. Pure. */
export function endOf({ closeAsked, expired, tenantState, databaseReady }: Standing): string | undefined {
  if (closeAsked !== null) return `closed by ${closeAsked}`;
  if (expired) return 'its time is over';
  if (tenantState !== 'active') return `the tenant is ${tenantState}`;
  return databaseReady ? undefined : 'the database is no longer the tenant’s';
}

/**
 * Two people at once, each with two sessions: of the five sessions that a database admits beside the application's
 * own, one has to stay for the control plane.
 */
export const OPEN_MAX = 2;
export const SESSIONS_MAX = 2;

/** @returns 409 `too_many_connections` */
export function tooManyConnections(tenant: string): FleetError {
  return new FleetError({
    code: 'too_many_connections',
    status: 409,
    message: `${OPEN_MAX} people are connected to ${tenant} already: more would take sessions from its application`,
    fix: `fleet tenant get ${tenant} shows who; fleet tenant disconnect ${tenant} closes them`,
  });
}

/** @returns 404 `connection_not_found` */
export function connectionNotFound(id: string): FleetError {
  return new FleetError({
    code: 'connection_not_found',
    status: 404,
    message: `there is no connection ${id} of this tenant`,
    fix: 'fleet tenant get NAME',
  });
}
