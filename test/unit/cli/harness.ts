import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough, Readable, Writable } from 'node:stream';
import { runCli } from '../../../fleet-cli/cli.ts';
import type { Io } from '../../../fleet-cli/io.ts';

export interface CliRun {
  code: number;
  stdout: string;
  stderr: string;
}

export interface CliOptions {
  env?: NodeJS.ProcessEnv;
  cwd?: string;
  stdin?: string;
  /** All three streams are a terminal of 100 columns; `answer` is typed when a question was printed. */
  tty?: boolean;
  answer?: string;
  signal?: AbortSignal;
  /** Patience with a control plane that does not answer; none, when absent. */
  graceMs?: number;
}

/** Runs the CLI in this process as a shell would run the program. */
export async function fleet(argv: string[], options: CliOptions = {}): Promise<CliRun> {
  const stdout = new Screen(options.tty === true);
  const stderr = new Screen(options.tty === true);
  const stdin = options.tty === true ? typed(stderr, options.answer) : Readable.from([options.stdin ?? '']);
  const io: Io = {
    stdout,
    stderr,
    stdin,
    env: options.env ?? {},
    cwd: options.cwd ?? '/',
    signal: options.signal ?? new AbortController().signal,
    graceMs: options.graceMs ?? 0,
  };
  const code = await runCli(argv, io);
  stdin.destroy();
  return { code, stdout: stdout.text, stderr: stderr.text };
}

/** Streams to print on without running a command. */
export function screenIo(tty: boolean, env: NodeJS.ProcessEnv): { io: Io; stdout: Screen; stderr: Screen } {
  const stdout = new Screen(tty);
  const stderr = new Screen(tty);
  const signal = new AbortController().signal;
  const io = { stdout, stderr, stdin: Readable.from([]), env, cwd: '/', signal, graceMs: 0 };
  return { io, stdout, stderr };
}

/** A terminal on which somebody types `answer` at the first question, or Ctrl-D. */
export function terminalIo(answer: string | undefined): Io {
  const { io, stderr } = screenIo(true, {});
  return { ...io, stdin: typed(stderr, answer) };
}

/** Runs `work` in a folder of its own, which is also HOME and removed afterwards. */
export async function inFolder<T>(work: (folder: string, env: NodeJS.ProcessEnv) => Promise<T>): Promise<T> {
  const folder = mkdtempSync(join(tmpdir(), 'fleet-cli-'));
  try {
    return await work(folder, { HOME: folder });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

class Screen extends Writable {
  text = '';
  readonly isTTY: boolean;
  readonly columns = 100;
  readonly rows = 40;

  constructor(isTTY: boolean) {
    super({ decodeStrings: false });
    this.isTTY = isTTY;
  }

  override _write(chunk: string | Buffer, _encoding: BufferEncoding, done: () => void): void {
    this.text += chunk.toString();
    this.emit('shown');
    done();
  }
}

/** A keyboard: `answer` comes in as soon as a question stands on the screen; without one it is Ctrl-D. */
function typed(screen: Screen, answer: string | undefined): Readable & { isTTY: boolean } {
  const keys = new PassThrough();
  screen.on('shown', () => {
    if (keys.writableEnded || !/[?:] ?(\[y\/N\] )?$/.test(screen.text)) return;
    setImmediate(() => keys.end(answer === undefined ? '' : `${answer}\n`));
  });
  return Object.assign(keys, { isTTY: true });
}
