import { randomBytes, randomUUID } from 'node:crypto';
import type { Role } from '../../contract/access.ts';
import { randomPassword, sha256 } from '../../platform/crypto.ts';
import { FleetError } from '../../platform/errors.ts';
import type { Queryable } from '../../platform/pg.ts';
import { SYSTEM_CALLER } from './caller.ts';
import { findPrincipal, insertKey, insertPrincipal, type PrincipalKind } from './store.ts';

/** `flt_<prefix>_<secret>`: the prefix finds the row, the secret (256 bits) proves the holder. */
const TOKEN = /^flt_([0-9a-f]{12})_[A-Za-z0-9_-]{43}$/;
/** 48 bits: a chance of one in a million that two of 20,000 keys meet; the unique constraint has the last word. */
const PREFIX_BYTES = 6;

/** The prefix of a well-formed token, or undefined. */
export function tokenPrefix(token: string): string | undefined {
  return TOKEN.exec(token)?.[1];
}

/**
 * What is stored in the token's place. A plain SHA-256 is enough: the secret is 256 random bits, so there is no
 * dictionary that a slow hash would slow down, and each request has to compute it.
 */
export function tokenHash(token: string): string {
  return sha256(token);
}

export interface NewKey {
  /** Name of the principal that acts with the key; made where it is missing. */
  name: string;
  kind: PrincipalKind;
  role: Role;
  /** Empty = every region. An app's key has exactly one. */
  regions: string[];
  expiresAt?: Date | null;
}

/** Makes a key. The token is in the answer only; it cannot be had again. The caller audits. */
export async function createKey(tx: Queryable, key: NewKey): Promise<{ id: string; token: string }> {
  if (key.role === 'app' && key.regions.length !== 1) throw appNeedsOneRegion();
  const id = randomUUID();
  const prefix = randomBytes(PREFIX_BYTES).toString('hex');
  const token = `flt_${prefix}_${randomPassword()}`;
  await insertKey(tx, {
    id,
    principalId: await ensurePrincipal(tx, key.name, key.kind),
    prefix,
    hash: tokenHash(token),
    role: key.role,
    regions: key.regions,
    expiresAt: key.expiresAt ?? null,
  });
  return { id, token };
}

/** The principal of SYSTEM_CALLER. Harmless when it is there already. */
export async function ensureSystemPrincipal(tx: Queryable): Promise<void> {
  await insertPrincipal(tx, { id: SYSTEM_CALLER.principalId, name: SYSTEM_CALLER.name, kind: 'system' });
}

async function ensurePrincipal(tx: Queryable, name: string, kind: PrincipalKind): Promise<string> {
  const made = await insertPrincipal(tx, { id: randomUUID(), name, kind });
  const id = made ?? (await findPrincipal(tx, name));
  if (id === undefined) throw new Error(`principal ${name} is gone in the middle of a transaction`);
  return id;
}

function appNeedsOneRegion(): FleetError {
  return new FleetError({
    code: 'invalid_request',
    status: 422,
    message: 'an app key belongs to exactly one region',
    errors: [{ path: 'body.regions', message: 'give exactly one region' }],
  });
}
