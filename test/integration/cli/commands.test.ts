import assert from 'node:assert/strict';
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { AuditEntry } from '../../../contract/audit.ts';
import type { Operation } from '../../../contract/operation.ts';
import type { Tenant } from '../../../contract/tenant.ts';
import { addressUrl, withClient } from '../../../platform/pg.ts';
import { clusters } from '../../support/clusters.ts';
import { startFleet, type Fleet } from '../../support/fleet.ts';
import { until } from '../../support/until.ts';
import { fleet as run, inFolder } from '../../unit/cli/harness.ts';
import { commandLine } from './command-line.ts';

const UNKNOWN_ID = '0190d5a0-0000-7000-8000-000000000000';

describe('the command line against a fleet', () => {
  let server: Fleet;
  const { cli, json, env } = commandLine(() => server);

  before(async () => {
    server = await startFleet();
  });
  after(async () => {
    await server.stop();
  });

  it('creates a tenant, tells each step, and prints its URL', async () => {
    const created = await cli('tenant create acme --region eu --tier premium --label canary=true --wait');
    assert.equal(created.code, 0, created.stderr);
    assert.match(created.stdout, /url\s+https?:\/\/acme\./);
    assert.match(created.stderr, /tenant\.create acme/);
    assert.ok((created.stderr.match(/✔/g) ?? []).length >= 3, created.stderr);
    const tenant = await json<Tenant>('tenant get acme');
    for (const field of [
      'id',
      'slug',
      'name',
      'tier',
      'region',
      'state',
      'schemaVersion',
      'server',
      'database',
    ]) {
      assert.ok(field in tenant, field);
    }
    assert.equal(tenant.state, 'active');
  });

  it('lists as a table, as names and as pure JSON, with filters', async () => {
    await cli('tenant create bolt --region us');
    assert.match((await cli('tenant list')).stdout, /^TENANT +REGION +TIER/);
    assert.equal((await cli('tenant list -o name')).stdout, 'acme\nbolt\n');
    assert.equal((await cli('tenant list -o name --limit 1')).stdout, 'acme\n');
    assert.equal((await cli('tenant list -o name --label canary=true')).stdout, 'acme\n');
    assert.equal((await cli('tenant list -o name --region us')).stdout, 'bolt\n');
    const none = await cli('tenant list --search nobody -o json');
    assert.deepEqual([none.stdout, none.stderr], ['[]\n', '']);
  });

  it('opens a read-only login whose password is in a private file alone, shows it, and closes it', async () => {
    await inFolder(async (home) => {
      const options = { env: { ...env(), HOME: home } };
      const line = ['tenant', 'connect', 'acme', '--reason', 'INC-42'];
      const missing = await cli('tenant connect acme');
      assert.deepEqual([missing.code, missing.stdout], [2, '']);
      const text = await run(line, options);
      assert.equal(text.code, 0, text.stderr);
      assert.match(
        text.stdout,
        /^PGPASSFILE='[^']+\.pgpass' psql 'host=\S+ port=\d+ dbname=t_\w+ user=t_\w+_c_\w+ sslmode=disable'\n$/,
      );
      const file = /PGPASSFILE='([^']+)'/.exec(text.stdout)?.[1] ?? '';
      assert.equal(statSync(file).mode & 0o777, 0o600);
      const [host = '', port, database = '', user = '', password = ''] = readFileSync(file, 'utf8')
        .trim()
        .split(':');
      assert.ok(!`${text.stdout}${text.stderr}`.includes(password));
      const address = { host, port: Number(port), database, user, password, tls: 'disable' as const };
      await withClient(address, { applicationName: 'psql' }, (client) =>
        client.query('SELECT 1 FROM projects'),
      );
      assert.match(
        (await cli('tenant get acme')).stdout,
        new RegExp(`connected +admin until \\S+ as ${user}`),
      );
      assert.equal((await cli('tenant disconnect acme')).code, 0);
      await until('the login is closed', async () =>
        (await json<Tenant>('tenant get acme')).connections.length === 0 ? true : undefined,
      );
    });
  });

  it('starts psql with such a login, and closes it when psql ends, well or not', async () => {
    await inFolder(async (home) => {
      const script =
        '#!/bin/sh\nread line < "$PGPASSFILE"\nprintf "%s\\n%s" "$1" "$line" > "$HOME/seen"\nexit $STATUS\n';
      writeFileSync(join(home, 'psql'), script, { mode: 0o755 });
      const line = ['tenant', 'connect', 'acme', '--reason', 'INC-42', '--exec'];
      for (const STATUS of ['0', '3']) {
        const options = { env: { ...env(), HOME: home, PATH: `${home}:${process.env.PATH ?? ''}`, STATUS } };
        const { code, stdout, stderr } = await run(line, options);
        assert.deepEqual([code, stdout], [STATUS === '0' ? 0 : 1, ''], stderr);
        const [conninfo = '', entry = ''] = readFileSync(join(home, 'seen'), 'utf8').split('\n');
        assert.ok(!conninfo.includes(entry.split(':')[4] ?? ''));
        assert.deepEqual(readdirSync(join(home, '.config', 'flotilla', 'connect')), []);
        await until('the login is closed', async () =>
          (await json<Tenant>('tenant get acme')).connections.length === 0 ? true : undefined,
        );
      }
      const none = await run(line, { env: { ...env(), HOME: home, PATH: '/nowhere' } });
      assert.equal(none.code, 1);
      assert.match(none.stderr, /psql cannot be started/);
    });
  });

  it('changes what is given and leaves the rest', async () => {
    const changed = await cli('tenant update acme --label team=blue --remove-label canary --contact kim');
    assert.equal(changed.code, 0, changed.stderr);
    const tenant = await json<Tenant>('tenant get acme');
    assert.deepEqual([tenant.labels, tenant.contact], [{ team: 'blue' }, 'kim']);
    await cli(['tenant', 'update', 'acme', '--no-domains'].join(' '));
    assert.equal((await json<Tenant>('tenant get acme')).contact, 'kim');
  });

  it('suspends and resumes, waiting for each', async () => {
    assert.equal((await cli('tenant suspend acme --reason unpaid')).code, 0);
    assert.equal((await json<Tenant>('tenant get acme')).state, 'suspended');
    assert.equal((await cli('tenant resume acme')).code, 0);
    assert.equal((await json<Tenant>('tenant get acme')).state, 'active');
  });

  it('prints the operation when it shall not wait', async () => {
    const started = await cli('tenant create cogs --region eu --no-wait -o name');
    assert.equal(started.code, 0, started.stderr);
    const operation = await json<Operation>(`operation get ${started.stdout.trim()} --wait`);
    assert.deepEqual([operation.kind, operation.state], ['tenant.create', 'succeeded']);
    const listed = await json<Operation[]>('operation list --kind tenant.create');
    assert.ok(listed.some((each) => each.id === operation.id));
  });

  it('follows a tenant to the end of what is done to it, and ends with 5 when it is broken', async () => {
    const started = await cli('tenant create gale --region eu --no-wait');
    assert.equal(started.code, 0, started.stderr);
    const watched = await cli('tenant get gale -w');
    assert.equal(watched.code, 0, watched.stderr);
    assert.match(watched.stdout, /state +✔ active/);
    assert.equal((await cli('tenant get gale --wait -o name')).stdout, 'gale\n');
    const cause = '{"code":"broken","message":"it broke"}';
    await server.registry.query(
      `UPDATE tenants SET state = 'failed', state_cause = '${cause}' WHERE slug = 'gale'`,
    );
    const failed = await cli('tenant get gale -w -o json');
    assert.equal(failed.code, 5);
    assert.equal((JSON.parse(failed.stdout) as Tenant).state, 'failed');
    assert.equal((JSON.parse(failed.stderr) as { code: string }).code, 'broken');
    assert.equal((await cli('tenant get gale')).code, 0);
  });

  it('deletes only what is named again', async () => {
    const unconfirmed = await cli('tenant delete cogs');
    assert.equal(unconfirmed.code, 2);
    assert.match(unconfirmed.stderr, /--confirm cogs/);
    assert.equal((await cli('tenant delete cogs --confirm acme')).code, 2);
    assert.equal((await json<Tenant>('tenant get cogs')).state, 'active');
    const deleted = await cli('tenant delete cogs --confirm cogs');
    assert.equal(deleted.code, 0, deleted.stderr);
    assert.equal((await cli('tenant get cogs')).code, 3);
  });

  it('changes nothing on a dry run and hides secrets in what it prints', async () => {
    const before = await json<AuditEntry[]>('audit list');
    const created = await cli('tenant create dune --region eu --dry-run -o json');
    const shown = JSON.parse(created.stdout) as { method: string; path: string; body: { slug: string } };
    assert.deepEqual([shown.method, shown.path, shown.body.slug], ['POST', '/api/v1/tenants', 'dune']);
    assert.equal((await cli('tenant delete acme --dry-run')).code, 0);
    const url = 'postgres://admin:hunter2@127.0.0.1:5/postgres';
    const added = await cli('server add eu-9 --region eu --url-stdin --dry-run', { stdin: url });
    assert.equal(added.code, 0, added.stderr);
    assert.ok(!added.stdout.includes('hunter2'));
    assert.deepEqual(await json<AuditEntry[]>('audit list'), before);
  });

  it('tells once for each server why it has no room, and how to make some', async () => {
    const full = await cli('tenant create huge --region eu --tier enterprise');
    assert.equal(full.code, 3, full.stderr);
    assert.equal(full.stderr.match(/eu-1/g)?.length, 1, full.stderr);
    assert.match(full.stderr, /- eu-1: is shared; an enterprise tenant needs a dedicated server\n/);
    assert.match(full.stderr, /fix: .*fleet server create NAME --region eu --mode dedicated/);
  });

  const refusals: [string, number, RegExp][] = [
    ['tenant create acme --region eu', 3, /fix:/],
    ['tenant create elan --region mars', 3, /mars/],
    ['tenant get nobody', 3, /tenant_not_found/],
    ['server get nobody', 3, /server_not_found/],
    ['region get nobody', 3, /region_not_found/],
    ['release get nobody', 3, /release_not_found/],
    ['secret get nobody', 3, /secret_not_found/],
    [`rollout get ${UNKNOWN_ID}`, 3, /rollout_not_found/],
    [`operation get ${UNKNOWN_ID}`, 3, /operation_not_found/],
    ['rollout start --release nobody', 3, /release_not_found/],
    ['api GET /nonsense', 3, /error/],
  ];
  for (const [line, code, reason] of refusals) {
    it(`ends "fleet ${line}" with exit ${code} and the request's id`, async () => {
      const refused = await cli(line);
      assert.equal(refused.code, code, refused.stderr);
      assert.match(refused.stderr, reason);
      assert.match(refused.stderr, /request: /);
      assert.equal(refused.stdout, '');
    });
  }

  it('ends with 4 without a key, with a wrong one, and with a role that may not', async () => {
    const url = { FLEET_URL: server.url };
    assert.equal((await cli('tenant list', { env: url })).code, 4);
    assert.equal((await cli('tenant list', { env: { ...url, FLEET_TOKEN: 'flt_a_b' } })).code, 4);
    await inFolder(async (folder) => {
      const made = await cli('key create looker --role viewer --region eu --token-file key', { cwd: folder });
      assert.equal(made.code, 0, made.stderr);
      const viewer = { env: { ...url, FLEET_TOKEN_FILE: join(folder, 'key') } };
      assert.equal((await cli('tenant list -o name', viewer)).stdout, 'acme\ngale\n');
      const denied = await cli('tenant create fern --region eu', viewer);
      assert.equal(denied.code, 4, denied.stderr);
      assert.equal((await cli('tenant get bolt', viewer)).code, 4);
    });
  });

  it('shows a token once and revokes its key', async () => {
    const { id, token } = await json<{ id: string; token: string }>('key create ci --role operator');
    const options = { env: { FLEET_URL: server.url, FLEET_TOKEN: token } };
    assert.equal((await cli('tenant list', options)).code, 0);
    assert.ok(!(await cli('key list -o json')).stdout.includes(token));
    assert.equal((await cli(`key revoke ${id}`)).code, 0);
  });

  it('registers a server once, cordons it, and removes none that is in use', async () => {
    await inFolder(async (folder) => {
      writeFileSync(join(folder, 'url'), `${addressUrl(clusters().us.superuser)}\n`);
      const made = await cli('server add us-2 --region us --url-file url --max-databases 7', { cwd: folder });
      assert.equal(made.code, 3, made.stderr);
      assert.match(made.stderr, /server_already_registered/);
    });
    const cordoned = await cli('server cordon us-1');
    assert.equal(cordoned.code, 0, cordoned.stderr);
    assert.match(cordoned.stdout, /cordoned/);
    assert.equal((await cli('server uncordon us-1')).code, 0);
    assert.equal((await cli('server remove us-1 --confirm us-1')).code, 3);
    assert.match((await cli('server list -o wide')).stdout, /POSTGRES/);
  });

  it('ends with 5 when the operation that it started fails, and says why', async () => {
    const failed = await cli('server add eu-8 --region eu --url-stdin', {
      stdin: addressUrl({ ...clusters().registry.superuser, password: 'hunter2' }),
    });
    assert.equal(failed.code, 5, failed.stderr);
    assert.match(failed.stderr, /cause: operation \S+ ended as failed/);
    assert.ok(!failed.stderr.includes('hunter2'));
    const [operation] = await json<Operation[]>('operation list --state failed --kind server.add');
    const watched = await cli(`operation get ${operation?.id ?? ''} -w`);
    assert.equal(watched.code, 5, watched.stderr);
    assert.match(watched.stdout, /state +✖ failed/);
    assert.equal((await cli(`operation get ${operation?.id ?? ''}`)).code, 0);
  });

  it('creates and shows regions', async () => {
    assert.equal((await cli('region create ap --jurisdiction APAC --domain ap.example.com')).code, 0);
    assert.equal((await cli('region create ap --jurisdiction APAC --domain ap.example.com')).code, 3);
    assert.match((await cli('region list')).stdout, /ap +APAC/);
  });

  it('shows versions of secrets without their values', async () => {
    const versions = await json<Record<string, string>[]>('secret get acme');
    assert.equal(versions[0]?.['stage'], 'current');
    assert.ok(versions.every((version) => !('password' in version)));
    assert.equal((await cli('secret list --name acme')).code, 0);
    assert.equal((await cli('secret list --name acme --older-than 90d')).stderr, 'no secrets\n');
    const since = "staged_at = now() - interval '91 days'";
    await server.registry.query(`UPDATE secret_versions SET ${since} WHERE subject LIKE 'database:%'`);
    const overdue = await cli('secret list --name acme --older-than 90d');
    assert.match(overdue.stdout, /acme +eu +t_\w+_a +✔ current +91d/);
    assert.equal((await cli('secret list --older-than soon')).code, 2);
  });

  it('rotates the master key, at once or prepared, and goes on working', async () => {
    assert.equal((await cli('secret rotate acme --master-key')).code, 2);
    assert.equal((await cli('secret rotate --prepare')).code, 2);
    const prepared = await cli('secret rotate --master-key --prepare --wait');
    assert.match(prepared.stderr, /copy the file/);
    const rotated = await cli('secret rotate --master-key --wait');
    assert.equal(rotated.code, 0, rotated.stderr);
    assert.match(rotated.stderr, /the old master key is gone/);
    assert.equal((await cli('tenant create after-rotation --region eu --wait')).code, 0);
  });

  it('verifies the audit chain and lists who did what', async () => {
    assert.match((await cli('audit verify')).stdout, /✔ valid/);
    const entries = await json<AuditEntry[]>('audit list --action tenant.create --limit 3');
    assert.ok(entries.length > 0 && entries.length <= 3);
  });

  it('gives an overview, a diagnosis and any path of the API', async () => {
    assert.match((await cli('status')).stdout, /regions\nREGION/);
    const doctor = await cli('doctor');
    assert.match(doctor.stdout, /✔ ok {4}key/);
    const raw = await cli('api GET /tenants?limit=1');
    assert.equal((JSON.parse(raw.stdout) as { items: unknown[] }).items.length, 1);
    const region = '{"name":"sa","jurisdiction":"BR","domain":"sa.example.com"}';
    assert.equal((await run(['api', 'POST', '/regions', '--data', region], { env: env() })).code, 0);
    assert.equal((await cli('api GET /healthz')).code, 0);
  });

  it('tells every request with --debug, and never the key', async () => {
    const traced = await cli('tenant list --debug');
    assert.match(traced.stderr, /debug: GET \/api\/v1\/tenants 200 \d+ms/);
    assert.ok(!traced.stderr.includes(server.adminToken));
  });
});
