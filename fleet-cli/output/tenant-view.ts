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

function pairs(labels: Record<string, string>): string {
  return Object.entries(labels)
    .map(([key, value]) => `${key}=${value}`)
    .join(',');
}
