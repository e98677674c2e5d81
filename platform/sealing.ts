import { createCipheriv, createDecipheriv, createHash, createHmac, randomBytes } from 'node:crypto';

/**
 * Sealed bytes: AES-256-GCM with a header that says how to read them and tells apart why they do not open.
 *
 *   'FLT' | format (1) | algorithm (1) | key id (16) | place id (8) | length (4) | iv (12) | tag (16) | ciphertext
 *
 * All of the header up to `iv` is authenticated, with what the value is bound to. The key id names the key
 * without telling it; the place id is a hash of what the value is bound to. Neither is trusted: they only say
 * what is wrong with a value that did not open.
 */
const MAGIC = Buffer.from('FLT');
const FORMAT = 0x32;
/** Until November 2026: 'FLT' | '1' | iv (12) | tag (16) | ciphertext. Still read, never written. */
const FIRST_FORMAT = 0x31;
const AES_256_GCM = 1;
const KEY_ID_BYTES = 16;
const PLACE_ID_BYTES = 8;
const IV_BYTES = 12;
/** Forced wherever GCM is used: Node would take a tag of 4 bytes, which can be guessed. */
const TAG_BYTES = 16;
const HEADER_BYTES = MAGIC.length + 2 + KEY_ID_BYTES + PLACE_ID_BYTES + 4;
const KEY_ID_AT = MAGIC.length + 2;
const PLACE_ID_AT = KEY_ID_AT + KEY_ID_BYTES;
const LENGTH_AT = PLACE_ID_AT + PLACE_ID_BYTES;

/**
 * - `unknown_format`: another format or algorithm than this version knows; it is not tried in any other way
 * - `truncated`: bytes are missing at the end
 * - `wrong_key`: sealed under another key
 * - `swapped`: sealed under this key for another place (owner, subject, version or purpose)
 * - `tampered`: bytes were changed; of the first format also each of the others
 */
export type UnsealReason = 'unknown_format' | 'truncated' | 'wrong_key' | 'swapped' | 'tampered';

export class UnsealError extends Error {
  readonly reason: UnsealReason;

  constructor(reason: UnsealReason) {
    super(`sealed value refused: ${reason}`);
    this.name = 'UnsealError';
    this.reason = reason;
  }
}

/**
 * Seals `plain` under `key` (32 bytes). `bound` is authenticated but not stored: opening with any other parts
 * fails. Each part is length-prefixed, so that (ab, c) and (a, bc) differ.
 */
export function seal(key: Buffer, plain: Buffer, bound: string[]): Buffer {
  const header = makeHeader(key, bound, plain.length);
  const iv = randomBytes(IV_BYTES);
  const cipher = createCipheriv('aes-256-gcm', key, iv, { authTagLength: TAG_BYTES });
  cipher.setAAD(Buffer.concat([header, additionalData(bound)]));
  const body = Buffer.concat([cipher.update(plain), cipher.final()]);
  return Buffer.concat([header, iv, cipher.getAuthTag(), body]);
}

/** The inverse of `seal`. @throws UnsealError when key, `bound` or any byte differs. */
export function open(key: Buffer, sealed: Buffer, bound: string[]): Buffer {
  if (sealed.length <= MAGIC.length) throw new UnsealError('truncated');
  if (!sealed.subarray(0, MAGIC.length).equals(MAGIC)) throw new UnsealError('unknown_format');
  if (sealed[MAGIC.length] === FIRST_FORMAT) return openFirstFormat(key, sealed, bound);
  if (sealed[MAGIC.length] !== FORMAT) throw new UnsealError('unknown_format');
  if (sealed.length < HEADER_BYTES + IV_BYTES + TAG_BYTES) throw new UnsealError('truncated');
  if (sealed[MAGIC.length + 1] !== AES_256_GCM) throw new UnsealError('unknown_format');
  const header = sealed.subarray(0, HEADER_BYTES);
  const length = sealed.length - HEADER_BYTES - IV_BYTES - TAG_BYTES;
  // Under the header that it should have: only a changed header can differ from it and open all the same.
  const expected = makeHeader(key, bound, length);
  const plain = decrypt(key, sealed.subarray(HEADER_BYTES), Buffer.concat([expected, additionalData(bound)]));
  if (plain === undefined) throw new UnsealError(whyNot(header, expected));
  if (!header.equals(expected)) throw new UnsealError('tampered');
  return plain;
}

