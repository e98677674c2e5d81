import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { AddServer, CreateServer, ModifyServer, Server, ServerSnapshot } from '../../contract/server.ts';
import { AnyBody, change, settle } from '../change.ts';
import { path } from '../client.ts';
import { confirmName } from '../confirm.ts';
import { usageError } from '../errors.ts';
import { readStdin } from '../io.ts';
import { serverView } from '../output/fleet-views.ts';
import { checkInput, type Session } from '../session.ts';

export interface ListFlags {
  region?: string;
  state?: string;
  limit?: number;
}

interface LimitFlags {
  region: string;
  mode?: string;
  maxDatabases?: number;
  maxConnections?: number;
}

export interface AddFlags extends LimitFlags {
  urlFile?: string;
  urlStdin?: boolean;
  url?: string;
  instance?: string;
}

export interface InstanceFlags {
  class?: string;
  storage?: number;
  engineVersion?: string;
  backupDays?: number;
  multiAz?: boolean;
  deletionProtection?: boolean;
}

export interface CreateFlags extends LimitFlags, InstanceFlags {
  provider: string;
  kmsKey?: string;
}

export async function listServers({ client, out }: Session, { limit, ...filter }: ListFlags): Promise<void> {
  out.list(await client().list('/api/v1/servers', Server, filter, limit), serverView);
}

export async function getServer({ client, out }: Session, name: string): Promise<void> {
  out.one((await client().get(path`/api/v1/servers/${name}`, Server)).body, serverView);
}

/** Registers a server. Its URL holds a password, so it is taken from a file or stdin and never from argv. */
export async function addServer(session: Session, name: string, flags: AddFlags): Promise<void> {
  const url = await readUrl(session, flags);
  const instance = flags.instance === undefined ? {} : { instance: flags.instance };
  const body = checkInput(AddServer, { name, url, ...instance, ...limitFields(flags) }, `server ${name}`);
  await make(session, name, body);
}

export async function createServer(session: Session, name: string, flags: CreateFlags): Promise<void> {
  const rds = {
    ...instanceFields(flags),
    ...(flags.kmsKey === undefined ? {} : { kmsKey: flags.kmsKey }),
  };
  // Another provider refuses what is for RDS, and asks for nothing.
  const asked = Object.keys(rds).length === 0 ? {} : { rds };
  const input = { name, provider: flags.provider, ...limitFields(flags), ...asked };
  await make(session, name, checkInput(CreateServer, input, `server ${name}`));
}

export async function setCordon(session: Session, name: string, verb: 'cordon' | 'uncordon'): Promise<void> {
  const reply = await change(session, { method: 'POST', path: `${serverPath(name)}/${verb}` }, AnyBody);
  await settle(session, reply, async () => await getServer(session, name));
}

/** Takes a server out. It is looked at first: a wrong name fails before a question is asked. */
export async function removeServer(session: Session, name: string): Promise<void> {
  const server = (await session.client().get(serverPath(name), Server)).body;
  await confirmName(session, server.name, `remove server ${server.name}`);
  const reply = await change(session, { method: 'DELETE', path: serverPath(server.name) }, Server);
  if (reply === undefined) return;
  await settle(session, reply, async () => await getServer(session, server.id));
  if (reply.operationId === undefined || session.globals.wait !== false) {
    session.out.note(`server ${server.name} is removed`);
  }
}

export async function modifyServer(session: Session, name: string, flags: InstanceFlags): Promise<void> {
  const body = checkInput(ModifyServer, instanceFields(flags), `server ${name}`);
  const reply = await change(session, { method: 'POST', path: `${serverPath(name)}/modify`, body }, AnyBody);
  await settle(session, reply, async () => await getServer(session, name));
}

export async function snapshotServer(session: Session, name: string): Promise<void> {
  const reply = await change(
    session,
    { method: 'POST', path: `${serverPath(name)}/snapshot` },
    ServerSnapshot,
  );
  await settle(session, reply, async () => await getServer(session, name));
  if (reply !== undefined) session.out.note(`snapshot ${reply.body.snapshot}`);
}

async function make(session: Session, name: string, body: unknown): Promise<void> {
  const reply = await change(session, { method: 'POST', path: '/api/v1/servers', body }, AnyBody);
  await settle(session, reply, async () => await getServer(session, name));
}

async function readUrl({ io }: Session, flags: AddFlags): Promise<string> {
  if (flags.url !== undefined) {
    throw usageError(
      '--url is refused: every user of this machine can read the password in the list of processes, and the shell keeps it',
      'put the URL into a file that only you can read and pass --url-file FILE, or pipe it in with --url-stdin',
    );
  }
  if ((flags.urlFile === undefined) === (flags.urlStdin !== true)) {
    throw usageError('give the URL with either --url-file FILE or --url-stdin');
  }
  const text =
    flags.urlFile === undefined ? await readStdin(io) : readUrlFile(resolve(io.cwd, flags.urlFile));
  return text.trim();
}

function readUrlFile(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    throw usageError(`the file ${file} cannot be read`, 'check its name and rights');
  }
}

function limitFields(flags: LimitFlags): Record<string, unknown> {
  const { region, mode, maxDatabases, maxConnections } = flags;
  return {
    region,
    ...(mode === undefined ? {} : { mode }),
    ...(maxDatabases === undefined ? {} : { maxDatabases }),
    ...(maxConnections === undefined ? {} : { maxConnections }),
  };
}

/** Flags for RDS that are given. */
function instanceFields(flags: InstanceFlags): Record<string, unknown> {
  const {
    class: instanceClass,
    storage: storageGib,
    engineVersion,
    backupDays,
    multiAz,
    deletionProtection,
  } = flags;
  const fields = { instanceClass, storageGib, engineVersion, backupDays, multiAz, deletionProtection };
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));
}

function serverPath(name: string): string {
  return path`/api/v1/servers/${name}`;
}
