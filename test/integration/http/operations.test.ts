import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { createParser } from 'eventsource-parser';
import type { Operation } from '../../../contract/operation.ts';
import type { Problem } from '../../../contract/problem.ts';
import { createKey } from '../../../control-plane/access/keys.ts';
import type { BoundOperation } from '../../../control-plane/operations/definition.ts';
import { operationRoutes } from '../../../control-plane/operations/http.ts';
import { finishOperation, insertOperation } from '../../../control-plane/operations/store.ts';
import { until } from '../../support/until.ts';
import { startTestApp, type TestApp } from './http-app.ts';

const TOY: BoundOperation = {
  kind: 'toy.run',
  cancellable: true,
  steps: [],
  unwound: async () => undefined,
  retried: async () => undefined,
};

describe('operation routes', () => {
  let app: TestApp;
  let euOperator: string;

  before(async () => {
    const operations = new Map([[TOY.kind, TOY]]);
    app = await startTestApp((registry) => [operationRoutes({ registry, operations })]);
    await app.registry.query(
      "INSERT INTO regions (name, jurisdiction, domain) VALUES ('eu', 'EU', 'eu.x'), ('us', 'US', 'us.x')",
    );
    const key = { name: 'eu-operator', kind: 'user', role: 'operator', regions: ['eu'] } as const;
    euOperator = (await createKey(app.registry, { ...key, regions: ['eu'] })).token;
  });
  after(() => app.stop());

  async function start(region: string): Promise<string> {
    const id = randomUUID();
    await insertOperation(app.registry, {
      id,
      kind: 'toy.run',
      steps: ['one', 'two'],
      subject: `tenant:${id}`,
      subjectName: 'acme',
      region,
      input: {},
      actor: 'alice',
      actorRole: 'operator',
      requestId: null,
    });
    return id;
  }

  /** As its worker would, in one step. */
  const succeed = (id: string): Promise<void> =>
    app.registry.transaction(async (tx) => {
      await tx.query("UPDATE operations SET state = 'running' WHERE id = $1", [id]);
      await finishOperation(tx, id, 'running', 'succeed', null);
    });

  /** Reads a stream to its end; `onEvent` may act in between. */
  async function follow(id: string, onEvent: (event: string) => void, token = app.keys.viewer) {
    const response = await fetch(`${app.url}/api/v1/operations/${id}/events`, {
      headers: { authorization: `Bearer ${token}` },
    });
    const seen: { event: string; data: Operation }[] = [];
    const parser = createParser({
      onEvent: ({ event = '', data }) => {
        seen.push({ event, data: JSON.parse(data) });
        onEvent(event);
      },
    });
    const decoder = new TextDecoder();
    for await (const chunk of response.body ?? []) parser.feed(decoder.decode(chunk, { stream: true }));
    return { seen, type: response.headers.get('content-type') };
  }

  it('tell each change and the end', async () => {
    const id = await start('eu');
    let changed = false;
    const { seen, type } = await follow(id, () => {
      if (changed) return;
      changed = true;
      void succeed(id);
    });
    assert.match(type ?? '', /^text\/event-stream/);
    assert.deepEqual(
      seen.map(({ event, data }) => [event, data.state]),
      [
        ['operation', 'queued'],
        ['operation', 'succeeded'],
        ['end', 'succeeded'],
      ],
    );
  });

  it('end at once for what is over', async () => {
    const id = await start('eu');
    await finishOperation(app.registry, id, 'queued', 'fail', { code: 'broken', message: 'it broke' });
    const { seen } = await follow(id, () => undefined);
    assert.deepEqual(
      seen.map(({ event }) => event),
      ['operation', 'end'],
    );
    assert.equal(seen[0]?.data.error?.code, 'broken');
  });

  it('share one registry connection among many streams, and give it back', async () => {
    const ids = await Promise.all(Array.from({ length: 20 }, () => start('eu')));
    const listeners = async () => {
      const { rows } = await app.registry.query(
        "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN%'",
      );
      return rows.length;
    };
    const opened = new Set<string>();
    const streams = ids.map((id) => follow(id, () => opened.add(id)));
    await until('all streams are open', async () => opened.size === ids.length);
    assert.equal(await listeners(), 1);
    for (const id of ids) await succeed(id);
    const ended = await Promise.all(streams);
    assert.ok(ended.every(({ seen }) => seen.at(-1)?.event === 'end'));
    await until('nobody listens', async () => (await listeners()) === 0);
  });

  it('end within 5 seconds of the revocation of their key', async () => {
    const viewer = { name: 'leaver', kind: 'user', role: 'viewer', regions: [] } as const;
    const { id: keyId, token } = await createKey(app.registry, { ...viewer, regions: [] });
    let revokedAt = 0;
    const stream = follow(
      await start('eu'),
      () => {
        revokedAt = Date.now();
        void app.registry.query('UPDATE api_keys SET revoked_at = now() WHERE id = $1', [keyId]);
      },
      token,
    );
    await assert.rejects(stream);
    assert.ok(revokedAt > 0 && Date.now() - revokedAt <= 5_500);
  });

  it('answer a problem before the stream begins', async () => {
    const missing = await app.admin.call<Problem>('GET', `/api/v1/operations/${randomUUID()}/events`);
    assert.deepEqual([missing.status, missing.body.code], [404, 'operation_not_found']);
    const path = `/api/v1/operations/${await start('us')}/events`;
    const foreign = await app.as(euOperator).call<Problem>('GET', path);
    assert.deepEqual([foreign.status, foreign.body.code], [403, 'region_forbidden']);
  });

  it('keep to the regions of the key', async () => {
    const [eu, us] = [await start('eu'), await start('us')];
    const scoped = app.as(euOperator);
    const list = await scoped.ok<{ items: Operation[] }>('GET', '/api/v1/operations');
    assert.ok(list.items.length > 0 && list.items.every((operation) => operation.region === 'eu'));
    for (const verb of ['', '/retry', '/cancel']) {
      const method = verb === '' ? 'GET' : 'POST';
      const answer = await scoped.call<Problem>(method, `/api/v1/operations/${us}${verb}`);
      assert.deepEqual([answer.status, answer.body.code], [403, 'region_forbidden']);
    }
    assert.equal((await scoped.call('GET', `/api/v1/operations/${eu}`)).status, 200);
  });

  it('list newest first, filtered, page by page', async () => {
    const first = await app.admin.ok<{ items: Operation[]; nextCursor: string }>(
      'GET',
      '/api/v1/operations?limit=5&state=succeeded',
    );
    const second = await app.admin.ok<{ items: Operation[] }>(
      'GET',
      `/api/v1/operations?limit=5&state=succeeded&cursor=${first.nextCursor}`,
    );
    const all = [...first.items, ...second.items];
    assert.equal(new Set(all.map((operation) => operation.id)).size, 10);
    assert.ok(all.every((operation) => operation.state === 'succeeded'));
    const instants = all.map((operation) => operation.createdAt);
    assert.deepEqual(instants, instants.toSorted().toReversed());
  });

  it('list what ended after an instant', async () => {
    const id = await start('eu');
    await finishOperation(app.registry, id, 'queued', 'fail', { code: 'broken', message: 'it broke' });
    const { finishedAt } = await app.admin.ok<Operation>('GET', `/api/v1/operations/${id}`);
    const after = async (ms: number) => {
      const instant = new Date(Date.parse(finishedAt ?? '') + ms).toISOString();
      const at = `/api/v1/operations?state=failed&finishedAfter=${instant}`;
      return (await app.admin.ok<{ items: Operation[] }>('GET', at)).items.map((operation) => operation.id);
    };
    assert.deepEqual(await after(-1), [id]);
    assert.deepEqual(await after(1), []);
  });

  it('retry and cancel answer 202 with where to look', async () => {
    const id = await start('eu');
    const cancel = await app.admin.call<Operation>('POST', `/api/v1/operations/${id}/cancel`);
    assert.deepEqual([cancel.status, cancel.headers.location], [202, `/api/v1/operations/${id}`]);
    assert.equal(cancel.body.cancelRequested, true);
    await finishOperation(app.registry, id, 'queued', 'cancel', null);
    const retry = await app.admin.call<Operation>('POST', `/api/v1/operations/${id}/retry`);
    assert.deepEqual([retry.status, retry.body.state], [202, 'queued']);
    await succeed(id);
    const late = await app.admin.call<Problem>('POST', `/api/v1/operations/${id}/retry`);
    assert.deepEqual([late.status, late.body.code], [409, 'wrong_state']);
  });
});
