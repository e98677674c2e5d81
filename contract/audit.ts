import { z } from 'zod';
import { Instant } from './page.ts';

export const AuditEntry = z.object({
  seq: z.number().int(),
  at: Instant,
  actor: z.string(),
  actorRole: z.string(),
  action: z.string(),
  resource: z.string(),
  region: z.string().nullable(),
  before: z.unknown().nullable(),
  after: z.unknown().nullable(),
  reason: z.string().nullable(),
  requestId: z.string().nullable(),
  hash: z.string(),
});
export type AuditEntry = z.infer<typeof AuditEntry>;

/** `valid: false` names the first entry whose hash, predecessor or place in the order is wrong. */
export const AuditVerification = z.object({
  valid: z.boolean(),
  entries: z.number().int(),
  head: z.string(),
  firstBad: z.object({ seq: z.number().int(), reason: z.string() }).nullable(),
});
export type AuditVerification = z.infer<typeof AuditVerification>;
