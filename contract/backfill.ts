import { z } from 'zod';
import { Instant } from './page.ts';
import { plainText } from './text.ts';

const Name = z.string().regex(/^[^\s,."\0]{1,63}$/, 'a name as it stands in the catalogue');

/**
 * What makes a migration a backfill: its one statement changes the rows of one range of the key, from `$1` to `$2`,
 * both inclusive (`:from` and `:to` in a file), and is run range by range, each in a transaction of its own.
 */
export const Backfill = z.strictObject({
  /** With its schema where that is not public. */
  table: z
    .string()
    .max(127)
    .refine((text) => {
      const parts = text.split('.');
      return parts.length <= 2 && parts.every((part) => Name.safeParse(part).success);
    }, 'a table such as orders or sales.orders'),
  /** The columns of a unique index, in its order. */
  key: z.array(Name).min(1).max(8),
  /** Rows of the first chunk; the ones after it take as many as fit into half a second. */
  batch: z.number().int().min(10).max(100_000).default(1_000),
  /** A query that counts the rows which are still to be done: 0 in its first column lets the backfill pass. */
  verify: z.string().min(1).max(10_000).nullable().default(null),
});
export type Backfill = z.infer<typeof Backfill>;

/** How far the backfill of one database is. */
export const BackfillProgress = z.object({
  migration: z.string(),
  rowsDone: z.number().int(),
  /** By the planner's statistics when it began. */
  rowsEstimated: z.number().int(),
  /** Milliseconds that it was held, apart from all other numbers. */
  heldMs: z.number().int(),
  /** Rows a second while it worked, of the last minute. */
  rate: z.number().nullable(),
  /** Seconds of work that are left, without what it will be held. */
  etaSeconds: z.number().int().nullable(),
  /** Why it is held now. */
  reason: z.string().nullable(),
  /** Ranges of the key that failed and were left out so far. */
  quarantined: z.number().int(),
  at: Instant,
});
export type BackfillProgress = z.infer<typeof BackfillProgress>;

const BACKFILL_SCOPES = ['fleet', 'server', 'tenant'] as const;

/** Holds all backfills, those on one server, or those of one tenant. */
export const BackfillHold = z.object({
  scope: z.enum(BACKFILL_SCOPES),
  /** The server or the tenant's slug; null for the fleet. */
  name: z.string().nullable(),
  reason: z.string(),
  by: z.string(),
  since: Instant,
});
export type BackfillHold = z.infer<typeof BackfillHold>;

export const BackfillHolds = z.object({ items: z.array(BackfillHold) });
export type BackfillHolds = z.infer<typeof BackfillHolds>;

export const SwitchBackfills = z
  .strictObject({
    scope: z.enum(BACKFILL_SCOPES),
    /** The server, or the tenant by slug or id; absent for the fleet. */
    name: z.string().min(1).max(100).optional(),
    /** False holds them after the chunk in hand; true lets them go on. */
    on: z.boolean(),
    reason: plainText(500, 1).optional(),
  })
  .refine(({ scope, name }) => (scope === 'fleet') === (name === undefined), {
    path: ['name'],
    error: 'give the name of the server or tenant, and none for the fleet',
  })
  .refine(({ on, reason }) => on || reason !== undefined, {
    path: ['reason'],
    error: 'say why they are to be held',
  });
export type SwitchBackfills = z.infer<typeof SwitchBackfills>;