/** Whether the bytes say that they were sealed for this place; not proof that they were. */
export function isSealedFor(sealed: Buffer, bound: string[]): boolean {
  return sealed.subarray(PLACE_ID_AT, LENGTH_AT).equals(placeId(bound));
}

/** Names a key without telling it, in everything that is sealed under it. */
export function keyId(key: Buffer): Buffer {
  return createHmac('sha256', key).update('flotilla key id').digest().subarray(0, KEY_ID_BYTES);
}

/**
 * Opens with whichever of the keys it was sealed under.
 * @throws UnsealError that says most: of the first key, unless another one tells more than that it is not the key
 */
export function openWithAny(keys: readonly Buffer[], sealed: Buffer, bound: string[]): Buffer {
  let refused: unknown;
  for (const key of keys) {
    try {
      return open(key, sealed, bound);
    } catch (error) {
      const isOther = error instanceof UnsealError && error.reason === 'wrong_key';
      if (refused === undefined || !isOther) refused = error;
    }
  }
  throw refused;
}

function whyNot(header: Buffer, expected: Buffer): UnsealReason {
  if (header.readUInt32BE(LENGTH_AT) > expected.readUInt32BE(LENGTH_AT)) return 'truncated';
  const differs = (from: number, to: number) =>
    !header.subarray(from, to).equals(expected.subarray(from, to));
  if (differs(KEY_ID_AT, PLACE_ID_AT)) return 'wrong_key';
  return differs(PLACE_ID_AT, LENGTH_AT) ? 'swapped' : 'tampered';
}

function openFirstFormat(key: Buffer, sealed: Buffer, bound: string[]): Buffer {
  const rest = sealed.subarray(MAGIC.length + 1);
  if (rest.length < IV_BYTES + TAG_BYTES) throw new UnsealError('truncated');
  const plain = decrypt(key, rest, additionalData(bound));
  if (plain === undefined) throw new UnsealError('tampered');
  return plain;
}

function decrypt(key: Buffer, sealed: Buffer, authenticated: Buffer): Buffer | undefined {
  const iv = sealed.subarray(0, IV_BYTES);
  const decipher = createDecipheriv('aes-256-gcm', key, iv, { authTagLength: TAG_BYTES });
  decipher.setAAD(authenticated);
  decipher.setAuthTag(sealed.subarray(IV_BYTES, IV_BYTES + TAG_BYTES));
  try {
    return Buffer.concat([decipher.update(sealed.subarray(IV_BYTES + TAG_BYTES)), decipher.final()]);
  } catch {
    // GCM says no more than that it does not fit.
    return undefined;
  }
}

function makeHeader(key: Buffer, bound: string[], length: number): Buffer {
  const size = Buffer.alloc(4);
  size.writeUInt32BE(length);
  return Buffer.concat([MAGIC, Buffer.from([FORMAT, AES_256_GCM]), keyId(key), placeId(bound), size]);
}

function placeId(bound: string[]): Buffer {
  return createHash('sha256').update(additionalData(bound)).digest().subarray(0, PLACE_ID_BYTES);
}

function additionalData(bound: string[]): Buffer {
  return Buffer.concat(
    bound.flatMap((part) => {
      const bytes = Buffer.from(part, 'utf8');
      const length = Buffer.alloc(4);
      length.writeUInt32BE(bytes.length);
      return [length, bytes];
    }),
  );
}
