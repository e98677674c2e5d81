import assert from 'node:assert/strict';
import type { RequestListener, ServerResponse } from 'node:http';
import { GateSpec } from '../../../contract/gate.ts';
import { readHttp, readPrometheus } from '../../../control-plane/rollouts/gates/http-source.ts';
import { listMeasurements } from '../../../control-plane/rollouts/gates/view-store.ts';
import { makeGateFleet, serve, type GateFleet } from './gates-fleet.ts';

/** An answer of Prometheus with these samples. */
function vector(...values: string[]): string {
  const result = values.map((value) => ({ metric: {}, value: [1_700_000_000, value] }));
  return JSON.stringify({ status: 'success', data: { resultType: 'vector', result } });
}

describe('gates that ask others', () => {
  let answer: RequestListener = (_request, response) => void response.end();
  let asked: string[] = [];
  let url = '';
  const closing: (() => Promise<void>)[] = [];

  before(async () => {
    const server = await serve((request, response) => {
      asked.push(request.url ?? '');
      answer(request, response);
    });
    ({ url } = server);
    closing.push(() => server.close());
  });
  beforeEach(() => {
    asked = [];
  });
  after(async () => {
    for (const close of closing) await close();
  });

  const says = (status: number, body = '', headers: Record<string, string> = {}): void => {
    answer = (_request, response) => void response.writeHead(status, headers).end(body);
  };
  const nobody = new AbortController().signal;
  const prometheus = async (more: object = {}) => {
    const spec = GateSpec.parse({ prometheus: `${url}/prom/`, query: 'up{a="b"}', max: 1, ...more });
    assert.ok('prometheus' in spec);
    const { outcome, value, message } = await readPrometheus(spec, nobody);
    return [outcome, value, message];
  };
  const http = async (path = '/', more: object = {}) => {
    const spec = GateSpec.parse({ http: `${url}${path}`, ...more });
    assert.ok('http' in spec);
    const { outcome, value, message } = await readHttp(spec, nobody);
    return [outcome, value, message];
  };

  describe('a Prometheus', () => {
    it('take the one number that its query finds', async () => {
      says(200, vector('0.5'));
      assert.deepEqual(await prometheus(), ['success', 0.5, 'within the limits']);
      assert.deepEqual(asked, ['/prom/api/v1/query?query=up%7Ba%3D%22b%22%7D']);
      assert.deepEqual(await prometheus({ min: 0.6 }), ['failure', 0.5, 'below the minimum of 0.6']);
      says(200, JSON.stringify({ status: 'success', data: { resultType: 'scalar', result: [1, '2'] } }));
      assert.deepEqual(await prometheus(), ['failure', 2, 'above the maximum of 1']);
    });

    it('take nothing, NaN and infinity for no data', async () => {
      says(200, vector());
      assert.deepEqual(await prometheus(), ['inconclusive', null, 'the query found nothing']);
      for (const value of ['NaN', '+Inf', '-Inf']) {
        says(200, vector(value));
        assert.equal((await prometheus())[0], 'inconclusive');
      }
    });

    it('take anything else for an error, and not for an answer', async () => {
      const cases: [number, string, RegExp][] = [
        [500, '', /answered 500/],
        [422, JSON.stringify({ status: 'error' }), /answered 422/],
        [200, 'plain words', /something else/],
        [
          200,
          JSON.stringify({ status: 'success', data: { resultType: 'matrix', result: [] } }),
          /something else/,
        ],
        [200, vector('1', '2'), /2 series/],
        [200, vector('1').padEnd(65 * 1024), /longer than 64 kB/],
      ];
      for (const [status, body, words] of cases) {
        says(status, body);
        const [outcome, value, message] = await prometheus();
        assert.deepEqual([outcome, value], ['error', null], String(words));
        assert.match(String(message), words);
      }
      answer = (request) => void request.socket.destroy();
      assert.equal((await prometheus())[0], 'error');
    });
  });

  describe('a page', () => {
    it('compare its status', async () => {
      says(200, 'fine');
      assert.deepEqual(await http(), ['success', 200, 'answered 200']);
      assert.deepEqual(await http('/', { status: 204 }), ['failure', 200, 'answered 200, not 204']);
      says(503);
      assert.deepEqual(await http(), ['failure', 503, 'answered 503, not 200']);
    });

    it('follow where it leads on the same host, and nowhere else', async () => {
      const elsewhere = await serve((_request, response) => void response.end());
      closing.push(() => elsewhere.close());
      answer = ({ url: path }, response: ServerResponse) =>
        void response
          .writeHead(path === '/new' ? 200 : 302, path === '/new' ? {} : { location: '/new' })
          .end();
      assert.equal((await http('/old'))[0], 'success');
      assert.deepEqual(asked, ['/old', '/new']);
      assert.deepEqual(await http('/old', { status: 302 }), ['success', 302, 'answered 302']);
      for (const location of [
        elsewhere.url,
        url.replace('127.0.0.1', 'localhost'),
        'file:///etc/passwd',
        '/loop',
      ]) {
        says(301, '', { location });
        const [outcome, , message] = await http();
        assert.deepEqual([outcome, message], ['error', 'it leads to another host, which is not asked']);
      }
    });

    it('waits so long and no longer, and not at all when the rollout is given up', async () => {
      answer = () => undefined;
      const spec = GateSpec.parse({ http: url });
      assert.ok('http' in spec);
      assert.equal((await readHttp(spec, nobody, 50)).message, 'no answer within 0.05 s');
      const lost = new AbortController();
      const reading = readHttp(spec, lost.signal);
      lost.abort(new Error('the lease is lost'));
      await assert.rejects(reading, { message: 'the lease is lost' });
    });

    it('tells what kept it from an answer', async () => {
      const gone = await serve(() => undefined);
      await gone.close();
      const spec = GateSpec.parse({ http: gone.url });
      assert.ok('http' in spec);
      assert.equal((await readHttp(spec, nobody)).message, 'no answer: ECONNREFUSED');
    });
  });

  describe('a source that is broken', () => {
    let fleet: GateFleet;
    before(async () => {
      fleet = await makeGateFleet(['aaa']);
    });
    after(() => fleet.drop());

    /** Measures whenever it is due, until there is a verdict or `count` measurements are made. */
    async function watch(respond: RequestListener, limits: object = {}) {
      answer = respond;
      const gate = { prometheus: url, query: 'up', max: 1, ...limits };
      const rollout = await fleet.rollout({ probe: gate }, { state: 'baking', bake: '60s' });
      const { gates } = await fleet.reopen(rollout);
      let now = rollout.doneAt;
      for (let made = 0; made < 20; made += 1) {
        const verdict = await gates.measure(now);
        if (verdict.state !== 'wait') {
          const rows = await listMeasurements(fleet.registry, rollout.id, { limit: 100 });
          return { verdict, outcomes: rows.map(({ outcome }) => outcome).reverse() };
        }
        assert.ok(verdict.nextAt && verdict.nextAt > now, 'it must say when to ask again');
        now = verdict.nextAt;
      }
      throw new Error('no verdict after 20 measurements');
    }
    const body = (text: string, status = 200): RequestListener => {
      return (_request, response) => void response.writeHead(status).end(text);
    };

    it('pauses after the fifth error in a row', async () => {
      const { verdict, outcomes } = await watch(body('', 500));
      assert.deepEqual([verdict.state, verdict.cause?.code], ['pause', 'gate_error']);
      assert.deepEqual(outcomes, Array<string>(5).fill('error'));
      assert.match(verdict.cause?.message ?? '', /got no answer 5 times in a row.*answered 500/);
    });

    it('pauses at once for NaN, for an empty answer, and after five hang-ups', async () => {
      for (const text of [vector('NaN'), vector()]) {
        const { verdict, outcomes } = await watch(body(text));
        assert.deepEqual([verdict.state, verdict.cause?.code], ['pause', 'gate_inconclusive']);
        assert.deepEqual(outcomes, ['inconclusive']);
      }
      const { verdict } = await watch((request) => void request.socket.destroy());
      assert.deepEqual([verdict.state, verdict.cause?.code], ['pause', 'gate_error']);
    });

    it('never passes by mixing them, however much is borne', async () => {
      let number = 0;
      const kinds = [body('', 500), body(vector('NaN')), body(vector())];
      const mixed: RequestListener = (request, response) => {
        number += 1;
        kinds[number % kinds.length]?.(request, response);
      };
      const { verdict, outcomes } = await watch(mixed, { inconclusiveLimit: 6, consecutiveErrorLimit: 4 });
      assert.deepEqual([verdict.state, verdict.cause?.code], ['pause', 'gate_inconclusive']);
      assert.ok(!outcomes.includes('success') && outcomes.length > 7);
    });

    it('passes when it is well again in time', async () => {
      let number = 0;
      const recovering: RequestListener = (request, response) => {
        number += 1;
        (number <= 4 ? body('', 500) : body(vector('1')))(request, response);
      };
      const { verdict, outcomes } = await watch(recovering);
      assert.equal(verdict.state, 'go');
      assert.deepEqual(outcomes.slice(4), ['success', 'success', 'success']);
    });
  });
});
