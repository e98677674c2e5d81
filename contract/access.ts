import { z } from 'zod';
import { Duration } from './duration.ts';
import { Instant } from './page.ts';

export const ROLES = ['viewer', 'onboarder', 'operator', 'auditor', 'admin', 'app'] as const;
export const Role = z.enum(ROLES);
export type Role = z.infer<typeof Role>;

/** What a route demands. Which roles hold which permission stands in control-plane/access/role.ts. */
export const PERMISSIONS = [
  'fleet:read',
  'tenant:create',
  'tenant:write',
  'tenant:delete',
  'tenant:connect',
  'server:write',
  'region:write',
  'release:publish',
  'rollout:write',
  'rollout:approve',
  'operation:write',
  'secret:read',
  'secret:rotate',
  'audit:read',
  'key:write',
  'route:read',
  'app:report',
] as const;
export type Permission = (typeof PERMISSIONS)[number];

export const ApiKey = z.object({
  id: z.uuid(),
  name: z.string(),
  prefix: z.string(),
  role: Role,
  regions: z.array(z.string()),
  createdAt: Instant,
  expiresAt: Instant.nullable(),
  revokedAt: Instant.nullable(),
  lastUsedAt: Instant.nullable(),
});
export type ApiKey = z.infer<typeof ApiKey>;

export const CreateKey = z.strictObject({
  name: z.string().min(1).max(100),
  role: Role,
  regions: z.array(z.string()).default([]),
  /** Days until the key stops working; absent means it does not expire. */
  expiresInDays: z.number().int().min(1).max(3650).optional(),
});
export type CreateKey = z.infer<typeof CreateKey>;

/** The only answer that ever holds a token; it cannot be shown again. */
export const CreatedKey = ApiKey.extend({ token: z.string() });
export type CreatedKey = z.infer<typeof CreatedKey>;

export const RotateKey = z.strictObject({
  /** How long the keys before work beside the new one; 0s: they end at once. */
  overlap: Duration.default('1h'),
});
export type RotateKey = z.infer<typeof RotateKey>;
