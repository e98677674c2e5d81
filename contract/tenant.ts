import { z } from 'zod';
import { Instant } from './page.ts';
import { KeyDestruction } from './secret.ts';
import { RegionName } from './server.ts';
import { plainText } from './text.ts';

export const TENANT_STATES = [
  'provisioning',
  'active',
  'suspended',
  'moving',
  'offboarding',
  'deleted',
  'failed',
] as const;
export const TenantState = z.enum(TENANT_STATES);
export type TenantState = z.infer<typeof TenantState>;

export const TIERS = ['standard', 'premium', 'enterprise'] as const;
export const Tier = z.enum(TIERS);
export type Tier = z.infer<typeof Tier>;

/** Names that would shadow our own hosts or read like one of them. */
export const RESERVED_SLUGS: ReadonlySet<string> = new Set([
  'admin',
  'api',
  'app',
  'assets',
  'auth',
  'cdn',
  'console',
  'docs',
  'fleet',
  'flotilla',
  'health',
  'help',
  'internal',
  'localhost',
  'login',
  'mail',
  'metrics',
  'postgres',
  'public',
  'root',
  'static',
  'status',
  'support',
  'system',
  'template',
  'test',
  'www',
]);

/** 3 to 40 characters: a DNS label that begins with a letter, without double dashes (no punycode). */
export const Slug = z
  .string()
  .regex(
    /^(?!.*--)[a-z][a-z0-9-]{1,38}[a-z0-9]$/,
    '3 to 40 lower-case letters, digits and single dashes, beginning with a letter',
  )
  .refine((slug) => !RESERVED_SLUGS.has(slug), 'this name is reserved');

export const Labels = z.record(
  z.string().regex(/^[a-z][a-zA-Z0-9._/-]{0,62}$/, 'a label key begins with a letter'),
  plainText(200),
);

/** A host name of the tenant's own, lower case, without port or trailing dot. */
export const DomainName = z
  .string()
  .max(253)
  .regex(
    /^(?=.*\.)[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)+$/,
    'a lower-case host name',
  );

/** Why placement took this server and not the others, in words a person can check. */
export const PlacementReport = z.object({
  server: z.string(),
  reason: z.string(),
  considered: z.array(z.object({ server: z.string(), verdict: z.string() })),
});
export type PlacementReport = z.infer<typeof PlacementReport>;

export const Tenant = z.object({
  id: z.uuid(),
  slug: z.string(),
  name: z.string(),
  tier: Tier,
  region: z.string(),
  state: TenantState,
  stateCause: z.object({ code: z.string(), message: z.string(), fix: z.string().optional() }).nullable(),
  schemaVersion: z.string().nullable(),
  server: z.string().nullable(),
  database: z.string().nullable(),
  urls: z.array(z.string()),
  domains: z.array(z.string()),
  /** As they stand: those of before today's rules too. */
  labels: z.record(z.string(), z.string()),
  contact: z.string().nullable(),
  crmRef: z.string().nullable(),
  placement: PlacementReport.nullable(),
  version: z.number().int(),
  createdAt: Instant,
  updatedAt: Instant,
  deletedAt: Instant.nullable(),
  /** Of a deleted tenant that had a key. */
  keyDestruction: KeyDestruction.nullable(),
  /** Read-only logins that people have opened. */
  connections: z.array(z.object({ login: z.string(), openedBy: z.string(), expiresAt: Instant })),
});
export type Tenant = z.infer<typeof Tenant>;

export const CreateTenant = z.strictObject({
  slug: Slug,
  name: plainText(200, 1).optional(),
  tier: Tier.default('standard'),
  region: RegionName,
  labels: Labels.default({}),
  contact: plainText(200).optional(),
  crmRef: plainText(200).optional(),
  domains: z.array(DomainName).max(20).default([]),
});
export type CreateTenant = z.infer<typeof CreateTenant>;

/** Absent fields stay as they are; `labels` values of null remove the label. */
export const UpdateTenant = z.strictObject({
  name: plainText(200, 1).optional(),
  labels: z.record(plainText(63), plainText(200).nullable()).optional(),
  contact: plainText(200).nullable().optional(),
  crmRef: plainText(200).nullable().optional(),
  domains: z.array(DomainName).max(20).optional(),
});
export type UpdateTenant = z.infer<typeof UpdateTenant>;

export const SuspendTenant = z.strictObject({ reason: plainText(500).optional() });
export const KeyReason = z.strictObject({ reason: plainText(500, 1).optional() });
export const DeleteTenant = z.strictObject({ confirm: z.string() });

/** `label` is `key=value`, repeatable; `search` matches slug, name, contact and CRM reference. */
export const TenantFilter = z.object({
  region: z.string().optional(),
  tier: Tier.optional(),
  state: TenantState.optional(),
  server: z.string().optional(),
  schemaVersion: z.string().optional(),
  search: z.string().max(200).optional(),
  label: z.union([z.string(), z.array(z.string())]).optional(),
  includeDeleted: z.stringbool().optional(),
  sort: z.enum(['slug', '-slug', 'createdAt', '-createdAt']).default('slug'),
});
export type TenantFilter = z.infer<typeof TenantFilter>;
