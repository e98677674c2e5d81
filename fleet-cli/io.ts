import type { Readable } from 'node:stream';

export type OutputStream = NodeJS.WritableStream & { isTTY?: boolean; columns?: number; rows?: number };

/** Everything a run of the CLI touches outside itself, so that tests run it in their own process. */
export interface Io {
  /** Data, and nothing else. */
  stdout: OutputStream;
  /** Messages, progress, questions and errors. */
  stderr: OutputStream;
  stdin: Readable & { isTTY?: boolean };
  env: NodeJS.ProcessEnv;
  /** Absolute path that relative paths and the search for a context begin at. */
  cwd: string;
  /** Aborted by Ctrl-C. */
  signal: AbortSignal;
  /** Milliseconds for which reading goes on to ask a control plane that does not answer, as it may be restarting. */
  graceMs: number;
}

/** Reads standard input to its end. */
export async function readStdin(io: Io): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of io.stdin) chunks.push(Buffer.from(chunk as Uint8Array | string));
  return Buffer.concat(chunks).toString('utf8');
}
