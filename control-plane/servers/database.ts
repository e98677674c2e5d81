import type { Tier } from '../../contract/tenant.ts';

export type DatabaseState = 'reserved' | 'ready' | 'dropped';

/** A tenant's database on a server, with the names of its roles there. */
export interface DatabaseRecord extends DatabaseNames {
  id: string;
  tenantId: string;
  serverId: string;
  state: DatabaseState;
  /** Name of the last migration applied; null for none. */
  schemaVersion: string | null;
  /** Connections that the app's login may hold, reserved on the server. */
  connectionLimit: number;
}

export interface DatabaseNames {
  name: string;
  /** Owns every object; cannot log in. */
  ownerRole: string;
  /** Holds the grants on the data; cannot log in. */
  rwRole: string;
  /** The alternating pair of logins, members of rwRole. */
  loginA: string;
  loginB: string;
}

/** Names on the server: from the database's id only, so that no text of a tenant is part of an identifier. */
export function databaseNames(id: string): DatabaseNames {
  const name = `t_${id.replaceAll('-', '')}`;
  return {
    name,
    ownerRole: `${name}_owner`,
    rwRole: `${name}_rw`,
    loginA: `${name}_a`,
    loginB: `${name}_b`,
  };
}

/** Roles of people that look into the database: the role that may read, and its members, a login for each. */
export function readerNames(database: string) {
  return {
    role: `${database}_ro`,
    /** 48 bits of its id: names end at 63 characters. */
    login: (id: string) => `${database}_c_${id.replaceAll('-', '').slice(-12)}`,
    /** All of them, as a pattern for LIKE. */
    loginsLike: `${database.replaceAll('_', '\\_')}\\_c\\_%`,
  };
}

/**
 * Connections reserved for a database, by tier. 10 is two app processes with pools of 5; premium has twice
 * that; an enterprise tenant has its server to itself, and 100 is PostgreSQL's own default for a whole server.
 */
export const CONNECTION_LIMITS: Record<Tier, number> = { standard: 10, premium: 20, enterprise: 100 };
