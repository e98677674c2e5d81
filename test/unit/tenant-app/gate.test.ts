import assert from 'node:assert/strict';
import { createGates, type Gates } from '../../../tenant-app/routing/gate.ts';
import { RoutingError } from '../../../tenant-app/routing/problem.ts';
import { until } from '../../support/until.ts';

const fails = () => Promise.reject(new Error('down'));
const works = () => Promise.resolve('up');
const isOpenError = (error: unknown): boolean =>
  error instanceof RoutingError &&
  error.code === 'breaker_open' &&
  error.status === 503 &&
  error.retryAfterS === 2;

describe('breaker of a tenant', () => {
  let gates: Gates;
  beforeEach(() => {
    gates = createGates();
  });
  afterEach(() => gates.close());

  it('opens after failures, fails at once while open, and closes when the database is back', async () => {
    const { breaker } = gates.of('a', 'acme');
    for (let turn = 0; turn < 5; turn += 1) await assert.rejects(breaker.run(fails), /down/);
    await assert.rejects(breaker.run(works), isOpenError);
    assert.ok(breaker.isOpen());
    assert.equal(await until('one may try', () => breaker.run(works).catch(() => undefined)), 'up');
    assert.ok(!breaker.isOpen());
  });

  it('is its own for each tenant', async () => {
    const { breaker } = gates.of('a', 'acme');
    for (let turn = 0; turn < 6; turn += 1) await breaker.run(fails).catch(() => undefined);
    assert.equal(await gates.of('b', 'globex').breaker.run(works), 'up');
  });

  it('does not open because of a server that answers', async () => {
    const { breaker } = gates.of('a', 'acme');
    const exhausted = () => Promise.reject(Object.assign(new Error('full'), { code: '53300' }));
    for (let turn = 0; turn < 20; turn += 1) await breaker.run(exhausted).catch(() => undefined);
    assert.equal(await breaker.run(works), 'up');
  });

  it('counts connections that are lost under a query', async () => {
    const { breaker } = gates.of('a', 'acme');
    for (let turn = 0; turn < 5; turn += 1) breaker.fail(new Error('lost'));
    await until('it is open', async () => breaker.isOpen());
  });

  it('lets requests in hand finish when the tenant leaves', async () => {
    const { breaker } = gates.of('a', 'acme');
    gates.drop('a');
    assert.equal(await breaker.run(works), 'up');
    breaker.fail(new Error('late'));
    assert.equal(breaker.isOpen(), false);
  });
});
