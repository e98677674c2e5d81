import { z } from 'zod';
import { Duration, durationSeconds } from './duration.ts';
import { Instant } from './page.ts';
import { plainText } from './text.ts';

/** Long enough for one look, short enough that a password in a terminal's history opens nothing an hour later. */
export const DEFAULT_TTL = '15m';
/** A shift: whoever needs longer opens another, with another reason. */
const TTL_SECONDS_MAX = 8 * 3_600;
const TTL_SECONDS_MIN = 60;

export const Connect = z.strictObject({
  /** Why, for the audit log. */
  reason: plainText(500, 1),
  ttl: Duration.default(DEFAULT_TTL).refine((ttl) => {
    const seconds = durationSeconds(ttl);
    return seconds >= TTL_SECONDS_MIN && seconds <= TTL_SECONDS_MAX;
  }, 'from 1m to 8h'),
});
export type Connect = z.infer<typeof Connect>;

export const Disconnect = z.strictObject({
  /** Absent: all that are open. */
  id: z.uuid().optional(),
});
export type Disconnect = z.infer<typeof Disconnect>;

/** A read-only login to one tenant's database, for one person and some minutes. */
export const Connection = z.object({
  id: z.uuid(),
  /** Slug. */
  tenant: z.string(),
  region: z.string(),
  /** `opening`: its login is being made. */
  state: z.enum(['opening', 'open', 'closed']),
  host: z.string(),
  port: z.number().int(),
  database: z.string(),
  login: z.string(),
  tls: z.enum(['disable', 'require', 'verify-full']),
  openedBy: z.string(),
  reason: z.string(),
  createdAt: Instant,
  expiresAt: Instant,
  closedAt: Instant.nullable(),
  closedBecause: z.string().nullable(),
});
export type Connection = z.infer<typeof Connection>;

/** The only answer that ever holds the password; it is kept nowhere. */
export const OpenedConnection = Connection.extend({ password: z.string() });
export type OpenedConnection = z.infer<typeof OpenedConnection>;
