import assert from 'node:assert/strict';
import { LOAD_LIMITS, overload, type Load } from '../../../control-plane/rollouts/backfills/load.ts';

const QUIET: Load = {
  replicationLagMs: 0,
  walBytes: 1_000_000_000,
  activeSessions: 1,
  maxConnections: 100,
  longestTransaction: 0,
  at: 10_000,
};
const MIB = 1_024 * 1_024;

describe('the load of a server', () => {
  const at = (changes: Partial<Load>): string | null =>
    overload({ ...QUIET, ...changes }, QUIET, LOAD_LIMITS);

  it('lets a backfill run up to each limit, and names what is beyond', () => {
    assert.equal(at({ replicationLagMs: 1_500 }), null);
    assert.match(at({ replicationLagMs: 5_000 }) ?? '', /replica is 5 s behind \(limit 1\.5 s\)/);
    assert.equal(at({ walBytes: QUIET.walBytes + 64 * MIB, at: 11_000 }), null);
    assert.match(at({ walBytes: QUIET.walBytes + 65 * MIB, at: 11_000 }) ?? '', /65 MiB of write-ahead log/);
    assert.equal(at({ activeSessions: 25 }), null);
    assert.match(at({ activeSessions: 26 }) ?? '', /26 sessions are at work .*limit 25/);
    assert.equal(at({ longestTransaction: 300 }), null);
    assert.match(at({ longestTransaction: 301 }) ?? '', /open in the database for 301 s/);
  });

  it('tells no rate of write-ahead log by one look, nor by two at once', () => {
    const busy = { ...QUIET, walBytes: QUIET.walBytes + 1_000 * MIB };
    assert.equal(overload(busy, undefined, LOAD_LIMITS), null);
    assert.equal(overload({ ...busy, at: 10_050 }, QUIET, LOAD_LIMITS), null);
  });
});
