import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { projectRoot } from '../../platform/project.ts';

/** An emulated AWS: moto's server, in the virtual environment that scripts/moto.mjs makes. */
export interface Moto {
  url: string;
  stop(): Promise<void>;
}

const PROGRAM = join(projectRoot(), '.moto', 'bin', 'moto_server');

export function hasMoto(): boolean {
  return existsSync(PROGRAM);
}

/** Whoever is not up after 30 s will not be: Python loads all of boto first, some seconds on a busy machine. */
const START_TIMEOUT_MS = 30_000;

/** Starts an empty AWS on a free port. */
export async function startMoto(): Promise<Moto> {
  const child = spawn(PROGRAM, ['-H', '127.0.0.1', '-p', '0'], { stdio: ['ignore', 'ignore', 'pipe'] });
  const end = (): void => {
    child.kill('SIGKILL');
  };
  process.once('exit', end);
  const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  const output: string[] = [];
  const url = await new Promise<string>((resolve, reject) => {
    const tooLate = setTimeout(() => {
      end();
      reject(new Error(`moto does not start:\n${output.join('\n')}`));
    }, START_TIMEOUT_MS);
    child.once('error', reject);
    child.once('exit', () => reject(new Error(`moto ended early:\n${output.join('\n')}`)));
    createInterface({ input: child.stderr }).on('line', (line) => {
      // Read to the end, or moto would stop when the pipe is full; kept only until it is up.
      const [found] = /http:\/\/127\.0\.0\.1:\d+/.exec(line) ?? [];
      if (found === undefined) output.push(line);
      else {
        clearTimeout(tooLate);
        resolve(found);
      }
    });
  });
  return {
    url,
    stop: async () => {
      process.removeListener('exit', end);
      end();
      await exited;
    },
  };
}

/** moto takes any; the SDK does not start without. */
export const MOTO_CREDENTIALS = { accessKeyId: 'moto', secretAccessKey: 'moto' };
