import type { Request, Response } from 'express';
import type { ServerResponse } from 'node:http';

/** An open server-sent event stream. It ends with the client, or by `close`. */
export interface EventStream {
  /** Sends one event; `data` as JSON. After the end it does nothing. */
  send(event: string, data: unknown, id?: string): void;
  /** Settles when the stream is over, whoever ended it. Never rejects. */
  closed: Promise<void>;
  /** Calls back at the end, at once where that is already past. */
  onClose(callback: () => void): void;
  close(): void;
}

/** 15 s: proxies and load balancers cut connections that are silent for 30 to 60 s. */
const HEARTBEAT_MS = 15_000;
/**
 * 32 MiB waiting for a client that does not read: the largest event we send, a region's changed routes, stays
 * below it. Beyond it the client is cut off and resumes by itself, instead of filling our memory.
 */
const MAX_BUFFERED_BYTES = 32 * 1024 * 1024;

/**
 * Answers `request` with an event stream. Throw whatever is to be thrown before calling it: with it the
 * status 200 is sent.
 */
export function openEventStream(request: Request, response: Response): EventStream {
  const closed = new Promise<void>((resolve) => {
    if (response.destroyed) resolve();
    else response.once('close', () => resolve());
  });
  request.socket.setNoDelay(true);
  beginEventStream(response);
  const heartbeat = setInterval(() => write(response, ': still here\n\n'), HEARTBEAT_MS);
  void closed.then(() => clearInterval(heartbeat));
  return {
    closed,
    send: (event, data, id) => write(response, formatEvent(event, data, id)),
    onClose: (callback) => void closed.then(callback),
    close: () => {
      if (!response.writableEnded) response.end();
    },
  };
}

/** Sends the head of an event stream, for whoever paces its events: several clients at once, say. */
export function beginEventStream(response: ServerResponse): void {
  response.writeHead(200, {
    'Content-Type': 'text/event-stream; charset=utf-8',
    'Cache-Control': 'no-store',
    // nginx would otherwise collect events before it passes them on.
    'X-Accel-Buffering': 'no',
  });
  response.write(': open\n\n');
}

function write(response: Response, text: string): void {
  if (response.writableEnded || response.destroyed) return;
  response.write(text);
  if (response.writableLength > MAX_BUFFERED_BYTES) response.destroy();
}

/** One event on the wire. JSON has no raw line break, so a single `data` line carries it. */
export function formatEvent(event: string, data: unknown, id?: string): string {
  const lines = [
    `event: ${event}`,
    ...(id === undefined ? [] : [`id: ${id}`]),
    `data: ${JSON.stringify(data)}`,
  ];
  return `${lines.map((line) => line.replaceAll(/[\r\n\0]/g, '')).join('\n')}\n\n`;
}
