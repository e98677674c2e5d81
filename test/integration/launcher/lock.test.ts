import assert from 'node:assert/strict';
import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { takeStartLock } from '../../../scripts/launcher/lock.ts';

const PROCESSES = 4;
/** Enough to meet the race many times, in about two seconds. */
const ROUNDS = 40;
/** No process has it: above the kernel's largest process id. */
const STALE = JSON.stringify({ pid: 2 ** 22 + 1, program: 'start.js' });

async function ask(child: ChildProcess, message: string, died: AbortSignal): Promise<unknown> {
  child.send(message);
  const [answer] = (await once(child, 'message', { signal: died })) as unknown[];
  return answer;
}

describe('the lock of a data folder', () => {
  let folder: string;

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'lock-'));
  });
  afterEach(() => {
    rmSync(folder, { recursive: true });
  });

  it('goes to at most one of several processes that find a stale one', async () => {
    const file = join(folder, 'start.lock');
    const script = join(import.meta.dirname, 'lock-child.ts');
    const children = Array.from({ length: PROCESSES }, () => fork(script, [join(folder, 'witness')]));
    const died = new AbortController();
    for (const child of children) child.once('exit', () => died.abort(new Error('a process has died')));
    try {
      await Promise.all(children.map((child) => once(child, 'message')));
      for (let round = 0; round < ROUNDS; round++) {
        writeFileSync(file, STALE);
        const answers = await Promise.all(children.map((child) => ask(child, file, died.signal)));
        assert(answers.filter((answer) => answer === 'held').length <= 1, answers.join());
        await Promise.all(children.map((child) => ask(child, '', died.signal)));
      }
    } finally {
      for (const child of children) child.kill();
    }
  });

  it('is taken over from a process that is gone, also from one that died taking it over', () => {
    const file = join(folder, 'start.lock');
    writeFileSync(file, STALE);
    writeFileSync(`${file}.takeover`, STALE);
    const giveBack = takeStartLock(file);
    assert.throws(() => takeStartLock(file), { code: 'already_running' });
    assert.deepEqual(readdirSync(folder), ['start.lock']);
    giveBack();
    assert(!existsSync(file));
  });

  it('is not given back when it is another’s by now', () => {
    const file = join(folder, 'start.lock');
    const giveBack = takeStartLock(file);
    writeFileSync(file, STALE);
    giveBack();
    assert.equal(readFileSync(file, 'utf8'), STALE);
  });
});
