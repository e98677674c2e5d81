import type { AddressInfo, Server } from 'node:net';
import { FleetError } from './errors.ts';

export interface ListenOptions {
  host: string;
  /** 0 = any that is free. */
  port: number;
  /** The setting that moves it, for the message. */
  variable: string;
}

/**
 * Listens, and returns the port.
 * @throws FleetError 409 `port_in_use`
 */
export function listen(server: Server, { host, port, variable }: ListenOptions): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', (cause: NodeJS.ErrnoException) =>
      reject(cause.code === 'EADDRINUSE' ? portInUse(port, variable, cause) : cause),
    );
    server.listen(port, host, () => resolve((server.address() as AddressInfo).port));
  });
}

function portInUse(port: number, variable: string, cause: unknown): FleetError {
  return new FleetError({
    code: 'port_in_use',
    status: 409,
    message: `port ${port} is in use by another program`,
    fix: `stop that program, or set ${variable} to another port, or to 0 for any free one`,
    cause,
  });
}
