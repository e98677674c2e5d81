import assert from 'node:assert/strict';
import fc from 'fast-check';
import { FleetError } from '../../../platform/errors.ts';
import {
  identifyHost,
  normalizeHost,
  trustNoProxy,
  trustProxies,
} from '../../../tenant-app/routing/identify.ts';

const RUNS = { numRuns: 1_000, seed: 20_261_121 };
const isBadHost = (error: unknown): boolean => error instanceof FleetError && error.code === 'bad_host';
const source = (rawHeaders: string[], url = '/', remoteAddress = '203.0.113.9') => ({
  rawHeaders,
  originalUrl: url,
  socket: { remoteAddress },
});

describe('host of a request', () => {
  it('is lower case, without port and trailing dot', () => {
    for (const form of [
      'acme.eu.localhost',
      'ACME.eu.LOCALHOST:4700',
      'acme.eu.localhost.',
      'Acme.Eu.localhost.:80',
    ]) {
      assert.equal(normalizeHost(form), 'acme.eu.localhost');
    }
    assert.equal(normalizeHost('[::1]:4700'), '[::1]');
    assert.equal(normalizeHost('xn--bcher-kva.example'), 'xn--bcher-kva.example');
  });

  it('is refused when malformed', () => {
    const forms = [
      '',
      '.',
      'a..b',
      ' acme',
      'acme ',
      'acme%00.eu',
      'a/b',
      'user@acme.eu',
      'acme.eu:port',
      'acme.eu:',
      'a,b',
      'bücher.example',
      'acme.eu:1:2',
      'a'.repeat(300),
      '[::1',
      'a\u0000b',
    ];
    for (const form of forms) assert.throws(() => normalizeHost(form), isBadHost, form);
  });

  it('is normalized once and for all, and never to another name', () => {
    const label = fc.stringMatching(/^[a-z0-9]([a-z0-9-]{0,10}[a-z0-9])?$/);
    const host = fc.array(label, { minLength: 1, maxLength: 4 }).map((labels) => labels.join('.'));
    const port = fc.option(fc.integer({ min: 0, max: 65_535 }), { nil: undefined });
    fc.assert(
      fc.property(host, port, fc.boolean(), fc.boolean(), (name, number, dotted, upper) => {
        const sent = `${upper ? name.toUpperCase() : name}${dotted ? '.' : ''}${number === undefined ? '' : `:${number}`}`;
        assert.equal(normalizeHost(sent), name);
        assert.equal(normalizeHost(normalizeHost(sent)), name);
      }),
      RUNS,
    );
  });

  it('of any text at all is a plain name or refused', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.string({ unit: 'binary' })), (text) => {
        try {
          assert.match(normalizeHost(text), /^[a-z0-9._-]+$|^\[[0-9a-f:.]+\]$/);
        } catch (error) {
          if (!isBadHost(error)) throw error;
        }
      }),
      RUNS,
    );
  });

  it('said twice, missing, or in the request target is refused', () => {
    const two = ['Host', 'a.eu.localhost', 'hOST', 'b.eu.localhost'];
    assert.throws(() => identifyHost(source(two), trustNoProxy), isBadHost);
    assert.throws(() => identifyHost(source([]), trustNoProxy), isBadHost);
    const absolute = source(['Host', 'a.eu.localhost'], 'http://b.eu.localhost/');
    assert.throws(() => identifyHost(absolute, trustNoProxy), isBadHost);
  });

  it('is never taken from another header, unless a trusted proxy forwards it', () => {
    const headers = [
      'Host',
      'a.eu.localhost',
      'X-Forwarded-Host',
      'b.eu.localhost',
      'X-Tenant-Id',
      'c',
      'Forwarded',
      'host=d',
    ];
    assert.equal(identifyHost(source(headers), trustNoProxy), 'a.eu.localhost');
    const trusted = trustProxies(['10.0.0.0/8', '::1']);
    assert.equal(identifyHost(source(headers), trusted), 'a.eu.localhost');
    assert.equal(identifyHost(source(headers, '/', '10.1.2.3'), trusted), 'b.eu.localhost');
    assert.equal(identifyHost(source(headers, '/', '::ffff:10.1.2.3'), trusted), 'b.eu.localhost');
    const twice = [...headers, 'x-forwarded-host', 'e.eu.localhost'];
    assert.throws(() => identifyHost(source(twice, '/', '::1'), trusted), isBadHost);
    const list = ['Host', 'a', 'X-Forwarded-Host', 'b.eu.localhost, c.eu.localhost'];
    assert.throws(() => identifyHost(source(list, '/', '::1'), trusted), isBadHost);
  });

  it('trusts only addresses that can be read', () => {
    for (const proxy of ['proxy.example', '10.0.0.0/33', '10.0.0.0/x', '']) {
      assert.throws(
        () => trustProxies([proxy]),
        (error: unknown) => error instanceof FleetError && error.code === 'bad_proxy',
      );
    }
    assert.equal(trustProxies(['10.0.0.1'])(undefined), false);
  });
});
