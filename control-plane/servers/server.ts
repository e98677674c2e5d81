import {
  SERVER_STATES,
  type Server,
  type ServerMode,
  type ServerProvider,
  type ServerState,
} from '../../contract/server.ts';
import { FleetError } from '../../platform/errors.ts';
import { wrongState } from '../http/conflict.ts';

/** A PostgreSQL server of the fleet, as the registry knows it. */
export interface ServerRecord {
  id: string;
  name: string;
  region: string;
  provider: ServerProvider;
  mode: ServerMode;
  state: ServerState;
  host: string;
  port: number;
  tls: Server['tls'];
  adminUser: string;
  adminDatabase: string;
  /** Raised when host or port change. */
  endpointEpoch: number;
  maxDatabases: number;
  maxConnections: number;
  /** `server_version_num`, e.g. 180004; null until it was asked. */
  serverVersion: number | null;
  reachable: boolean;
  /** Of an instance on RDS. */
  instance: Server['instance'];
  version: number;
  createdAt: Date;
}

/** A server with the room that its databases take, reserved ones included. */
export interface ServerUsage extends ServerRecord {
  databases: number;
  /** Sum of the connection limits of its databases. */
  connections: number;
}

export type ServerEvent = 'ready' | 'unready' | 'abandon' | 'cordon' | 'uncordon' | 'drain' | 'retire';

const TRANSITIONS: Record<ServerState, Partial<Record<ServerEvent, ServerState>>> = {
  // `abandon`: it was to be one tenant's own, and that tenant was withdrawn.
  provisioning: { ready: 'ready', abandon: 'retired' },
  // `unready` is the undo of a registration that was cancelled in its last step.
  ready: { ready: 'ready', unready: 'provisioning', cordon: 'cordoned', retire: 'retired' },
  cordoned: { uncordon: 'ready', drain: 'draining', retire: 'retired' },
  draining: { uncordon: 'ready', retire: 'retired' },
  retired: {},
};

/** The state after `event`, or undefined when the event has no meaning in this state. Total and pure. */
export function transitionServer(state: ServerState, event: ServerEvent): ServerState | undefined {
  return TRANSITIONS[state][event];
}

/** The owner and subject under which a server's admin credential is kept. */
export function serverSubject(serverId: string): string {
  return `server:${serverId}`;
}

/** Under which the credential of its migrators is kept; the owner is the server all the same. */
export function migratorSubject(serverId: string): string {
  return `migrator:${serverId}`;
}

/** What the API shows of a server. */
export function serverView(server: ServerUsage): Server {
  const { id, name, region, provider, mode, state, host, port, tls } = server;
  return {
    ...{ id, name, region, provider, mode, state, host, port, tls },
    databases: server.databases,
    maxDatabases: server.maxDatabases,
    connections: server.connections,
    maxConnections: server.maxConnections,
    serverVersion: server.serverVersion,
    reachable: server.reachable,
    instance: server.instance,
    version: server.version,
    createdAt: server.createdAt.toISOString(),
  };
}

/** @returns 409 `wrong_state` */
export function serverInWrongState(
  { name, state }: Pick<ServerRecord, 'name' | 'state'>,
  event: ServerEvent,
): FleetError {
  const allowed = SERVER_STATES.filter((from) => transitionServer(from, event) !== undefined);
  return wrongState({ noun: 'server', name, state }, event, allowed);
}

/** @returns 404 `server_not_found` */
export function serverNotFound(nameOrId: string): FleetError {
  return new FleetError({
    code: 'server_not_found',
    status: 404,
    message: `there is no server ${nameOrId}`,
    fix: 'fleet server list',
  });
}
