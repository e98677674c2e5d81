import { spawn, type ChildProcess } from 'node:child_process';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { projectRoot } from '../../platform/project.ts';
import { keepEvidence } from './secret-scan.ts';

/** A program of the project in a process of its own, as users run it: compiled (`npm run build`). */
export interface Child {
  process: ChildProcess;
  /** Resolves with the first line of stdout for which `match` is true. Lines that came before count too. */
  line(match: (text: string) => boolean): Promise<string>;
  /** Sends the signal and waits until the process is gone. */
  kill(signal: NodeJS.Signals): Promise<void>;
  /** What it wrote to stderr so far. */
  stderr(): string;
}

export function startChild(file: string, args: string[], env: NodeJS.ProcessEnv = {}): Child {
  const child = spawn(
    process.execPath,
    [join(projectRoot(), 'dist', file.replace(/\.ts$/, '.js')), ...args],
    {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, ...env },
    },
  );
  const lines: string[] = [];
  const waiting = new Set<() => void>();
  let stderr = '';
  let gone = false;
  const exited = new Promise<void>((resolve) => {
    child.once('exit', () => {
      gone = true;
      for (const check of waiting) check();
      resolve();
    });
  });
  createInterface({ input: child.stdout }).on('line', (text) => {
    lines.push(text);
    keepEvidence('log', text);
    for (const check of waiting) check();
  });
  child.stderr.on('data', (chunk: Buffer) => {
    stderr += chunk.toString();
    keepEvidence('log', chunk.toString());
  });
  return {
    process: child,
    stderr: () => stderr,
    line: (match) =>
      new Promise((resolve, reject) => {
        const check = (): void => {
          const found = lines.find(match);
          if (found === undefined && !gone) return;
          waiting.delete(check);
          if (found === undefined) reject(new Error(`${file} ended early: ${stderr}`));
          else resolve(found);
        };
        waiting.add(check);
        check();
      }),
    kill: async (signal) => {
      child.kill(signal);
      await exited;
    },
  };
}
