import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { DescribeKeyCommand, KMSClient, ListResourceTagsCommand } from '@aws-sdk/client-kms';
import { DescribeSecretCommand, SecretsManagerClient } from '@aws-sdk/client-secrets-manager';
import { listen } from '../../platform/listen.ts';
import type { Block } from './terraform.ts';
import { ACCOUNT } from './aws-policies.ts';
import { isAllowed, type Ask, type Statement } from './iam.ts';
import { MOTO_CREDENTIALS } from './moto.ts';

/**
 * moto behind IAM as Terraform sets it up: each call is held against the policies of the role whose access key
 * signed it, with what AWS asks for behind the call. moto itself enforces neither resources nor conditions.
 */
export interface AwsRoles {
  url: string;
  /** What was asked and refused, e.g. `app-eu secretsmanager:GetSecretValue arn:…`. */
  refused: string[];
  /** Answers nothing more, until it is told to go on. */
  setAway(isAway: boolean): void;
  /** Answers calls of this action as if there had been too many. */
  throttle(action: string | undefined): void;
  stop(): Promise<void>;
}

/** @param roles access key to statements */
export async function startAwsRoles(motoUrl: string, roles: Record<string, Statement[]>): Promise<AwsRoles> {
  const refused: string[] = [];
  let isAway = false;
  let throttled: string | undefined;
  const server = createServer((request, response) => {
    if (isAway) return void request.socket.destroy();
    void (async () => {
      const call = await readCall(request);
      if (call.action === throttled) return refuse(response, 'ThrottlingException', 'too many');
      const asks = await asksOf(motoUrl, call);
      const missing = asks.find((ask) => !isAllowed(roles[call.key] ?? [], ask));
      if (missing !== undefined) {
        refused.push(`${call.key} ${missing.action} ${missing.resource}`);
        return refuse(response, 'AccessDeniedException', `not authorized to perform ${missing.action}`);
      }
      await forward(motoUrl, request, call, response);
    })().catch((error: unknown) => response.destroy(error instanceof Error ? error : undefined));
  });
  const port = await listen(server, { host: '127.0.0.1', port: 0, variable: 'no setting' });
  return {
    url: `http://127.0.0.1:${port}`,
    refused,
    setAway: (away) => {
      isAway = away;
      if (away) server.closeAllConnections();
    },
    throttle: (action) => {
      throttled = action;
    },
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

interface Call {
  key: string;
  awsRegion: string;
  /** IAM's name of it. */
  action: string;
  input: Block;
  body: Buffer;
}

const SERVICES: Record<string, string> = { secretsmanager: 'secretsmanager', TrentService: 'kms' };

async function readCall(request: IncomingMessage): Promise<Call> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  const body = Buffer.concat(chunks);
  const [, key = '', awsRegion = ''] =
    /Credential=([^/]+)\/\d+\/([^/]+)\//.exec(request.headers.authorization ?? '') ?? [];
  const [service = '', name = ''] = String(request.headers['x-amz-target']).split('.');
  const action = `${SERVICES[service] ?? service}:${name}`;
  return { key, awsRegion, action, input: JSON.parse(body.toString('utf8')) as Block, body };
}

async function forward(
  motoUrl: string,
  request: IncomingMessage,
  { body }: Call,
  response: ServerResponse,
): Promise<void> {
  const names = ['authorization', 'content-type', 'x-amz-target', 'x-amz-date'];
  const headers = names.map((name) => [name, String(request.headers[name])] as [string, string]);
  const answer = await fetch(motoUrl, { method: 'POST', headers, body });
  response.writeHead(answer.status, { 'Content-Type': answer.headers.get('content-type') ?? '' });
  response.end(Buffer.from(await answer.arrayBuffer()));
}

function refuse(response: ServerResponse, __type: string, message: string): void {
  response.writeHead(400, { 'Content-Type': 'application/x-amz-json-1.1', 'x-amzn-errortype': __type });
  response.end(JSON.stringify({ __type, message }));
}

/** All that AWS asks of IAM for a call: the call itself, and what is behind it. */
async function asksOf(motoUrl: string, call: Call): Promise<Ask[]> {
  const context = { 'aws:RequestedRegion': call.awsRegion, ...tagContext('Request', tagsIn(call.input)) };
  const found = call.action.startsWith('kms:')
    ? await asksOfKms(motoUrl, call)
    : await asksOfSecret(motoUrl, call);
  return found.map((ask) => ({ ...ask, context: { ...context, ...ask.context } }));
}

async function asksOfKms(motoUrl: string, { action, awsRegion, input }: Call): Promise<Ask[]> {
  if (action === 'kms:CreateKey') {
    const resource = `arn:aws:kms:${awsRegion}:${ACCOUNT}:key/new`;
    return [ask(action, '*'), ...(input['Tags'] === undefined ? [] : [ask('kms:TagResource', resource)])];
  }
  const key = await findKey(motoUrl, awsRegion, String(input['KeyId'] ?? input['TargetKeyId']));
  // KMS says that there is no such key before it asks for rights.
  if (key === undefined) return [];
  const sealed = Object.entries((input['EncryptionContext'] ?? {}) as Record<string, string>);
  const context = Object.fromEntries(sealed.map(([name, value]) => [`kms:EncryptionContext:${name}`, value]));
  const onKey = ask(action, key.arn, { ...tagContext('Resource', key.tags), ...context });
  if (action !== 'kms:CreateAlias') return [onKey];
  return [onKey, ask(action, `arn:aws:kms:${awsRegion}:${ACCOUNT}:${String(input['AliasName'])}`)];
}

async function asksOfSecret(motoUrl: string, { action, awsRegion, input }: Call): Promise<Ask[]> {
  const name = String(input['SecretId'] ?? input['Name']);
  const arn = `arn:aws:secretsmanager:${awsRegion}:${ACCOUNT}:secret:${name}-AbCdEf`;
  const isNew = action === 'secretsmanager:CreateSecret';
  const keyId = isNew ? String(input['KmsKeyId']) : await keyOfSecret(motoUrl, awsRegion, name);
  const tagging = isNew && input['Tags'] !== undefined ? [ask('secretsmanager:TagResource', arn)] : [];
  const onKey = (KEY_USES[action] ?? []).map((use) => ({ use, sealing: isNew ? VALIDATION : arn }));
  const key =
    onKey.length === 0 || keyId === undefined ? undefined : await findKey(motoUrl, awsRegion, keyId);
  const uses = onKey.map(({ use, sealing }) =>
    ask(use, key?.arn ?? '', {
      ...tagContext('Resource', key?.tags ?? {}),
      'kms:ViaService': `secretsmanager.${awsRegion}.amazonaws.com`,
      'kms:EncryptionContext:SecretARN': sealing,
    }),
  );
  return [ask(action, arn), ...tagging, ...(key === undefined ? [] : uses)];
}

/** What Secrets Manager puts in the place of the ARN when it tries out a new secret's key. */
const VALIDATION = 'RequestToValidateKeyAccess';
/** What Secrets Manager does in its caller's name, as its documentation of keys has it. */
const KEY_USES: Record<string, string[]> = {
  'secretsmanager:CreateSecret': ['kms:GenerateDataKey', 'kms:Decrypt'],
  'secretsmanager:PutSecretValue': ['kms:GenerateDataKey', 'kms:Decrypt'],
  'secretsmanager:GetSecretValue': ['kms:Decrypt'],
};

function ask(action: string, resource: string, context: Record<string, string> = {}): Ask {
  return { action, resource, context };
}

function tagContext(of: 'Request' | 'Resource', tags: Record<string, string>): Record<string, string> {
  return Object.fromEntries(Object.entries(tags).map(([name, value]) => [`aws:${of}Tag/${name}`, value]));
}

function tagsIn(input: Block): Record<string, string> {
  const tags = (input['Tags'] ?? []) as Record<string, string>[];
  return Object.fromEntries(
    tags.map((tag) => [tag['TagKey'] ?? tag['Key'] ?? '', tag['TagValue'] ?? tag['Value'] ?? '']),
  );
}

async function keyOfSecret(motoUrl: string, region: string, SecretId: string): Promise<string | undefined> {
  const client = new SecretsManagerClient({ region, endpoint: motoUrl, credentials: MOTO_CREDENTIALS });
  const found = await client.send(new DescribeSecretCommand({ SecretId })).catch(() => undefined);
  return found?.KmsKeyId;
}

async function findKey(
  motoUrl: string,
  region: string,
  KeyId: string,
): Promise<{ arn: string; tags: Record<string, string> } | undefined> {
  const client = new KMSClient({ region, endpoint: motoUrl, credentials: MOTO_CREDENTIALS });
  const { KeyMetadata: key } = await client
    .send(new DescribeKeyCommand({ KeyId }))
    .catch(() => ({ KeyMetadata: undefined }));
  if (key?.Arn === undefined) return undefined;
  const { Tags = [] } = await client.send(new ListResourceTagsCommand({ KeyId: key.Arn }));
  return {
    arn: key.Arn,
    tags: Object.fromEntries(Tags.map(({ TagKey = '', TagValue = '' }) => [TagKey, TagValue])),
  };
}
