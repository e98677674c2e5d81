import type { AuditVerification } from '../../contract/audit.ts';
import type { Registry } from '../registry/registry.ts';
import { findBreak } from './audit.ts';
import { readChain, readHead } from './store.ts';

/** Entries read at once: about 1 MB. */
const PAGE = 1_000;
/** What the first entry continues; migrations/registry/0002_access.sql starts audit_head with it. */
const GENESIS = { seq: 0, hash: '0'.repeat(64) };

/**
 * Walks the chain from its first entry and compares its end with `audit_head`. Finds changed, removed,
 * inserted and reordered entries and a cut tail. Whoever can rewrite every hash and the head as well is found
 * only by comparing the head with one noted elsewhere: `head` is in the answer for that.
 */
export function verifyChain(registry: Pick<Registry, 'transaction'>): Promise<AuditVerification> {
  return registry.transaction(async (tx) => {
    // One snapshot: entries that are written meanwhile are not half seen.
    await tx.query('SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY');
    const head = await readHead(tx);
    let end = GENESIS;
    let entries = 0;
    for (;;) {
      const page = await readChain(tx, end.seq, PAGE);
      const bad = findBreak(page, end);
      if (bad !== undefined) return { valid: false, entries, head: head.hash, firstBad: bad };
      const last = page.at(-1);
      if (last === undefined) break;
      entries += page.length;
      end = { seq: last.seq, hash: last.hash };
    }
    const firstBad = compareEnd(end, head);
    return { valid: firstBad === null, entries, head: head.hash, firstBad };
  });
}

function compareEnd(end: typeof GENESIS, head: typeof GENESIS): AuditVerification['firstBad'] {
  if (end.seq < head.seq) return { seq: end.seq + 1, reason: `entries up to ${head.seq} were cut off` };
  if (end.seq > head.seq) return { seq: head.seq + 1, reason: 'was written past the end of the chain' };
  if (end.hash !== head.hash) return { seq: end.seq, reason: 'is not the entry that the chain ended with' };
  return null;
}
