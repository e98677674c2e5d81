import { resolve } from 'node:path';
import { Option, type Command } from 'commander';
import { ApiKey, CreatedKey, CreateKey, RotateKey, ROLES } from '../../contract/access.ts';
import { AnyBody, change } from '../change.ts';
import { path } from '../client.ts';
import { confirmYes } from '../confirm.ts';
import { writePrivate } from '../contexts.ts';
import { collect, parseCount } from '../globals.ts';
import { keyView } from '../output/fleet-views.ts';
import type { View } from '../output/view.ts';
import { checkId, checkInput, type OpenSession, type Session } from '../session.ts';

interface CreateFlags {
  role: string;
  region?: string[];
  expiresInDays?: number;
  tokenFile?: string;
}

export function addKeyCommands(program: Command, open: OpenSession): void {
  const key = program.command('key').description('API keys with a role, regions and an end');
  key
    .command('create <name>')
    .description('make a key; its token is shown this once')
    .addOption(new Option('--role <role>', 'what it may do').choices(ROLES).makeOptionMandatory())
    .option('--region <region>', 'only in this region; may be repeated (default: all)', collect)
    .option('--expires-in-days <count>', 'days until it stops working', parseCount)
    .option('--token-file <file>', 'write the token to this file (0600) instead of showing it')
    .action(async (name: string, flags: CreateFlags) => await create(open(), name, flags));
  key
    .command('list')
    .description('list keys')
    .option('--limit <count>', 'at most this many', parseCount)
    .action(async (flags: { limit?: number }) => await list(open(), flags.limit));
  key
    .command('rotate <name>')
    .description('make another key for the same use; those before end a while later')
    .option('--overlap <duration>', 'how long those before still work, e.g. 10m or 2d (default: 1h)')
    .option('--token-file <file>', 'write the token to this file (0600) instead of showing it')
    .action(async (name: string, flags: RotateFlags) => await rotate(open(), name, flags));
  key
    .command('revoke <id>')
    .description('make a key useless at once')
    .action(async (id: string) => await revoke(open(), id));
}

async function create(session: Session, name: string, flags: CreateFlags): Promise<void> {
  const { role, region: regions, expiresInDays, tokenFile } = flags;
  const input = {
    name,
    role,
    ...(regions === undefined ? {} : { regions }),
    ...(expiresInDays === undefined ? {} : { expiresInDays }),
  };
  const body = checkInput(CreateKey, input, `key ${name}`);
  const reply = await change(session, { method: 'POST', path: '/api/v1/keys', body }, CreatedKey);
  if (reply !== undefined) handOut(session, reply.body, tokenFile);
}

interface RotateFlags {
  overlap?: string;
  tokenFile?: string;
}

async function rotate(session: Session, name: string, { overlap, tokenFile }: RotateFlags): Promise<void> {
  const body = checkInput(RotateKey, overlap === undefined ? {} : { overlap }, '--overlap');
  const request = { method: 'POST' as const, path: path`/api/v1/keys/${name}/rotate`, body };
  const reply = await change(session, request, CreatedKey);
  if (reply === undefined) return;
  handOut(session, reply.body, tokenFile);
  session.out.note(`keys with the name ${name} from before end in ${body.overlap}`);
}

/** The token is seen once: on the screen or in the file. */
function handOut(session: Session, created: CreatedKey, tokenFile: string | undefined): void {
  const { token, ...key } = created;
  if (tokenFile === undefined) {
    session.out.one(created, createdView);
    session.out.note('keep the token now: it cannot be shown again');
    return;
  }
  const file = resolve(session.io.cwd, tokenFile);
  writePrivate(file, `${token}\n`);
  session.out.one(key, keyView);
  session.out.note(`the token is in ${file}`);
}

async function list({ client, out }: Session, limit?: number): Promise<void> {
  out.list(await client().list('/api/v1/keys', ApiKey, {}, limit), keyView);
}

async function revoke(session: Session, id: string): Promise<void> {
  checkId(id, 'key');
  await confirmYes(session, `Revoke key ${id}? Whoever uses it is locked out at once.`);
  const reply = await change(session, { method: 'DELETE', path: path`/api/v1/keys/${id}` }, AnyBody);
  if (reply !== undefined) session.out.note(`key ${id} is revoked`);
}

const createdView: View<CreatedKey> = {
  ...keyView,
  columns: [...keyView.columns, { title: 'token', value: (key) => key.token }],
};
