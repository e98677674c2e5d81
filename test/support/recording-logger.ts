import { Writable } from 'node:stream';
import winston from 'winston';
import { createLogger, type Logger } from '../../platform/logging.ts';

/** The product's own format, so that its masking is tested too, for whoever takes its lines. */
export function recordingLogger(take: (line: string) => void): Logger {
  const logger = createLogger('test', 'debug');
  const stream = new Writable({
    write: (chunk: Buffer, _encoding, done) => {
      take(chunk.toString());
      done();
    },
  });
  logger.clear().add(new winston.transports.Stream({ stream }));
  return logger;
}
