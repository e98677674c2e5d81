import { z } from 'zod';

/** Control characters, line ends, and marks that turn around how the text beside them is read. */
const NOT_PLAIN = /[\p{Cc}\u2028\u2029\u202a-\u202e\u2066-\u2069]/u;

/**
 * Text of one line that people give and other people's terminals, logs and browsers show: at least `min`, at most `max`
 * characters, without blanks around it.
 */
export function plainText(max: number, min = 0) {
  return z
    .string()
    .trim()
    .min(min)
    .max(max)
    .refine((text) => !NOT_PLAIN.test(text), 'may not hold line breaks or other control characters');
}
