import type { Command } from 'commander';
import { z } from 'zod';
import { createClient, type Client } from './client.ts';
import { resolveConnection, type Connection } from './connection.ts';
import { CliError, usageError } from './errors.ts';
import { EXIT } from './exit.ts';
import type { Globals } from './globals.ts';
import type { Io } from './io.ts';
import { cleaned } from './output/clean.ts';
import { createOutput, type Output } from './output/output.ts';

/** What a command works with: flags, streams, output, and (when it asks) the API. */
export interface Session {
  io: Io;
  globals: Globals;
  out: Output;
  connection: () => Connection;
  client: () => Client;
}

/** Opens the session of the command that runs: the flags are known only after parsing. */
export type OpenSession = () => Session;

/** Connection and client are made at first use, so that commands without the API need no context. */
export function sessionOpener(program: Command, io: Io): OpenSession {
  return () => {
    const globals = program.opts<Globals>();
    const out = createOutput(globals, io);
    let connection: Connection | undefined;
    let client: Client | undefined;
    const connect = () => (connection ??= resolveConnection(globals, io));
    const open = () =>
      createClient({
        ...connect(),
        signal: io.signal,
        timeoutMs: globals.timeout,
        graceMs: Math.min(io.graceMs, globals.timeout ?? Infinity),
        // People's terminals obey what they print; programs get every character.
        clean: out.structured ? undefined : (body) => cleaned(body),
        note: (line) => out.note(line),
        debug: globals.debug === true ? (line) => out.debug(line) : undefined,
      });
    return { io, globals, out, connection: connect, client: () => (client ??= open()) };
  };
}

/** Checks what a person gave against the API's own schema, before anything is sent. */
export function checkInput<T>(schema: z.ZodType<T>, input: unknown, what: string): T {
  const parsed = schema.safeParse(input);
  if (parsed.success) return parsed.data;
  throw new CliError({
    code: 'invalid_input',
    exitCode: EXIT.usage,
    message: `${what} is not valid`,
    errors: parsed.error.issues.map((issue) => ({ path: issue.path.join('.'), message: issue.message })),
    fix: 'correct what is named above; nothing was sent',
  });
}

/** Checks an id before anything is sent. @throws CliError exit 2 that names the list to take one from. */
export function checkId(id: string, noun: 'rollout' | 'operation' | 'rotation' | 'key'): string {
  if (z.uuid().safeParse(id).success) return id;
  throw usageError(`"${id}" is no ${noun} id`, `fleet ${noun} list`);
}
