import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { FleetError } from '../../../platform/errors.ts';
import { writePrivate } from '../../../platform/files.ts';
import { listen } from '../../../platform/listen.ts';
import { isAlive } from '../../../platform/processes.ts';
import { isUuid } from '../../../platform/uuid.ts';
import { backOffMs, sleep } from '../../../platform/wait.ts';

describe('a private file', () => {
  it('is its owner’s alone, is replaced as a whole, and leaves nothing beside it', () => {
    const folder = mkdtempSync(join(tmpdir(), 'flotilla-files-'));
    try {
      const file = join(folder, 'new', 'token');
      writePrivate(file, 'one');
      writePrivate(file, 'two');
      assert.equal(readFileSync(file, 'utf8'), 'two');
      assert.equal(statSync(file).mode & 0o777, 0o600);
      assert.equal(statSync(join(folder, 'new')).mode & 0o777, 0o700);
      assert.deepEqual(readdirSync(join(folder, 'new')), ['token']);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});

describe('listening', () => {
  it('gives the port, or says which setting moves it when it is taken', async () => {
    const [first, second] = [createServer(), createServer()];
    const options = { host: '127.0.0.1', variable: 'FLEET_PORT' };
    const port = await listen(first, { ...options, port: 0 });
    try {
      await assert.rejects(
        listen(second, { ...options, port }),
        (error) =>
          error instanceof FleetError &&
          error.code === 'port_in_use' &&
          error.fix?.includes('FLEET_PORT') === true,
      );
    } finally {
      first.close();
    }
  });
});

describe('a process', () => {
  it('is alive until it has ended', async () => {
    assert.ok(isAlive(process.pid));
    const child = spawn(process.execPath, ['-e', '0']);
    await once(child, 'exit');
    assert.equal(isAlive(child.pid ?? 0), false);
  });
});

describe('waiting', () => {
  it('ends early and quietly when it is broken off', async () => {
    const over = new AbortController();
    const waiting = sleep(60_000, over.signal);
    over.abort();
    await waiting;
    await sleep(60_000, over.signal);
  });

  it('doubles from try to try up to its bound, with half of it by chance', () => {
    const most = [100, 200, 400, 800, 1_000, 1_000];
    for (const [index, ms] of most.entries()) {
      const wait = backOffMs(index + 1, { firstMs: 100, maxMs: 1_000 });
      assert.ok(wait >= ms / 2 && wait <= ms, `${index + 1}: ${wait}`);
    }
  });
});

describe('an id', () => {
  it('is told from a name by its form', () => {
    assert.ok(
      isUuid('018f2f6e-5b7c-7cc1-8f3a-0123456789ab') && isUuid('018F2F6E-5B7C-7CC1-8F3A-0123456789AB'),
    );
    for (const name of ['acme', '018f2f6e', 'g18f2f6e-5b7c-7cc1-8f3a-0123456789ab', ''])
      assert.ok(!isUuid(name));
  });
});
