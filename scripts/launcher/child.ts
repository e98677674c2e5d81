import { spawn, type ChildProcess } from 'node:child_process';
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, renameSync, statSync } from 'node:fs';
import { once } from 'node:events';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { z } from 'zod';
import { FleetError } from '../../platform/errors.ts';
import { projectRoot } from '../../platform/project.ts';

/** A program of the fleet and how it is started. When it serves it says where, in one line on stdout: `{"ready":true,"url":…}`. */
export interface Program {
  name: string;
  /** Its folder: `control-plane` or `tenant-app`. */
  folder: string;
  env: Record<string, string>;
  logFile: string;
}

/** A program that is kept running until it is stopped. */
export interface Child {
  url: string;
  pid(): number | undefined;
  stop(): Promise<void>;
}

export interface Watcher {
  say(line: string): void;
  /** After a restart, when the program serves again. */
  restarted(): void;
  /** Aborted: wait for no program any longer. */
  signal: AbortSignal;
}

const Ready = z.object({ ready: z.literal(true), url: z.url() });

/** The control plane migrates its registry and starts the embedded servers, which may recover, before it is ready. */
const READY_TIMEOUT_MS = 60_000;
/** Programs end requests and steps in hand within 10 s of SIGTERM; after that they are stuck. */
const STOP_TIMEOUT_MS = 15_000;
/** Between two looks at a program's /readyz. */
const READY_POLL_MS = 50;
/** The first restart is at once for the eye; a program that cannot run must not burn a core. */
const BACKOFF_MS = { first: 250, most: 30_000 };
/** A program that ran this long was well: its next death counts as the first. */
const WELL_AFTER_MS = 60_000;
const LOG_BYTES_MAX = 10_000_000;
const LINES_SHOWN = 5;
const STACK_FRAME = /^\s+at |^Node\.js v/;

/** Starts the program and waits until it serves. Later deaths restart it. @throws FleetError `program_failed` */
export async function startChild(program: Program, watcher: Watcher): Promise<Child> {
  let stopping = false;
  let failures = 0;
  let timer: NodeJS.Timeout | undefined;
  let current = launch(program, watcher.signal);
  const url = await current.ready;
  watchOver();

  function watchOver(): void {
    const started = Date.now();
    current.process.once('exit', (code, signal) => {
      if (stopping) return;
      failures = Date.now() - started > WELL_AFTER_MS ? 1 : failures + 1;
      const wait = Math.min(BACKOFF_MS.first * 2 ** (failures - 1), BACKOFF_MS.most);
      watcher.say(`${program.name} ended (${signal ?? code}); starting it again in ${wait} ms`);
      timer = setTimeout(restart, wait);
    });
  }
  function restart(): void {
    current = launch(program, watcher.signal);
    watchOver();
    current.ready.then(
      () => watcher.restarted(),
      (error: unknown) => watcher.say(error instanceof Error ? error.message : String(error)),
    );
  }
  return {
    url,
    pid: () => current.process.pid,
    stop: async () => {
      stopping = true;
      clearTimeout(timer);
      await end(current.process);
    },
  };
}

interface Launch {
  process: ChildProcess;
  ready: Promise<string>;
}

function launch(program: Program, signal: AbortSignal): Launch {
  const log = openLog(program.logFile);
  const offset = statSync(program.logFile).size;
  const dist = join(projectRoot(), 'dist');
  const guard = join(dist, 'scripts', 'launcher', 'die-with-parent.js');
  const child = spawn(
    process.execPath,
    ['--enable-source-maps', '--import', guard, join(dist, program.folder, 'main.js')],
    {
      // A group of its own: Ctrl-C in the terminal reaches the launcher only, which stops things in order.
      detached: true,
      stdio: ['ignore', 'pipe', log, 'ipc'],
      env: { ...process.env, ...program.env },
    },
  );
  closeSync(log);
  return { process: child, ready: waitUntilReady(program, child, offset, signal) };
}

async function waitUntilReady(
  program: Program,
  child: ChildProcess,
  logOffset: number,
  signal: AbortSignal,
): Promise<string> {
  const waiting = new AbortController();
  const over = AbortSignal.any([waiting.signal, signal]);
  const fail = async (what: string): Promise<never> => {
    await end(child);
    throw programFailed(program, what, logOffset);
  };
  try {
    return await Promise.race([
      saidReady(child).then((url) => serving(url, over)),
      once(child, 'exit', { signal: over }).then(([code, killed]) =>
        fail(`ended (${killed ?? code}) before it was ready`),
      ),
      delay(READY_TIMEOUT_MS, undefined, { signal: over }).then(() =>
        fail(`was not ready after ${READY_TIMEOUT_MS / 1000} s`),
      ),
    ]);
  } catch (error) {
    await end(child);
    signal.throwIfAborted();
    throw error;
  } finally {
    waiting.abort();
  }
}

function saidReady(child: ChildProcess): Promise<string> {
  return new Promise((resolve) => {
    if (child.stdout === null) return;
    createInterface({ input: child.stdout }).on('line', (line) => {
      const message = Ready.safeParse(parseJson(line));
      if (message.success) resolve(message.data.url);
    });
  });
}

/** What it said is checked: the registry may have gone away since. */
async function serving(url: string, over: AbortSignal): Promise<string> {
  for (;;) {
    const isReady = await fetch(`${url}/readyz`, { signal: over }).then(
      (answer) => answer.ok,
      () => false,
    );
    if (isReady) return url;
    await delay(READY_POLL_MS, undefined, { signal: over });
  }
}

function parseJson(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    return undefined;
  }
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = once(child, 'exit');
  child.kill('SIGTERM');
  const timer = setTimeout(() => child.kill('SIGKILL'), STOP_TIMEOUT_MS);
  await gone;
  clearTimeout(timer);
}

function openLog(file: string): number {
  mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
  if (existsSync(file) && statSync(file).size > LOG_BYTES_MAX) renameSync(file, `${file}.1`);
  return openSync(file, 'a', 0o600);
}

function programFailed(program: Program, what: string, logOffset: number): FleetError {
  const written = readFileSync(program.logFile).subarray(logOffset).toString('utf8').trim();
  const lines = written.split('\n').filter((line) => line !== '' && !STACK_FRAME.test(line));
  return new FleetError({
    code: 'program_failed',
    status: 500,
    message: [`${program.name} ${what}`, ...lines.slice(-LINES_SHOWN).map((line) => `    ${line}`)].join(
      '\n',
    ),
    fix: `read ${program.logFile}`,
  });
}
