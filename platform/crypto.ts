import { createHash, createHmac, pbkdf2Sync, randomBytes, timingSafeEqual } from 'node:crypto';

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
