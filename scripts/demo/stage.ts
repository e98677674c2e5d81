import { execFile } from 'node:child_process';
import { request } from 'node:http';
import { join } from 'node:path';
import pc from 'picocolors';
import { projectRoot } from '../../platform/project.ts';

/** A claim of the demo that is not so. */
export class ClaimError extends Error {}

export interface CliResult {
  code: number;
  stdout: string;
  stderr: string;
}

export interface Reply {
  status: number;
  headers: Record<string, string | string[] | undefined>;
  body: Record<string, unknown>;
}

/** 30 s: a rollout over ten databases takes two; a command that hangs must not hang the demo. */
const COMMAND_TIMEOUT_MS = 30_000;
const REQUEST_TIMEOUT_MS = 5_000;

/** Prints the heading of a part of the story. */
export function chapter(title: string): void {
  process.stdout.write(`\n${pc.bold(title)}\n`);
}

/** Prints the claim once it has been found true; otherwise the demo ends here. */
export async function claim(text: string, check: () => Promise<void> | void): Promise<void> {
  const started = performance.now();
  try {
    await check();
  } catch (error) {
    process.stdout.write(`  ${pc.red('✖')} ${text}\n`);
    throw error;
  }
  const seconds = ((performance.now() - started) / 1000).toFixed(1);
  process.stdout.write(`  ${pc.green('✔')} ${text} ${pc.dim(`(${seconds} s)`)}\n`);
}

/** @throws ClaimError when what the demo claims is not so */
export function expect(condition: boolean, what: string): asserts condition {
  if (!condition) throw new ClaimError(what);
}

/** Runs the real CLI as a person would; says so on the screen. */
export async function fleet(dataDir: string, args: string[], quiet = false): Promise<CliResult> {
  if (!quiet) process.stdout.write(pc.dim(`  $ npx fleet ${args.join(' ')}\n`));
  const program = join(projectRoot(), 'dist', 'fleet-cli', 'main.js');
  const { FLEET_URL: _url, FLEET_TOKEN: _token, FLEET_CONTEXT: _context, ...env } = process.env;
  return await new Promise((resolve, reject) => {
    execFile(
      process.execPath,
      [program, ...args],
      { env: { ...env, FLEET_DATA_DIR: dataDir, NO_COLOR: '1' }, timeout: COMMAND_TIMEOUT_MS },
      (error, stdout, stderr) => {
        if (error === null) resolve({ code: 0, stdout, stderr });
        else if (typeof error.code === 'number') resolve({ code: error.code, stdout, stderr });
        else reject(new ClaimError(`fleet ${args.join(' ')} did not end: ${stderr}`));
      },
    );
  });
}

/** The command must succeed; its JSON is returned unchecked, for claims to look at. */
export async function fleetJson<T>(dataDir: string, args: string[]): Promise<T> {
  const result = await fleet(dataDir, [...args, '-o', 'json'], true);
  expect(result.code === 0, `fleet ${args.join(' ')} ended with ${result.code}: ${result.stderr}`);
  return JSON.parse(result.stdout) as T;
}

/** A tenant's request at an app. `node:http`, as fetch does not let anyone choose the Host header. */
export function ask(
  appUrl: string,
  host: string,
  path: string,
  body?: { method: string; json: unknown; headers?: Record<string, string> },
): Promise<Reply> {
  return new Promise((resolve, reject) => {
    const outgoing = request(
      new URL(path, appUrl),
      {
        method: body?.method ?? 'GET',
        headers: { Host: host, 'Content-Type': 'application/json', ...body?.headers },
        timeout: REQUEST_TIMEOUT_MS,
      },
      (response) => {
        const chunks: Buffer[] = [];
        response.on('data', (chunk: Buffer) => chunks.push(chunk));
        response.on('end', () => {
          const text = Buffer.concat(chunks).toString('utf8');
          const json = text === '' ? {} : (JSON.parse(text) as Record<string, unknown>);
          resolve({ status: response.statusCode ?? 0, headers: response.headers, body: json });
        });
      },
    );
    outgoing.on('timeout', () => outgoing.destroy(new ClaimError(`${host}${path} did not answer in time`)));
    outgoing.on('error', reject);
    outgoing.end(body === undefined ? undefined : JSON.stringify(body.json));
  });
}
