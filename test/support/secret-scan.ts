import { appendFileSync, existsSync, readdirSync, readFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { testRunFolder } from './test-run.ts';

/** What a test run leaves behind, and where no secret may be. */
export type Evidence = 'log' | 'registry' | 'arguments' | 'error';

const VARIABLE = 'FLEET_TEST_SCAN';
const SECRETS = 'secrets-';
const EVIDENCE = 'evidence-';

/** From now on this process's children note the secrets that they make, and evidence is kept. */
export function startSecretScan(): void {
  const recorder = pathToFileURL(join(import.meta.dirname, 'secret-recorder.mjs')).href;
  process.env.NODE_OPTIONS = `${process.env.NODE_OPTIONS ?? ''} --import ${recorder}`;
  process.env[VARIABLE] = 'on';
}

/** Whether this process belongs to a run that is looked through at its end. Benchmarks do not. */
export function isScanned(): boolean {
  return process.env[VARIABLE] === 'on';
}

/** Keeps a text until the end of the run, when all secrets are known that were made in it. */
export function keepEvidence(kind: Evidence, text: string): void {
  if (!isScanned()) return;
  const folder = testRunFolder();
  // A process that outlives the run has nobody left who would look.
  if (existsSync(folder)) appendFileSync(join(folder, `${EVIDENCE}${kind}-${process.pid}`), `${text}\n`);
}

/** Keeps the arguments of all processes of this machine; that of a PostgreSQL backend is its title. */
export function keepArguments(): void {
  const lines = readdirSync('/proc')
    .filter((entry) => /^\d+$/.test(entry))
    .map((pid) => `/proc/${pid}/cmdline`)
    .map((file) => {
      try {
        return readFileSync(file, 'utf8').replaceAll('\0', ' ');
      } catch {
        // The process ended between the two calls.
        return '';
      }
    });
  keepEvidence('arguments', lines.join('\n'));
}

/** A secret that was found; itself it is not repeated. */
export interface Leak {
  file: string;
  /** What stands before it on the same line. */
  before: string;
}

export interface Scan {
  secrets: number;
  bytes: number;
  leaks: Leak[];
}

/** Looks for every secret of the run in all evidence that was kept and in the logs of its servers. */
export async function scanTestRun(): Promise<Scan> {
  const folder = testRunFolder();
  const files = readdirSync(folder, { recursive: true, encoding: 'utf8' });
  const secrets = files
    .filter((file) => file.startsWith(SECRETS))
    .flatMap((file) => readFileSync(join(folder, file), 'utf8').trim().split('\n'));
  const finder = secretFinder(secrets.map((hex) => Buffer.from(hex, 'hex')));
  const scan: Scan = { secrets: secrets.length, bytes: 0, leaks: [] };
  for (const file of files.filter((name) => name.startsWith(EVIDENCE) || name.endsWith('.log'))) {
    const handle = await open(join(folder, file));
    for await (const line of handle.readLines()) {
      scan.bytes += line.length + 1;
      for (const before of finder(line)) scan.leaks.push({ file, before });
    }
  }
  return scan;
}

/**
 * A run of characters that can hold a secret in one of the forms below. Bounded, as a regular expression remembers
 * each character of a run and has no room for megabytes of them; what begins in one and ends in the next is found.
 */
const LONG_WORD = /[A-Za-z0-9+/_-]{43,4096}/g;
/** Characters that tell one secret from all others: 96 bits of base64. */
const TELLING = 16;
/** What stands before a leak is shown up to this length. */
const CONTEXT = 80;

/**
 * Finds values in a text by any of the forms that they could be written in: base64 of either alphabet, hex, and base64
 * of those, as an Authorization header has it. Answers what stands before each.
 */
export function secretFinder(secrets: Buffer[]): (text: string) => string[] {
  const beginnings = new Set(secrets.flatMap(formsOf).map((form) => form.slice(0, TELLING)));
  return (text) =>
    [...text.matchAll(LONG_WORD)].flatMap(({ 0: word, index }) => {
      const end = index + word.length;
      const plain = text
        .slice(index, end + TELLING)
        .replaceAll('+', '-')
        .replaceAll('/', '_');
      for (let at = index; at < end; at += 1) {
        if (beginnings.has(plain.slice(at - index, at - index + TELLING))) {
          return [text.slice(Math.max(0, at - CONTEXT), at)];
        }
      }
      return [];
    });
}

function formsOf(secret: Buffer): string[] {
  const written = [secret.toString('base64url'), secret.toString('hex')];
  // A text inside another (`user:password`) begins at any of three places of base64's groups of three bytes.
  const inside = [0, 1, 2].flatMap((shift) =>
    written.map((text) =>
      Buffer.from(' '.repeat(shift) + text)
        .toString('base64url')
        .slice(shift === 0 ? 0 : 4),
    ),
  );
  return [...written, secret.toString('hex').toUpperCase(), ...inside];
}
