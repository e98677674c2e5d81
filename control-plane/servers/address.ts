import { FleetError } from '../../platform/errors.ts';
import { parseAddress, type PgAddress } from '../../platform/pg.ts';

const TLS_MODES = new Set(['disable', 'require', 'verify-full']);
const LOOPBACK = /^(localhost|127\.\d+\.\d+\.\d+|::1)$/;

/**
 * Reads the URL of a server to be registered. Stricter than a driver: a missing user or password is an error,
 * and a server on another machine must say how the way there is protected, as nothing may silently go plain.
 * @throws FleetError `bad_server_url`; no part of the URL is repeated in it
 */
export function parseServerUrl(url: string): PgAddress {
  const parsed = tryParse(url);
  const address = { ...parsed.address, host: parsed.address.host.replace(/^\[|\]$/g, '') };
  if (address.host === '') throw badUrl('it names no host');
  if (address.user === '') throw badUrl('it names no user');
  if (address.password === '') throw badUrl('it holds no password');
  if (address.port < 1 || address.port > 65_535) throw badUrl('its port is not between 1 and 65535');
  if (parsed.sslmode === null && !LOOPBACK.test(address.host)) {
    throw badUrl(
      'it does not say how the connection is protected',
      'add ?sslmode=verify-full (or require, or disable for a network you trust)',
    );
  }
  if (parsed.sslmode !== null && !TLS_MODES.has(parsed.sslmode)) {
    throw badUrl('its sslmode is not supported', 'use sslmode=verify-full, require or disable');
  }
  return address;
}

function tryParse(url: string): { address: PgAddress; sslmode: string | null } {
  try {
    const trimmed = url.trim();
    return { address: parseAddress(trimmed), sslmode: new URL(trimmed).searchParams.get('sslmode') };
  } catch {
    // The parser's own error repeats the URL, and with it the password: it goes no further.
    throw badUrl('it cannot be read as a PostgreSQL URL');
  }
}

function badUrl(reason: string, fix = 'use postgres://user:password@host:port/database'): FleetError {
  return new FleetError({
    code: 'bad_server_url',
    status: 400,
    message: `the server's URL cannot be used: ${reason}`,
    fix,
    errors: [{ path: 'url', message: reason }],
  });
}
