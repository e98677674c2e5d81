// Loaded first in every process of a test run, children included: notes each 256-bit value that is drawn, which is
// what passwords, API keys and encryption keys are, so that the end of the run can look for them where they must
// not be (secret-scan.ts).
import crypto from 'node:crypto';
import { appendFileSync, existsSync } from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { join } from 'node:path';

const SECRET_BYTES = 32;
const folder = process.env.FLEET_TEST_RUN;

if (folder !== undefined) {
  const { randomBytes } = crypto;
  const file = join(folder, `secrets-${process.pid}`);
  crypto.randomBytes = (size, callback) => {
    const bytes = randomBytes(size, callback);
    // A process that outlives the run has no folder any more.
    if (size === SECRET_BYTES && callback === undefined && existsSync(folder)) {
      appendFileSync(file, `${bytes.toString('hex')}\n`, { mode: 0o600 });
    }
    return bytes;
  };
  syncBuiltinESMExports();
}
