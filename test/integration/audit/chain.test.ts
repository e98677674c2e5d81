import assert from 'node:assert/strict';
import type { AuditEntry, AuditVerification } from '../../../contract/audit.ts';
import { createKey } from '../../../control-plane/access/keys.ts';
import { audit } from '../../../control-plane/audit/audit.ts';
import { auditRoutes } from '../../../control-plane/audit/http.ts';
import { verifyChain } from '../../../control-plane/audit/verify.ts';
import type { Registry } from '../../../control-plane/registry/registry.ts';
import { sqlState } from '../../../platform/errors.ts';
import { freshRegistry, type TestRegistry } from '../../support/registry.ts';
import { startTestApp, type TestApp } from '../http/http-app.ts';

interface Act {
  action?: string;
  resource?: string;
  actor?: string;
  region?: string | null;
  after?: unknown;
}

function act(registry: Registry, fields: Act = {}): Promise<void> {
  return registry.transaction(async (tx) => {
    audit(tx, {
      actor: fields.actor ?? 'alice',
      actorRole: 'operator',
      action: fields.action ?? 'tenant.create',
      resource: fields.resource ?? 'tenant:acme',
      region: fields.region ?? null,
      after: fields.after ?? { slug: 'acme', nested: { b: [1, null, 'ü'], a: 1e21 } },
      requestId: 'r-1',
    });
  });
}

describe('audit chain', () => {
  let test: TestRegistry;

  beforeEach(async () => {
    test = await freshRegistry();
  });
  afterEach(() => test.drop());

  /** As someone does it who owns the database: triggers off. */
  async function tamper(sql: string): Promise<void> {
    await test.registry.transaction(async (tx) => {
      await tx.query('SET LOCAL session_replication_role = replica');
      await tx.query(sql);
    });
  }

  it('is valid when empty', async () => {
    const verdict = await verifyChain(test.registry);
    assert.deepEqual(verdict, { valid: true, entries: 0, head: '0'.repeat(64), firstBad: null });
  });

  it('has no gap and no fork after 50 concurrent writers', async () => {
    await Promise.all(
      Array.from({ length: 50 }, (_, index) => act(test.registry, { resource: `tenant:t${index}` })),
    );
    const verdict = await verifyChain(test.registry);
    assert.deepEqual([verdict.valid, verdict.entries], [true, 50]);
    const { rows } = await test.registry.query(
      'SELECT max(seq)::int AS max, count(*)::int AS n FROM audit_log',
    );
    assert.deepEqual(rows[0], { max: 50, n: 50 });
  });

  it('holds several entries of one transaction, and none of one that fails', async () => {
    await test.registry.transaction(async (tx) => {
      for (const action of ['a', 'b', 'c']) {
        audit(tx, { actor: 'x', actorRole: 'admin', action, resource: 'tenant:acme' });
      }
    });
    const failing = test.registry.transaction(async (tx) => {
      audit(tx, { actor: 'x', actorRole: 'admin', action: 'd', resource: 'tenant:acme' });
      throw new Error('the work failed');
    });
    await assert.rejects(failing);
    const verdict = await verifyChain(test.registry);
    assert.deepEqual([verdict.valid, verdict.entries], [true, 3]);
  });

  it('is verified while others write to it', async () => {
    const writers = Promise.all(Array.from({ length: 40 }, () => act(test.registry)));
    const verdicts = await Promise.all(Array.from({ length: 10 }, () => verifyChain(test.registry)));
    await writers;
    assert.ok(verdicts.every((verdict) => verdict.valid));
  });

  it('walks more than one page', async () => {
    await test.registry.transaction(async (tx) => {
      for (let index = 0; index < 1_005; index += 1) {
        audit(tx, { actor: 'x', actorRole: 'admin', action: 'a', resource: `tenant:t${index}` });
      }
    });
    const verdict = await verifyChain(test.registry);
    assert.deepEqual([verdict.valid, verdict.entries], [true, 1_005]);
    await tamper("UPDATE audit_log SET actor = 'mallory' WHERE seq = 1003");
    assert.equal((await verifyChain(test.registry)).firstBad?.seq, 1_003);
  });

  const attacks: [name: string, sql: string, seq: number][] = [
    ['an actor', "UPDATE audit_log SET actor = 'mallory' WHERE seq = 3", 3],
    ['an instant', "UPDATE audit_log SET at = at + interval '1 ms' WHERE seq = 3", 3],
    ['a detail', `UPDATE audit_log SET after = jsonb_set(after, '{slug}', '"x"') WHERE seq = 3`, 3],
    ['a region', "UPDATE audit_log SET region = 'us' WHERE seq = 3", 3],
    ['a reason', "UPDATE audit_log SET reason = 'asked to' WHERE seq = 3", 3],
    ['a hash', "UPDATE audit_log SET hash = repeat('a', 64) WHERE seq = 3", 3],
    ['the first entry', "UPDATE audit_log SET action = 'nothing' WHERE seq = 1", 1],
    ['a removed entry', 'DELETE FROM audit_log WHERE seq = 3', 4],
    ['a removed beginning', 'DELETE FROM audit_log WHERE seq <= 2', 3],
    ['a cut tail', 'DELETE FROM audit_log WHERE seq >= 5', 5],
    ['an emptied log', 'DELETE FROM audit_log', 1],
    [
      'two entries in another order',
      `UPDATE audit_log SET seq = -seq WHERE seq IN (2, 3);
       UPDATE audit_log SET seq = CASE seq WHEN -2 THEN 3 ELSE 2 END WHERE seq < 0`,
      2,
    ],
    [
      'a removed entry with the rest moved up',
      'DELETE FROM audit_log WHERE seq = 3; UPDATE audit_log SET seq = seq - 1 WHERE seq > 3',
      3,
    ],
    [
      'an inserted entry',
      "INSERT INTO audit_log SELECT 7, at, actor, actor_role, action, resource, region, before, after, reason, request_id, hash, repeat('b', 64) FROM audit_log WHERE seq = 6",
      7,
    ],
  ];
  for (const [name, sql, seq] of attacks) {
    it(`names the first bad entry after ${name}`, async () => {
      for (let index = 0; index < 6; index += 1) await act(test.registry, { resource: `tenant:t${index}` });
      assert.equal((await verifyChain(test.registry)).valid, true);
      await tamper(sql);
      const verdict = await verifyChain(test.registry);
      assert.deepEqual([verdict.valid, verdict.firstBad?.seq], [false, seq], JSON.stringify(verdict));
    });
  }

  it('finds entries beyond the end even when they continue it well', async () => {
    for (let index = 0; index < 3; index += 1) await act(test.registry);
    await tamper('UPDATE audit_head SET seq = 2, hash = (SELECT hash FROM audit_log WHERE seq = 2)');
    assert.equal((await verifyChain(test.registry)).firstBad?.seq, 3);
  });

  it('refuses changes by whoever forgets to switch the trigger off', async () => {
    await act(test.registry);
    for (const sql of ["UPDATE audit_log SET actor = 'x'", 'DELETE FROM audit_log', 'TRUNCATE audit_log']) {
      await assert.rejects(test.registry.query(sql), (error) => sqlState(error) === 'FL002');
    }
  });

  it('keeps what passwords and tokens there are out of the entries', async () => {
    await act(test.registry, { after: { password: 'hunter2', url: 'postgres://a:hunter2@h/d' } });
    const { rows } = await test.registry.query('SELECT after::text FROM audit_log');
    assert.doesNotMatch(String(rows[0]?.after), /hunter2/);
    assert.equal((await verifyChain(test.registry)).valid, true);
  });
});

