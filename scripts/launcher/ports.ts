import { createServer, type AddressInfo, type Server } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { FleetError } from '../../platform/errors.ts';
import { listen } from '../../platform/listen.ts';

export interface Ports {
  controlPlane: number;
  /** By region, in the order of FLEET_REGIONS. */
  apps: Map<string, number>;
}

/** Programs of a launcher that was killed stop by themselves; they have 10 s for requests in hand. */
const RELEASE_WAIT_MS = 12_000;
const RELEASE_POLL_MS = 200;

/**
 * Decides all ports before anything is started, as the programs must know each other's addresses: the wanted
 * ones if they are free, any free ones for 0.
 * @throws FleetError `port_in_use`, naming the port and the variable that moves it.
 */
export async function choosePorts(
  wanted: { port: number; appPort: number; regions: string[] },
  afterKill: boolean,
): Promise<Ports> {
  const waitMs = afterKill ? RELEASE_WAIT_MS : 0;
  // All are held until the last is found: two searches for "any free port" must not find the same.
  const held: Server[] = [];
  const claim = async (port: number, variable: string): Promise<number> => {
    const server = await listenWithin(port, variable, waitMs);
    held.push(server);
    return (server.address() as AddressInfo).port;
  };
  try {
    const controlPlane = await claim(wanted.port, 'FLEET_PORT');
    const apps = new Map<string, number>();
    for (const [index, region] of wanted.regions.entries()) {
      apps.set(region, await claim(wanted.appPort === 0 ? 0 : wanted.appPort + index, 'FLEET_APP_PORT'));
    }
    return { controlPlane, apps };
  } finally {
    await Promise.all(held.map((server) => new Promise((resolve) => server.close(resolve))));
  }
}

async function listenWithin(port: number, variable: string, waitMs: number): Promise<Server> {
  const deadline = Date.now() + waitMs;
  for (;;) {
    const server = createServer();
    try {
      await listen(server, { host: '127.0.0.1', port, variable });
      return server;
    } catch (error) {
      const isTaken = error instanceof FleetError && error.code === 'port_in_use';
      if (!isTaken || Date.now() >= deadline) throw error;
      await delay(RELEASE_POLL_MS);
    }
  }
}
