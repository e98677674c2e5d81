import { hkdfSync } from 'node:crypto';
import type { Request } from 'express';
import { sha256 } from '../../platform/crypto.ts';
import { open, seal, UnsealError } from '../../platform/sealing.ts';
import { FleetError } from '../../platform/errors.ts';
import type { Caller } from '../access/caller.ts';
import { canonicalJson } from '../audit/audit.ts';
import type { Registry, Transaction } from '../registry/registry.ts';
import { findAnswer, lockIdempotencyKey, storeAnswer, type StoredAnswer } from './store.ts';
import { invalidRequest } from './validate.ts';

/** An answer ready to be sent: `text` is the exact JSON, null where there is no body. */
export interface Sent {
  status: number;
  headers: Record<string, string>;
  text: string | null;
}

/** What makes two requests the same. */
export interface Once {
  principalId: string;
  key: string;
  requestHash: string;
  /** Seals the stored answer where it holds a secret: made from the caller's token, which we do not keep. */
  sealKey: Buffer | undefined;
}

/** Runs a change in a transaction; with a key, once for all requests that carry it. */
export type RunChange = (once: Once | undefined, work: (tx: Transaction) => Promise<Sent>) => Promise<Sent>;

/** The request's Idempotency-Key with what it belongs to, or undefined without the header. */
export function readOnce(
  request: Request,
  caller: Caller,
  body: unknown,
  sensitive: boolean,
): Once | undefined {
  const key = request.get('idempotency-key');
  if (key === undefined) return undefined;
  if (!/^[\x21-\x7e]{1,200}$/.test(key)) {
    throw invalidRequest([
      { path: 'header.idempotency-key', message: '1 to 200 printable characters, no space' },
    ]);
  }
  const meaning = [request.method, request.originalUrl, request.get('if-match') ?? null, body ?? null];
  return {
    principalId: caller.principalId,
    key,
    requestHash: sha256(canonicalJson(meaning)),
    sealKey: sensitive ? sealKey(request.get('authorization') ?? '') : undefined,
  };
}

function sealKey(authorization: string): Buffer {
  return Buffer.from(hkdfSync('sha256', authorization, '', 'flotilla idempotent answer', 32));
}

/**
 * The answer is stored in the transaction of its effect: both or neither. Errors are not kept, since they
 * changed nothing; the client may send the same again.
 */
export function createRunChange(registry: Registry): RunChange {
  const inTurn = createTurns();
  return (once, work) => {
    if (once === undefined) return registry.transaction(work);
    // Duplicates wait here first: 20 of them in the database would hold every connection, and the first
    // might need one more.
    return inTurn(`${once.principalId} ${once.key}`, () =>
      registry.transaction((tx) => replayOrRun(tx, once, work)),
    );
  };
}

async function replayOrRun(
  tx: Transaction,
  once: Once,
  work: (tx: Transaction) => Promise<Sent>,
): Promise<Sent> {
  await lockIdempotencyKey(tx, once.principalId, once.key);
  const earlier = await findAnswer(tx, once.principalId, once.key);
  if (earlier !== undefined) return replay(earlier, once);
  const sent = await work(tx);
  await storeAnswer(tx, once.principalId, once.key, {
    requestHash: once.requestHash,
    status: sent.status,
    headers: sent.headers,
    body: storedBody(sent.text, once),
  });
  return sent;
}

function storedBody(text: string | null, once: Once): StoredAnswer['body'] {
  if (text === null || once.sealKey === undefined) return text;
  const sealed = seal(once.sealKey, Buffer.from(text), [once.principalId, once.key]);
  return { sealed: sealed.toString('base64') };
}

function replay(earlier: StoredAnswer, once: Once): Sent {
  if (earlier.requestHash !== once.requestHash) {
    throw new FleetError({
      code: 'idempotency_key_reused',
      status: 422,
      message: 'this Idempotency-Key was sent with another request in the last 24 hours',
      fix: 'make a new key for each new request',
    });
  }
  return {
    status: earlier.status,
    headers: { ...earlier.headers, 'Idempotency-Replayed': 'true' },
    text: readBody(earlier.body, once),
  };
}

function readBody(body: StoredAnswer['body'], once: Once): string | null {
  if (body === null || typeof body === 'string') return body;
  try {
    const bound = [once.principalId, once.key];
    return open(once.sealKey ?? Buffer.alloc(0), Buffer.from(body.sealed, 'base64'), bound).toString('utf8');
  } catch (error) {
    if (!(error instanceof UnsealError)) throw error;
    throw new FleetError({
      code: 'idempotent_answer_sealed',
      status: 409,
      message: 'the request was carried out before; its answer holds a secret of the API key that sent it',
      fix: 'repeat it with the same API key, or start a new request with a new Idempotency-Key',
    });
  }
}

/** Runs the works of one name one after the other; different names do not wait for each other. */
function createTurns(): <T>(name: string, work: () => Promise<T>) => Promise<T> {
  const last = new Map<string, Promise<unknown>>();
  return (name, work) => {
    const before = last.get(name) ?? Promise.resolve();
    const mine = before.then(work, work);
    last.set(name, mine);
    const leave = (): void => {
      if (last.get(name) === mine) last.delete(name);
    };
    mine.then(leave, leave);
    return mine;
  };
}
