import type { Tenant } from '../../contract/tenant.ts';
import { stateText } from './style.ts';
import { age } from './time.ts';
import type { View } from './view.ts';

export const tenantView: View<Tenant> = {
  noun: 'tenants',
  name: (tenant) => tenant.slug,
  columns: [
    { title: 'tenant', value: (tenant) => tenant.slug },
    { title: 'region', value: (tenant) => tenant.region },
    { title: 'tier', value: (tenant) => tenant.tier },
    { title: 'state', value: (tenant, paint) => stateText(paint, tenant.state) },
    { title: 'schema', value: (tenant) => tenant.schemaVersion },
    { title: 'server', value: (tenant) => tenant.server },
    { title: 'url', value: (tenant) => tenant.urls.join(' '), whole: true },
    { title: 'age', value: (tenant) => age(tenant.createdAt), right: true },
    { title: 'name', value: (tenant) => tenant.name, wide: true },
    { title: 'labels', value: (tenant) => pairs(tenant.labels), wide: true },
    { title: 'contact', value: (tenant) => tenant.contact, wide: true },
    { title: 'crm', value: (tenant) => tenant.crmRef, wide: true },
    { title: 'database', value: (tenant) => tenant.database, wide: true },
    { title: 'domains', value: (tenant) => tenant.domains.join(' '), detail: true },
    { title: 'id', value: (tenant) => tenant.id, detail: true },
    { title: 'cause', value: cause, detail: true },
    { title: 'placement', value: placement, detail: true },
    { title: 'key', value: keyText, detail: true },
    { title: 'connected', value: connected, detail: true },
  ],
};

function cause(tenant: Tenant): string | undefined {
  const found = tenant.stateCause;
  if (found === null) return undefined;
  return `${found.code}: ${found.message}${found.fix === undefined ? '' : `\nfix: ${found.fix}`}`;
}

function placement(tenant: Tenant): string | undefined {
  const report = tenant.placement;
  if (report === null) return undefined;
  const others = report.considered
    .filter(({ server }) => server !== report.server)
    .map(({ server, verdict }) => `${server}: ${verdict}`);
  return [`${report.server}: ${report.reason}`, ...others].join('\n');
}

/** People who look into the database now. */
function connected({ connections }: Tenant): string | undefined {
  if (connections.length === 0) return undefined;
  return connections
    .map(({ openedBy, login, expiresAt }) => `${openedBy} until ${expiresAt} as ${login}`)
    .join('\n');
}

/** What becomes of a deleted tenant's key, and what can be done about it. */
function keyText({ id, keyDestruction }: Tenant): string | undefined {
  if (keyDestruction === null) return undefined;
  const { state, requestedAt, goneAt, destroyedAt } = keyDestruction;
  switch (state) {
    case 'requested':
    case 'scheduled':
      return `opens nothing since ${requestedAt}, destroyed on ${goneAt}; until then: fleet tenant keep-key ${id}`;
    case 'keeping':
    case 'kept':
      return `kept; to have it destroyed: fleet tenant destroy-key ${id}`;
    case 'destroyed':
      return `destroyed on ${destroyedAt ?? goneAt}: nothing that was sealed under it can be read again`;
  }
}

function pairs(labels: Record<string, string>): string {
  return Object.entries(labels)
    .map(([key, value]) => `${key}=${value}`)
    .join(',');
}
