import type { Role } from '../../contract/access.ts';
import { sha256 } from '../../platform/crypto.ts';
import { redact } from '../../platform/logging.ts';
import type { Asker } from '../access/caller.ts';
import type { Transaction } from '../registry/registry.ts';
import { appendEntries, lockHead } from './store.ts';

/** What is to be remembered. `resource` is `noun:name-or-id`; before/after hold no secret. */
export interface AuditRecord {
  actor: string;
  actorRole: Role;
  action: string;
  resource: string;
  region?: string | null;
  before?: unknown;
  after?: unknown;
  reason?: string | null;
  requestId?: string | null;
}

/** An entry as it is stored; `hash` covers every other field and the hash before it. */
export interface ChainedEntry {
  seq: number;
  at: string;
  actor: string;
  actorRole: string;
  action: string;
  resource: string;
  region: string | null;
  before: unknown;
  after: unknown;
  reason: string | null;
  requestId: string | null;
  prevHash: string;
  hash: string;
}

/**
 * Records an action in the transaction that does it: both are committed or neither. The chain's head is
 * locked only in the moment before commit, after every other lock of the transaction, so that writers
 * neither deadlock nor wait long.
 */
export function audit(tx: Transaction, record: AuditRecord): void {
  tx.beforeCommit(async (last) => {
    const head = await lockHead(last);
    const fields = {
      seq: head.seq + 1,
      at: head.now,
      actor: record.actor,
      actorRole: record.actorRole,
      action: record.action,
      resource: record.resource,
      region: record.region ?? null,
      before: redact(record.before ?? null),
      after: redact(record.after ?? null),
      reason: record.reason ?? null,
      requestId: record.requestId ?? null,
      prevHash: head.hash,
    };
    await appendEntries(last, { ...fields, hash: entryHash(fields) });
  });
}

/** Records what somebody asked for, and why, in the transaction that does it. */
export function auditAsked(
  tx: Transaction,
  { caller, requestId, reason }: Asker,
  what: Pick<AuditRecord, 'action' | 'resource' | 'region' | 'before' | 'after'>,
): void {
  audit(tx, { ...what, actor: caller.name, actorRole: caller.role, reason: reason ?? null, requestId });
}

/** SHA-256 over the canonical JSON (sorted keys) of all fields but `hash`. */
export function entryHash(entry: Omit<ChainedEntry, 'hash'>): string {
  return sha256(canonicalJson(entry));
}

/** JSON with keys sorted at every level, as jsonb does not keep their order. */
export function canonicalJson(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(',')}]`;
  if (typeof value === 'object' && value !== null) {
    const members = Object.entries(value)
      .filter(([, item]) => item !== undefined)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, item]) => `${JSON.stringify(key)}:${canonicalJson(item)}`);
    return `{${members.join(',')}}`;
  }
  // As JSON does inside arrays; members without a value are left out above.
  return JSON.stringify(value ?? null);
}

/** Finds the first entry that breaks the chain; `expected` is the hash the previous page ended with. */
export function findBreak(entries: ChainedEntry[], from: { seq: number; hash: string }) {
  let previous = from;
  for (const { hash, ...fields } of entries) {
    if (fields.seq !== previous.seq + 1)
      return { seq: fields.seq, reason: `entry ${previous.seq + 1} is missing` };
    if (fields.prevHash !== previous.hash)
      return { seq: fields.seq, reason: 'does not continue the entry before it' };
    if (entryHash(fields) !== hash) return { seq: fields.seq, reason: 'was changed after it was written' };
    previous = { seq: fields.seq, hash };
  }
  return undefined;
}
