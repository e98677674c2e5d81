import { CreateTenant, Tenant, UpdateTenant } from '../../contract/tenant.ts';
import { openOperations } from '../attention.ts';
import { AnyBody, change, settle, showAtEnd, waitForOperation } from '../change.ts';
import { path } from '../client.ts';
import { confirmName, confirmYes } from '../confirm.ts';
import { CliError, usageError } from '../errors.ts';
import { EXIT } from '../exit.ts';
import { tenantView } from '../output/tenant-view.ts';
import { checkInput, type Session } from '../session.ts';

export interface CreateFlags {
  region: string;
  tier: string;
  displayName?: string;
  label?: Record<string, string>;
  contact?: string;
  crmRef?: string;
  domain?: string[];
}

export interface ListFlags {
  region?: string;
  tier?: string;
  state?: string;
  server?: string;
  schemaVersion?: string;
  label?: string[];
  search?: string;
  includeDeleted?: boolean;
  sort?: string;
  limit?: number;
}

export interface UpdateFlags {
  displayName?: string;
  label?: Record<string, string>;
  removeLabel?: string[];
  contact?: string;
  crmRef?: string;
  domain?: string[];
  domains: boolean;
}

/** Creates a tenant and waits until it is active, or its operation has failed and cleaned up. */
export async function createTenant(session: Session, slug: string, flags: CreateFlags): Promise<void> {
  const input = {
    slug,
    region: flags.region,
    tier: flags.tier,
    name: flags.displayName,
    labels: flags.label,
    contact: flags.contact,
    crmRef: flags.crmRef,
    domains: flags.domain,
  };
  const body = checkInput(CreateTenant, withoutAbsent(input), `tenant ${slug}`);
  const reply = await change(session, { method: 'POST', path: '/api/v1/tenants', body }, AnyBody);
  await settle(session, reply, async () => await getTenant(session, slug));
}

export async function listTenants({ client, out }: Session, { limit, ...filter }: ListFlags): Promise<void> {
  out.list(await client().list('/api/v1/tenants', Tenant, filter, limit), tenantView);
}

export async function getTenant(
  { client, out }: Session,
  name: string,
  includeDeleted?: boolean,
): Promise<void> {
  out.one((await client().get(tenantPath(name), Tenant, { includeDeleted })).body, tenantView);
}

/**
 * Follows what is being done to a tenant, then shows it.
 * @throws CliError exit 5 when that failed, or the tenant is in state failed.
 */
export async function watchTenant(session: Session, name: string): Promise<void> {
  const { id } = (await session.client().get(tenantPath(name), Tenant)).body;
  const [operation] = await openOperations(session.client(), `tenant:${id}`);
  const tenant = await showAtEnd(
    async () => operation && (await waitForOperation(session, operation.id)),
    async () => await showTenant(session, id),
  );
  requireHealthy(tenant);
}

async function showTenant({ client, out }: Session, id: string): Promise<Tenant> {
  const { body } = await client().get(tenantPath(id), Tenant, { includeDeleted: true });
  out.one(body, tenantView);
  return body;
}

function requireHealthy({ slug, state, stateCause }: Tenant): void {
  if (state !== 'failed') return;
  throw new CliError({
    code: stateCause?.code ?? 'tenant_failed',
    exitCode: EXIT.unhealthy,
    message: stateCause?.message ?? `tenant ${slug} is failed`,
    why: `tenant ${slug} is failed`,
    fix: stateCause?.fix ?? `fleet operation list --subject ${slug}, then fleet operation retry ID`,
  });
}

/** Sends only what was given, under the version that was just read: a change made in between is not lost. */
export async function updateTenant(session: Session, name: string, flags: UpdateFlags): Promise<void> {
  const body = checkInput(UpdateTenant, updateBody(flags), `the change of tenant ${name}`);
  if (Object.keys(body).length === 0) {
    throw usageError('nothing to change was given', 'see `fleet tenant update --help`');
  }
  const { etag } = await session.client().get(tenantPath(name), Tenant);
  const request = { method: 'PATCH' as const, path: tenantPath(name), body, ifMatch: etag };
  const reply = await change(session, request, AnyBody);
  await settle(session, reply, async () => await getTenant(session, name));
}

export async function suspendTenant(session: Session, name: string, reason?: string): Promise<void> {
  await confirmYes(session, `Stop serving tenant ${name}?`);
  const body = withoutAbsent({ reason });
  const reply = await change(session, { method: 'POST', path: `${tenantPath(name)}/suspend`, body }, AnyBody);
  await settle(session, reply, async () => await getTenant(session, name));
}

export async function resumeTenant(session: Session, name: string): Promise<void> {
  const reply = await change(session, { method: 'POST', path: `${tenantPath(name)}/resume` }, AnyBody);
  await settle(session, reply, async () => await getTenant(session, name));
}

/** Deletes for good. The tenant is looked at first: a wrong name fails before a question is asked. */
export async function deleteTenant(session: Session, name: string): Promise<void> {
  const { id, slug } = (await session.client().get(tenantPath(name), Tenant)).body;
  await confirmName(session, slug, `delete tenant ${slug} with all its data`);
  const request = { method: 'DELETE' as const, path: tenantPath(slug), query: { confirm: slug } };
  const reply = await change(session, request, AnyBody);
  await settle(session, reply, async () => {
    await showTenant(session, id);
    session.out.note(`tenant ${slug} is deleted`);
  });
}

/** Keeps a deleted tenant's key from being destroyed. */
export async function keepKey(session: Session, name: string, reason?: string): Promise<void> {
  await changeKey(session, name, 'keep-key', reason);
}

/** Lets the retention of a key that was kept begin anew. */
export async function destroyKey(session: Session, name: string, reason?: string): Promise<void> {
  const { slug } = (await session.client().get(tenantPath(name), Tenant, { includeDeleted: true })).body;
  await confirmName(session, slug, `have the key of deleted tenant ${slug} destroyed`);
  await changeKey(session, name, 'destroy-key', reason);
}

async function changeKey(session: Session, name: string, verb: string, reason?: string): Promise<void> {
  const request = {
    method: 'POST' as const,
    path: `${tenantPath(name)}/${verb}`,
    body: withoutAbsent({ reason }),
  };
  const reply = await change(session, request, Tenant);
  if (reply !== undefined) session.out.one(reply.body, tenantView);
}

function updateBody(flags: UpdateFlags): Record<string, unknown> {
  const removed = (flags.removeLabel ?? []).map((key) => [key, null] as const);
  const labels = { ...flags.label, ...Object.fromEntries(removed) };
  return withoutAbsent({
    name: flags.displayName,
    labels: Object.keys(labels).length === 0 ? undefined : labels,
    contact: flags.contact === '' ? null : flags.contact,
    crmRef: flags.crmRef === '' ? null : flags.crmRef,
    domains: flags.domain ?? (flags.domains ? undefined : []),
  });
}

/** Leaves out what was not given, as the API's schemas take absent fields but no undefined ones. */
function withoutAbsent(fields: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));
}

function tenantPath(name: string): string {
  return path`/api/v1/tenants/${name}`;
}
