import { z } from 'zod';
import { Duration } from './duration.ts';
import { Instant } from './page.ts';
import { plainText } from './text.ts';

/** Metadata only: the value never leaves the store through this resource. */
export const SecretVersion = z.object({
  id: z.uuid(),
  /** `database:<id>` or `server:<id>`. */
  subject: z.string(),
  /** Slug of the tenant or name of the server. */
  name: z.string(),
  region: z.string(),
  login: z.string(),
  stage: z.enum(['pending', 'current', 'previous', 'retired']),
  createdAt: Instant,
  stagedAt: Instant,
  /** Of a previous version: live app instances that have not said that they use none that is older than the current. */
  unacknowledged: z.number().int().nullable(),
  /** Why a version that was handed out opens nothing any more. */
  retiredBecause: z.string().nullable(),
});
export type SecretVersion = z.infer<typeof SecretVersion>;

/** What becomes of the key of a deleted tenant. */
export const KeyDestruction = z.object({
  /**
   * - `requested`, `scheduled`: it opens nothing any more, and can be kept until it is gone
   * - `keeping`, `kept`: somebody wanted it kept; it is usable
   * - `destroyed`: nothing that was sealed under it can be read again
   */
  state: z.enum(['requested', 'scheduled', 'keeping', 'kept', 'destroyed']),
  requestedAt: Instant,
  retentionDays: z.number().int(),
  /** When it is gone for good, unless it is kept. */
  goneAt: Instant,
  destroyedAt: Instant.nullable(),
});
export type KeyDestruction = z.infer<typeof KeyDestruction>;

export const RotateSecret = z.strictObject({
  /** Close the old login at once, with its sessions: their requests fail. For a credential that has leaked. */
  now: z.boolean().default(false),
  reason: plainText(500, 1).optional(),
});
export type RotateSecret = z.infer<typeof RotateSecret>;

export const RotateMasterKey = z.strictObject({
  /** Only make the new key, so that master.key can be copied to other machines before it is used. */
  prepare: z.boolean().default(false),
  reason: plainText(500, 1).optional(),
});
export type RotateMasterKey = z.infer<typeof RotateMasterKey>;

export const SecretRotation = z.object({
  /** Slug. */
  tenant: z.string(),
  /** Id of the operation. */
  operation: z.uuid(),
  /** Whether it was under way already. */
  joined: z.boolean(),
});
export type SecretRotation = z.infer<typeof SecretRotation>;

export const SecretFilter = z.object({
  region: z.string().optional(),
  name: z.string().optional(),
  /** Only credentials in use that were not rotated for this long: what a policy of rotation would call overdue. */
  olderThan: Duration.optional(),
});
export const RotateServer = z.strictObject({ reason: plainText(500, 1).optional() });
export type RotateServer = z.infer<typeof RotateServer>;

export const ServerRotation = z.object({
  server: z.string(),
  /** Id of the operation. */
  operation: z.uuid(),
  /** Whether it was under way already. */
  joined: z.boolean(),
});
export type ServerRotation = z.infer<typeof ServerRotation>;
