import assert from 'node:assert/strict';
import { fleet } from './harness.ts';

/** Nothing listens there, and nothing is asked: what reaches the network fails with exit 1, not 2. */
const NOWHERE = { FLEET_URL: 'http://127.0.0.1:2', FLEET_TOKEN: 'flt_x_y' };
const ID = '0190d5a0-0000-7000-8000-000000000000';

const ACCEPTED: string[][] = [
  ['status'],
  ['api', 'GET', '/tenants'],
  ['tenant', 'create', 'acme', '--region', 'eu'],
  [
    'tenant',
    'create',
    'acme',
    '--region',
    'eu',
    '--tier',
    'premium',
    '--label',
    'a=b',
    '--label',
    'c=d',
    '--wait',
  ],
  [
    'tenant',
    'create',
    'acme',
    '--region',
    'eu',
    '--contact',
    'x',
    '--crm-ref',
    'y',
    '--domain',
    'a.example.com',
  ],
  [
    'tenant',
    'list',
    '--region',
    'eu',
    '--tier',
    'standard',
    '--state',
    'active',
    '--label',
    'a=b',
    '--search',
    'q',
  ],
  ['-o', 'json', 'tenant', 'list', '--limit', '5'],
  ['tenant', 'list', '-ojson'],
  ['tenant', 'get', 'acme', '-q'],
  ['tenant', 'update', 'acme', '--label', 'a=b', '--remove-label', 'c'],
  ['tenant', 'suspend', 'acme', '--reason', 'unpaid'],
  ['tenant', 'resume', 'acme', '--no-wait'],
  ['tenant', 'delete', 'acme', '--confirm', 'acme'],
  ['server', 'list', '--state', 'ready'],
  ['server', 'create', 'eu-2', '--region', 'eu', '--mode', 'dedicated'],
  ['server', 'cordon', 'eu-1'],
  ['server', 'uncordon', 'eu-1'],
  ['server', 'remove', 'eu-1', '--confirm', 'eu-1'],
  ['region', 'list'],
  ['region', 'create', 'ap', '--jurisdiction', 'AP', '--domain', 'ap.example.com'],
  ['secret', 'list'],
  ['secret', 'get', 'acme'],
  ['release', 'list'],
  ['release', 'get', 'r1'],
  ['rollout', 'plan', '--release', 'r1'],
  ['rollout', 'start', '--release', 'r1', '--wait'],
  ['rollout', 'list', '--state', 'halted'],
  ['rollout', 'get', 'latest', '-w'],
  ['rollout', 'status', ID, '--timeout', '60s'],
  ['rollout', 'pause', ID, '--reason', 'lunch'],
  ['rollout', 'retry', ID, '--target', 'acme'],
  ['operation', 'list', '--state', 'failed'],
  ['operation', 'retry', ID],
  ['audit', 'list'],
  ['audit', 'verify'],
  ['key', 'create', 'ci', '--role', 'operator', '--region', 'eu', '--region', 'us'],
  ['key', 'list'],
  ['key', 'revoke', ID],
];

const REFUSED: [string[], RegExp][] = [
  [['nonsense'], /unknown command 'nonsense'/],
  [['tenant', 'lst'], /Did you mean list\?/],
  [['tenant', 'create', 'acme'], /--region/],
  [['tenant', 'create', 'acme', '--region', 'eu', '--tier', 'gold'], /standard, premium, enterprise/],
  [['tenant', 'create', 'Acme!', '--region', 'eu'], /slug: 3 to 40/],
  [['tenant', 'create', 'admin', '--region', 'eu'], /reserved/],
  [['tenant', 'create', 'acme', '--region', 'eu', '--label', 'nonsense'], /key=value/],
  [['tenant', 'get'], /missing required argument/],
  [['tenant', 'get', 'a', 'b'], /too many arguments/],
  [['tenant', 'list', '--state', 'asleep'], /provisioning, active/],
  [['tenant', 'list', '--limit', '0'], /whole number/],
  [['tenant', 'list', '-o', 'xml'], /table, wide, json, yaml, name/],
  [['tenant', 'list', '--colour'], /unknown option '--colour'/],
  [['tenant', 'update', 'acme'], /nothing to change/],
  [['rollout', 'start'], /neither a file nor a release/],
  [['rollout', 'plan', 'no-such-file.yaml'], /cannot be read/],
  [['rollout', 'status', ID, '--timeout', 'soon'], /30s or 5m/],
  [['server', 'add', 'eu-2', '--region', 'eu'], /--url-file FILE or --url-stdin/],
  [['server', 'add', 'eu-2', '--region', 'eu', '--url', 'postgres://a:hunter2@h/d'], /list of processes/],
  [['server', 'add', 'eu-2', '--region', 'eu', '--url-file', 'nowhere'], /cannot be read/],
  [['key', 'create', 'ci'], /--role/],
  [['api', 'FETCH', '/tenants'], /no method of the API/],
  [['api', 'POST', '/tenants', '--data', '{'], /not valid JSON/],
];

describe('the command line', () => {
  for (const argv of ACCEPTED) {
    it(`understands: fleet ${argv.join(' ')}`, async () => {
      const run = await fleet(argv, { env: NOWHERE });
      assert.equal(run.code, 1, run.stderr);
      assert.match(run.stderr, /unreachable/);
      assert.equal(run.stdout, '');
    });
  }

  for (const [argv, reason] of REFUSED) {
    it(`refuses: fleet ${argv.join(' ')}`, async () => {
      const run = await fleet(argv, { env: NOWHERE });
      assert.equal(run.code, 2, run.stderr);
      assert.match(run.stderr, reason);
      assert.equal(run.stdout, '');
      assert.doesNotMatch(run.stderr, /hunter2/);
      const [noun, verb] = argv;
      assert.match(run.stderr, new RegExp(`help: fleet (${noun} (${verb} )?)?--help\n`));
    });
  }

  it('points each mistake to the help of its command, in lines and in JSON', async () => {
    const help = async (...argv: string[]) => {
      const run = await fleet(argv);
      assert.equal(run.code, 2);
      return run.stderr;
    };
    assert.match(await help('tenant', 'create', 'acme'), /help: fleet tenant create --help/);
    assert.match(await help('-o', 'table', 'tenant', 'lst'), /help: fleet tenant --help/);
    assert.match(await help('--context', 'tenant', 'nonsense'), /help: fleet --help/);
    const json = JSON.parse(await help('tenant', 'get', '-o', 'json')) as { help: string };
    assert.equal(json.help, 'fleet tenant get --help');
  });

  it('ends with 3 and the names there are for a context that is none', async () => {
    const run = await fleet(['tenant', 'list', '--context', 'nowhere'], { env: NOWHERE });
    assert.equal(run.code, 3, run.stderr);
    assert.match(run.stderr, /no context "nowhere"/);
  });

  it('shows help on stdout when it is asked for, and on stderr with exit 2 when a verb is missing', async () => {
    const asked = await fleet(['tenant', '--help']);
    assert.equal(asked.code, 0);
    assert.match(asked.stdout, /Usage: fleet tenant/);
    for (const argv of [[], ['tenant']]) {
      const missing = await fleet(argv);
      assert.equal(missing.code, 2);
      assert.match(missing.stderr, /Usage: fleet/);
      assert.equal(missing.stdout, '');
    }
  });

  it('prints its version', async () => {
    const run = await fleet(['version', '-o', 'json']);
    assert.equal(run.code, 0);
    assert.deepEqual(Object.keys(JSON.parse(run.stdout) as object), ['fleet', 'node']);
    assert.equal((await fleet(['--version'])).code, 0);
  });
});
