/** A figure of a test, beside its line in the report: what a person wants to read in a passing run. */
export function say(text: string): void {
  process.stdout.write(`      ${text}\n`);
}
