import type { ApiKey } from '../../contract/access.ts';
import type { AuditEntry } from '../../contract/audit.ts';
import type { Release } from '../../contract/release.ts';
import type { SecretVersion } from '../../contract/secret.ts';
import type { InstanceDrift, InstanceFinding, Region, Server } from '../../contract/server.ts';
import { stateText } from './style.ts';
import { age } from './time.ts';
import type { View } from './view.ts';

export const regionView: View<Region> = {
  noun: 'regions',
  name: (region) => region.name,
  columns: [
    { title: 'region', value: (region) => region.name },
    { title: 'jurisdiction', value: (region) => region.jurisdiction },
    { title: 'servers', value: (region) => region.servers, right: true },
    { title: 'tenants', value: (region) => region.tenants, right: true },
    { title: 'domain', value: (region) => region.domain },
    { title: 'app', value: (region) => region.appUrl, whole: true },
    { title: 'age', value: (region) => age(region.createdAt), right: true, wide: true },
  ],
};

export const serverView: View<Server> = {
  noun: 'servers',
  name: (server) => server.name,
  columns: [
    { title: 'server', value: (server) => server.name },
    { title: 'region', value: (server) => server.region },
    { title: 'mode', value: (server) => server.mode },
    { title: 'state', value: (server, paint) => stateText(paint, server.state) },
    { title: 'health', value: (server, paint) => paint(...health(server)) },
    { title: 'databases', value: (server) => `${server.databases}/${server.maxDatabases}`, right: true },
    {
      title: 'connections',
      value: (server) => `${server.connections}/${server.maxConnections}`,
      right: true,
    },
    { title: 'address', value: (server) => `${server.host}:${server.port}`, whole: true },
    { title: 'provider', value: (server) => server.provider, wide: true },
    { title: 'tls', value: (server) => server.tls, wide: true },
    { title: 'postgres', value: (server) => majorVersion(server.serverVersion), wide: true },
    { title: 'age', value: (server) => age(server.createdAt), right: true, wide: true },
    { title: 'instance', value: (server) => server.instance?.identifier, detail: true },
    { title: 'drift', value: instanceDrift, detail: true },
    { title: 'id', value: (server) => server.id, detail: true },
  ],
};

/** What a previous version waits for, and why a retired one is. */
function whyText({ unacknowledged, stage, retiredBecause }: SecretVersion): string {
  if (stage !== 'previous') return retiredBecause ?? '';
  if (unacknowledged === null || unacknowledged === 0) return 'its login is closed when no session is left';
  return `${unacknowledged} app ${unacknowledged === 1 ? 'instance has' : 'instances have'} not taken over the newer one`;
}

export const secretView: View<SecretVersion> = {
  noun: 'secrets',
  name: (version) => version.id,
  columns: [
    { title: 'name', value: (version) => version.name },
    { title: 'region', value: (version) => version.region },
    { title: 'login', value: (version) => version.login },
    { title: 'stage', value: (version, paint) => stateText(paint, version.stage) },
    { title: 'since', value: (version) => age(version.stagedAt), right: true },
    { title: 'made', value: (version) => age(version.createdAt), right: true },
    { title: 'why', value: whyText },
    { title: 'version', value: (version) => version.id, whole: true },
    { title: 'subject', value: (version) => version.subject, wide: true },
  ],
};

export const releaseView: View<Release> = {
  noun: 'releases',
  name: (release) => release.name,
  columns: [
    {
      title: 'release',
      value: (release, paint) => (release.current ? paint('good', `${release.name} *`) : release.name),
    },
    { title: 'head', value: (release) => release.head },
    { title: 'migrations', value: (release) => release.migrations, right: true },
    { title: 'applied', value: (release) => release.applied, right: true },
    { title: 'behind', value: (release) => release.behind, right: true },
    { title: 'published', value: (release) => age(release.publishedAt), right: true },
    { title: 'by', value: (release) => release.publishedBy },
    { title: 'checksum', value: (release) => release.checksum, wide: true },
  ],
};

export const auditView: View<AuditEntry> = {
  noun: 'audit entries',
  name: (entry) => String(entry.seq),
  columns: [
    { title: 'seq', value: (entry) => entry.seq, right: true },
    { title: 'at', value: (entry) => entry.at },
    { title: 'actor', value: (entry) => entry.actor },
    { title: 'action', value: (entry) => entry.action },
    { title: 'resource', value: (entry) => entry.resource },
    { title: 'region', value: (entry) => entry.region },
    { title: 'reason', value: (entry) => entry.reason, wide: true },
    { title: 'request', value: (entry) => entry.requestId, wide: true },
    { title: 'hash', value: (entry) => entry.hash, wide: true },
  ],
};

export const keyView: View<ApiKey> = {
  noun: 'keys',
  name: (key) => key.id,
  columns: [
    { title: 'name', value: (key) => key.name },
    { title: 'role', value: (key) => key.role },
    { title: 'regions', value: (key) => (key.regions.length === 0 ? 'all' : key.regions.join(',')) },
    { title: 'prefix', value: (key) => key.prefix },
    { title: 'expires', value: (key) => key.expiresAt ?? 'never' },
    { title: 'used', value: (key) => age(key.lastUsedAt), right: true },
    { title: 'state', value: (key, paint) => (key.revokedAt === null ? 'valid' : paint('bad', 'revoked')) },
    { title: 'id', value: (key) => key.id, whole: true },
    { title: 'age', value: (key) => age(key.createdAt), right: true, wide: true },
  ],
};

export const instanceDriftView: View<InstanceDrift> = {
  noun: 'instances that differ',
  name: (drift) => drift.instance,
  columns: [
    { title: 'instance', value: (drift) => drift.instance },
    { title: 'server', value: (drift) => drift.server },
    { title: 'region', value: (drift) => drift.region },
    { title: 'differs in', value: (drift) => drift.findings.map(findingText).join('; ') },
  ],
};

/** What RDS has otherwise than the registry, when it was last asked. */
function instanceDrift({ instance }: Server): string | undefined {
  if (instance === null || instance.drift === null) return undefined;
  const words = instance.drift.map(findingText);
  return words.length === 0 ? `none, ${age(instance.checkedAt) ?? ''} ago` : words.join('; ');
}

/** `class is db.t4g.medium, not db.m7g.large` */
function findingText({ what, wanted, found }: InstanceFinding): string {
  if (found === null) return `${what} ${wanted ?? ''} is missing`;
  return wanted === null ? `${what} is ${found}, and none is known` : `${what} is ${found}, not ${wanted}`;
}

function health(server: Server): ['good' | 'bad', string] {
  if (server.instance?.stopped === true) return ['good', 'stopped'];
  return server.reachable ? ['good', 'reachable'] : ['bad', 'unreachable'];
}

/** PostgreSQL numbers versions as 180004: major 18, minor 4. */
function majorVersion(number: number | null): string | undefined {
  return number === null ? undefined : `${Math.floor(number / 10_000)}.${number % 10_000}`;
}
