import { chmodSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { z } from 'zod';
import { CliError, usageError } from './errors.ts';
import { EXIT } from './exit.ts';
import type { Io } from './io.ts';

/**
 * A context names a control plane and the file that holds the token for it. Tokens are never in a context file.
 * Two files are read: the project's, which `npm start` writes into its data folder and which is found by walking
 * up from the working folder, and the user's.
 */
const Context = z.object({ url: z.url(), tokenFile: z.string().optional() });
export type Context = z.infer<typeof Context>;

const ContextFile = z.object({ contexts: z.record(z.string(), Context), current: z.string().optional() });
export type ContextFile = z.infer<typeof ContextFile>;

export interface ContextStore {
  scope: 'project' | 'user';
  /** Absolute path; need not exist. */
  file: string;
  content: ContextFile;
}

export const CONTEXT_NAME = /^[a-z0-9][a-z0-9._-]{0,62}$/;

/** The project's file (when there is one) and the user's, in the order in which they are asked. */
export function contextStores(io: Pick<Io, 'env' | 'cwd'>): ContextStore[] {
  const project = findProjectFile(io);
  const user = userFile(io.env);
  return [
    ...(project === undefined
      ? []
      : [{ scope: 'project' as const, file: project, content: readContexts(project) }]),
    { scope: 'user' as const, file: user, content: readContexts(user) },
  ];
}

/** Where the token of a context of the user's file is kept. */
export function userTokenFile(env: NodeJS.ProcessEnv, name: string): string {
  return join(dirname(userFile(env)), 'tokens', `${name}.token`);
}

/** Where passwords of short-lived logins are kept, for psql. */
export function passwordFolder(env: NodeJS.ProcessEnv): string {
  return join(dirname(userFile(env)), 'connect');
}

/** Writes a context file, readable by its owner alone. Also for `npm start`, which writes the project's. */
export function writeContexts(file: string, content: ContextFile): void {
  writePrivate(file, `${JSON.stringify(content, null, 2)}\n`);
}

/** Replaces a file in one step with mode 0600, in a folder that is made with 0700 when it is missing. */
export function writePrivate(file: string, text: string): void {
  mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
  const draft = `${file}.${process.pid}.tmp`;
  rmSync(draft, { force: true });
  writeFileSync(draft, text, { mode: 0o600, flag: 'wx' });
  chmodSync(draft, 0o600);
  renameSync(draft, file);
}

/** Absolute path of a context's token file. A relative one counts from the folder of the context's own file. */
export function contextTokenFile(store: Pick<ContextStore, 'file'>, context: Context): string | undefined {
  return context.tokenFile === undefined ? undefined : resolve(dirname(store.file), context.tokenFile);
}

/** @throws CliError `no_token` when the file cannot be read. */
export function readTokenFile(file: string): string {
  try {
    return readFileSync(file, 'utf8').trim();
  } catch (error) {
    throw new CliError({
      code: 'no_token',
      exitCode: EXIT.denied,
      message: `the token file ${file} cannot be read`,
      fix: 'make a new key, or name another file with `fleet context add NAME --url URL --token-file FILE`',
      cause: error,
    });
  }
}

function readContexts(file: string): ContextFile {
  if (!existsSync(file)) return { contexts: {} };
  const parsed = ContextFile.safeParse(parseJson(readFileSync(file, 'utf8')));
  if (parsed.success) return parsed.data;
  throw usageError(
    `the context file ${file} cannot be read`,
    'correct or remove it; `npm start` writes the one of a project anew',
    parsed.error.issues.map((issue) => ({ path: issue.path.join('.'), message: issue.message })),
  );
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function userFile(env: NodeJS.ProcessEnv): string {
  const base = env['XDG_CONFIG_HOME'] ?? join(env['HOME'] ?? homedir(), '.config');
  return join(base, 'flotilla', 'contexts.json');
}

function findProjectFile(io: Pick<Io, 'env' | 'cwd'>): string | undefined {
  const dataDir = io.env['FLEET_DATA_DIR'];
  if (dataDir !== undefined) {
    const file = join(resolve(io.cwd, dataDir), 'context.json');
    if (existsSync(file)) return file;
  }
  for (let folder = io.cwd; ; folder = dirname(folder)) {
    const file = join(folder, '.flotilla', 'context.json');
    if (existsSync(file)) return file;
    if (dirname(folder) === folder) return undefined;
  }
}
