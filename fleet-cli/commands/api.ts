import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import type { Command } from 'commander';
import { AnyBody, change } from '../change.ts';
import type { Method } from '../client.ts';
import { usageError } from '../errors.ts';
import { readStdin } from '../io.ts';
import { cleanText } from '../output/clean.ts';
import { serialize } from '../output/output.ts';
import type { OpenSession, Session } from '../session.ts';

interface ApiFlags {
  data?: string;
  dataFile?: string;
  ifMatch?: string;
}

const METHODS: readonly string[] = ['GET', 'POST', 'PATCH', 'DELETE'];

export function addApiCommand(program: Command, open: OpenSession): void {
  program
    .command('api <method> <path>')
    .description('send any request to the API with your key: fleet api GET /tenants?limit=5')
    .option('--data <json>', 'body of the request')
    .option('--data-file <file>', 'read the body from this file; - is standard input')
    .option('--if-match <etag>', 'only when the resource still has this version')
    .action(
      async (method: string, path: string, flags: ApiFlags) => await callApi(open(), method, path, flags),
    );
}

async function callApi(session: Session, method: string, path: string, flags: ApiFlags): Promise<void> {
  const verb = method.toUpperCase();
  if (!isMethod(verb)) throw usageError(`${method} is no method of the API`, `one of ${METHODS.join(', ')}`);
  const body = parseBody(await readBody(session, flags));
  const request = { method: verb, path: fullPath(path), body, ifMatch: flags.ifMatch, raw: true };
  const reply =
    verb === 'GET' ? await session.client().send(request, AnyBody) : await change(session, request, AnyBody);
  if (reply === undefined || reply.body === undefined) return;
  const text =
    typeof reply.body === 'string' ? cleanText(reply.body) : serialize(reply.body, session.out.format);
  session.out.text(text, reply.body);
}

function isMethod(text: string): text is Method {
  return METHODS.includes(text);
}

/** `/tenants` is short for `/api/v1/tenants`; paths outside it (`/healthz`, `/metrics`) are left alone. */
function fullPath(path: string): string {
  const rooted = path.startsWith('/') ? path : `/${path}`;
  return /^\/(api\/|healthz|readyz|metrics)/.test(rooted) ? rooted : `/api/v1${rooted}`;
}

async function readBody({ io }: Session, flags: ApiFlags): Promise<string | undefined> {
  if (flags.dataFile === undefined) return flags.data;
  if (flags.data !== undefined) throw usageError('give either --data or --data-file');
  if (flags.dataFile === '-') return await readStdin(io);
  try {
    return readFileSync(resolve(io.cwd, flags.dataFile), 'utf8');
  } catch {
    throw usageError(`the file ${flags.dataFile} cannot be read`, 'check its name and rights');
  }
}

function parseBody(text: string | undefined): unknown {
  if (text === undefined) return undefined;
  try {
    return JSON.parse(text);
  } catch {
    throw usageError('the body is not valid JSON', 'check the quotes; the shell may have removed some');
  }
}
