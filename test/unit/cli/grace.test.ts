import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { runCli } from '../../../fleet-cli/cli.ts';
import { fleet, screenIo } from './harness.ts';

/** Long enough for any machine: a test that waits for its end has failed. */
const PATIENT_MS = 30_000;

describe('a control plane that was killed a moment ago', () => {
  const servers: Server[] = [];
  afterEach(() => {
    for (const server of servers.splice(0)) server.close();
  });

  async function listen(server: Server, port = 0): Promise<number> {
    servers.push(server);
    server.listen(port, '127.0.0.1');
    await once(server, 'listening');
    return (server.address() as AddressInfo).port;
  }

  const answering = () =>
    createServer((_request, response) => {
      response.setHeader('Content-Type', 'application/json');
      response.end('{"items":[],"nextCursor":null}');
    });

  async function freePort(): Promise<number> {
    const server = createServer();
    const port = await listen(server);
    server.close();
    await once(server, 'close');
    return port;
  }

  it('is asked again until it listens, which is told once', async () => {
    const port = await freePort();
    const env = { FLEET_URL: `http://127.0.0.1:${port}` };
    const { io, stdout, stderr } = screenIo(false, env);
    stderr.once('shown', () => void listen(answering(), port));
    const code = await runCli(['region', 'list', '-o', 'name'], { ...io, graceMs: PATIENT_MS });
    assert.equal(code, 0, stderr.text);
    assert.equal(stderr.text.match(/does not answer; asking again for 30 s/g)?.length, 1);
    assert.equal(stdout.text, '');
  });

  it('is asked again after it cut the connection', async () => {
    let left = 4;
    const server = answering();
    server.prependListener('request', (request) => {
      if ((left -= 1) >= 0) request.socket.destroy();
    });
    const port = await listen(server);
    const env = { FLEET_URL: `http://127.0.0.1:${port}` };
    const run = await fleet(['region', 'list'], { env, graceMs: PATIENT_MS });
    assert.equal(run.code, 0, run.stderr);
  });

  it('is given up when the grace is over, and for a change at once', async () => {
    const url = `http://127.0.0.1:${await freePort()}`;
    const late = await fleet(['region', 'list'], { env: { FLEET_URL: url }, graceMs: 50 });
    assert.equal(late.code, 1);
    assert.ok(late.stderr.includes(url));
    assert.match(late.stderr, /asking again[^]*fix: start it with `npm start`[^]*`fleet doctor`/);
    const change = await fleet(['tenant', 'create', 'acme', '--region', 'eu'], {
      env: { FLEET_URL: url },
      graceMs: PATIENT_MS,
    });
    assert.equal(change.code, 1);
    assert.doesNotMatch(change.stderr, /asking again/);
  });
});
