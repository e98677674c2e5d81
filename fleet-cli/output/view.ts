import type { Paint } from './style.ts';

/** One column of a list, and one line of a single resource. */
export interface Column<T> {
  /** In words; printed in capitals above a column. */
  title: string;
  value: (item: T, paint: Paint) => string | number | null | undefined;
  /** Only with `-o wide`, and for a single resource. */
  wide?: boolean;
  /** Only for a single resource. */
  detail?: boolean;
  right?: boolean;
  /** Never cut to the terminal's width: what a person copies (ids, URLs). */
  whole?: boolean;
}

/** How a noun is shown to people; `json` and `yaml` show everything without it. */
export interface View<T> {
  /** Plural, for "no tenants". */
  noun: string;
  /** What `-o name` prints: fit for being passed to another command. */
  name: (item: T) => string;
  columns: Column<T>[];
  /** More text below a single resource. */
  below?: (item: T, paint: Paint) => string | undefined;
}