describe('audit routes', () => {
  let app: TestApp;

  before(async () => {
    app = await startTestApp((registry) => [auditRoutes({ registry })]);
    for (let index = 0; index < 10; index += 1) {
      await act(app.registry, {
        actor: index % 2 === 0 ? 'alice' : 'bob',
        action: index < 5 ? 'tenant.create' : 'tenant.suspend',
        resource: `tenant:t${index}`,
        region: [null, 'eu', 'us'][index % 3] ?? null,
      });
    }
  });
  after(() => app.stop());

  const list = (query: string, token = app.keys.auditor) =>
    app.as(token).ok<{ items: AuditEntry[]; nextCursor: string | null }>('GET', `/api/v1/audit${query}`);

  it('list newest first, filtered, page by page', async () => {
    const seqs = async (query: string) => (await list(query)).items.map((entry) => entry.seq);
    assert.deepEqual(await seqs(''), [10, 9, 8, 7, 6, 5, 4, 3, 2, 1]);
    assert.deepEqual(await seqs('?actor=bob&action=tenant.suspend'), [10, 8, 6]);
    assert.deepEqual(await seqs('?resource=tenant:t4'), [5]);
    const first = await list('?limit=4&actor=alice');
    assert.deepEqual(
      first.items.map((entry) => entry.seq),
      [9, 7, 5, 3],
    );
    const second = await list(`?limit=4&actor=alice&cursor=${first.nextCursor}`);
    assert.deepEqual([second.items.map((entry) => entry.seq), second.nextCursor], [[1], null]);
  });

  it('show an auditor of one region that region only', async () => {
    const { token } = await createKey(app.registry, {
      name: 'eu-auditor',
      kind: 'user',
      role: 'auditor',
      regions: ['eu'],
    });
    const { items } = await list('', token);
    assert.deepEqual(
      items.map((entry) => [entry.seq, entry.region]),
      [
        [8, 'eu'],
        [5, 'eu'],
        [2, 'eu'],
      ],
    );
  });

  it('verify the chain', async () => {
    const verdict = await app.as(app.keys.auditor).ok<AuditVerification>('GET', '/api/v1/audit/verify');
    assert.deepEqual([verdict.valid, verdict.entries, verdict.firstBad], [true, 10, null]);
  });
});
