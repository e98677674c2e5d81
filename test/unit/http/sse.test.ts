import assert from 'node:assert/strict';
import { createServer, get, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import express from 'express';
import { formatEvent, openEventStream, type EventStream } from '../../../control-plane/http/sse.ts';

describe('event stream', () => {
  let server: Server;
  let open: (stream: EventStream) => void;

  before(async () => {
    const app = express();
    app.get('/events', (request, response) => open(openEventStream(request, response)));
    server = createServer(app);
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  });
  after(async () => {
    const closed = new Promise((resolve) => server.close(resolve));
    server.closeAllConnections();
    await closed;
  });

  function connect(): Promise<{ stream: EventStream; response: IncomingMessage }> {
    const { port } = server.address() as AddressInfo;
    const opened = new Promise<EventStream>((resolve) => {
      open = resolve;
    });
    return new Promise((resolve, reject) => {
      get(`http://127.0.0.1:${port}/events`, (response) => {
        void opened.then((stream) => resolve({ stream, response }));
      }).on('error', reject);
    });
  }

  it('puts an event on the wire as lines that no value can break', () => {
    assert.equal(formatEvent('a', { text: 'x\ny' }, '7'), 'event: a\nid: 7\ndata: {"text":"x\\ny"}\n\n');
    assert.equal(formatEvent('a\ndata: no', 1, '7\n8'), 'event: adata: no\nid: 78\ndata: 1\n\n');
  });

  it('sends events until it is closed, and nothing afterwards', async () => {
    const { stream, response } = await connect();
    stream.send('change', { n: 1 });
    stream.close();
    stream.send('change', { n: 2 });
    stream.close();
    let text = '';
    for await (const chunk of response) text += String(chunk);
    assert.equal(text, ': open\n\nevent: change\ndata: {"n":1}\n\n');
    assert.equal(response.headers['cache-control'], 'no-store');
    await stream.closed;
  });

  it('ends when the client goes away', async () => {
    const { stream, response } = await connect();
    const told = new Promise<void>((resolve) => stream.onClose(resolve));
    response.destroy();
    await stream.closed;
    await told;
    assert.equal(response.destroyed, true);
    stream.send('change', { n: 1 });
    await new Promise<void>((resolve) => stream.onClose(resolve));
  });

  it('cuts off a client that does not read', async () => {
    const { stream, response } = await connect();
    response.pause();
    response.on('error', () => undefined);
    const megabyte = 'x'.repeat(1024 * 1024);
    for (let sent = 0; sent < 64; sent += 1) stream.send('bulk', megabyte);
    await stream.closed;
    let received = 0;
    response.on('data', (chunk: Buffer) => (received += chunk.length));
    response.resume();
    await new Promise((resolve) => response.once('close', resolve));
    assert.equal(response.complete, false);
    assert.ok(received < 64 * megabyte.length, `${received} bytes came through`);
  });
});
