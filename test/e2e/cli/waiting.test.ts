import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import type { Operation } from '../../../contract/operation.ts';
import { projectRoot } from '../../../platform/project.ts';

const ID = '0190d5a0-0000-7000-8000-000000000000';
/** Collects garbage as often as a long wait does: every signal that only a WeakRef holds is gone at the end. */
const COLLECTOR = 'data:text/javascript,setInterval(() => globalThis.gc(), 20).unref()';
/** Far more than a process needs to end; one that hangs is ended by the test. */
const HANGS_AFTER_MS = 20_000;

/** An operation that never ends, with a stream of events that never ends either. */
async function endlessOperation(): Promise<{ server: Server; url: string }> {
  const operation: Operation = {
    id: ID,
    kind: 'tenant.create',
    state: 'running',
    direction: 'forward',
    subject: `tenant:${ID}`,
    subjectName: 'acme',
    region: 'eu',
    error: null,
    cancelRequested: false,
    waiting: null,
    actor: 'admin',
    requestId: null,
    attempt: 1,
    steps: [],
    createdAt: new Date().toISOString(),
    startedAt: null,
    finishedAt: null,
  };
  const server = createServer((request, response) => {
    if (request.url?.endsWith('/events') === true) {
      response.writeHead(200, { 'Content-Type': 'text/event-stream' }).write(': here\n\n');
      return;
    }
    response.writeHead(200, { 'Content-Type': 'application/json' }).end(JSON.stringify(operation));
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  return { server, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` };
}

/** Waits for the operation in a process of its own; `onEvents` is called when that reads the stream of events. */
async function waitFor(flags: string[], onEvents: (child: ChildProcess) => void) {
  const { server, url } = await endlessOperation();
  const main = join(projectRoot(), 'fleet-cli', 'main.ts');
  const node = ['--expose-gc', '--import', 'tsx', '--import', COLLECTOR, main];
  const child = spawn(process.execPath, [...node, 'operation', 'get', ID, '--wait', ...flags], {
    cwd: projectRoot(),
    env: { PATH: process.env.PATH, HOME: '/nonexistent', FLEET_URL: url, FLEET_TOKEN: 'flt_x_y' },
    stdio: ['ignore', 'ignore', 'pipe'],
    timeout: HANGS_AFTER_MS,
  });
  server.on('request', (request: IncomingMessage) => {
    if (request.url?.endsWith('/events') === true) onEvents(child);
  });
  let stderr = '';
  child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
  try {
    const [code] = (await once(child, 'close')) as [number | null];
    return { code, stderr };
  } finally {
    server.closeAllConnections();
    server.close();
  }
}

describe('waiting on the command line', () => {
  it('ends the process at --timeout though the stream of events stays open', async () => {
    const { code, stderr } = await waitFor(['--timeout', '1500ms'], () => undefined);
    assert.match(stderr, /error timeout: .*goes on/);
    assert.equal(code, 1);
  });

  it('ends at Ctrl-C with 130 and says that the work goes on', async () => {
    const { code, stderr } = await waitFor([], (child) => child.kill('SIGINT'));
    assert.match(stderr, /error interrupted: .*goes on/);
    assert.equal(code, 130);
  });
});
