import { BlockList, isIP } from 'node:net';
import { FleetError } from '../../platform/errors.ts';

/** The parts of a request that say for whom it is. */
export interface HostSource {
  /** Names and values in turn, as node:http keeps them: duplicates are still visible here. */
  rawHeaders: string[];
  /** The request target as sent. */
  originalUrl: string;
  socket: { remoteAddress?: string | undefined };
}

/** Decides whether forwarding headers of a peer count. */
export type ProxyTrust = (remoteAddress: string | undefined) => boolean;

/**
 * A host name or bracketed IPv6 address, an optional trailing dot, an optional port. Never tries one character
 * in two ways, so that its time is linear in the text; names that cannot exist are found in no table.
 */
const HOST = /^(?:([a-z0-9_-]+(?:\.[a-z0-9_-]+)*)\.?|(\[[0-9a-f:.]+\]))(?::\d{1,5})?$/i;
/** RFC 1035: a name has at most 253 characters; 6 more for the port. */
const MAX_HOST_LENGTH = 260;

/** No proxy is trusted: the Host header alone counts. */
export const trustNoProxy: ProxyTrust = () => false;

/** Trusts peers whose address is in `proxies`: addresses or CIDR blocks. @throws FleetError `bad_proxy` */
export function trustProxies(proxies: string[]): ProxyTrust {
  if (proxies.length === 0) return trustNoProxy;
  const list = new BlockList();
  for (const proxy of proxies) addProxy(list, proxy);
  return (remoteAddress) => {
    // A dual-stack socket shows IPv4 peers as ::ffff:1.2.3.4.
    const address = remoteAddress?.replace(/^::ffff:/i, '') ?? '';
    const version = isIP(address);
    return version !== 0 && list.check(address, version === 4 ? 'ipv4' : 'ipv6');
  };
}

function addProxy(list: BlockList, proxy: string): void {
  const [address = '', bits] = proxy.split('/');
  const version = isIP(address);
  const prefix = bits === undefined ? undefined : Number(bits);
  const most = version === 4 ? 32 : 128;
  if (
    version === 0 ||
    (prefix !== undefined && !(Number.isInteger(prefix) && prefix >= 0 && prefix <= most))
  ) {
    throw new FleetError({
      code: 'bad_proxy',
      status: 400,
      message: `${proxy} is neither an IP address nor a CIDR block`,
      fix: 'name trusted proxies like 10.0.0.5 or 10.0.0.0/8',
    });
  }
  const family = version === 4 ? 'ipv4' : 'ipv6';
  if (prefix === undefined) list.addAddress(address, family);
  else list.addSubnet(address, prefix, family);
}

/**
 * The host that the request is for, in the form of the route table: lower case, without port and trailing
 * dot. Nothing else in a request can select a tenant.
 *
 * @throws FleetError 400 `bad_host` when it is missing, malformed, or said twice.
 */
export function identifyHost(source: HostSource, trusted: ProxyTrust): string {
  // An absolute request target names a host of its own, which could differ from the header's.
  if (!source.originalUrl.startsWith('/')) throw badHost('the request target must be a path');
  const host = onlyHeader(source.rawHeaders, 'host');
  if (trusted !== trustNoProxy && trusted(source.socket.remoteAddress)) {
    const forwarded = onlyHeader(source.rawHeaders, 'x-forwarded-host');
    if (forwarded !== undefined) return normalizeHost(forwarded);
  }
  if (host === undefined) throw badHost('the request names no host');
  return normalizeHost(host);
}

/** The value of a header that may stand at most once. `name` is in lower case. */
function onlyHeader(rawHeaders: string[], name: string): string | undefined {
  let found: string | undefined;
  for (let index = 0; index < rawHeaders.length; index += 2) {
    const header = rawHeaders[index];
    if (header === undefined || header.length !== name.length || header.toLowerCase() !== name) continue;
    if (found !== undefined) throw badHost(`the request has more than one ${name} header`);
    found = rawHeaders[index + 1];
  }
  return found;
}

/** @throws FleetError 400 `bad_host` */
export function normalizeHost(value: string): string {
  const match = value.length > MAX_HOST_LENGTH ? null : HOST.exec(value);
  const host = match?.[1] ?? match?.[2];
  if (host === undefined) throw badHost('the host of the request is malformed');
  return host.toLowerCase();
}

function badHost(message: string): FleetError {
  return new FleetError({
    code: 'bad_host',
    status: 400,
    message,
    fix: "send one Host header with the tenant's host name",
  });
}
