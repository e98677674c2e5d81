import { spawn } from 'node:child_process';
import { existsSync, readdirSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { Connect, Connection, OpenedConnection } from '../../contract/connection.ts';
import { AnyBody, change } from '../change.ts';
import { path } from '../client.ts';
import { passwordFolder, writePrivate } from '../contexts.ts';
import { CliError } from '../errors.ts';
import { EXIT } from '../exit.ts';
import { checkInput, type Session } from '../session.ts';

export interface ConnectFlags {
  reason: string;
  ttl: string;
  exec?: boolean;
}

/** Ten reads a second: a login is made in some tens of milliseconds. */
const POLL_MS = 100;
/** Longer than a server takes to restart; the login itself goes on to be made, and expires. */
const OPEN_TIMEOUT_MS = 30_000;
/** No login lasts longer: what is older in the folder opens nothing. */
const STALE_MS = 8 * 3_600_000;

/**
 * Opens a read-only login and says how psql uses it. The password goes into a file that psql reads, never onto a
 * command line or a screen.
 * @throws CliError `not_opened` when its server does not answer
 */
export async function connectTenant(session: Session, name: string, flags: ConnectFlags): Promise<void> {
  const body = checkInput(Connect, { reason: flags.reason, ttl: flags.ttl }, `the connection to ${name}`);
  const request = { method: 'POST' as const, path: path`/api/v1/tenants/${name}/connect`, body };
  const reply = await change(session, request, OpenedConnection);
  if (reply === undefined) return;
  const { password, ...connection } = reply.body;
  const passwordFile = keepPassword(session, connection, password);
  await untilOpen(session, connection);
  if (flags.exec === true) return await runPsql(session, connection, passwordFile);
  const command = `PGPASSFILE=${quoted(passwordFile)} psql ${quoted(conninfo(connection))}`;
  session.out.text(command, { ...connection, state: 'open', passwordFile, command }, connection.id);
  session.out.note(`read only, as ${connection.login}, until ${connection.expiresAt}`);
  session.out.note(`close it sooner: fleet tenant disconnect ${connection.tenant} ${connection.id}`);
}

/** Closes one login of the tenant, or all. */
export async function disconnectTenant(session: Session, name: string, id?: string): Promise<void> {
  const request = {
    method: 'POST' as const,
    path: path`/api/v1/tenants/${name}/disconnect`,
    body: id === undefined ? {} : { id },
  };
  if ((await change(session, request, AnyBody)) === undefined) return;
  session.out.note(
    `${id === undefined ? 'all connections' : 'the connection'} to ${name}: closed within seconds`,
  );
}

async function untilOpen(session: Session, { id, tenant, login }: Connection): Promise<void> {
  const deadline = Date.now() + (session.globals.timeout ?? OPEN_TIMEOUT_MS);
  for (;;) {
    const { body } = await session
      .client()
      .get(path`/api/v1/tenants/${tenant}/connections/${id}`, Connection);
    if (body.state === 'open') return;
    if (body.state === 'closed' || Date.now() > deadline) throw notOpened(body);
    session.out.debug(`login ${login} is being made`);
    await delay(POLL_MS, undefined, { signal: session.io.signal });
  }
}

function notOpened({ state, tenant, id, closedBecause }: Connection): CliError {
  return new CliError({
    code: 'not_opened',
    exitCode: EXIT.unhealthy,
    message:
      state === 'closed'
        ? `the connection to ${tenant} was closed before it was open: ${closedBecause ?? 'no reason is known'}`
        : `no worker could make the login on the server of ${tenant} yet`,
    fix:
      state === 'closed'
        ? `fleet tenant get ${tenant}`
        : `fleet server list shows whether it answers; give it up with fleet tenant disconnect ${tenant} ${id}`,
  });
}

/** In PostgreSQL's own form of a password file; those whose time is long over are removed on the way. */
function keepPassword({ io }: Session, connection: Connection, password: string): string {
  const folder = passwordFolder(io.env);
  for (const old of existsSync(folder) ? readdirSync(folder) : []) {
    const file = join(folder, old);
    if (Date.now() - statSync(file).mtimeMs > STALE_MS) rmSync(file, { force: true });
  }
  const file = join(folder, `${connection.login}.pgpass`);
  const { host, port, database, login } = connection;
  const fields = [host, String(port), database, login, password].map((field) =>
    field.replace(/[\\:]/g, (sign) => `\\${sign}`),
  );
  writePrivate(file, `${fields.join(':')}\n`);
  return file;
}

function conninfo({ host, port, database, login, tls }: Connection): string {
  return `host=${host} port=${port} dbname=${database} user=${login} sslmode=${tls}`;
}

/** For a POSIX shell. */
function quoted(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

async function runPsql(session: Session, connection: Connection, passwordFile: string): Promise<void> {
  try {
    await psql(session, connection, passwordFile);
  } finally {
    rmSync(passwordFile, { force: true });
    await disconnectTenant(session, connection.tenant, connection.id);
  }
}

function psql(session: Session, connection: Connection, passwordFile: string): Promise<void> {
  const giveBack = takeInterrupts();
  return new Promise<void>((resolve, reject) => {
    const child = spawn('psql', [conninfo(connection)], {
      stdio: 'inherit',
      env: { ...session.io.env, PGPASSFILE: passwordFile },
    });
    child.once('error', (cause) => reject(psqlFailed('psql cannot be started', cause)));
    child.once('exit', (code) =>
      code === 0 ? resolve() : reject(psqlFailed(`psql ended with ${code ?? 'a signal'}`)),
    );
  }).finally(giveBack);
}

/** Ctrl-C is psql's own: it breaks a query off there, and must not end what has to close the login afterwards. */
function takeInterrupts(): () => void {
  const ours = process.rawListeners('SIGINT') as NodeJS.SignalsListener[];
  const ignore = (): void => undefined;
  process.removeAllListeners('SIGINT');
  process.on('SIGINT', ignore);
  return () => {
    process.removeListener('SIGINT', ignore);
    for (const listener of ours) process.on('SIGINT', listener);
  };
}

function psqlFailed(message: string, cause?: unknown): CliError {
  return new CliError({
    code: 'psql_failed',
    exitCode: EXIT.failed,
    message,
    fix: 'install psql, or leave --exec out and use the login with another client',
    cause,
  });
}
