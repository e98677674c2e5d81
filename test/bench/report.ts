import { median } from './statistics.ts';

/** One measured quantity beside its floor, over the runs. */
export interface Comparison {
  title: string;
  unit: string;
  floorName: string;
  /** Same length: run i of both was measured back to back. */
  ours: number[];
  floors: number[];
  /** `at most` compares ours ÷ floor with the budget from above, `at least` from below. */
  budget: { kind: 'at most' | 'at least'; ratio: number };
}

/** Prints the runs, the medians and the ratio; never fails a run on time. */
export function report(comparison: Comparison): void {
  const { ours, floors, budget, unit } = comparison;
  const ratio = median(ours) / median(floors);
  const met = budget.kind === 'at most' ? ratio <= budget.ratio : ratio >= budget.ratio;
  const list = (values: number[]): string => values.map((value) => value.toFixed(1)).join('  ');
  process.stdout.write(
    [
      '',
      comparison.title,
      `  ours   median ${median(ours).toFixed(1)} ${unit}   runs: ${list(ours)}`,
      `  floor  median ${median(floors).toFixed(1)} ${unit}   runs: ${list(floors)}   (${comparison.floorName})`,
      `  ratio  ${ratio.toFixed(3)}   budget ${budget.kind} ${budget.ratio}   ${met ? 'met' : 'NOT met'}`,
      '',
    ].join('\n'),
  );
}

export function note(text: string): void {
  process.stdout.write(`  ${text}\n`);
}
