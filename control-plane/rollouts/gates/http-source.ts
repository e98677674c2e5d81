import { z } from 'zod';
import type { HttpGate, PrometheusGate } from '../../../contract/gate.ts';
import type { Reading } from './gate.ts';
import { noAnswer, noData, readValue } from './reading.ts';

/**
 * Gates ask addresses that an operator has written down, from where the control plane stands. An operator can migrate
 * every database already, so that inner addresses are allowed: a status page or a Prometheus mostly is one. But an
 * answer may lead nowhere else (redirects stay on the host), holds nobody up, fills no memory, and no password of ours
 * goes with the question; of an answer only its status or one number is kept.
 */

/** Milliseconds for all of it, redirects included: a probe that takes longer is as good as none. */
const TIMEOUT_MS = 5_000;
/** Of an answer, in bytes: one number in Prometheus' JSON needs a few hundred. */
const BODY_MAX = 64 * 1024;
/** A slash that is missing at the end is one; more are a loop. */
const REDIRECTS_MAX = 3;

export async function readHttp(
  spec: z.infer<typeof HttpGate>,
  signal: AbortSignal,
  timeoutMs = TIMEOUT_MS,
): Promise<Reading> {
  const answer = await ask(new URL(spec.http), signal, { wanted: spec.status, timeoutMs });
  if ('why' in answer) return noAnswer(answer.why);
  const { status } = answer;
  return status === spec.status
    ? { outcome: 'success', value: status, samples: 1, message: `answered ${status}` }
    : { outcome: 'failure', value: status, samples: 1, message: `answered ${status}, not ${spec.status}` };
}

export async function readPrometheus(
  spec: z.infer<typeof PrometheusGate>,
  signal: AbortSignal,
): Promise<Reading> {
  const url = new URL(spec.prometheus);
  url.pathname = `${url.pathname.replace(/\/+$/, '')}/api/v1/query`;
  url.searchParams.set('query', spec.query);
  const answer = await ask(url, signal, { body: true });
  if ('why' in answer) return noAnswer(answer.why);
  if (answer.status !== 200) return noAnswer(`the metrics server answered ${answer.status}`);
  const parsed = QueryAnswer.safeParse(parseJson(answer.body));
  if (!parsed.success) return noAnswer('the metrics server answered something else than one number');
  const { data } = parsed.data;
  if (data.resultType === 'scalar') return readValue(toNumber(data.result[1]), spec);
  const [sample, ...others] = data.result;
  if (sample === undefined) return noData('the query found nothing');
  if (others.length > 0) return noAnswer(`the query found ${others.length + 1} series, not one number`);
  return readValue(toNumber(sample.value[1]), spec);
}

const Sample = z.tuple([z.number(), z.string()]);
/** https://prometheus.io/docs/prometheus/latest/querying/api/#instant-queries */
const QueryAnswer = z.object({
  status: z.literal('success'),
  data: z.discriminatedUnion('resultType', [
    z.object({ resultType: z.literal('vector'), result: z.array(z.object({ value: Sample })) }),
    z.object({ resultType: z.literal('scalar'), result: Sample }),
  ]),
});

/** Prometheus writes `NaN`, `+Inf` and `-Inf`. */
function toNumber(text: string): number {
  return text.endsWith('Inf') ? (text.startsWith('-') ? -Infinity : Infinity) : Number(text);
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

interface Answer {
  status: number;
  /** Empty where it was not asked for. */
  body: string;
}

/** Answers why not where there is no whole answer in time. Throws only when `signal` has fired. */
async function ask(
  url: URL,
  signal: AbortSignal,
  { wanted, body = false, timeoutMs = TIMEOUT_MS }: { wanted?: number; body?: boolean; timeoutMs?: number },
): Promise<Answer | { why: string }> {
  const abort = new AbortController();
  const timer = setTimeout(() => abort.abort(), timeoutMs);
  // By hand: a composite signal may be collected while a body is being read.
  const stop = (): void => abort.abort();
  signal.addEventListener('abort', stop, { once: true });
  try {
    const response = await followOnHost(url, abort.signal, wanted);
    if (response === undefined) return { why: 'it leads to another host, which is not asked' };
    const text = body ? await readBody(response) : await response.body?.cancel();
    if (body && text === undefined) return { why: `the answer is longer than ${BODY_MAX / 1024} kB` };
    return { status: response.status, body: text ?? '' };
  } catch (error) {
    signal.throwIfAborted();
    if (abort.signal.aborted) return { why: `no answer within ${timeoutMs / 1_000} s` };
    return { why: `no answer: ${networkCode(error)}` };
  } finally {
    clearTimeout(timer);
    signal.removeEventListener('abort', stop);
  }
}

/** Undefined when it leads away from the host, or round in circles. */
async function followOnHost(
  start: URL,
  signal: AbortSignal,
  wanted: number | undefined,
): Promise<Response | undefined> {
  let url = start;
  for (let redirects = 0; redirects <= REDIRECTS_MAX; redirects += 1) {
    const response = await fetch(url.href, { redirect: 'manual', credentials: 'omit', signal });
    const location = response.headers.get('location');
    if (response.status < 300 || response.status > 399 || location === null || response.status === wanted) {
      return response;
    }
    await response.body?.cancel();
    if (!URL.canParse(location, url.href)) return undefined;
    const next = new URL(location, url);
    if (next.origin !== start.origin) return undefined;
    url = next;
  }
  return undefined;
}

/** Undefined when it is too long. */
async function readBody(response: Response): Promise<string | undefined> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  // Leaving the loop early cancels the rest.
  for await (const chunk of (response.body ?? []) as AsyncIterable<Uint8Array>) {
    size += chunk.byteLength;
    if (size > BODY_MAX) return undefined;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

/** `fetch` wraps what has happened. */
function networkCode(error: unknown): string {
  const cause = error instanceof Error ? error.cause : undefined;
  const code = typeof cause === 'object' && cause !== null && 'code' in cause ? cause.code : undefined;
  return typeof code === 'string' ? code : 'the connection broke';
}
