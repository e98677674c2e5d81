import type { Role } from '../../contract/access.ts';
import { FleetError } from '../../platform/errors.ts';
import type { Queryable } from '../../platform/pg.ts';
import { createKey } from './keys.ts';
import { endKeys, lockKeysOf } from './store.ts';

export interface RotatedKey {
  id: string;
  token: string;
  role: Role;
  regions: string[];
  /** Those that work beside it until `end`. */
  before: string[];
  end: Date;
}

/**
 * Makes another key for the principal of that name, with the same role, regions and length of life. Those before end
 * after the overlap: until then whoever reads the token anew has two that work, and a second rotation after an answer
 * that was lost does no harm.
 * @param requireWithin throws where the caller may not handle a key of these regions
 * @throws FleetError 404 `key_not_found`, 409 `key_is_dead`
 */
export async function rotateKey(
  tx: Queryable,
  name: string,
  overlapSeconds: number,
  requireWithin: (regions: string[]) => void,
): Promise<RotatedKey> {
  const keys = await lockKeysOf(tx, name);
  const [newest] = keys;
  if (newest === undefined) throw noSuchKey(name);
  requireWithin(newest.regions);
  const before = keys.filter(({ live }) => live).map(({ id }) => id);
  if (before.length === 0) throw allDead(name);
  const { role, regions, createdAt, expiresAt } = newest;
  const lifeMs = expiresAt === null ? null : Date.parse(expiresAt) - Date.parse(createdAt);
  const { id, token } = await createKey(tx, {
    ...{ name, role, regions, kind: role === 'app' ? 'app' : 'user' },
    expiresAt: lifeMs === null ? null : new Date(Date.now() + lifeMs),
  });
  return { id, token, role, regions, before, end: await endKeys(tx, before, overlapSeconds) };
}

function noSuchKey(name: string): FleetError {
  return new FleetError({
    code: 'key_not_found',
    status: 404,
    message: `there is no key with the name ${name}`,
    fix: 'fleet key list',
  });
}

/** Somebody has meant it to end: it does not come back by a rotation. */
function allDead(name: string): FleetError {
  return new FleetError({
    code: 'key_is_dead',
    status: 409,
    message: `every key with the name ${name} is revoked or has expired`,
    fix: 'make one with another name: fleet key create',
  });
}
