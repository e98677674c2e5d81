import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { projectRoot } from '../../../platform/project.ts';

const MAIN = join(projectRoot(), 'fleet-cli', 'main.ts');

interface Ended {
  code: number | null;
  stdout: string;
  stderr: string;
}

/** Runs the program as a process of its own, with nothing of this one's environment but PATH. */
function program(...argv: string[]): Promise<Ended> {
  const child = spawn(process.execPath, ['--import', 'tsx', MAIN, ...argv], {
    cwd: projectRoot(),
    env: { PATH: process.env.PATH, HOME: '/nonexistent', FLEET_URL: 'http://127.0.0.1:2' },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const ended: Ended = { code: null, stdout: '', stderr: '' };
  child.stdout.on('data', (chunk: Buffer) => (ended.stdout += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => (ended.stderr += chunk.toString()));
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code) => resolve({ ...ended, code }));
  });
}

describe('the program fleet', () => {
  for (const shell of ['bash', 'zsh', 'fish']) {
    it(`writes a completion script for ${shell}`, async () => {
      const { code, stdout } = await program('completion', shell);
      assert.equal(code, 0);
      assert.match(stdout, /fleet complete/);
    });
  }

  it('completes nouns, verbs, flags and choices', async () => {
    assert.match((await program('complete', '--', 'ten')).stdout, /^tenant\t/m);
    assert.match((await program('complete', '--', 'tenant', 'su')).stdout, /^suspend\t/m);
    assert.match((await program('complete', '--', 'tenant', 'create', '--ti')).stdout, /^--tier\t/m);
    assert.match((await program('complete', '--', 'tenant', 'list', '--state', '')).stdout, /^suspended\t/m);
  });

  it('ends with the exit code, data on stdout and errors on stderr', async () => {
    const version = await program('version', '-o', 'json');
    assert.deepEqual([version.code, version.stderr], [0, '']);
    const unreachable = await program('tenant', 'list', '-o', 'json');
    assert.deepEqual([unreachable.code, unreachable.stdout], [1, '']);
    assert.equal((JSON.parse(unreachable.stderr) as { code: string }).code, 'unreachable');
    assert.equal((await program('tenant', 'frobnicate')).code, 2);
  });
});
