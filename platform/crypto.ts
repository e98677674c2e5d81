import {
  createCipheriv,
  createDecipheriv,
  createHash,
  createHmac,
  pbkdf2Sync,
  randomBytes,
  timingSafeEqual,
} from 'node:crypto';

/** 256 bits from the system's generator, URL-safe: needs no escaping in any place we put it. */
export function randomPassword(): string {
  return randomBytes(32).toString('base64url');
}

/** SHA-256 in lower-case hex. */
export function sha256(text: string | Buffer): string {
  return createHash('sha256').update(text).digest('hex');
}

/** Compares two texts in time that does not depend on where they differ. */
export function equalInConstantTime(a: string, b: string): boolean {
  return timingSafeEqual(createHash('sha256').update(a).digest(), createHash('sha256').update(b).digest());
}

/**
 * 4096 is PostgreSQL's default. A machine-made 256-bit password gains nothing from slow hashing (there is no
 * dictionary to slow down), and the client pays for it on every connection.
 */
const SCRAM_ITERATIONS = 4096;
const FAST_SCRAM_ITERATIONS = 64;

/**
 * A SCRAM-SHA-256 verifier as PostgreSQL stores it, made on the client so that no server log ever holds the
 * password. Format: src/common/scram-common.c, `scram_build_secret`.
 */
export function scramVerifier(password: string, fast = true): string {
  const iterations = fast ? FAST_SCRAM_ITERATIONS : SCRAM_ITERATIONS;
  const salt = randomBytes(16);
  const salted = pbkdf2Sync(password, salt, iterations, 32, 'sha256');
  const clientKey = createHmac('sha256', salted).update('Client Key').digest();
  const storedKey = createHash('sha256').update(clientKey).digest();
  const serverKey = createHmac('sha256', salted).update('Server Key').digest();
  return `SCRAM-SHA-256$${iterations}:${salt.toString('base64')}$${storedKey.toString('base64')}:${serverKey.toString('base64')}`;
}

const MAGIC = Buffer.from('FLT1');
const IV_BYTES = 12;
const TAG_BYTES = 16;

/** The sealed bytes were changed, cut, or belong to another tenant, name or version than was asked for. */
export class TamperedError extends Error {
  constructor(reason: string) {
    super(`sealed value refused: ${reason}`);
    this.name = 'TamperedError';
  }
}

/**
 * Seals `plain` with AES-256-GCM. `bound` is authenticated but not stored: opening with any other values
 * fails. Each part is length-prefixed so that (ab, c) and (a, bc) differ.
 * Layout: magic (4) | iv (12) | tag (16) | ciphertext.
 */
export function seal(key: Buffer, plain: Buffer, bound: string[]): Buffer {
  const iv = randomBytes(IV_BYTES);
  const cipher = createCipheriv('aes-256-gcm', key, iv, { authTagLength: TAG_BYTES });
  cipher.setAAD(additionalData(bound));
  const body = Buffer.concat([cipher.update(plain), cipher.final()]);
  return Buffer.concat([MAGIC, iv, cipher.getAuthTag(), body]);
}

/** The inverse of `seal`. @throws TamperedError when key, `bound` or any byte differs. */
export function open(key: Buffer, sealed: Buffer, bound: string[]): Buffer {
  if (sealed.length < MAGIC.length + IV_BYTES + TAG_BYTES) throw new TamperedError('too short');
  if (!sealed.subarray(0, 4).equals(MAGIC)) throw new TamperedError('unknown format');
  const iv = sealed.subarray(4, 4 + IV_BYTES);
  const tag = sealed.subarray(4 + IV_BYTES, 4 + IV_BYTES + TAG_BYTES);
  const decipher = createDecipheriv('aes-256-gcm', key, iv, { authTagLength: TAG_BYTES });
  decipher.setAAD(additionalData(bound));
  decipher.setAuthTag(tag);
  try {
    return Buffer.concat([decipher.update(sealed.subarray(4 + IV_BYTES + TAG_BYTES)), decipher.final()]);
  } catch {
    throw new TamperedError('wrong key, owner or version, or changed bytes');
  }
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
