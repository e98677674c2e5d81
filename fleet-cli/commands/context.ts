import { existsSync, rmSync } from 'node:fs';
import { resolve } from 'node:path';
import type { Command } from 'commander';
import { findContext, resolveConnection, unknownContext } from '../connection.ts';
import {
  CONTEXT_NAME,
  contextStores,
  contextTokenFile,
  userTokenFile,
  writeContexts,
  writePrivate,
  type Context,
  type ContextStore,
} from '../contexts.ts';
import { usageError } from '../errors.ts';
import { readStdin } from '../io.ts';
import type { View } from '../output/view.ts';
import type { OpenSession, Session } from '../session.ts';

interface AddFlags {
  url: string;
  tokenFile?: string;
  tokenStdin?: boolean;
}

export function addContextCommands(program: Command, open: OpenSession): void {
  const context = program.command('context').description('which control plane to talk to, and as whom');
  context
    .command('add <name>')
    .description('add a context to your own file; the first one becomes current')
    .requiredOption('--url <url>', 'URL of the control plane')
    .option('--token-file <file>', 'file that holds the API key')
    .option('--token-stdin', 'read the API key from standard input and keep it in a 0600 file')
    .action(async (name: string, flags: AddFlags) => await add(open(), name, flags));
  context
    .command('use <name>')
    .description('make a context the current one')
    .action((name: string) => use(open(), name));
  context
    .command('list')
    .description('list contexts; * marks the one in use')
    .action(() => list(open()));
  context
    .command('show [name]')
    .description('show a context, or the one that commands use here and why')
    .action((name: string | undefined) => show(open(), name));
  context
    .command('remove <name>')
    .description('remove a context from your own file')
    .action((name: string) => remove(open(), name));
}

async function add(session: Session, name: string, flags: AddFlags): Promise<void> {
  const { io, out, globals } = session;
  if (!CONTEXT_NAME.test(name))
    throw usageError(`"${name}" is no name for a context`, 'use a-z, 0-9, dot and dash');
  if (!URL.canParse(flags.url)) throw usageError(`"${flags.url}" is no URL`, 'give it as http://HOST:PORT');
  if (flags.tokenFile !== undefined && flags.tokenStdin === true) {
    throw usageError('give either --token-file or --token-stdin');
  }
  const kept = userTokenFile(io.env, name);
  const token = flags.tokenStdin === true ? (await readStdin(io)).trim() : undefined;
  const tokenFile = token === undefined ? flags.tokenFile && resolve(io.cwd, flags.tokenFile) : kept;
  const context: Context = { url: flags.url, ...(tokenFile === undefined ? {} : { tokenFile }) };
  if (globals.dryRun === true) return showOne(session, name, context, 'dry run');
  if (token !== undefined) writePrivate(kept, `${token}\n`);
  const store = userStore(session);
  const contexts = { ...store.content.contexts, [name]: context };
  writeContexts(store.file, { contexts, current: store.content.current ?? name });
  out.note(`context ${name} is in ${store.file}`);
  showOne(session, name, context, store.file);
}

function use(session: Session, name: string): void {
  const { store, context } = findContext(name, contextStores(session.io));
  if (session.globals.dryRun !== true) writeContexts(store.file, { ...store.content, current: name });
  // The project's choice comes before the user's: saying so avoids a surprise.
  const [first] = contextStores(session.io);
  if (store.scope === 'user' && first?.scope === 'project' && first.content.current !== undefined) {
    session.out.note(
      `in this folder ${first.file} still chooses ${first.content.current}; use --context ${name} or FLEET_CONTEXT here`,
    );
  }
  showOne(session, name, context, store.file);
}

function list(session: Session): void {
  const stores = contextStores(session.io);
  const used = inUse(session);
  const rows = stores.flatMap((store) =>
    Object.entries(store.content.contexts).map(([name, context]) => ({
      name,
      ...located(store, context),
      current: used?.context === name && used.source === store.file,
      source: store.file,
    })),
  );
  session.out.list(rows, contextView);
}

function show(session: Session, name: string | undefined): void {
  if (name !== undefined) {
    const found = findContext(name, contextStores(session.io));
    return showOne(session, name, found.context, found.store.file);
  }
  const { context, url, source, token, tokenFile } = session.connection();
  const row = { name: context ?? 'environment', url, ...fileField(tokenFile), current: true, source };
  session.out.one(row, contextView);
  if (token === undefined) session.out.note('no API key is set: most commands will be refused');
}

function remove(session: Session, name: string): void {
  const store = userStore(session);
  if (!(name in store.content.contexts)) throw unknownContext(name, [store]);
  if (session.globals.dryRun === true) return session.out.note(`dry run: context ${name} would be removed`);
  const { [name]: _removed, ...contexts } = store.content.contexts;
  const { current } = store.content;
  writeContexts(store.file, { contexts, ...(current === undefined || current === name ? {} : { current }) });
  const kept = userTokenFile(session.io.env, name);
  if (existsSync(kept)) rmSync(kept);
  session.out.note(`context ${name} is removed`);
}

interface ContextRow extends Context {
  name: string;
  current: boolean;
  source: string;
}

const contextView: View<ContextRow> = {
  noun: 'contexts',
  name: (row) => row.name,
  columns: [
    { title: 'context', value: (row, paint) => (row.current ? paint('good', `${row.name} *`) : row.name) },
    { title: 'url', value: (row) => row.url, whole: true },
    { title: 'from', value: (row) => row.source },
    { title: 'token file', value: (row) => row.tokenFile, wide: true },
  ],
};

function showOne(session: Session, name: string, context: Context, source: string): void {
  const used = inUse(session);
  const current = used?.context === name && used.source === source;
  session.out.one({ name, ...located({ file: source }, context), current, source }, contextView);
}

/** The context with the absolute path of its token file: what a person can open from anywhere. */
function located(store: Pick<ContextStore, 'file'>, context: Context): Context {
  return { ...context, ...fileField(contextTokenFile(store, context)) };
}

function fileField(tokenFile: string | undefined): Pick<Context, 'tokenFile'> {
  return tokenFile === undefined ? {} : { tokenFile };
}

/** What commands use here; undefined where that cannot be said, which is no reason not to list. */
function inUse(session: Session): { context: string | null; source: string } | undefined {
  try {
    return resolveConnection(session.globals, session.io);
  } catch {
    return undefined;
  }
}

function userStore({ io }: Session): ContextStore {
  const store = contextStores(io).find((each) => each.scope === 'user');
  if (store === undefined) throw new Error('the user has no context file');
  return store;
}
