import { z } from 'zod';
import { Instant } from './page.ts';

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
});
export type SecretVersion = z.infer<typeof SecretVersion>;
export const SecretFilter = z.object({ region: z.string().optional(), name: z.string().optional() });
