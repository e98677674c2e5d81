#!/usr/bin/env node
import { runCli } from './cli.ts';

/** A control plane that was killed is up again after 1–3 s; longer than 5 s nobody likes to wait for an error. */
const GRACE_MS = 5_000;

const interrupt = new AbortController();
process.once('SIGINT', () => {
  interrupt.abort();
  // The second Ctrl-C ends the process in the system's own way.
  process.once('SIGINT', () => process.exit(130));
});
// `fleet … | head` closes the pipe early; that is no failure of ours.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(0);
  throw error;
});

process.exitCode = await runCli(process.argv.slice(2), {
  stdout: process.stdout,
  stderr: process.stderr,
  stdin: process.stdin,
  env: process.env,
  cwd: process.cwd(),
  signal: interrupt.signal,
  graceMs: GRACE_MS,
});
