import type { Request } from 'express';
import { sha256 } from '../../platform/crypto.ts';
import { FleetError } from '../../platform/errors.ts';
import type { Queryable } from '../../platform/pg.ts';
import { claimKey, findAnswer, purgeKeys, storeAnswer, type StoredAnswer } from './idempotency-store.ts';

const KEY = /^[\x21-\x7e]{1,255}$/;

/**
 * Runs `work` in a transaction of the tenant's database. With an Idempotency-Key, its answer is stored in the
 * same transaction, and the same request with the same key gets that answer instead of a second effect. Of
 * two at one moment the later waits for the first.
 *
 * @throws FleetError 400 `bad_idempotency_key`, 422 `idempotency_key_reused`
 */
export async function idempotently(
  request: Request,
  work: (tx: Queryable) => Promise<StoredAnswer>,
): Promise<StoredAnswer & { isReplayed: boolean }> {
  const key = request.get('Idempotency-Key');
  return request.tenant.transaction(async (tx) => {
    if (key === undefined) return { ...(await work(tx)), isReplayed: false };
    if (!KEY.test(key)) throw badKey();
    const hash = requestHash(request);
    await purgeKeys(tx, key);
    if (!(await claimKey(tx, key, hash))) return replay(tx, key, hash);
    const answer = await work(tx);
    await storeAnswer(tx, key, answer);
    return { ...answer, isReplayed: false };
  });
}

async function replay(tx: Queryable, key: string, hash: string) {
  const found = await findAnswer(tx, key);
  if (found === undefined) throw new Error('an idempotency key was taken and is gone');
  if (found.requestHash === hash) return { ...found.answer, isReplayed: true };
  throw new FleetError({
    code: 'idempotency_key_reused',
    status: 422,
    message: 'this Idempotency-Key was used for another request',
    fix: 'use a new key for each new request',
  });
}

function requestHash(request: Request): string {
  return sha256(JSON.stringify([request.method, request.originalUrl, request.body]));
}

function badKey(): FleetError {
  return new FleetError({
    code: 'bad_idempotency_key',
    status: 400,
    message: 'an Idempotency-Key has 1 to 255 visible ASCII characters',
  });
}
